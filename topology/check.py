"""Checks of a graph as a whole, on plain mappings: what no single node or edge can know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from topology.errors import Problem
from topology.model import Edge, Node, Redundancy
from topology.suggest import did_you_mean

__all__ = ["Pair", "groups", "redundancies", "structure"]

#: (u, v): u depends on v.
Pair = tuple[str, str]

#: This many unknown services get a suggestion; each costs a pass over all names.
_SUGGESTIONS: Final = 20


def structure(
    nodes: Mapping[str, Node],
    edges: Mapping[Pair, Edge],
    node_place: Callable[[str], str],
    edge_place: Callable[[Pair], str],
) -> Iterator[Problem]:
    """Yield every error in the whole: unknown ends, self loops, alias collisions, impossible groups.

    O(nodes + edges). The two functions give the place of a node and of an edge for the report.
    """
    yield from _ends(nodes, edges, edge_place)
    yield from _aliases(nodes, node_place)
    yield from _needs(edges, edge_place)


def groups(edges: Mapping[Pair, Edge]) -> dict[Pair, dict[str, Edge]]:
    """Return (u, group) -> member -> edge, for all edges that are in a redundancy group."""
    found: dict[Pair, dict[str, Edge]] = {}
    for (u, v), edge in edges.items():
        if edge.group is not None:
            found.setdefault((u, edge.group), {})[v] = edge
    return found


def redundancies(edges: Mapping[Pair, Edge]) -> dict[str, tuple[Redundancy, ...]]:
    """Return u -> its redundancy groups sorted by name, for services that have any."""
    found: dict[str, list[Redundancy]] = {}
    for (u, name), members in sorted(groups(edges).items()):
        needs = next((edge.needs for edge in members.values() if edge.needs is not None), 1)
        found.setdefault(u, []).append(Redundancy(name, tuple(sorted(members)), needs))
    return {u: tuple(listed) for u, listed in found.items()}


def _ends(nodes: Mapping[str, Node], edges: Mapping[Pair, Edge], place: Callable[[Pair], str]) -> Iterator[Problem]:
    suggested: dict[str, str] = {}
    for pair in edges:
        u, v = pair
        if u == v:
            yield Problem("error", place(pair), "self_loop", f"{u!r} depends on itself")
        for end in dict.fromkeys(pair):
            if end not in nodes:
                if end not in suggested and len(suggested) < _SUGGESTIONS:
                    suggested[end] = did_you_mean(end, nodes.keys())
                hint = suggested.get(end, "")
                yield Problem("error", place(pair), "unknown_service", f"service {end!r} is not declared{hint}")


def _aliases(nodes: Mapping[str, Node], place: Callable[[str], str]) -> Iterator[Problem]:
    owner: dict[str, str] = {}
    for name, node in nodes.items():
        for alias in node.aliases:
            other = alias if alias in nodes else owner.setdefault(alias, name)
            if other != name:
                what = "the name" if other == alias else "an alias"
                message = f"alias {alias!r} of {name!r} is also {what} of {other!r}"
                yield Problem("error", place(name), "alias_collision", message)


def _needs(edges: Mapping[Pair, Edge], place: Callable[[Pair], str]) -> Iterator[Problem]:
    for (u, group), members in groups(edges).items():
        stated = {v: edge.needs for v, edge in members.items() if edge.needs is not None}
        if not stated:
            continue
        first, needs = next(iter(stated.items()))
        for v, other in stated.items():
            if other != needs:
                message = f"group {group!r} of {u!r} needs {needs} by {first!r} and {other} by {v!r}"
                yield Problem("error", place((u, v)), "needs_conflict", message)
        if max(stated.values()) > len(members):
            message = f"group {group!r} of {u!r} needs {max(stated.values())} of {len(members)} members"
            yield Problem("error", place((u, first)), "needs_too_many", message)
