"""Simple rankers of the services that alert in one case, as a measure for the rule, and how a ranking is scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import networkx as nx

from topology import ServiceGraph

__all__ = ["RANKERS", "Peers", "Ranking", "fold", "hit"]

#: Score and name of each candidate, the higher the better; in no particular order.
Ranking = Sequence[tuple[float, str]]


def hit(ranking: Ranking, wanted: frozenset[str], k: int) -> float:
    """Probability that one of ``wanted`` is among the first ``k`` when equal scores are put in random order.

    >>> hit([(2.0, "a"), (1.0, "b"), (1.0, "c")], frozenset("c"), 2)
    0.5
    """
    best = max((score for score, name in ranking if name in wanted), default=None)
    if best is None:
        return 0.0
    tied = [name in wanted for score, name in ranking if score == best]
    slots = k - sum(score > best for score, _ in ranking)
    if slots <= 0:
        return 0.0
    return 1.0 - math.comb(tied.count(False), slots) / math.comb(len(tied), slots) if slots < len(tied) else 1.0


def fold(ranking: Ranking, service_of: Mapping[str, str]) -> Ranking:
    """The ranking of services that follows from one of their nodes: each by its best."""
    best: dict[str, float] = {}
    for value, name in ranking:
        service = service_of.get(name, name)
        best[service] = max(value, best.get(service, -math.inf))
    return [(value, name) for name, value in best.items()]


@dataclass(frozen=True)
class Peers:
    """One graph, for the rankers that read it."""

    graph: ServiceGraph

    @cached_property
    def depth(self) -> Mapping[str, int]:
        """Longest distance of each service from one that nothing depends on."""
        condensed = nx.condensation(self.graph.digraph)
        level: dict[int, int] = {}
        for cell in nx.topological_sort(condensed):
            level[cell] = max((level[before] + 1 for before in condensed.predecessors(cell)), default=0)
        return {name: level[cell] for cell in condensed for name in condensed.nodes[cell]["members"]}

    @cached_property
    def reach(self) -> Mapping[str, frozenset[str]]:
        """Everything that a service depends on."""
        return {name: frozenset(nx.descendants(self.graph.digraph, name)) for name in self.graph}


#: Onsets of the alerts of a case, by service.
Onsets = Mapping[str, Sequence[float]]


def _random(alerts: Onsets, peers: Peers) -> Ranking:
    return [(0.0, name) for name in alerts]


def _most(alerts: Onsets, peers: Peers) -> Ranking:
    return [(float(len(onsets)), name) for name, onsets in alerts.items()]


def _earliest(alerts: Onsets, peers: Peers) -> Ranking:
    return [(-min(onsets), name) for name, onsets in alerts.items()]


def _deepest(alerts: Onsets, peers: Peers) -> Ranking:
    """What no alerting service explains, the deepest first."""
    ranking = []
    for name in alerts:
        explained = any(other in alerts and name not in peers.reach[other] for other in peers.reach.get(name, ()))
        ranking.append((peers.depth.get(name, -1) + (0.0 if explained else 1e6), name))
    return ranking


def _pagerank(alerts: Onsets, peers: Peers) -> Ranking:
    """Power iteration with damping 0.85; what depends on nothing that alerts spreads evenly."""
    links = {name: [other for other in peers.graph.dependencies(name) if other in alerts] for name in sorted(alerts)}
    rank = dict.fromkeys(links, 1.0 / len(links))
    for _ in range(100):
        loose = math.fsum(rank[name] for name, found in links.items() if not found)
        following = dict.fromkeys(links, (0.15 + 0.85 * loose) / len(links))
        for name, found in links.items():
            for other in found:
                following[other] += 0.85 * rank[name] / len(found)
        rank = following
    return [(round(value, 9), name) for name, value in rank.items()]


RANKERS: Final[Mapping[str, Callable[[Onsets, Peers], Ranking]]] = {
    "random": _random,
    "most alerts": _most,
    "earliest": _earliest,
    "deepest": _deepest,
    "pagerank": _pagerank,
}
