"""Recent changes of services: what somebody did on purpose, and what it may have caused.

A change never makes an incident. It is remembered for ``change_window`` and the ``late_window`` after it, at most
``changes_kept`` of them in a shard. It may have caused a fault that began at most ``change_window`` later; because a
rollout is often reported when it is done, and clocks differ, also one that began up to ``onset_tolerance`` before it.
:mod:`correlator.engine.suspicion` finds the changes that an incident lists. An example:

>>> from correlator.engine.rules import Rules
>>> from correlator.engine.store import Store, Watermarks
>>> from topology import ServiceGraph
>>> store = Store("all", ServiceGraph.empty(), Rules(), Watermarks())
>>> for id, at in (("old", 900.0), ("new", 4_900.0), ("after", 5_100.0)):
...     store.changes[id] = Changed(id, "deployment", "db", f"deployed {id}", at, "ana", "")
>>> [id for id, change in store.changes.services["db"].items() if in_time(store, 5_000.0 - change.at)]
['new']
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from correlator.engine.words import span, time_of
from correlator.errors import ControlError
from correlator.model import CHANGE_KINDS

if TYPE_CHECKING:
    from correlator.engine.store import Store

__all__ = [
    "Changed",
    "Changes",
    "arm",
    "drop",
    "expire",
    "forgotten_at",
    "in_time",
    "in_words",
    "read",
    "rearm",
    "recent",
    "replace",
]


class Changed(NamedTuple):
    """A change on the node of the graph that it is about. ``at`` is when it took effect, in epoch seconds."""

    id: str
    kind: str
    service: str
    summary: str
    at: float
    author: str
    link: str

    def row(self) -> tuple[Any, ...]:
        """The saved form."""
        return tuple(self)


class Changes:
    """The changes that are remembered: by id, by service, and in the order of their times.

    The indexes are never stale: every way in and out goes through this class. ``above`` is what is not far above a
    service with a change and ``below`` the same the other way round; both follow from the graph and the rules, are
    worked out by :meth:`survey` for services that are new, and forgotten by :meth:`move` when graph or rules change.
    ``armed`` is the one deadline that was asked for, None without.
    """

    def __init__(self) -> None:
        self._all: dict[str, Changed] = {}
        self._order: list[tuple[float, str]] = []
        self._new: dict[str, None] = {}
        self.services: dict[str, dict[str, Changed]] = {}
        self.above: dict[str, frozenset[str]] = {}
        self.below: dict[str, set[str]] = {}
        self.armed: float | None = None

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __setitem__(self, key: str, change: Changed) -> None:
        self.pop(key)
        self._all[key] = change
        insort(self._order, (change.at, key))
        if change.service not in self.services:
            self.services[change.service] = {}
            self._new[change.service] = None
        self.services[change.service][key] = change

    def get(self, key: str) -> Changed | None:
        """The change of an id."""
        return self._all.get(key)

    def pop(self, key: str) -> Changed | None:
        """Take a change out. O(log changes), and a move of at most 100,000 pointers."""
        change = self._all.pop(key, None)
        if change is not None:
            del self._order[bisect_left(self._order, (change.at, key))]
            mine = self.services[change.service]
            del mine[key]
            if not mine:
                del self.services[change.service]
                self._new.pop(change.service, None)
                for user in self.above.pop(change.service, ()):
                    self.below[user].discard(change.service)
                    if not self.below[user]:
                        del self.below[user]
        return change

    def first(self) -> Changed | None:
        """The oldest one."""
        return self._all[self._order[0][1]] if self._order else None

    def oldest(self, n: int) -> list[str]:
        """Ids of the ``n`` oldest ones."""
        return [key for _, key in self._order[:n]]

    def survey(self, users: Callable[[str], Iterable[str]]) -> None:
        """Ask ``users`` what is above the services that are new."""
        for service in self._new:
            self.above[service] = found = frozenset(users(service))
            for user in found:
                self.below.setdefault(user, set()).add(service)
        self._new.clear()

    def move(self) -> None:
        """The graph or the rules are others now."""
        self.above.clear()
        self.below.clear()
        self._new = dict.fromkeys(self.services)


def in_time(store: Store, age: float) -> bool:
    """Whether a change may have caused what began ``age`` seconds after it, or, negative, before."""
    return -store.rules.onset_tolerance <= age <= store.rules.change_window


def recent(store: Store, service: str, onset: float) -> Changed | None:
    """The change of a service that most probably caused what began at ``onset``: the last one before, else the next."""
    found = [change for change in store.changes.services[service].values() if in_time(store, onset - change.at)]
    return min(found, key=lambda c: (c.at > onset, abs(onset - c.at), c.id), default=None)


def in_words(change: Changed, onset: float) -> str:
    """What a change was, when, and by whom; the onset is that of what it may have caused."""
    age = onset - change.at
    when = f"{span(abs(age))} {'before' if age >= 0.0 else 'after'} the first alert"
    return f"{change.summary} {when}{f', by {change.author}' if change.author else ''}"


# -- memory ---------------------------------------------------------------------------------------------------


def read(control: Mapping[str, Any]) -> Changed:
    """The change of a record of the log. Raises :class:`ControlError`."""
    words = [control.get(name) for name in ("id", "kind", "service", "summary", "author", "link")]
    if not all(isinstance(word, str) for word in words) or not all(words[:4]) or words[1] not in CHANGE_KINDS:
        raise ControlError("a change needs id, kind, service, summary, author and link")
    id, kind, service, summary, author, link = (str(word) for word in words)
    return Changed(id, kind, service, summary, time_of(control, "at"), author, link)


def expire(store: Store, _: str, time: float) -> bool:
    """Forget the changes whose time has come; the incidents that list them keep them."""
    if store.changes.armed != time:
        return False  # asked for before an earlier one was
    store.changes.armed, forgot = None, False
    while (first := store.changes.first()) is not None and forgotten_at(store, first) <= time:
        drop(store, first.id)
        forgot = True
    arm(store)
    return forgot


def arm(store: Store) -> None:
    """Ask for the deadline of the oldest change: one for all, so that a flood of changes leaves none behind."""
    first, armed = store.changes.first(), store.changes.armed
    if first is not None and (armed is None or forgotten_at(store, first) < armed):
        store.changes.armed = forgotten_at(store, first)
        store.at(store.changes.armed, "change", "")


def rearm(store: Store) -> None:
    """Ask anew: all deadlines are gone."""
    store.changes.armed = None
    arm(store)


def replace(store: Store) -> None:
    """Find the place of every change in another graph. O(changes)."""
    store.changes.move()
    for key in list(store.changes):
        change = store.changes.get(key)
        assert change is not None
        placed = store.graph.place(change.service)
        if placed is not None and placed != change.service:
            store.changes[key] = change._replace(service=placed)
            store.dirty.add(("c", key))


def drop(store: Store, key: str) -> None:
    store.changes.pop(key)
    store.dirty.add(("c", key))


def forgotten_at(store: Store, change: Changed) -> float:
    return change.at + store.rules.change_window + store.rules.late_window
