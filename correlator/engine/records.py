"""What goes into a partition, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from correlator.engine.poison import Quarantined

__all__ = ["Output", "decoded"]


class Output(NamedTuple):
    """What a partition has to say since the last :meth:`Partition.take`.

    ``incidents`` are (id, incident or None for a tombstone) in order of publication, ``decisions`` the receipts
    by shard, ``entries`` the changed entries of the state (None = gone) including the marker, ``refused`` why controls
    that made no sense were ignored. ``homes`` has the partition in which incidents that came from another one go on
    being published, so that the last record of an id is the last word about it.
    """

    applied: int
    incidents: list[tuple[str, dict[str, Any] | None]]
    decisions: dict[str, list[dict[str, Any]]]
    entries: dict[bytes, bytes | None]
    quarantined: list[Quarantined]
    refused: list[str] = []  # noqa: RUF012 - never changed
    homes: Mapping[str, int] = {}


def decoded(value: bytes) -> dict[str, Any] | None:
    """A record of the log; None for bytes that are not one. An empty value lets time pass."""
    try:
        data = orjson.loads(value) if value else {"type": "tick"}
    except orjson.JSONDecodeError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("type", "alerts"), str):
        return None
    if data.get("type", "alerts") != "alerts":
        return data
    rows = data.get("rows")
    return data if isinstance(data.get("source"), str) and isinstance(rows, list) else None
