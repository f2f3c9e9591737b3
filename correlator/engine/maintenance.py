"""Maintenance windows and silences: what one covers, and what is said about it.

A window covers an alert when it is open, all its matchers hold, and the alert's service is in its subtree. The subtree
of a service is the service and everything that suffers when it fails: its dependents, their dependents, and so on,
against the direction of the edges. It stops at a redundancy group of which enough members stay outside of the window:
what need not suffer is not expected to, and is not hidden. Instances that are folded into the service are part of it.

>>> from topology import Edge, Node, ServiceGraph
>>> edges = {("web", "api"): Edge(), ("api", "db"): Edge(), ("db", "disk"): Edge()}
>>> graph = ServiceGraph.build({name: Node() for name in ("web", "api", "db", "disk")}, edges)
>>> sorted(suffering(graph, "db"))
['api', 'db', 'web']

A covered alert is recorded and takes part in explanations as any other; it has no say in whether somebody is woken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from correlator.engine import regex
from correlator.engine.rules import own_fields
from correlator.engine.words import time_of
from correlator.errors import ControlError
from topology import ServiceGraph

__all__ = ["Condition", "Window", "Windows", "over", "read", "suffering"]


#: Of one window: matchers, and characters of all its texts together.
_MATCHERS: Final = 100
_SIZE: Final = 16_000


class Condition(NamedTuple):
    """One matcher, as Alertmanager has them: a label, or service, name, severity, source for the alert's own."""

    name: str
    value: str
    regex: bool
    equal: bool

    def __str__(self) -> str:
        sign = ("=" if self.equal else "!") + ("~" if self.regex else "" if self.equal else "=")
        return f"{self.name}{sign}{self.value}"


class Window:
    """One window: what it covers, from when to when in epoch seconds, who asked for it and why. Does not change.

    ``begun`` says that what fired at its begin has been hidden.
    """

    __slots__ = ("_reach", "_tests", "author", "begun", "conditions", "ends_at", "id", "reason", "starts_at", "subtree")

    def __init__(
        self,
        id: str,
        conditions: tuple[Condition, ...],
        subtree: str,
        starts_at: float,
        ends_at: float,
        author: str,
        reason: str,
        begun: bool = False,
    ) -> None:
        """Raises ``re.error`` for a value that is not a regular expression."""
        self.id, self.conditions, self.subtree = id, conditions, subtree
        self.starts_at, self.ends_at = starts_at, ends_at
        self.author, self.reason, self.begun = author, reason, begun
        self._tests = [(c.name, re.compile(c.value if c.regex else re.escape(c.value)), c.equal) for c in conditions]
        self._reach: tuple[str, frozenset[str]] = ("", frozenset())  # of a graph version; worked out anew for another

    def row(self) -> tuple[Any, ...]:
        """The saved form."""
        conditions = [list(condition) for condition in self.conditions]
        times = (self.starts_at, self.ends_at)
        return self.id, conditions, self.subtree, *times, self.author, self.reason, self.begun

    @classmethod
    def restored(cls, row: list[Any], now: float) -> Window:
        """A window from its saved form of ``now``.

        Before schema version 2 that held label -> regex, and neither a subtree nor whether it has begun.
        """
        if len(row) == 6:
            id, match, starts_at, ends_at, author, reason = row
            conditions = tuple(Condition(k, v, True, True) for k, v in match.items())
            return cls(id, conditions, "", starts_at, ends_at, author, reason, starts_at <= now)
        id, saved, *rest = row
        return cls(id, tuple(Condition(*c) for c in saved), *rest)

    def ended(self, time: float) -> Window:
        """The same window, ending at ``time`` at the latest."""
        return self._but(min(self.ends_at, time), self.begun)

    def started(self) -> Window:
        """The same window, begun."""
        return self._but(self.ends_at, True)

    def _but(self, ends_at: float, begun: bool) -> Window:
        return Window(self.id, self.conditions, self.subtree, self.starts_at, ends_at, self.author, self.reason, begun)

    def covers(self, service: str, own: Mapping[str, str], labels: Mapping[str, str], graph: ServiceGraph) -> bool:
        """Whether an alert is covered while the window is open; ``own`` are its fields by name. O(matchers).

        An absent label is like an empty one.
        """
        if self.subtree and service not in self._subtree(graph):
            return False
        for name, test, equal in self._tests:
            value = own[name] if name in own else labels.get(name, "")
            if (test.fullmatch(value) is not None) != equal:
                return False
        return True

    def vague(self) -> bool:
        """Whether an alert without labels is covered, whatever it is about: seldom what somebody meant."""
        fields = own_fields("", "", "", "")
        own = any(name in fields for name, _, _ in self._tests)
        return not self.subtree and not own and self.covers("", {}, {}, ServiceGraph.empty())

    def _subtree(self, graph: ServiceGraph) -> frozenset[str]:
        if self._reach[0] != graph.version:
            self._reach = (graph.version, suffering(graph, self.subtree))
        return self._reach[1]

    def __str__(self) -> str:
        """What it covers, in words."""
        parts = [f"subtree={self.subtree}"] if self.subtree else []
        return ", ".join([*parts, *map(str, self.conditions)])


class Windows:
    """The windows of a shard by id, and those that are open.

    What is open is remembered until the next begin or end of any of them, or until one is put in or taken out.
    """

    def __init__(self) -> None:
        self._all: dict[str, Window] = {}
        self._open: list[Window] = []
        self._from, self._until = math.inf, -math.inf

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __setitem__(self, key: str, window: Window) -> None:
        self._all[key] = window
        self._until = -math.inf

    def __delitem__(self, key: str) -> None:
        del self._all[key]
        self._until = -math.inf

    def get(self, key: str) -> Window | None:
        """The window of an id."""
        return self._all.get(key)

    def open(self, now: float) -> list[Window]:
        """The windows that are open, by id. O(1), O(windows) after a change."""
        if not self._from <= now < self._until:
            found = sorted(self._all.items())
            self._open = [window for _, window in found if window.starts_at <= now < window.ends_at]
            edges = [edge for _, window in found for edge in (window.starts_at, window.ends_at) if edge > now]
            self._from, self._until = now, min(edges, default=math.inf)
        return self._open


def suffering(graph: ServiceGraph, service: str) -> frozenset[str]:
    """The subtree of a service, by its name or an alias; of one that the graph does not know, just itself.

    O(services and edges within reach, services of the graph for what is folded).
    """
    name = graph.place(service) or service
    found = {name, *(node for node in graph if graph.node(node).service == name)}
    ring = sorted(found)
    while ring:
        outer = []
        for provider in ring:
            for user in graph.dependents(provider):
                if user not in found and not _spared(graph, user, provider, found):
                    found.add(user)
                    outer.append(user)
        ring = outer
    return frozenset(found)


def _spared(graph: ServiceGraph, user: str, provider: str, failing: set[str]) -> bool:
    """Whether ``user`` has enough other members of the redundancy group of ``provider`` left, or other instances."""
    instances = graph.instances(user)
    if provider in instances:
        return not failing.issuperset(instances)
    return any(
        provider in group.members and len(group.members) - sum(m in failing for m in group.members) >= group.needs
        for group in graph.redundancies(user)
    )


# -- controls -------------------------------------------------------------------------------------------------


def read(control: Mapping[str, Any]) -> Window:
    """The window of a maintenance control. Raises :class:`ControlError` with the field and what is allowed."""
    words = [control.get(name, "") for name in ("id", "author", "reason")]
    if not all(isinstance(word, str) for word in words) or not words[0]:
        raise ControlError("a maintenance window needs an id; author and reason are text")
    starts_at, ends_at = time_of(control, "starts_at"), time_of(control, "ends_at")
    subtree = control.get("subtree") or ""
    if not isinstance(subtree, str):
        raise ControlError(f"subtree is {subtree!r}; allowed: the name of a service")
    conditions = (*_of_match(control.get("match") or {}), *_of_matchers(control.get("matchers") or []))
    if len(conditions) > _MATCHERS:
        raise ControlError(f"a maintenance window has {len(conditions)} matchers; allowed: at most {_MATCHERS}")
    size = sum(map(len, (*words, subtree, *(c.name for c in conditions), *(c.value for c in conditions))))
    if size > _SIZE:
        raise ControlError(f"the texts of a maintenance window have {size} characters; allowed: at most {_SIZE}")
    try:
        for condition in conditions:
            if condition.regex:
                regex.check(condition.value)
        window = Window(words[0], conditions, subtree, starts_at, ends_at, words[1], words[2])
    except re.error as error:
        raise ControlError(f"not a regular expression: {error}") from error
    if not subtree and not conditions:
        raise ControlError("a maintenance window needs a match, matchers or a subtree")
    return window


def _of_match(match: Any) -> Iterator[Condition]:
    if not isinstance(match, dict):
        raise ControlError(f"match is {match!r}; allowed: label -> regular expression")
    for name, value in match.items():
        if not isinstance(value, str) or not name:
            raise ControlError(f"match.{name} is {value!r}; allowed: a regular expression over the whole value")
        yield Condition(name, value, True, True)


def _of_matchers(matchers: Any) -> Iterator[Condition]:
    if not isinstance(matchers, list):
        raise ControlError(f"matchers is {matchers!r}; allowed: a list of name, value, isRegex, isEqual")
    for matcher in matchers:
        fields = matcher if isinstance(matcher, dict) else {}
        name, value = fields.get("name"), fields.get("value")
        regex, equal = fields.get("isRegex", False), fields.get("isEqual", True)
        whole = isinstance(name, str) and name and isinstance(value, str)
        if not whole or not isinstance(regex, bool) or not isinstance(equal, bool):
            raise ControlError(f"a matcher is {matcher!r}; allowed: name and value (text), isRegex, isEqual")
        yield Condition(str(name), str(value), regex, equal)


def over(control: Mapping[str, Any], time: float) -> bool:
    """Whether a maintenance control has nothing more to say at ``time``, or never had."""
    try:
        return time_of(control, "ends_at") <= time
    except ControlError:
        return True
