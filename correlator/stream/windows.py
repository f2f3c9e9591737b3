"""The maintenance windows that hold for all shards, as the saved state has them."""

from __future__ import annotations

from typing import Any

import orjson

from correlator.config import Settings
from correlator.engine.entries import MARKER, window_of
from correlator.stream.rejected import records
from correlator.stream.topics import state_topic

__all__ = ["saved_windows"]


async def saved_windows(settings: Settings) -> dict[str, dict[str, Any]]:
    """Maintenance controls by id, as of the last checkpoint of the first partition: every partition has all of them.

    Some may be over. Reads one partition of the state. Raises :class:`BrokerError`.
    """
    found: dict[str, dict[str, Any]] = {}
    older: dict[str, dict[str, Any]] = {}
    async for record in records(settings, state_topic(settings), partition=0):
        if record.key == MARKER:
            older = orjson.loads(record.value).get("windows", {}) if record.value else {}
        elif record.key is not None and (id := window_of(record.key)) is not None:
            if record.value is None:
                found.pop(id, None)
            else:
                found[id] = orjson.loads(record.value)
    return older or found
