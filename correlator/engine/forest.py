"""Which alerting service explains which: a forest over the dependency graph, kept as services come and go.

Theory of operation
-------------------
An alerting service is explained by an alerting service that it depends on, directly or through a bounded
number of silent services. Each alerting service keeps ONE such explanation, its *parent*; a service that has
none is a *root*; the tree of a root is a *group*, and a group is what an incident is made of::

    >>> from topology import ServiceGraph, Node, Edge
    >>> depends = {("web", "api"): Edge(), ("api", "db"): Edge(), ("jobs", "db"): Edge()}
    >>> forest = Forest(ServiceGraph.build({n: Node() for n in ("web", "api", "db", "jobs")}, depends))
    >>> for late, service in enumerate(["web", "jobs", "db"]):   # the root alerts last, api stays silent
    ...     _ = forest.insert(service, onset=100.0 - late)
    >>> forest.settle()
    >>> {n: forest.root(n) for n in ("web", "jobs", "db")}, forest.path("web")
    ({'web': 'db', 'jobs': 'db', 'db': 'db'}, ['web', 'api', 'db'])

**The forest is a function of the set.** The parent is the best candidate by a key that looks at the service,
the candidate and the graph only, never at the order of arrival: any order of the same services and onsets
ends in the same forest, and a restart rebuilds it from the alerts.

**Nearest ring.** Candidates are the alerting dependencies at the smallest distance at which there is one. All
nearer services are silent then, so the rings can be walked over the static graph, and a service that finds
nothing in its direct dependencies leaves a *watch* on the silent services it saw: when one of them alerts,
the watcher is offered an explanation without any search upwards. In a storm nearly every service finds its
parent among its direct dependencies: the cost of an arrival is its degree.

**Cycles.** Services of one strongly connected component would explain each other in a circle and mute
each other. Their part of the forest is solved as a whole (:mod:`correlator.engine.cycles`) at ``settle``.

**Judgement.** Where alerts say more than that there is one (:mod:`correlator.engine.judge`), the parents of a whole
region are *assigned*. An assigned service keeps its place whatever comes; its parent is assigned too, so that no
circle can arise with those that choose for themselves. When the parent of an assigned service goes, what hung on it
chooses for itself again, until it is judged anew.

**Pins.** What an operator said about a tree (:mod:`correlator.engine.pins`) is assigned too, and *pinned*: judgement
leaves it alone, the parent of a pinned service is pinned, and when one in the middle goes, what hung on it hangs on its
parent. When the root goes, all of them choose for themselves again.

**Storm.** When many services alert (``storm_min_services`` and ``storm_share`` of the graph), silence in between
is more likely missing monitoring than health, and roots are bridged over ``storm_bridge`` silent services.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping

from correlator.engine.choices import Choices
from correlator.engine.groups import NO_FACETS, Facet, Group, Node, subtree
from topology import ServiceGraph

__all__ = ["Forest"]


class Forest(Choices):
    """The alerting services of one shard and what explains each. Not thread-safe; no I/O."""

    def __init__(
        self,
        graph: ServiceGraph,
        *,
        bridge: int = 2,
        storm_bridge: int = 6,
        storm_share: float = 0.1,
        storm_min_services: int = 50,
        tolerance: float = 60.0,
    ) -> None:
        super().__init__(graph, tolerance, bridge)
        self.reassigned: dict[str, None] = {}  # services whose assigned place changed since this was cleared
        self.inferred: dict[str, Node] = {}  # silent services that were concluded to be a cause
        self.reinferred: dict[str, None] = {}  # services that came to be, or are no longer, among them
        self.bridge = bridge
        self.storm_bridge = max(bridge, storm_bridge)
        self.storm_share = storm_share
        self.storm_min = storm_min_services
        self.tolerance = tolerance
        self._storm = False

    # -- changes ---------------------------------------------------------------------------------------------

    def insert(
        self, service: str, onset: float, facets: tuple[Facet, ...] = NO_FACETS, early: float | None = None
    ) -> Node:
        """A service starts to alert at ``onset``, or ``early`` as far as its clock is ahead.

        Cost: its degree, and a bounded walk if no direct dependency alerts.
        """
        node = self.nodes[service] = Node(service, onset, self.graph.in_cycle(service), facets)
        if early is not None:
            node.early = early
        best = None if node.cyclic else self._look.nearest(node)
        if best is not None:
            node.key, node.parent = best
            node.hops = node.key[0]
            node.parent.children[service] = node
            node.parent.group.add(node)
            self.moved.setdefault(service, None)
        else:
            Group(node)
        self.touch(node.group)
        if node.cyclic:
            self._cells[self.graph.component(service)] = None
        self._offer_users(node)
        watchers = self._look.watch.pop(service, None)
        if watchers:
            for name, hops in watchers.items():
                user = self.nodes.get(name)
                if user is not None:
                    self._offer(user, node, hops)
        return node

    def plant(self, alerting: Mapping[str, tuple[float, float, tuple[Facet, ...]]]) -> None:
        """Many services at once, with onset, early and facets: after a restart, or on another graph. O(edges).

        The same forest as by inserting them one by one: whether a candidate is explained counts in a choice, so each
        service chooses after those that it depends on, and once. The forest is empty before.
        """
        for service, (onset, early, facets) in alerting.items():
            node = self.nodes[service] = Node(service, onset, self.graph.in_cycle(service), facets)
            node.early = early
        for service in self._dependencies_first(alerting):
            node = self.nodes[service]
            if node.cyclic:
                self._cells[self.graph.component(service)] = None
            elif (best := self._look.nearest(node)) is not None:
                node.key, node.parent = best
                node.hops = node.key[0]
                node.parent.children[service] = node
        for service in alerting:
            root = self.nodes[service]
            if root.parent is None:
                group = Group(root)
                for node in subtree(root):
                    if node is not root:
                        group.add(node)
                self.touch(group)

    def _dependencies_first(self, services: Iterable[str]) -> Iterator[str]:
        """Each service after those of its direct dependencies that alert, cycles aside. O(edges)."""
        entered: set[str] = set()
        left: set[str] = set()
        for start in services:
            stack = [start]
            while stack:
                service = stack[-1]
                if service not in entered:
                    entered.add(service)
                    stack += [d for d in self.graph.dependencies(service) if d in self.nodes and d not in entered]
                else:
                    stack.pop()
                    if service not in left:
                        left.add(service)
                        yield service

    def onset(self, node: Node, onset: float, early: float) -> None:
        """The first onset of an alerting service turns out to be another one. O(degree)."""
        node.onset, node.early = onset, early
        self._rechoose(node)
        self._offer_users(node)
        self.touch(node.group)

    def remove(self, service: str) -> None:
        """A service has been quiet for long enough. O(degree + services that change their group)."""
        node = self.nodes.pop(service)
        if self.inferred.pop(service, None) is not None:
            self.reinferred[service] = None
        self.moved.setdefault(service, node.group.was)
        if node.via is not None:
            self.reassigned[service] = None
        if node.pinned and node.parent is not None and node.via is not None:
            self._close_gap(node, node.via, node.parent)
        group, was_root = node.group, node.group.root is node
        orphans = sorted(node.children.values(), key=lambda n: n.name)
        freed = self._free([n for orphan in orphans if orphan.via is not None for n in subtree(orphan)])
        self._cut(node)
        del group.members[service]
        group.count(node, -1)
        self.touch(group)
        lost = [o for o in orphans if not self._reattach(o)]
        heir = self._heir(lost) if was_root else None
        if heir is not None:
            group.root = heir
        for orphan in lost:
            if orphan is not heir:
                self._uproot(orphan)
            self._offer_users(orphan)
        if node.cyclic:
            self._cells[self.graph.component(service)] = None
        if not self._plain:
            for name in self.graph.dependents(service):
                user = self.nodes.get(name)
                if user is not None and self.graph.edge(name, service).group is not None:
                    self._rechoose(user)
        for below in freed:
            self._rechoose(below)
        if group.owners and not group.members:
            self._bequeath(group, freed)

    def _bequeath(self, group: Group, freed: list[Node]) -> None:
        """All of a tree has chosen anew: its incidents stay with the largest part that is no other one's already."""
        parts = {id(node.group): node.group for node in freed if not node.group.owners}
        if parts:
            heir = min(parts.values(), key=lambda g: (-len(g.members), g.root.onset, g.root.name))
            heir.owners, group.owners = group.owners, []
            self.touch(heir)

    # -- judgement -------------------------------------------------------------------------------------------

    def assign(self, places: Mapping[str, tuple[str | None, tuple[str, ...]]], pinned: Container[str] = ()) -> None:
        """Give services their parents, None for a root, each with the silent services in between. O(services).

        Every parent must be assigned too, a pinned service's also pinned, and nothing may explain itself.
        """
        changed: list[tuple[Node, Node | None]] = []
        for name, (parent, via) in sorted(places.items()):
            node, target = self.nodes[name], None if parent is None else self.nodes[parent]
            if node.via == via and node.parent is target and node.pinned == (name in pinned):
                continue
            node.via, node.head, node.pinned = via, False, name in pinned
            self.reassigned[name] = None
            self.touch(node.group)
            changed.append((node, target))
        for node, target in changed:
            if node.parent is not None and node.parent is not target:
                self._uproot(node)
        for node, target in changed:
            if target is not None:
                self._adopt(node, (len(node.via or ()), 0, 0, 0, 0.0, target.name), target)
        for node, _ in changed:
            self._offer_users(node)
            if node.cyclic:
                self._cells[self.graph.component(node.name)] = None

    def unassigned(self, services: Collection[str]) -> dict[str, str]:
        """The root of each of ``services`` if the graph alone decided about them, and no others alerted. O(edges)."""
        if all(self._left_alone(self.nodes[name], services) for name in services):
            return {name: self.nodes[name].group.root.name for name in services}
        alone = Forest(self.graph, bridge=self.bridge, storm_bridge=self.storm_bridge, tolerance=self.tolerance)
        alone.storm = self._storm
        alone.plant({name: (self.nodes[name].onset, self.nodes[name].early, NO_FACETS) for name in services})
        alone.solve()
        return {name: node.group.root.name for name, node in alone.nodes.items()}

    def _left_alone(self, node: Node, services: Collection[str]) -> bool:
        return node.via is None and (node.parent is None or node.parent.name in services)

    def free(self, services: Iterable[str]) -> None:
        """Have services choose for themselves again, with all that hangs on them. O(services in their trees)."""
        below = {n.name: n for service in services for n in subtree(self.nodes[service])}
        for node in self._free([below[name] for name in sorted(below)], cut=True):
            self._rechoose(node)

    def _free(self, nodes: list[Node], *, cut: bool = False) -> list[Node]:
        """Take assigned places away; those that were assigned. Tops keep their parents unless ``cut``."""
        found = [node for node in nodes if node.via is not None]
        inside = {node.name for node in nodes}
        for node in found:
            self.reassigned[node.name] = None
            node.via, node.pinned = None, False
            if node.parent is not None and (cut or node.parent.name in inside):
                self._uproot(node)
        return found

    def infer(self, service: str, onset: float, facets: tuple[Facet, ...] = NO_FACETS) -> None:
        """A service that does not alert is taken for the cause of what depends on it, until nothing hangs on it."""
        node = self.inferred[service] = self.insert(service, onset, facets)
        node.silent = True
        self.reinferred[service] = None

    def awake(self, node: Node, onset: float, early: float) -> None:
        """An inferred service begins to alert."""
        node.silent = False
        del self.inferred[node.name]
        self.reinferred[node.name] = None
        self.onset(node, onset, early)

    def _close_gap(self, node: Node, via: tuple[str, ...], parent: Node) -> None:
        """A pinned service falls silent: what was pinned to it is pinned to its parent."""
        found = {child.name: (*(child.via or ()), node.name, *via) for child in node.children.values() if child.pinned}
        self.assign({name: (parent.name, way) for name, way in found.items()}, found)

    def _reattach(self, orphan: Node) -> bool:
        """Find another explanation for a service whose parent went; False where there is none."""
        best = None
        if orphan.cyclic:
            self._cells[self.graph.component(orphan.name)] = None
        else:
            best = self._look.nearest(orphan)
        self._cut(orphan)
        if best is not None:
            self._adopt(orphan, *best)
        return best is not None

    def settle(self) -> None:
        """Solve cycles that changed, enter or leave the storm, drop causes of nothing. To be called before reading."""
        self.solve()
        while idle := [name for name, node in self.inferred.items() if not node.children]:
            for service in sorted(idle):
                self.remove(service)
            self.solve()
        size = len(self.nodes)
        if not self._storm:
            if size >= self.storm_min and size >= self.storm_share * len(self.graph):
                self._set_storm(True)
        elif 2 * size < self.storm_min:
            self._set_storm(False)
        self.solve()

    @property
    def storm(self) -> bool:
        """Whether silence is bridged further. Set it on an empty forest only: it is part of the saved state."""
        return self._storm

    @storm.setter
    def storm(self, storm: bool) -> None:
        self._storm = storm
        self._look.limit = self.storm_bridge if storm else self.bridge

    @property
    def limit(self) -> int:
        """How many silent services in a row are bridged now."""
        return self._look.limit

    def _set_storm(self, storm: bool) -> None:
        """Bridge further, or no longer. O(roots), or O(services) on leaving; the order has no effect."""
        self.storm = storm
        for node in list(self.nodes.values()):
            if node.cyclic or ((node.parent is None) if storm else (node.hops > self.bridge)):
                self._rechoose(node)

    @property
    def given_up(self) -> int:
        """Searches for an explanation that ended at their limit since this was set to 0."""
        return self._look.given_up

    @given_up.setter
    def given_up(self, count: int) -> None:
        self._look.given_up = count

    # -- questions -------------------------------------------------------------------------------------------

    def path(self, service: str, limit: int = 32, known: dict[str, list[str]] | None = None) -> list[str]:
        """Services from ``service`` to its root, silent ones in between included, at most ``limit``.

        ``known`` holds paths that were asked for since the forest last changed, and takes those on the way.
        """
        known = {} if known is None else known
        node = self.nodes[service]
        below: list[Node] = []
        path = known.get(service)
        while path is None and node.parent is not None and len(below) < limit:
            below.append(node)
            node = node.parent
            path = known.get(node.name)
        if path is None:
            path = [node.name]
        whole = node.parent is None or node.name in known
        for node in reversed(below):
            path = [node.name, *self.between(node), *path] if node.hops or node.via else [node.name, *path]
            if len(path) > limit:
                path = path[:limit]
            if whole:
                known[node.name] = path
        return path

    def between(self, node: Node) -> tuple[str, ...]:
        """The silent services between a service and its parent; none at a root."""
        if node.parent is None or node.via is not None:
            return node.via or ()
        return tuple(self._look.between(node.name, node.parent.name, node.hops)) if node.hops else ()

    def rivals(self, node: Node) -> list[str]:
        """Other roots that explain ``node`` as well: those of its alerting direct dependencies. Sorted."""
        dependencies = self.graph.dependencies(node.name)
        if len(dependencies) < 2:
            return []
        mine, nodes, found = node.group, self.nodes, set()
        for name in dependencies:
            other = nodes.get(name)
            if other is not None and other.group is not mine:
                found.add(other.group.root.name)
        return sorted(found) if found else []

    def cycle_of(self, node: Node) -> list[str]:
        """Alerting services of the cycle that ``node`` is in, sorted; empty outside of cycles."""
        if not node.cyclic:
            return []
        return sorted(n for n in self.graph.members(self.graph.component(node.name)) if n in self.nodes)
