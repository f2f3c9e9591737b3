"""How much an incident that closed is like those before it: one more of the same, or something new.

What is learned from incidents must survive two opposites. A service that is always noisy fires in many *different*
incidents: its alerts prove nothing. A root that recurs makes many *like* ones: its alerts still prove everything, and
what its victims show every time is no background of theirs either. Names of roots cannot tell the two apart, for they
may be wrong; the alerts can.

The likeness of two incidents is the share of their alerts, service and key, that both have (Jaccard), squared: some in
common is chance where a few services alert in every incident. Each counts by how *new* it is, by inverse density: one
over the likenesses to all that are remembered, itself included; in proportion to what is typical, so that incidents
that are all equally like each other count one each. For a service that has many of the alerts itself it counts by what
the others show. Whether its root *recurs* is how much more like the incidents with the same named root it is than like
all, by the alerts of other services alone: 0 if not more, 1 from twice on; two imagined ones say that it does, so the
first time it does.

The last MOST_KEPT incidents of a shard are remembered, of each at most MOST_MARKS alerts, by a hash that chooses the
same ones in each (bottom-k sketch, Cohen and Kaplan 2007). No clock: the same incidents in the same order give the
same answers.

>>> patterns = Patterns()
>>> for _ in range(3):
...     first = patterns.note({"db": ["Slow"], "web": ["Slow"]}, "db")
...     other = patterns.note({"mail": ["Down"], "queue": ["Full"]}, "mail")
>>> again, new = patterns.note({"db": ["Slow"], "web": ["Slow"]}, "db"), patterns.note({"x": ["A"], "y": ["B"]}, "x")
>>> f"{again.weight:.2f} {again.recurs:.2f}, {new.weight:.2f} {new.recurs:.2f}"
'0.45 1.00, 1.63 1.00'
"""

from __future__ import annotations

import heapq
import math
from binascii import crc32
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

__all__ = ["MOST_KEPT", "MOST_MARKS", "Likeness", "Part", "Patterns"]

MOST_KEPT: Final = 256
MOST_MARKS: Final = 64
#: Bits of a mark that are those of the alert, below those of its service.
_BITS: Final = 32
_ALERT: Final = (1 << _BITS) - 1
#: Power of the common share.
_POWER: Final = 2
#: A service with one in so many of the alerts has many.
_MANY: Final = 8
#: What an incident counts at most, where typical ones count one.
_MOST_WEIGHT: Final = 3.0
#: Incidents of a root that are imagined before there are any, and how much more like each other than others they are.
_IMAGINED, _ALIKE = 2, 2.0


class Likeness(NamedTuple):
    """What was found about an incident, and under which key it is remembered.

    ``weight`` is what it counts, above 0, where a typical one counts 1; ``own`` the same for services with many of the
    alerts; ``recurs`` in [0, 1] how far it is like the other incidents of its root. What is alone has no victims by
    which to tell: it never recurs.
    """

    key: str
    weight: float
    own: Mapping[str, float]
    recurs: float


class Part(NamedTuple):
    """Of so many ``remembered`` incidents a service was in ``present``, and named root in ``rooted``.

    Those it was root of are worth ``worth`` different ones.
    """

    remembered: int
    present: int
    rooted: int
    worth: float


class _Pattern(NamedTuple):
    """An incident: the how many-th, its density, the root that was named, and its marks, also in order."""

    number: int
    density: float
    root: str
    marks: frozenset[int]
    ordered: tuple[int, ...]

    def of(self, service: int) -> int:
        """How many marks of a service there are."""
        return bisect_left(self.ordered, service + 1 << _BITS) - bisect_left(self.ordered, service << _BITS)


class Patterns:
    """The last incidents of a shard. Mutable, with one owner; a row an incident in the saved state."""

    def __init__(self) -> None:
        self._patterns: dict[str, _Pattern] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._patterns)

    def __iter__(self) -> Iterator[str]:
        return iter(self._patterns)

    def note(self, alerts: Mapping[str, Iterable[str]], root: str) -> Likeness:
        """Compare an incident, the keys of its alerts by service, with those before it, and remember it.

        O(alerts + remembered incidents, and their marks where they share one): 20 us for a lone alert, at most some ms.
        """
        marks, alone = _marks(alerts), len(alerts) == 1
        total = math.fsum(self._like(marks).values())
        recurs = 0.0 if alone else self._recurs(marks, root)
        without = {} if alone else self._without(alerts, marks)
        key = str(self._count % MOST_KEPT)
        self._keep(key, self._count, 1.0 + total, root, marks)
        self._count += 1
        typical = len(self._patterns) / math.fsum(1.0 / pattern.density for pattern in self._patterns.values())

        def weight(likeness: float) -> float:
            return min(_MOST_WEIGHT, typical / (1.0 + likeness))

        return Likeness(key, weight(total), {service: weight(rest) for service, rest in without.items()}, recurs)

    def _like(self, marks: AbstractSet[int], but: int | None = None) -> dict[str, float]:
        """Likeness to those with a mark in common. A service may be left aside: then ``marks`` has none of it."""
        found = {}
        for key, theirs in self._patterns.items():
            if not marks.isdisjoint(theirs.marks):
                both = len(marks & theirs.marks)
                either = len(marks) + len(theirs.marks) - (0 if but is None else theirs.of(but)) - both
                found[key] = (both / either) ** _POWER
        return found

    def _without(self, services: Iterable[str], marks: AbstractSet[int]) -> dict[str, float]:
        """Likeness to all, without the alerts of a service, for each with many."""
        shares, found = Counter(mark >> _BITS for mark in marks), {}
        for service in services:
            own = crc32(service.encode())
            if shares[own] * _MANY >= len(marks):
                found[service] = math.fsum(self._like(_but(marks, own), own).values())
        return found

    def _recurs(self, marks: AbstractSet[int], root: str) -> float:
        own = crc32(root.encode())
        like = self._like(_but(marks, own), own)
        same = [key for key, pattern in self._patterns.items() if pattern.root == root]
        total, found = math.fsum(like.values()), math.fsum(like.get(key, 0.0) for key in same)
        more = found * len(self._patterns) / total if total else 0.0
        return min(1.0, max(0.0, (more + _IMAGINED * _ALIKE) / (len(same) + _IMAGINED) - 1.0))

    def part(self, service: str) -> Part:
        """What a service has to do with the remembered incidents. O(incidents)."""
        own, patterns = crc32(service.encode()), self._patterns.values()
        rooted = [pattern for pattern in patterns if pattern.root == service]
        present = sum(pattern.of(own) > 0 for pattern in patterns)
        return Part(len(patterns), present, len(rooted), math.fsum(1.0 / pattern.density for pattern in rooted))

    def forget(self, root: str | None = None) -> list[str]:
        """Forget the incidents of a root, or all; the keys that are gone."""
        gone = sorted(key for key, pattern in self._patterns.items() if root is None or pattern.root == root)
        for key in gone:
            del self._patterns[key]
        self._count = max((pattern.number + 1 for pattern in self._patterns.values()), default=0)  # as after a restart
        return gone

    def _keep(self, key: str, number: int, density: float, root: str, marks: Iterable[int]) -> None:
        ordered = tuple(sorted(marks))
        self._patterns[key] = _Pattern(number, density, root, frozenset(ordered), ordered)

    # -- saved form ------------------------------------------------------------------------------------------

    def row(self, key: str) -> list[Any] | None:
        """The saved form of an incident; None for one that is not remembered."""
        found = self._patterns.get(key)
        return None if found is None else [found.number, found.density, found.root, list(found.ordered)]

    def restore(self, rows: Mapping[str, Collection[Any]]) -> None:
        """Take over saved rows. The order of them has no effect."""
        self.forget()
        for key, (number, density, root, marks) in rows.items():
            self._keep(key, number, density, root, marks)
            self._count = max(self._count, number + 1)


def _but(marks: Iterable[int], service: int) -> set[int]:
    return {mark for mark in marks if mark >> _BITS != service}


def _marks(alerts: Mapping[str, Iterable[str]]) -> set[int]:
    """A number for each alert, with that of its service above _BITS; of many those with the smallest other bits."""
    found = set[int]()
    for service, keys in alerts.items():
        name = service.encode()
        high = crc32(name)
        found.update(high << _BITS | crc32(key.encode(), high) for key in keys)
    if len(found) > MOST_MARKS:
        return set(heapq.nsmallest(MOST_MARKS, found, key=lambda mark: (mark & _ALERT, mark)))
    return found
