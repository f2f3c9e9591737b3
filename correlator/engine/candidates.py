"""Which alerting services could explain one: the nearest ring of its dependencies with an alert.

The search reads the static graph and the alerting services of the moment. What it leaves behind is the *watch*: the
silent services it looked behind, each with who looked and how far away it is. A watch is never taken back but when its
service alerts; a stale one offers an explanation that is worse than the one at hand, or from too far away, and is
declined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from correlator.engine.groups import Key, Node
from correlator.engine.terrain import Terrain

__all__ = ["Candidates"]

#: A search that has seen this many services gives up: a hub of hubs must not cost more than its storm.
_MOST_SEEN = 2_000


class Candidates:
    """Questions about ``nodes``, the alerting services by name, a mapping that its owner changes."""

    def __init__(self, terrain: Terrain, nodes: Mapping[str, Node], tolerance: float, limit: int) -> None:
        self.limit = limit
        self.watch: dict[str, dict[str, int]] = {}
        self.given_up = 0  # searches that ended at the limit
        self._terrain = terrain
        self._graph = graph = terrain.graph
        self._nodes = nodes
        self._tolerance = tolerance
        self._plain = graph.plain

    def key(self, user: Node, other: Node, hops: int) -> Key:
        """How good ``other`` explains ``user`` over ``hops`` silent services; smaller is better."""
        if hops:
            return (hops, 0, 0, 0, 0.0, other.name)
        soft = 0 if self._plain or self._graph.edge(user.name, other.name).kind == "hard" else 1
        lead = user.onset - other.onset
        if self._graph.timed:
            lead -= self._graph.edge(user.name, other.name).delay or 0.0
        later = lead + (other.onset - other.early) < -self._tolerance
        return (0, soft, other.parent is None, later, abs(lead), other.name)

    def nearest(self, node: Node) -> tuple[Key, Node] | None:
        """Best explanation of a service outside of cycles; leaves watches on the silent services it passed."""
        direct = self._direct(node)
        if direct is not None:
            return direct
        hops, found = self._bridge(node.name, None)
        return self._bridged(node, hops, found)

    def _bridged(self, node: Node, hops: int, found: list[str]) -> tuple[Key, Node] | None:
        if not found:
            return None
        target = self._nodes[min(found)]
        return self.key(node, target, hops), target

    def _direct(self, node: Node, outside: int | None = None) -> tuple[Key, Node] | None:
        """The best alerting dependency; with ``outside``, of those that are not in that component."""
        nodes, best = self._nodes, None
        broken = None if self._plain else self._terrain.spared(node.name)
        for name in self._graph.dependencies(node.name):
            other = nodes.get(name)
            if other is None or (broken is not None and name in broken):
                continue
            if outside is not None and self._graph.component(name) == outside:
                continue
            key = self.key(node, other, 0)
            if best is None or key < best[0]:
                best = (key, other)
        return best

    def _bridge(self, name: str, accept: Callable[[str], bool] | None) -> tuple[int, list[str]]:
        """The nearest alerting services behind silent ones that ``accept`` takes, and how many are in between."""
        nodes, watch, traversable = self._nodes, self.watch, self._terrain.passages
        ring = [d for d in traversable(name) if d not in nodes]
        seen = {name, *ring}
        for hops in range(1, self.limit + 1):
            found: list[str] = []
            outer: list[str] = []
            for silent in ring:
                for other in traversable(silent):
                    if other in seen:
                        continue
                    seen.add(other)
                    if other not in nodes:
                        outer.append(other)
                        watch.setdefault(other, {})[name] = hops
                    elif accept is None or accept(other):
                        found.append(other)
            if len(seen) > _MOST_SEEN and not found:
                self.given_up += 1
                return 0, []
            if found or not outer:
                return hops, found
            ring = outer
        return 0, []

    def between(self, user: str, target: str, hops: int) -> list[str]:
        """The silent services of a shortest bridge, the first one by name where there are several."""
        before: dict[str, str] = {}
        ring = [user]
        for _ in range(hops + 1):
            outer = []
            for at in ring:
                for other in self._terrain.passages(at):
                    if other not in before and (other == target or other not in self._nodes):
                        before[other] = at
                        outer.append(other)
            ring = outer
            if target in before:
                break
        way: list[str] = []
        at = before.get(target, user)
        while at != user:
            way.append(at)
            at = before[at]
        return way[::-1]

    # -- cycles ----------------------------------------------------------------------------------------------

    def inside(self, name: str, component: int) -> tuple[int, list[str]]:
        """Alerting services of its cycle that ``name`` depends on, on the nearest ring with one; and its hops."""
        graph, nodes = self._graph, self._nodes
        spared = self._terrain.spared(name)
        direct = [
            d for d in graph.dependencies(name) if d in nodes and d not in spared and graph.component(d) == component
        ]
        if direct:
            return 0, [d for d in direct if graph.edge(name, d).kind == "hard"] or direct
        hops, found = self._bridge(name, lambda other: graph.component(other) == component)
        return hops, sorted(found)

    def exit(self, node: Node, component: int) -> tuple[Key, Node] | None:
        """Best explanation of ``node`` outside of its cycle, through silent services."""
        direct = self._direct(node, component)
        if direct is not None:
            return direct
        hops, found = self._bridge(node.name, lambda other: self._graph.component(other) != component)
        return self._bridged(node, hops, found)
