"""Services, their instances, and the hosts that these run on: what the parts say, as dependencies.

A node says to which service it belongs (``service``) and what it runs on (``hosted_on``). From that the service depends
on each of its instances, and what runs on a host depends on the host: trouble of a host is trouble of its instances,
and that of an instance is trouble of its service. A service or a host that is named so needs no entry of its own.

>>> nodes = {f"db-{n}": Node(service="db", hosted_on=f"n{n}", team="data") for n in (1, 2)}
>>> graph = with_folding(ServiceGraph.build(nodes, {}))
>>> graph.dependencies("db"), graph.dependencies("db-1"), graph.node("db").team
(('db-1', 'db-2'), ('n1',), 'data')
>>> graph.instances("db"), graph.hosted("n1")
(('db-1', 'db-2'), ('db-1',))
"""

from __future__ import annotations

from topology.graph import HARD, Node, ServiceGraph

__all__ = ["with_folding"]

_UNKNOWN = Node()
_TEXTS = ("owner", "team", "on_call", "runbook", "channel", "tier")


def with_folding(graph: ServiceGraph) -> ServiceGraph:
    """The graph with a dependency of each service on its instances, and of what runs on a host on that.

    What is stated stays: no edge is added beside one, nor against one. A name may be an alias. A service or host about
    which nothing is said has what all of its parts say of owner, tier and labels. Adding twice changes nothing.
    O(nodes + edges).
    """
    nodes = {name: graph.node(name) for name in graph}
    edges = {(u, v): graph.edge(u, v) for u in graph for v in graph.dependencies(u)}
    parts: dict[str, list[Node]] = {}
    for name in graph:
        node = graph.node(name)
        for whole, below in ((node.service, True), (node.hosted_on, False)):
            known = None if not whole else graph.place(whole) or whole
            if known is None or known == name:
                continue
            if graph.node(known) == _UNKNOWN:
                parts.setdefault(known, []).append(node)
            pair = (known, name) if below else (name, known)
            if pair not in edges and pair[::-1] not in edges:
                edges[pair] = HARD
    nodes.update((name, _common(found)) for name, found in parts.items())
    made = len(nodes) > len(graph) or len(edges) > graph.digraph.size() or any(nodes[n] != _UNKNOWN for n in parts)
    return ServiceGraph(nodes, edges) if made else graph


def _common(parts: list[Node]) -> Node:
    """What all of them say."""
    first, rest = parts[0], parts[1:]
    agreed = {key: getattr(first, key) for key in _TEXTS if all(getattr(p, key) == getattr(first, key) for p in rest)}
    labels = {key: value for key, value in first.labels.items() if all(p.labels.get(key) == value for p in rest)}
    return Node(**agreed, labels=labels)
