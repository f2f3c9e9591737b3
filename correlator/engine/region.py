"""The working state of one judgement: who alerts, what explains whom, and what was decided so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from correlator.engine.evidence import Evidence

__all__ = ["Contact", "Graph", "Links", "Region", "Via"]

#: Silent services on the way, in order.
Via = tuple[str, ...]
#: What explains a service, each with the silent services in between.
Links = dict[str, dict[str, Via]]
#: Where two trees touch: service of one, silent services in between, service of the other.
Contact = tuple[str, Via, str]


class Graph(Protocol):
    """What the rule reads of a service graph. Answers in tuples are sorted, and empty for unknown services."""

    def dependencies(self, service: str) -> tuple[str, ...]:
        """What can explain the service directly."""

    def passages(self, service: str) -> tuple[str, ...]:
        """Those of its dependencies that trouble passes through without an alert."""

    def dependents(self, service: str) -> tuple[str, ...]:
        """What depends on the service."""

    def soft(self, user: str, other: str) -> bool:
        """Whether trouble in ``other`` only degrades ``user``."""

    def delay(self, user: str, other: str) -> float | None:
        """Seconds that trouble takes from ``other`` to ``user``, 0 where nobody says; None where nobody says any."""


@dataclass(slots=True)
class Region:
    """Working state of one call."""

    evidence: Mapping[str, Evidence]
    graph: Graph
    changed: Mapping[str, str] = field(default_factory=dict)  # services that were changed shortly before, in words
    links: Links = field(default_factory=dict)  # what explains a service, and the silent services in between
    apart: dict[str, float] = field(default_factory=dict)  # broke so many seconds before all that could explain them
    unsure: dict[str, tuple[float, float]] = field(default_factory=dict)  # the same, but for clocks that are ahead
    cells: list[list[str]] = field(default_factory=list)  # strongly connected, what explains before what is explained
    cell: dict[str, int] = field(default_factory=dict)
    typical: dict[str, float] = field(default_factory=dict)
    stands: set[str] = field(default_factory=set)
    score: dict[str, float] = field(default_factory=dict)
    blame: dict[str, float] = field(default_factory=dict)
    root: dict[str, str] = field(default_factory=dict)
    parent: dict[str, tuple[Via, str]] = field(default_factory=dict)
    # Of a root: others whose trees touch its tree, and where: service of its tree, silent ones, service of the other.
    beside: dict[str, dict[str, Contact]] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)  # of a root: the root that absorbed it, or itself
    graft: dict[str, Contact] = field(default_factory=dict)  # of an absorbed root: where it was taken

    def own(self, service: str) -> float:
        return self.evidence[service].own

    def exits(self, number: int) -> Iterator[tuple[str, str, Via]]:
        """What leads out of a cell: member, explanation, silent services in between."""
        for name in self.cells[number]:
            for other, via in self.links[name].items():
                if self.cell[other] != number:
                    yield name, other, via

    def ranked(self, services: Iterable[str]) -> list[str]:
        """The best score first, then by name."""
        return sorted(services, key=lambda name: (-self.score[name], name))

    def climb(self, name: str) -> list[str]:
        """From a service to the root of its tree, silent services included."""
        path = [name]
        while name in self.parent:
            via, name = self.parent[name]
            path += [*via, name]
        return path

    def path(self, name: str) -> Via:
        """From a service to the root of its incident, through absorbed trees to where each touches the next one."""
        path = self.climb(name)
        while (tree := self.root[name]) in self.graft:
            inside, via, outside = self.graft[tree]
            way = self.climb(inside)
            meeting = next(at for at in path if at in way)
            path = path[: path.index(meeting)] + way[: way.index(meeting) + 1][::-1]
            name = outside
            path += [*via, *self.climb(name)]
        return tuple(path)
