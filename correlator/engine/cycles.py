"""Who explains whom among services that depend on each other in a circle.

Services of a cycle would all explain each other, so that nobody is left to be called. The rule: a circle
that depends on an alerting service outside of it is explained by that one; a circle that does not keeps
exactly one of its services as the root, the one that most of the others name directly, then the one that
started first, then the first by name. The others are explained along a shortest way to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import networkx as nx

__all__ = ["solve"]


def solve(inside: Mapping[str, Sequence[str]], exits: Set[str], onsets: Mapping[str, float]) -> dict[str, str | None]:
    """Parent of each service of one cycle.

    ``inside`` gives the alerting dependencies within the cycle, ``exits`` the services with an alerting
    dependency outside of it. The answer maps a service to its parent, to itself where the parent is its
    exit, or to None where it is a root. O(services + edges) (Tarjan's components, then breadth-first).

    >>> solve({"a": ["b"], "b": ["a"]}, set(), {"a": 1.0, "b": 2.0})
    {'a': None, 'b': 'a'}
    >>> solve({"a": ["b"], "b": ["a"]}, {"b"}, {"a": 1.0, "b": 2.0})
    {'b': 'b', 'a': 'b'}
    """
    digraph: nx.DiGraph[str] = nx.DiGraph()
    digraph.add_nodes_from(sorted(inside))
    digraph.add_edges_from((user, other) for user in sorted(inside) for other in inside[user])
    home: dict[str, int] = {}
    parents: dict[str, str | None] = {}
    for number, found in enumerate(nx.strongly_connected_components(digraph)):
        component = sorted(found)
        home.update(dict.fromkeys(component, number))
        ways: dict[str, str] = {}
        for name in component:
            if name in exits:
                ways[name] = name
                continue
            out = [d for d in inside[name] if home.get(d, number) != number]
            if out:
                ways[name] = min(out, key=lambda d: (onsets[d], d))
        if ways:
            parents.update(ways)
        else:
            head = _elect(component, inside, onsets)
            parents[head] = None
            ways = {head: head}
        _inwards(component, inside, ways, parents)
    return parents


def _elect(component: Sequence[str], inside: Mapping[str, Sequence[str]], onsets: Mapping[str, float]) -> str:
    named = dict.fromkeys(component, 0)
    for user in component:
        for other in inside[user]:
            if other in named:
                named[other] += 1
    return min(component, key=lambda n: (-named[n], onsets[n], n))


def _inwards(
    component: Sequence[str],
    inside: Mapping[str, Sequence[str]],
    goals: Mapping[str, str],
    parents: dict[str, str | None],
) -> None:
    """Breadth-first from the goals against the edges: every other service takes the next one on its way."""
    users: dict[str, list[str]] = {name: [] for name in component}
    for user in component:
        for other in inside[user]:
            if other in users:
                users[other].append(user)
    ring = sorted(goals)
    while ring:
        outer = []
        for at in ring:
            for user in users[at]:
                if user not in parents:
                    parents[user] = at
                    outer.append(user)
        ring = sorted(outer)
