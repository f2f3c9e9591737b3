"""What services share without depending on it by name: a rack, a power feed, a zone, a link, a network, who watches.

Services say so by labels. Each value of such a label that some services share becomes a node of its own, ``rack=r12``,
on which they depend; so that it can be found as the cause of what they suffer together, like any silent dependency.
So does the network between two values of a label, ``site=ams|fra``: on that depends each service at one of them that
depends on a service at the other.

>>> from topology.graph import HARD
>>> racks = {"api": "r1", "db": "r1", "mq": "r1", "web": "r2"}
>>> nodes = {name: Node(team="shop", labels={"rack": rack}) for name, rack in racks.items()}
>>> graph = with_shared_fate(ServiceGraph.build(nodes, {("web", "api"): HARD}), ["rack"])
>>> graph.dependents("rack=r1"), graph.node("rack=r1").labels, graph.node("rack=r1").team
(('api', 'db', 'mq'), {'shared_fate': 'rack'}, 'shop')
>>> "rack=r2" in graph
False
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from topology.graph import HARD, Node, ServiceGraph

__all__ = ["CUT", "FEWEST", "OBSERVER", "SHARED_FATE", "is_made", "with_shared_fate"]

#: Label of the nodes that are made, with the label that they come from as its value.
SHARED_FATE: Final = "shared_fate"
#: The same for nodes that stand for what watches services: it explains only that nothing is seen of them.
OBSERVER: Final = "observer_of"
#: The same for nodes that stand for the network between the two values in their names.
CUT: Final = "cut_between"
#: Services that must share a value, for it to say something.
FEWEST: Final = 3
_COMMON: Final = ("owner", "team", "on_call", "runbook", "channel")


def is_made(node: Node) -> bool:
    """Whether a node stands for what services share."""
    return not node.labels.keys().isdisjoint((SHARED_FATE, OBSERVER, CUT))


def with_shared_fate(
    graph: ServiceGraph, labels: Sequence[str], observers: Sequence[str] = (), cuts: Sequence[str] = ()
) -> ServiceGraph:
    """The graph with a node for each value of ``labels``, and of ``observers``, that at least FEWEST services share.

    Also for each two values of ``cuts`` between which at least so many reach. A value that all services have says
    nothing, and a node that exists stays as it is. A new node answers to whom all of its services answer. Adding twice
    changes nothing. O(services + edges).
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in graph:
        node = graph.node(name)
        if not is_made(node):
            for mark, wanted in ((SHARED_FATE, labels), (OBSERVER, observers)):
                for label in wanted:
                    if label in node.labels:
                        found.setdefault((mark, label, f"{label}={node.labels[label]}"), []).append(name)
            for label in cuts:
                for way in _ways(graph, name, label):
                    found.setdefault((CUT, label, way), []).append(name)
    services = sum(not is_made(node) for node in map(graph.node, graph))
    nodes = {name: graph.node(name) for name in graph}
    edges = {(u, v): graph.edge(u, v) for u in graph for v in graph.dependencies(u)}
    for (mark, label, name), members in found.items():
        if FEWEST <= len(members) < services and graph.place(name) is None:
            nodes[name] = Node(labels={mark: label}, **_common([graph.node(member) for member in members]))
            edges.update({(member, name): HARD for member in members})
    return graph if len(nodes) == len(graph) else ServiceGraph(nodes, edges)


def _ways(graph: ServiceGraph, service: str, label: str) -> list[str]:
    """The networks between two values of a label that a service needs."""
    here = graph.node(service).labels.get(label)
    there = (graph.node(name).labels.get(label) for name in graph.dependencies(service))
    pairs = {tuple(sorted((here, other))) for other in there if here and other and here != other}
    return [f"{label}={'|'.join(pair)}" for pair in sorted(pairs)]


def _common(nodes: list[Node]) -> dict[str, Any]:
    first = nodes[0]
    return {
        name: getattr(first, name)
        for name in _COMMON
        if all(getattr(node, name) == getattr(first, name) for node in nodes)
    }
