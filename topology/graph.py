"""The service graph: which service depends on which.

The edge ``u -> v`` means u DEPENDS ON v; trouble travels from v up to u. Everything else in this program that
speaks of a direction refers to this sentence.

    shop ---> payments ---> db        shop depends on payments and, softly, on search
      \\.....> search                  trouble in db travels to payments, then to shop

>>> soft = Edge(kind="soft")
>>> names = ("shop", "payments", "db", "search")
>>> edges = {("shop", "payments"): HARD, ("payments", "db"): HARD, ("shop", "search"): soft}
>>> graph = ServiceGraph.build({name: Node() for name in names}, edges)
>>> graph.dependencies("shop")
('payments', 'search')
>>> graph.dependents("db")
('payments',)
>>> graph.reach("db", 2, direction="dependents")
{'db': 0, 'payments': 1, 'shop': 2}
>>> graph.plain
False

A graph never changes after it is made, so everything is computed once: O(nodes + edges), plus sorting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import networkx as nx
import orjson

from topology.bulk import collection_paused
from topology.check import Pair, redundancies, structure
from topology.draft import Draft, path_text
from topology.errors import TopologyError
from topology.model import HARD, Edge, Node, Redundancy
from topology.native import native_data, native_entry, read_native

__all__ = ["HARD", "Edge", "Node", "Redundancy", "ServiceGraph"]

_UNKNOWN = Node()


class ServiceGraph:
    """Services and their dependencies, immutable. Make one with ``build``, ``from_native`` or ``formats.load``.

    The constructor trusts its arguments; it is for callers that have checked them.
    """

    __slots__ = (
        "_aliases",
        "_components",
        "_cycles",
        "_cyclic",
        "_dependencies",
        "_dependents",
        "_digraph",
        "_edges",
        "_hosted",
        "_instances",
        "_members",
        "_nodes",
        "_plain",
        "_redundancies",
        "_services",
        "_timed",
        "_version",
    )

    def __init__(self, nodes: Mapping[str, Node], edges: Mapping[Pair, Edge]) -> None:
        self._nodes = {name: nodes[name] for name in sorted(nodes)}
        self._edges = dict(edges)
        self._services = tuple(self._nodes)
        self._dependencies = _adjacent(self._edges)
        self._dependents = _adjacent((v, u) for u, v in self._edges)
        self._aliases = {alias: name for name, node in self._nodes.items() for alias in node.aliases}
        self._redundancies = redundancies(self._edges)
        self._plain = not self._redundancies and all(edge.kind == "hard" for edge in self._edges.values())
        self._instances, self._hosted = self._folded()
        self._timed = any(edge.delay for edge in self._edges.values())
        self._digraph = self._as_digraph()
        self._members = _components(self._digraph)
        self._components = {name: number for number, found in enumerate(self._members) for name in found}
        self._cycles = tuple(found for found in self._members if len(found) > 1)
        self._cyclic = frozenset(name for cycle in self._cycles for name in cycle)
        self._version = self._content_hash()

    @classmethod
    def build(cls, nodes: Mapping[str, Node], edges: Mapping[Pair, Edge]) -> ServiceGraph:
        """Return the graph of these nodes and edges; (u, v) in ``edges`` means u depends on v.

        Raises TopologyError with all problems: an edge end that is not a node, a self loop, an alias of two
        services, a group that needs more members than it has or different numbers of them.
        """
        problems = list(structure(nodes, edges, str, " -> ".join))
        if problems:
            raise TopologyError(problems)
        return cls(nodes, edges)

    @classmethod
    def empty(cls) -> ServiceGraph:
        """Return the graph without services."""
        return cls({}, {})

    @classmethod
    def from_native(cls, data: object) -> ServiceGraph:
        """Return the graph that plain data in our own format states (see ``topology.native``).

        Raises TopologyError with all problems; their places are paths such as ``services.shop.tier``.
        """
        draft = Draft(path_text)
        with collection_paused():
            read_native(data, draft)
            draft.check()
            if draft.failed:
                raise TopologyError(draft.problems)
            return cls(draft.nodes, draft.edges)

    def to_native(self) -> dict[str, Any]:
        """Return the graph as plain data in our own format. JSON and back gives the same version."""
        return native_data(self._entries())

    @property
    def version(self) -> str:
        """Content hash, 16 hex digits: equal content gives an equal version, in whatever order it was added."""
        return self._version

    @property
    def services(self) -> tuple[str, ...]:
        """All service names, sorted."""
        return self._services

    @property
    def edge_count(self) -> int:
        """The number of dependencies."""
        return len(self._edges)

    @property
    def plain(self) -> bool:
        """True when no edge is soft or in a redundancy group."""
        return self._plain

    @property
    def timed(self) -> bool:
        """True when an edge says how long trouble takes to travel."""
        return self._timed

    @property
    def cycles(self) -> tuple[tuple[str, ...], ...]:
        """The components with more than one service: each sorted, and sorted among themselves."""
        return self._cycles

    @property
    def digraph(self) -> nx.DiGraph[str]:
        """The structure for networkx, frozen; attributes are in ``node`` and ``edge``."""
        return self._digraph

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, service: object) -> bool:
        return service in self._nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServiceGraph):
            return NotImplemented
        return self._nodes == other._nodes and self._edges == other._edges

    def __hash__(self) -> int:
        return hash(self._version)

    def __repr__(self) -> str:
        return f"<ServiceGraph {self._version}: {len(self)} services, {self.edge_count} dependencies>"

    def node(self, service: str) -> Node:
        """Return the attributes of a service; ``Node()`` for an unknown one. O(1)."""
        return self._nodes.get(service, _UNKNOWN)

    def place(self, name: str) -> str | None:
        """Return the service that a sender calls ``name``: that service, else the one with that alias. O(1)."""
        return name if name in self._nodes else self._aliases.get(name)

    def dependencies(self, service: str) -> tuple[str, ...]:
        """Return what a service depends on directly, sorted; empty for an unknown one. O(1)."""
        return self._dependencies.get(service, ())

    def dependents(self, service: str) -> tuple[str, ...]:
        """Return what depends on a service directly, sorted; empty for an unknown one. O(1)."""
        return self._dependents.get(service, ())

    def edge(self, u: str, v: str) -> Edge:
        """Return the attributes of the edge by which u depends on v; KeyError if there is none. O(1)."""
        return self._edges[u, v]

    def redundancies(self, service: str) -> tuple[Redundancy, ...]:
        """Return the redundancy groups among the dependencies of a service, sorted by name. O(1)."""
        return self._redundancies.get(service, ())

    def reach(
        self, service: str, hops: int, *, direction: Literal["dependencies", "dependents"] = "dependencies"
    ) -> dict[str, int]:
        """Return every service within ``hops`` edges and its distance, the service itself (0) included.

        Breadth first, nearest first, in the same order on every machine. Empty for an unknown service.
        O(services and edges within reach). Raises ValueError when ``hops`` is negative.
        """
        if hops < 0:
            raise ValueError(f"hops is {hops}; allowed: 0 or more")
        adjacent = self._dependencies if direction == "dependencies" else self._dependents
        found = {service: 0} if service in self._nodes else {}
        frontier = list(found)
        for distance in range(1, hops + 1):
            new = dict.fromkeys(w for v in frontier for w in adjacent.get(v, ()) if w not in found)
            if not new:
                break
            found.update(dict.fromkeys(new, distance))
            frontier = list(new)
        return found

    def component(self, service: str) -> int:
        """Return the number of the strongly connected component of a service; KeyError if it is unknown.

        Components count from 0 in the order of their first service. O(1).
        """
        return self._components[service]

    def members(self, component: int) -> tuple[str, ...]:
        """Return the services of a component by its number, sorted; IndexError if there is none. O(1)."""
        return self._members[component]

    def in_cycle(self, service: str) -> bool:
        """True when a service depends on itself through others. O(1)."""
        return service in self._cyclic

    def service_of(self, node: str) -> str:
        """Return the service that an instance is folded into, or the node itself. O(1)."""
        return self.node(node).service or node

    def instances(self, service: str) -> tuple[str, ...]:
        """Return those of its dependencies that are instances of a service, sorted. O(1)."""
        return self._instances.get(service, ())

    def hosted(self, host: str) -> tuple[str, ...]:
        """Return those of its dependents that run on a host, sorted. O(1)."""
        return self._hosted.get(host, ())

    def is_instance(self, node: str, service: str) -> bool:
        """Whether a node is an instance of a service. O(1)."""
        return self.place(self.node(node).service or "") == service

    def runs_on(self, node: str, host: str) -> bool:
        """Whether a node runs on a host. O(1)."""
        return self.place(self.node(node).hosted_on or "") == host

    def _folded(self) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        instances: dict[str, list[str]] = {}
        hosted: dict[str, list[str]] = {}
        for name, node in self._nodes.items():
            if node.service and (whole := self.place(node.service)) and (whole, name) in self._edges:
                instances.setdefault(whole, []).append(name)
            if node.hosted_on and (host := self.place(node.hosted_on)) and (name, host) in self._edges:
                hosted.setdefault(host, []).append(name)
        found = ({whole: tuple(parts) for whole, parts in known.items()} for known in (instances, hosted))
        return next(found), next(found)

    def _entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for u, node in self._nodes.items():
            yield u, native_entry(node, [(v, self._edges[u, v]) for v in self.dependencies(u)])

    def _as_digraph(self) -> nx.DiGraph[str]:
        digraph: nx.DiGraph[str] = nx.DiGraph()
        digraph.add_nodes_from(self._nodes)
        digraph.add_edges_from((u, v) for u in self._nodes for v in self.dependencies(u))
        nx.freeze(digraph)
        return digraph

    def _content_hash(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for entry in self._entries():
            digest.update(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
        return digest.hexdigest()


def _adjacent(pairs: Iterable[Pair]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for source, target in pairs:
        found.setdefault(source, []).append(target)
    return {source: tuple(sorted(targets)) for source, targets in found.items()}


def _components(digraph: nx.DiGraph[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(tuple(sorted(component)) for component in nx.strongly_connected_components(digraph)))
