"""What the workers have learned about a service, as their saved state has it."""

from __future__ import annotations

from typing import Any

import orjson

from correlator.config import Settings
from correlator.engine.entries import history_shard
from correlator.stream.rejected import records
from correlator.stream.topics import state_topic

__all__ = ["history"]


async def history(settings: Settings, service: str) -> dict[str, list[Any]]:
    """The rows of a service by shard, as :meth:`Partition.history` gives them. Reads the whole state.

    Raises :class:`BrokerError`.
    """
    found: dict[str, list[Any]] = {}
    async for record in records(settings, state_topic(settings)):
        shard = history_shard(record.key or b"", service)
        if shard is None:
            continue
        if record.value is None:
            found.pop(shard, None)
        else:
            found[shard] = orjson.loads(record.value)
    return dict(sorted(found.items()))
