"""Where shards live, as the log says it: the controls by which alerts and incidents move to other shards or partitions.

A move is written into the log of every partition, old and new, by ``correlator shards move``::

    move_begin   from here on nothing is applied but the move: the state stands still
    move_part    what leaves this partition and what arrives in it; as many as are needed, in any order
    move_end     now it holds

What arrives is saved state, so a replay needs nothing but the log. Until the end nothing has happened: a move that was
given up half-way begins again with another ``move_begin``, and its parts replace those before. Alerts that were placed
for an earlier layout than the one in force are left out: whoever placed them can not have committed that, so they are
read and placed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from correlator.engine.entries import entry_key, entry_value

__all__ = ["MOVES", "PART", "Incoming", "Layout", "Moved", "written"]

#: The types of the controls.
MOVES: Final = frozenset(("move_begin", "move_part", "move_end"))
#: Bytes of entries above which another part begins.
PART: Final = 1 << 20


class Incoming(NamedTuple):
    """A shard that arrives: what belongs to it as a whole, and ``entities[kind][key]``, both in their saved form.

    ``was`` has the incident of each alerting service where alerts of different shards come together or apart; empty
    where a shard arrives whole.
    """

    meta: dict[str, Any]
    entities: dict[str, dict[str, Any]]
    was: dict[str, str]


class Moved(NamedTuple):
    """A move that has ended. ``marks`` is up to where each raw partition had been placed, ``tick`` what a tick says."""

    leave: list[str]
    arrive: dict[str, Incoming]
    marks: dict[str, list[int]]
    tick: dict[str, Any]


class Layout:
    """The number of the layout that is in force in one partition, and the move that is under way."""

    def __init__(self) -> None:
        self.number = 0
        self._next: int | None = None  # the number of the move that is under way
        #: Raw partition -> offset and index up to which all was placed for earlier layouts: no shard counts it again.
        self.floor: dict[str, list[int]] = {}
        self._parts: dict[int, dict[str, Any]] = {}
        self._dirty: set[int] = set()

    def stale(self, data: Mapping[str, Any]) -> bool:
        """Whether alerts were placed for an earlier layout."""
        return int(data.get("layout", 0)) < self.number

    def take(self, control: Mapping[str, Any]) -> Moved | None:
        """Apply a control of a move; the answer is what holds now if it was the end. One of another move is ignored."""
        kind, number = control["type"], control["layout"]
        if kind == "move_begin" and number > self.number:
            self._next = number
            self._forget()
        elif number != self._next:
            return None
        elif kind == "move_part":
            self._parts[control["part"]] = dict(control)
            self._dirty.add(control["part"])
        elif kind == "move_end":
            return self._end(number)
        return None

    @property
    def moving(self) -> bool:
        """Whether a move is under way."""
        return self._next is not None

    def complete(self) -> bool:
        """Whether every part of the move under way is there."""
        return bool(self._parts) and len(self._parts) == self._parts[min(self._parts)]["parts"]

    def _end(self, number: int) -> Moved:
        """Parts that are not all there are those of a log whose beginning is gone: then nothing arrives."""
        parts = [part for _, part in sorted(self._parts.items())] if self.complete() else []
        moved = Moved([], {}, {}, {})
        for part in parts:
            moved.leave.extend(part.get("leave", ()))
            moved.marks.update(part.get("marks", {}))
            moved.tick.update(part.get("tick", {}))
            for shard, kind, key, row in part["entries"]:
                arrival = moved.arrive.setdefault(shard, Incoming({}, {}, {}))
                if kind == "m":
                    arrival.meta.update(row)
                elif kind == "was":
                    arrival.was[key] = row
                else:
                    arrival.entities.setdefault(kind, {})[key] = row
        self.number, self._next = number, None
        for source, mark in moved.marks.items():
            self.floor[source] = max(mark, self.floor.get(source, [-1, -1]))
        self._forget()
        return moved

    def _forget(self) -> None:
        self._dirty.update(self._parts)
        self._parts = {}

    # -- saved form ------------------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """What the marker of the partition says."""
        return {"number": self.number, "next": self._next, "floor": self.floor}

    def save(self, entries: dict[bytes, bytes | None]) -> None:
        """Add the parts that changed to ``entries``."""
        for number in sorted(self._dirty):
            part = self._parts.get(number)
            entries[entry_key("", "n", str(number))] = None if part is None else entry_value(part)

    def discard(self) -> None:
        """What changed is taken."""
        self._dirty.clear()

    def restore(self, plain: Mapping[str, Any], parts: Mapping[str, dict[str, Any]]) -> None:
        """Continue from what was saved."""
        self.number, self._next = plain.get("number", 0), plain.get("next")
        self.floor = {source: list(mark) for source, mark in plain.get("floor", {}).items()}
        self._parts = {int(number): part for number, part in parts.items()}


def written(number: int, moved: Moved, size: int = PART) -> list[dict[str, Any]]:
    """The parts of the move to layout ``number`` of one partition; at least one, also where nothing arrives."""
    head = {"leave": moved.leave, "marks": moved.marks, "tick": moved.tick}
    packed = list(_packed(_entries(moved.arrive), size)) or [[]]
    return [
        {"type": "move_part", "layout": number, "part": part, "parts": len(packed)}
        | ({} if part else head)
        | {"entries": entries}
        for part, entries in enumerate(packed)
    ]


def _entries(arrive: Mapping[str, Incoming]) -> Iterator[list[Any]]:
    for shard, arrival in sorted(arrive.items()):
        yield [shard, "m", "", arrival.meta]
        for service, incident in sorted(arrival.was.items()):
            yield [shard, "was", service, incident]
        for kind, entities in sorted(arrival.entities.items()):
            for key, row in sorted(entities.items()):
                yield [shard, kind, key, row]


def _packed(entries: Iterable[list[Any]], size: int) -> Iterator[list[list[Any]]]:
    batch: list[list[Any]] = []
    room = size
    for entry in entries:
        takes = len(orjson.dumps(entry))
        if batch and takes > room:
            yield batch
            batch, room = [], size
        batch.append(entry)
        room -= takes
    if batch:
        yield batch
