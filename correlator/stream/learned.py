"""What the workers have learned about a service, as their saved state has it."""

from __future__ import annotations

from typing import Any

import orjson

from correlator.config import Settings
from correlator.engine.entries import HISTORY, PATTERN, kind_of
from correlator.engine.likeness import Part, Patterns
from correlator.stream.rejected import records
from correlator.stream.topics import state_topic

__all__ = ["history"]


async def history(settings: Settings, service: str) -> dict[str, tuple[list[Any], Part]]:
    """What each shard knows about a service, as :meth:`Partition.history` gives it. Reads the whole state.

    Raises :class:`BrokerError`.
    """
    entries: dict[tuple[str, str, str], bytes] = {}
    async for record in records(settings, state_topic(settings)):
        where = kind_of(record.key or b"")
        if where is None or (where[1:] != (HISTORY, service) and where[1] != PATTERN):
            continue
        if record.value is None:
            entries.pop(where, None)
        else:
            entries[where] = record.value
    rows, remembered = dict[str, Any](), dict[str, dict[str, Any]]()
    for (shard, kind, key), value in sorted(entries.items()):
        if kind == HISTORY:
            rows[shard] = orjson.loads(value)
        else:
            remembered.setdefault(shard, {})[key] = orjson.loads(value)
    found = {}
    for shard, row in rows.items():
        patterns = Patterns()
        patterns.restore(remembered.get(shard, {}))
        found[shard] = (row, patterns.part(service))
    return found
