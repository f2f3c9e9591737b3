"""How each service chooses what explains it, when something near it has changed: the best candidate, or a cycle's way.

The rules are those of :mod:`correlator.engine.forest`, which says when; who the candidates are is the business of
:mod:`correlator.engine.candidates`.
"""

from __future__ import annotations

from correlator.engine.candidates import Candidates
from correlator.engine.cycles import solve
from correlator.engine.groups import Key, Node
from correlator.engine.terrain import Terrain
from correlator.engine.trees import Trees
from topology import ServiceGraph

__all__ = ["Choices"]


class Choices(Trees):
    """The trees of one shard, and the choices by which they grow. Not thread-safe."""

    def __init__(self, graph: ServiceGraph, tolerance: float, bridge: int) -> None:
        super().__init__()
        self.graph = graph
        self.terrain = Terrain(graph, self.nodes)
        self._look = Candidates(self.terrain, self.nodes, tolerance, bridge)
        self._cells: dict[int, None] = {}  # cycles to be solved again
        self._plain = graph.plain

    def _offer_users(self, node: Node) -> None:
        nodes = self.nodes
        for name in self.graph.dependents(node.name):
            user = nodes.get(name)
            if user is not None and user is not node:
                self._offer(user, node, 0)

    def _offer(self, user: Node, other: Node, hops: int) -> None:
        if user.via is not None:
            return
        if user.cyclic:
            self._cells[self.graph.component(user.name)] = None
            return
        if user.parent is other and user.key is not None and user.hops == hops:
            if self._plain and (key := self._look.key(user, other, hops)) <= user.key:
                user.key = key  # the best so far became better
            else:
                self._rechoose(user)  # what is known of its parent changed
            return
        if hops == 0 and not self._plain and self.graph.edge(user.name, other.name).group is not None:
            self._rechoose(user)
            return
        if hops > self._look.limit:
            return  # a watch that a past storm left
        key = self._look.key(user, other, hops)
        if user.key is None or key < user.key:
            self._adopt(user, key, other)

    def _rechoose(self, node: Node) -> None:
        if node.via is not None:
            return
        if node.cyclic:
            self._cells[self.graph.component(node.name)] = None
            return
        best = self._look.nearest(node)
        if best is not None:
            self._adopt(node, *best)
        elif node.parent is not None:
            self._uproot(node)
            self._offer_users(node)

    def _adopt(self, node: Node, key: Key, parent: Node) -> None:
        """Make ``parent`` explain ``node``."""
        if node.hops != key[0]:
            self.touch(node.group)  # the path changes, whoever the parent is
        node.key, node.hops = key, key[0]
        was = node.parent
        if was is parent:
            return
        if was is not None:
            del was.children[node.name]
        node.parent = parent
        parent.children[node.name] = node
        if node.group is not parent.group:
            if node.group.root is node:
                self._union(parent.group, node.group)
            else:
                self._move(node, parent.group)
        self.touch(node.group)
        if was is None:
            self._offer_users(node)  # explained now: a better explanation for its users than before

    # -- cycles ----------------------------------------------------------------------------------------------

    def solve(self) -> None:
        """Solve the cycles that changed."""
        while self._cells:
            cells, self._cells = sorted(self._cells), {}
            for component in cells:
                members = (self.nodes.get(name) for name in self.graph.members(component))
                self._solve_cell([n.name for n in members if n is not None and n.via is None], component)

    def _solve_cell(self, alerting: list[str], component: int) -> None:
        nodes, look = self.nodes, self._look
        rings = {name: look.inside(name, component) for name in alerting}
        exits = {name: best for name in alerting if (best := look.exit(nodes[name], component))}
        for name, (hops, found) in rings.items():
            assigned = [other for other in found if nodes[other].via is not None]
            if assigned:  # settled already: a way out like any other
                nearest = nodes[min(assigned)]
                exits[name] = look.key(nodes[name], nearest, hops), nearest
                rings[name] = hops, [other for other in found if nodes[other].via is None]
        onsets = {name: nodes[name].onset for name in alerting}
        parents = solve({name: found for name, (_, found) in rings.items()}, set(exits), onsets)
        changed: list[tuple[Node, tuple[Key, Node] | None]] = []
        for name in alerting:
            node, wanted = nodes[name], parents[name]
            target: tuple[Key, Node] | None = None
            if wanted == name:
                target = exits[name]
            elif wanted is not None:
                target = ((rings[name][0], 0, 0, 0, 0.0, wanted), nodes[wanted])
            head = wanted is None and bool(rings[name][1])
            if head != node.head:
                node.head = head
                self.touch(node.group)
            if node.parent is not (target[1] if target else None):
                changed.append((node, target))
            elif target is not None:
                self._adopt(node, *target)
        self._regrow(changed)

    def _regrow(self, changed: list[tuple[Node, tuple[Key, Node] | None]]) -> None:
        """Cut all of them before any is joined, so that no circle arises on the way."""
        for node, _ in changed:
            if node.parent is not None:
                self._uproot(node)
        for node, target in changed:
            if target is not None:
                self._adopt(node, *target)
            else:
                self.touch(node.group)
                self._offer_users(node)
