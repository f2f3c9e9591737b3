"""The working memory of one shard: entities, the forest, deadlines, and what changed since the last checkpoint."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from correlator.engine.changes import Changes
from correlator.engine.evidence import Scales
from correlator.engine.forest import Forest
from correlator.engine.groups import Facet, Node
from correlator.engine.history import History
from correlator.engine.kinds import Kinds
from correlator.engine.likeness import Patterns
from correlator.engine.maintenance import Window, Windows
from correlator.engine.rules import Matcher, Rules, own_fields
from correlator.engine.state import AlertState, Incident, Source
from correlator.engine.trust import Reviews
from topology import ServiceGraph

__all__ = ["Deadline", "Outcome", "Store", "Watermarks", "matches", "solo_key"]

#: kind, key; those of one instant fire in this order
Deadline = tuple[str, str]
#: What a judgement says of an incident: candidates as an incident keeps them, and its share of the region's alerts.
Outcome = tuple[list[list[Any]], float]


class Watermarks:
    """How far the raw partitions have been read: one for all shards of a partition, because a tick is for all.

    ``read`` maps a raw partition to the broker time up to which intake has read it; ``partitions`` says of how many it
    must be known, 0 when nobody says.
    """

    __slots__ = ("partitions", "read")

    def __init__(self) -> None:
        self.read: dict[str, float] = {}
        self.partitions = 0

    def advance(self, source: str, time: float) -> None:
        """``source`` has been read up to ``time``."""
        if time > self.read.get(source, 0.0):
            self.read[source] = time

    def limit(self, now: float) -> float:
        """``now``, but not beyond what every raw partition has been read to."""
        if not self.partitions:
            return now
        if len(self.read) < self.partitions:
            return 0.0
        return min(now, *self.read.values())


class Store:
    """Mutable, owned by one shard. ``dirty`` names the entities that differ from their saved form."""

    def __init__(self, shard: str, graph: ServiceGraph, rules: Rules, watermarks: Watermarks) -> None:
        self.shard = shard
        self.watermarks = watermarks
        self.rules = rules
        self.alerts: dict[str, AlertState] = {}
        self.incidents: dict[str, Incident] = {}
        self.sources: dict[str, Source] = {}
        self.windows = Windows()
        self.tombs: dict[str, float] = {}
        self.homes: dict[str, int] = {}  # partition in which an incident from another one goes on being published
        self.departed: dict[str, int] = {}  # of those whose tombstone is among the finals
        self.changes = Changes()
        self.suspects: dict[str, list[list[Any]]] = {}  # by incident, see changes.py
        self.solos: dict[str, Node] = {}
        self.marks: dict[str, list[int]] = {}
        self.now = 0.0
        self.ahead: Mapping[str, float] = {}  # seconds by source, of those whose clocks are ahead, in this step
        self.base = 0  # added to offsets, so that they go on growing in another partition
        self.arriving = False  # whether the incidents are only being put in their places after a move
        self.offset = -1
        self.births = 0
        self.here = ""
        self.births_here = 0
        self.inputs = 0
        self.active = 0
        self.transitions: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()
        self.replayed = 0
        self.dirty: set[tuple[str, str]] = set()
        self.changed: dict[str, Incident] = {}
        self.finals: list[tuple[str, dict[str, Any] | None]] = []
        self.receipts: list[dict[str, Any]] = []
        self.pending: list[tuple[AlertState, str, str]] = []
        self.reviews: set[str] = set()
        self.restless: dict[int, Node] = {}  # services of which an alert left, or has another onset, in this step
        self.joined: dict[str, list[AlertState]] = {}
        self.alone: set[str] = set()
        self.history = History()
        self.patterns = Patterns()
        self.unjudged: set[str] = set()  # services whose alerts became more since the last judgement
        self.judge_due: float | None = None
        self.judge_from = 0.0  # since when that is waited for
        self.judged_at = -1  # every alert that entered up to this offset has been judged
        self.outcomes: dict[str, Outcome] = {}  # by root, for the settling that follows a judgement
        self.trust = Reviews()
        self.failing = False  # whether hiding has failed: what is hidden pages
        self.unhide = False  # whether it has failed only in this step
        self.hidden: list[AlertState] = []  # hidden in this step while it fails
        self.summaries: dict[str, str] = {}  # open summary by team
        self.said: Counter[str] = Counter()  # operators' verdicts by kind
        self.refused: list[str] = []  # why a verdict was, in words
        self.named: dict[str, dict[str, Any]] = {}  # roots that an operator set in this step, with the verdict
        self.repeats: dict[str, int] = {}  # fingerprint -> repeats that no incident counts yet
        self.heap: list[float] = []
        self.buckets: dict[float, list[Deadline]] = {}
        self.asked = self.armed = 0  # deadlines in the buckets: now, and when they were last made from the entities
        self._facets: dict[str, tuple[Facet, ...]] = {}
        self.use_graph(graph)

    # -- graph -----------------------------------------------------------------------------------------------

    def use_graph(self, graph: ServiceGraph) -> None:
        """Start from an empty forest over ``graph``."""
        rules = self.rules
        self.graph = graph
        self.forest = Forest(
            graph,
            bridge=rules.bridge,
            storm_bridge=rules.storm_bridge,
            storm_share=rules.storm_share,
            storm_min_services=rules.storm_min_services,
            tolerance=rules.onset_tolerance,
        )
        self.scales = Scales(Kinds(rules.kinds))
        self._facets.clear()

    def facets(self, service: str) -> tuple[Facet, ...]:
        """What an incident sums up over its services: tier, tenant, site, customer-facing. Remembered."""
        known = self._facets.get(service)
        if known is None:
            node, rules = self.graph.node(service), self.rules
            found: list[Facet] = [] if node.tier is None else [("tier", str(node.tier))]
            for facet, label in (
                ("tenant", rules.tenant_label),
                ("site", rules.site_label),
                ("customer_facing", rules.customer_facing_label),
            ):
                value = node.labels.get(label)
                if value is not None:
                    found.append((facet, str(value)))
            known = self._facets[service] = tuple(found)
        return known

    def settle_time(self, service: str) -> float:
        """Seconds between the first alert and the page for an alert of ``service``."""
        tier = self.graph.node(service).tier
        top = tier is not None and tier <= self.rules.top_tier
        return self.rules.settle_top_tier if top else self.rules.settle

    # -- entities --------------------------------------------------------------------------------------------

    def node_of(self, alert: AlertState) -> Node | None:
        """Where a live alert counts: a node of the forest or a solo node; None when it is not live."""
        if not alert.live:
            return None
        if alert.kind in ("ticket", "test"):
            return self.solos.get(solo_key(alert))
        return self.forest.nodes.get(alert.service)

    def incident_of(self, alert: AlertState) -> Incident | None:
        """The incident that an alert belongs to now."""
        node = self.node_of(alert)
        if node is not None and node.group.owners:
            return node.group.owners[0]
        return self.incidents.get(alert.incident_id)

    def current(self, incident: Incident | None) -> Incident | None:
        """The incident that this one was merged into, itself if it was not, None if that one is over."""
        while incident is not None and incident.heir is not None:
            incident = incident.heir
        return incident if incident is not None and incident.id in self.incidents else None

    def mark_alert(self, alert: AlertState) -> None:
        """The alert differs from its saved form."""
        self.dirty.add(("a", alert.fingerprint))

    def mark_incident(self, incident: Incident) -> None:
        """The incident differs from its saved form, without a new revision."""
        self.dirty.add(("i", incident.id))

    def revise(self, incident: Incident) -> None:
        """The incident changed visibly: a new revision, numbered by the (based) offset of the record being stepped."""
        if incident.id not in self.incidents:
            return  # its last revision is out
        incident.revision = self.offset
        incident.updated_at = max(self.now, incident.updated_at)
        incident.duplicates_shown = incident.duplicates
        self.changed[incident.id] = incident
        self.dirty.add(("i", incident.id))

    def covers(self, window: Window, alert: AlertState) -> bool:
        """Whether a maintenance window covers the alert while it is open."""
        return window.covers(alert.service, _own(alert), alert.labels, self.graph)

    def masks(self, alert: AlertState) -> list[str] | None:
        """Ids of the open maintenance windows that cover the alert, sorted; None without. O(open windows)."""
        windows = self.windows.open(self.now)
        if not windows:
            return None
        service, own, labels, graph = alert.service, _own(alert), alert.labels, self.graph
        return [window.id for window in windows if window.covers(service, own, labels, graph)] or None

    def enter(self, here: str) -> None:
        """What follows happens at ``here``: the offset of a record, or the time of a deadline."""
        self.here, self.births_here = here, 0

    # -- time ------------------------------------------------------------------------------------------------

    def at(self, time: float, kind: str, key: str) -> None:
        """Ask for a deadline. Deadlines are checked when they fire, so a stale one does nothing."""
        self.asked += 1
        bucket = self.buckets.get(time)
        if bucket is None:
            heapq.heappush(self.heap, time)
            self.buckets[time] = [(kind, key)]
        else:
            bucket.append((kind, key))

    def horizon(self) -> float:
        """How far deadlines may fire: now, but not beyond what every raw partition has been read to."""
        return self.watermarks.limit(self.now)

    def due(self, until: float) -> Iterator[tuple[float, list[Deadline]]]:
        """Instants at or before ``until`` in order, each with its deadlines in order."""
        heap = self.heap
        while heap and heap[0] <= until:
            time = heapq.heappop(heap)
            batch = self.buckets.pop(time)
            self.asked -= len(batch)
            yield time, sorted(set(batch))


def _own(alert: AlertState) -> dict[str, str]:
    return own_fields(alert.service, alert.name, alert.severity, alert.source)


def matches(matcher: Matcher, alert: AlertState) -> bool:
    """Whether a matcher covers a known alert."""
    return matcher.matches(alert.service, alert.name, alert.severity, alert.source, alert.labels)


def solo_key(alert: AlertState) -> str:
    """Under which key an alert that takes no part in explanations is grouped."""
    return f"test/{alert.fingerprint}" if alert.kind == "test" else f"ticket/{alert.service}"
