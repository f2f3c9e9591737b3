"""Trees of alerting services and how they grow together and fall apart: totals kept, and who moved noted.

This is the mechanics alone; which service explains which is the business of :mod:`correlator.engine.forest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from correlator.engine.groups import Group, Node, subtree

if TYPE_CHECKING:
    from correlator.engine.state import Incident

__all__ = ["Trees"]


class Trees:
    """The trees of one shard. Not thread-safe."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.touched: dict[int, Group] = {}
        # Services that changed their group since this was cleared, or came: their incident before, if they had one.
        self.moved: dict[str, Incident | None] = {}

    def root(self, service: str) -> str:
        """The root that explains ``service``."""
        return self.nodes[service].group.root.name

    def groups(self) -> Iterator[Group]:
        """Every group once, in no particular order."""
        return iter({id(n.group): n.group for n in self.nodes.values()}.values())

    def before(self, node: Node) -> Incident | None:
        """The incident of a service as of the last settling, whatever became of it; None for one that is new."""
        return node.group.was if node.solo else self.moved.get(node.name, node.group.was)

    def touch(self, group: Group) -> None:
        """Note that something about ``group`` changed since :attr:`touched` was last cleared."""
        self.touched[id(group)] = group

    def _union(self, into: Group, other: Group) -> None:
        """All of ``other`` joins ``into``, relabelling the smaller side."""
        root, note = into.root, self.moved.setdefault
        if len(other.members) > len(into.members):
            into, other = other, into
        for name, node in other.members.items():
            node.group = into
            note(name, other.was)
        into.members.update(other.members)
        into.root = root
        into.owners += other.owners
        into.alerts += other.alerts
        into.firing += other.firing
        into.severities = [a + b for a, b in zip(into.severities, other.severities, strict=True)]
        for facet, n in other.facets.items():
            into.facets[facet] = into.facets.get(facet, 0) + n
        self.touched.pop(id(other), None)
        other.members, other.owners = {}, []
        self.touch(into)

    def _move(self, node: Node, into: Group) -> None:
        """The subtree of ``node`` leaves its group for ``into``."""
        old = node.group
        for member in subtree(node):
            self.moved.setdefault(member.name, old.was)
            del old.members[member.name]
            old.count(member, -1)
            into.members[member.name] = member
            into.count(member, 1)
            member.group = into
        self.touch(old)
        self.touch(into)

    def _uproot(self, node: Node) -> None:
        """``node`` loses its parent; its subtree becomes a group of its own."""
        old = node.group
        self._cut(node)
        group = Group(node)
        node.group = old
        group.members, group.facets = {}, {}
        self._move(node, group)

    def _cut(self, node: Node) -> None:
        if node.parent is not None:
            del node.parent.children[node.name]
        node.parent, node.key, node.hops = None, None, 0

    def _heir(self, orphans: list[Node]) -> Node | None:
        """Who keeps the incident when a root goes: the largest tree, then the earliest, then by name."""
        if len(orphans) < 2:
            return orphans[0] if orphans else None
        return min(orphans, key=lambda o: (-sum(1 for _ in subtree(o)), o.onset, o.name))
