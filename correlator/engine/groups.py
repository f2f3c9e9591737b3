"""What the forest is made of: an alerting service, and a tree of them with its running totals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from correlator.engine.evidence import Pile
    from correlator.engine.state import AlertState, Incident

__all__ = ["NO_FACETS", "Facet", "Group", "Key", "Node", "subtree"]

#: Preference among explanations, smallest first: silent services in between, soft edge, explained by nothing
#: itself, started later than the service, seconds between the onsets, name.
Key = tuple[int, int, int, int, float, str]
Facet = tuple[str, str]
NO_FACETS: Final[tuple[Facet, ...]] = ()


class Node:
    """One alerting service. Mutable and owned by the forest, for speed.

    ``head``: elected root of a cycle. ``via``: silent services to the parent, where the place was assigned by
    judgement, or by an operator (``pinned``); None where the graph alone decides. ``pile``: what its alerts say,
    None until somebody asks. ``silent``: it does not alert itself but was inferred as the cause of its dependents.
    ``onset``: of its first alert; ``early``: not before then, were the clocks of its sources right.
    ``solo``: '' in the forest, else the key of a node outside of it, which explains nothing and which nothing explains.
    """

    __slots__ = (
        "alerts",
        "children",
        "cyclic",
        "early",
        "facets",
        "firing",
        "group",
        "head",
        "hops",
        "key",
        "name",
        "onset",
        "parent",
        "pile",
        "pinned",
        "severities",
        "silent",
        "solo",
        "via",
    )

    group: Group

    def __init__(self, name: str, onset: float, cyclic: bool, facets: tuple[Facet, ...], solo: str = "") -> None:
        self.name = name
        self.onset = self.early = onset
        self.cyclic = cyclic
        self.facets = facets
        self.solo = solo
        self.parent: Node | None = None
        self.key: Key | None = None
        self.hops = 0
        self.via: tuple[str, ...] | None = None
        self.pinned = False
        self.pile: Pile | None = None
        self.children: dict[str, Node] = {}
        self.head = self.silent = False
        self.alerts: dict[str, AlertState] = {}
        self.firing = 0
        self.severities = [0, 0, 0, 0]


class Group:
    """One tree: its root, its services and their running totals; ``owners`` are the incidents it carries.

    ``was`` is the incident of its members as of the last settling, those in :attr:`Forest.moved` excepted.
    """

    __slots__ = ("alerts", "facets", "firing", "members", "owners", "root", "severities", "was")

    def __init__(self, root: Node) -> None:
        self.root = root
        self.members: dict[str, Node] = {root.name: root}
        self.owners: list[Incident] = []
        self.was: Incident | None = None
        self.alerts = 0
        self.firing = 0
        self.severities = [0, 0, 0, 0]
        self.facets: dict[Facet, int] = dict.fromkeys(root.facets, 1)
        root.group = self

    def add(self, node: Node) -> None:
        """Take in a node that has no alerts yet."""
        node.group = self
        self.members[node.name] = node
        for facet in node.facets:
            self.facets[facet] = self.facets.get(facet, 0) + 1

    def count(self, node: Node, sign: int) -> None:
        """Add (1) or take away (-1) what ``node`` contributes to the totals."""
        self.alerts += sign * len(node.alerts)
        self.firing += sign * node.firing
        for rank, n in enumerate(node.severities):
            self.severities[rank] += sign * n
        for facet in node.facets:
            left = self.facets.get(facet, 0) + sign
            if left:
                self.facets[facet] = left
            else:
                del self.facets[facet]


def subtree(node: Node) -> Iterator[Node]:
    """The node and all that it explains, every node before those that it explains."""
    stack = [node]
    while stack:
        at = stack.pop()
        yield at
        stack.extend(at.children.values())
