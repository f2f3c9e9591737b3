"""Findings about a graph that is valid: what a person who answers for it would want to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import networkx as nx

from topology.draft import listed
from topology.errors import Problem
from topology.graph import ServiceGraph

__all__ = ["lint"]

#: Below this size half of the graph is a handful of services, and no finding.
_SHARED_FROM: Final = 10


def lint(graph: ServiceGraph) -> tuple[Problem, ...]:
    """Return the findings about a graph; the place of each is a service.

    O(services + edges), but for the count of all dependents, which copies one bit per service and edge:
    1 to 2 s of CPU time for 50,000 services and 120,000 edges.
    """
    condensed = nx.condensation(graph.digraph)
    return (
        *_isolated(graph),
        *_unowned(graph),
        *_rigid_groups(graph),
        *_deepest_chain(condensed),
        *_widely_shared(len(graph), condensed),
    )


def _isolated(graph: ServiceGraph) -> Iterator[Problem]:
    for name in graph:
        if not graph.dependencies(name) and not graph.dependents(name):
            message = f"{name!r} has no dependencies and no dependents; its alerts are never grouped with others"
            yield Problem("notice", name, "isolated", message)


def _unowned(graph: ServiceGraph) -> Iterator[Problem]:
    for name in graph:
        node = graph.node(name)
        if node.tier is None or node.tier > 1:
            continue
        if node.owner is None and node.team is None:
            yield Problem("warning", name, "no_owner", f"{name!r} is of tier {node.tier}; it has no owner and no team")
        if node.on_call is None:
            yield Problem("warning", name, "no_on_call", f"{name!r} is of tier {node.tier}; it has no on_call")


def _rigid_groups(graph: ServiceGraph) -> Iterator[Problem]:
    for name in graph:
        for group in graph.redundancies(name):
            if group.needs >= len(group.members):
                message = (
                    f"group {group.name!r} needs {group.needs} of {len(group.members)} members; it cannot lose one"
                )
                yield Problem("warning", name, "no_redundancy", message)


def _deepest_chain(condensed: nx.DiGraph[int]) -> Iterator[Problem]:
    """Services of a cycle count as one step. A chain of fewer than three services is no finding."""
    chain = [min(condensed.nodes[step]["members"]) for step in nx.dag_longest_path(condensed, weight=None)]
    if len(chain) >= 3:
        message = f"the longest chain of dependencies has {len(chain)} services: {listed(chain, separator=' -> ')}"
        yield Problem("notice", chain[0], "deepest_chain", message)


def _widely_shared(size: int, condensed: nx.DiGraph[int]) -> Iterator[Problem]:
    """Services of a cycle share one finding, because whatever depends on one depends on all."""
    if size < _SHARED_FROM:
        return
    found = ((count, sorted(condensed.nodes[step]["members"])) for step, count in _dependents_counts(condensed).items())
    for count, members in sorted(found, key=lambda item: (-item[0], item[1])):
        if count * 2 > size:
            more = f" and the {len(members) - 1} others of its circle" if len(members) > 1 else ""
            message = f"{count} of {size} services depend on {members[0]!r}{more}, directly or through others"
            yield Problem("notice", members[0], "widely_shared", message)


def _dependents_counts(condensed: nx.DiGraph[int]) -> dict[int, int]:
    """Return component -> how many services depend on one of its members, directly or through others.

    Sets of services are integers with one bit each, passed down from dependents to dependencies in
    topological order and dropped once every dependency has them.
    """
    above: dict[int, int] = {}
    counts: dict[int, int] = {}
    bit = 0
    for step in nx.topological_sort(condensed):
        size = len(condensed.nodes[step]["members"])
        bits = above.pop(step, 0) | ((1 << size) - 1) << bit
        bit += size
        counts[step] = bits.bit_count() - 1
        for below in condensed.successors(step):
            above[below] = above.get(below, 0) | bits
    return counts
