"""One incident as it was last published."""

from __future__ import annotations

from typing import Any

import orjson

from correlator.config import Settings
from correlator.stream.rejected import records

__all__ = ["incident_of"]


async def incident_of(settings: Settings, id: str) -> dict[str, Any] | None:
    """The incident of an id, or the one that it became part of; None where the topic has none.

    Reads the topic of incidents. Raises :class:`BrokerError`.
    """
    last: dict[str, dict[str, Any]] = {}
    async for record in records(settings, settings.topics.incidents):
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            last.pop(key, None)
        else:
            last[key] = orjson.loads(record.value)
    found, seen = last.get(id), {id}
    while found is not None and found["merged_into"] is not None and found["merged_into"] not in seen:
        seen.add(found["merged_into"])
        found = last.get(found["merged_into"], found)
    return found
