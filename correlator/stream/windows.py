"""The maintenance windows that hold for all shards, as the saved state has them."""

from __future__ import annotations

from typing import Any

import orjson

from correlator.config import Settings
from correlator.engine.partition import MARKER
from correlator.stream.rejected import records
from correlator.stream.topics import state_topic

__all__ = ["saved_windows"]


async def saved_windows(settings: Settings) -> dict[str, dict[str, Any]]:
    """Maintenance controls by id, as of the last checkpoint of the first partition: every partition has all of them.

    Some may be over. Reads one partition of the state. Raises :class:`BrokerError`.
    """
    marker: bytes | None = None
    async for record in records(settings, state_topic(settings), partition=0):
        if record.key == MARKER:
            marker = record.value
    found: dict[str, dict[str, Any]] = orjson.loads(marker)["windows"] if marker else {}
    return found
