"""What a service graph is made of: attributes of a service, attributes of a dependency, a redundancy group.

Values only. A value that would make no sense cannot be built: the constructors raise ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["HARD", "MAX_DELAY", "MAX_TIER", "Edge", "Kind", "Node", "Redundancy", "combined"]

Kind = Literal["hard", "soft"]

#: Tiers run from 0, the most important, to this one.
MAX_TIER: Final = 99
#: Longest delay of an edge in seconds: a year.
MAX_DELAY: Final = 31_536_000


@dataclass(frozen=True, slots=True)
class Node:
    """Attributes of one service. ``Node()`` is a service of which only the name is known.

    ``service`` folds: it names the service that this instance belongs to; ``hosted_on`` names what it runs on (see
    ``topology.folding``). ``tier`` 0 or 1 is the most important. ``labels`` hold what else is known: tenant,
    environment, region, site, customer_facing. ``aliases`` are other names under which senders know the service, kept
    sorted and without repeats.
    """

    service: str | None = None
    hosted_on: str | None = None
    owner: str | None = None
    team: str | None = None
    on_call: str | None = None
    runbook: str | None = None
    channel: str | None = None
    tier: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tier is not None and (type(self.tier) is not int or not 0 <= self.tier <= MAX_TIER):
            raise ValueError(f"tier is {self.tier!r}; allowed: a whole number from 0 to {MAX_TIER}")
        if self.labels:
            object.__setattr__(self, "labels", dict(self.labels))
        if self.aliases:
            object.__setattr__(self, "aliases", tuple(sorted(set(self.aliases))))


@dataclass(frozen=True, slots=True)
class Edge:
    """Attributes of one dependency of u on v.

    ``kind``: trouble in v stops u (hard) or degrades it (soft). ``group`` names a redundancy group among the
    dependencies of u; ``needs`` says how many of its members must work (k of n), 1 when nobody says.
    ``delay``: seconds that trouble is expected to take from v to u.
    """

    kind: Kind = "hard"
    group: str | None = None
    needs: int | None = None
    delay: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("hard", "soft"):
            raise ValueError(f"kind is {self.kind!r}; allowed: hard, soft")
        if self.needs is not None and (type(self.needs) is not int or self.needs < 1):
            raise ValueError(f"needs is {self.needs!r}; allowed: a whole number from 1")
        if self.group == "":
            raise ValueError("group is empty; allowed: a name, or None")
        if self.needs is not None and self.group is None:
            raise ValueError("needs is stated without a group")
        if self.delay is not None:
            if not 0 <= self.delay <= MAX_DELAY:
                raise ValueError(f"delay is {self.delay!r}; allowed: 0 to {MAX_DELAY} seconds")
            object.__setattr__(self, "delay", abs(float(self.delay)))


#: The edge about which nothing more is known; most edges of a large graph are this one object.
HARD: Final = Edge()


@dataclass(frozen=True, slots=True)
class Redundancy:
    """A redundancy group among the dependencies of one service: ``needs`` of ``members`` must work."""

    name: str
    members: tuple[str, ...]
    needs: int


def combined(first: Edge, second: Edge) -> Edge:
    """Return one edge for two parallel ones: the stronger statement holds.

    Hard over soft, outside a group over inside one, the longer delay over the shorter. Two edges in
    the same group stay in it, with the larger needs.
    """
    kind: Kind = "soft" if first.kind == second.kind == "soft" else "hard"
    group = first.group if first.group == second.group else None
    needs = None if group is None else max((edge.needs for edge in (first, second) if edge.needs), default=None)
    delay = max((edge.delay for edge in (first, second) if edge.delay is not None), default=None)
    return Edge(kind, group, needs, delay)
