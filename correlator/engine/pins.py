"""What an operator said about a tree of the forest: another root, or that a service is explained by nothing.

Places are given by the same means as a judgement gives them (:meth:`Forest.assign`), and pinned, so that no later one
takes them away. Of four services in a cascade the one that nobody calls any more is said to be the root:

>>> from correlator.engine.forest import Forest
>>> from topology import Edge, Node, ServiceGraph
>>> depends = {("web", "api"): Edge(), ("api", "db"): Edge(), ("jobs", "db"): Edge()}
>>> forest = Forest(ServiceGraph.build({n: Node() for n in ("web", "api", "db", "jobs")}, depends))
>>> for service in ("web", "jobs", "db"):
...     _ = forest.insert(service, onset=0.0)
>>> crown(forest, "web")
>>> forest.settle()
>>> forest.path("jobs")
['jobs', 'db', 'api', 'web']
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

from correlator.engine.forest import Forest
from correlator.engine.groups import Group

__all__ = ["Places", "crown", "cut_off", "graft", "held", "renew"]

#: Parent and the silent services on the way to it, by service.
Places = dict[str, tuple[str | None, tuple[str, ...]]]
#: Services looked at in search of a way between two trees.
_MOST_SEEN: Final = 2_000


def crown(forest: Forest, service: str) -> None:
    """Make a service the root of its tree: what explained it hangs on it, the same way back. O(services)."""
    places = _rooted(forest, forest.nodes[service].group, service)
    forest.assign(places, places)


def cut_off(forest: Forest, service: str) -> None:
    """Make a service a root, with what hangs on it."""
    forest.assign({service: (None, ())}, {service})


def graft(forest: Forest, group: Group, service: str) -> bool:
    """Hang a whole tree on a service of another one, which becomes a root; False where nothing connects them.

    O(services + edges at _MOST_SEEN of them).
    """
    way = _way(forest, service, group)
    if way is None:
        return False
    places = _rooted(forest, group, way[0])
    places[way[0]] = (service, way[1:-1])
    places[service] = (None, ())
    forest.assign(places, places)
    return True


def _rooted(forest: Forest, group: Group, service: str) -> Places:
    """The places of a tree with another root: the way from there to the root so far is turned round."""
    found: Places = {}
    for node in group.members.values():
        found[node.name] = (None if node.parent is None else node.parent.name, forest.between(node))
    at = forest.nodes[service]
    found[service] = (None, ())
    while at.parent is not None:
        found[at.parent.name] = (at.name, forest.between(at)[::-1])
        at = at.parent
    return found


def _way(forest: Forest, service: str, group: Group) -> tuple[str, ...] | None:
    """A shortest way over dependencies of any direction, from a service of the tree to ``service``."""
    before: dict[str, str] = {service: service}
    ring = [service]
    while ring and len(before) <= _MOST_SEEN:
        reached = min((name for name in ring if name in group.members), default=None)
        if reached is not None:
            way = [reached]
            while way[-1] != service:
                way.append(before[way[-1]])
            return tuple(way)
        outer = []
        for at in ring:
            for other in (*forest.graph.dependencies(at), *forest.graph.dependents(at)):
                if other not in before:
                    before[other] = at
                    outer.append(other)
        ring = outer
    return None


# -- another graph -----------------------------------------------------------------------------------------------


def held(forest: Forest) -> Places:
    """The pinned places."""
    nodes = (node for node in forest.nodes.values() if node.pinned)
    return {n.name: (None if n.parent is None else n.parent.name, n.via or ()) for n in nodes}


def renew(forest: Forest, places: Mapping[str, tuple[str | None, tuple[str, ...]]]) -> None:
    """Pin the same again on another graph, as far as the ways are still ways. O(places).

    What hung on a service over a way that is none any more chooses for itself, with all that hung on it.
    """
    called = {name: forest.graph.place(name) or name for name in places}
    below: dict[str | None, list[str]] = {}
    for name, (parent, _) in sorted(places.items()):
        below.setdefault(parent, []).append(name)
    found: Places = {}
    for name in (queue := list(below.get(None, ()))):
        parent, via = places[name]
        here, there = called[name], None if parent is None else called[parent]
        if here not in forest.nodes or here in found or not _is_way(forest, (here, *via, there or here)):
            continue
        found[here] = (there, via)
        queue += below.get(name, ())
    forest.assign(found, found)


def _is_way(forest: Forest, way: tuple[str, ...]) -> bool:
    graph = forest.graph
    pairs = itertools.pairwise(way)
    return all(a == b or b in graph.dependencies(a) or b in graph.dependents(a) for a, b in pairs)
