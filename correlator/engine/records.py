"""What goes into a partition, and what comes out of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import orjson

from correlator.engine.poison import Quarantined

__all__ = ["Output", "decoded", "misfit"]

_NUMBER: Final = frozenset((int, float))
_INT, _TEXT, _DICT = (frozenset((kind,)) for kind in (int, str, dict))
#: Types that each column of a row may have, in the order of ``PLACED_COLUMNS``.
_TYPES: Final = (
    *(_INT, _INT, _NUMBER, frozenset((bool,))),
    *(_TEXT, _TEXT, _TEXT, _TEXT, _TEXT),
    *(_NUMBER, _NUMBER | {type(None)}),
    *(_DICT, _DICT, _TEXT, frozenset((list,))),
)
_LABELS, _ANNOTATIONS = 11, 12


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
    rows, ahead = data.get("rows"), data.get("ahead", {})
    fit = isinstance(data.get("source"), str) and isinstance(rows, list) and isinstance(ahead, dict)
    return data if fit and _NUMBER.issuperset(map(type, ahead.values())) else None


def misfit(rows: Sequence[Any], skip: Collection[int]) -> int | None:
    """The first row, but for those in ``skip``, with a field of a wrong type: it would raise where it is too late.

    None where all are well, as nearly always: so whole columns are looked at first. O(fields).
    """
    kept = [row for index, row in enumerate(rows) if index not in skip] if skip else rows
    if not kept or _fit(kept):
        return None
    return next(index for index, row in enumerate(rows) if index not in skip and not _fit([row]))


def _fit(rows: Sequence[Any]) -> bool:
    try:
        columns = list(zip(*rows, strict=True))
    except (TypeError, ValueError):
        return False
    if len(columns) != len(_TYPES):
        return False
    if not all(types.issuperset(map(type, column)) for types, column in zip(_TYPES, columns, strict=True)):
        return False
    texts = chain.from_iterable(mapping.values() for mapping in chain(columns[_LABELS], columns[_ANNOTATIONS]))
    return _TEXT.issuperset(map(type, texts))
