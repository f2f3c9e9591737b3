"""The service graph as the rule reads it while some services alert: what can explain whom, and who touches whom."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Final

from topology import ServiceGraph

__all__ = ["Terrain"]

_MOST_SILENT: Final = 2_000


class Terrain:
    """A graph and the services that alert, a collection that its owner changes. Answers follow the collection."""

    def __init__(self, graph: ServiceGraph, alerting: Container[str]) -> None:
        self.graph = graph
        self._alerting = alerting
        self._plain = graph.plain

    def dependencies(self, service: str) -> tuple[str, ...]:
        """Dependencies that can explain the service: not members of a redundancy group with enough healthy ones."""
        found = self.graph.dependencies(service)
        if self._plain:
            return found
        spared = self.spared(service)
        return tuple(name for name in found if name not in spared) if spared else found

    def spared(self, service: str) -> set[str]:
        """Dependencies of redundancy groups that still have enough healthy members: they explain nothing."""
        spared: set[str] = set()
        for group in self.graph.redundancies(service):
            alerting = sum(m in self._alerting for m in group.members)
            if len(group.members) - alerting >= group.needs:
                spared.update(group.members)
        return spared

    def passages(self, service: str) -> tuple[str, ...]:
        """Dependencies that silence can be bridged along: hard and not redundant."""
        found = self.graph.dependencies(service)
        if self._plain:
            return found
        edge = self.graph.edge
        return tuple(d for d in found if (e := edge(service, d)).kind == "hard" and e.group is None)

    def dependents(self, service: str) -> tuple[str, ...]:
        """What depends on the service."""
        return self.graph.dependents(service)

    def soft(self, user: str, other: str) -> bool:
        """Whether trouble in ``other`` only degrades ``user``."""
        return (
            not self._plain and other in self.graph.dependencies(user) and self.graph.edge(user, other).kind == "soft"
        )

    def delay(self, user: str, other: str) -> float | None:
        """Seconds that trouble takes from ``other`` to ``user``; None where no dependency of the graph says so."""
        if not self.graph.timed:
            return None
        return (self.graph.edge(user, other).delay or 0.0) if other in self.graph.dependencies(user) else 0.0

    def around(self, start: str, hops: int, sharing: int, closed: Callable[[str], bool]) -> Iterator[str]:
        """Alerting services that the rule may connect with ``start``, over all that connects those; ``start`` first.

        Nothing is connected over those that are ``closed``.

        Two touch when one depends on the other over at most ``hops`` silent services, or both depend on a silent
        service with at most ``sharing`` dependents. That is symmetric, so every member gives the same region; only a
        walk that meets more than _MOST_SILENT silent services is given up. O(edges at the region and at those).
        """
        alerting, seen, queue, walk = self._alerting, {start}, [start], _Walk()
        for at in queue:
            yield at
            for other in self._touching(at, hops, sharing, walk):
                if other in alerting and other not in seen:
                    seen.add(other)
                    if closed(other):
                        yield other
                    else:
                        queue.append(other)

    def _touching(self, at: str, hops: int, sharing: int, walk: _Walk) -> Iterator[str]:
        """Neighbours, those behind silent services, and those that share one."""
        alerting, graph = self._alerting, self.graph
        for step, followed in ((graph.dependencies, walk.down), (graph.dependents, walk.up)):
            ring, met = [at], 0
            for left in range(hops, -1, -1):
                outer = []
                for place in ring:
                    for other in step(place):
                        if other in alerting:
                            yield other
                        elif left > followed.get(other, 0):
                            followed[other] = left
                            outer.append(other)
                ring, met = outer, met + len(outer)
                if not ring or met > _MOST_SILENT:
                    break
        for silent in graph.dependencies(at):
            if silent not in alerting and silent not in walk.shared:
                walk.shared.add(silent)
                users = graph.dependents(silent)
                if len(users) <= sharing:
                    yield from users


class _Walk:
    """Silent services of one region: how far they were followed down and up, and whose users were asked for."""

    __slots__ = ("down", "shared", "up")

    def __init__(self) -> None:
        self.down: dict[str, int] = {}
        self.up: dict[str, int] = {}
        self.shared: set[str] = set()
