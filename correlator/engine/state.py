"""What the engine remembers: the alerts, incidents, sources and windows of one shard, and their saved form.

The store is mutable and owned by one :class:`Shard`, because a storm changes it some hundred thousand times a second;
inputs are never changed. Entities are saved one by one, as JSON arrays in the column order of their ``SAVED``
tuple. Everything else (the forest, the totals, the deadlines) is rebuilt from them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, ClassVar, Final

from correlator.engine.evidence import Extract
from correlator.engine.groups import Facet, Group, Node
from correlator.engine.history import UNKNOWN
from correlator.model import severity_rank

__all__ = ["MOST_RELATED", "SCHEMA_VERSION", "AlertState", "Incident", "Source", "solo"]

#: Of the saved form. A reader refuses a newer one and migrates an older one.
SCHEMA_VERSION: Final = 2
#: Other incidents that one names.
MOST_RELATED: Final = 50

#: Lists of an alert are replaced, never changed, so that they can begin as this one.
_NONE: Final[list[float]] = []


class _Saved:
    """An entity that is saved as a row of the columns ``SAVED``.

    ``ADDED`` are the values of its last columns in a state of a schema that does not have them.
    """

    __slots__ = ()
    SAVED: ClassVar[tuple[str, ...]] = ()
    ADDED: ClassVar[tuple[Any, ...]] = ()

    _values: ClassVar[attrgetter[tuple[Any, ...]]]

    def __init_subclass__(cls) -> None:
        cls._values = attrgetter(*cls.SAVED)

    def row(self) -> tuple[Any, ...]:
        """The saved form; JSON data only."""
        return type(self)._values(self)

    def restore(self, row: list[Any]) -> None:
        """Take over a saved form."""
        missing = len(self.SAVED) - len(row)
        values = [*row, *copy.deepcopy(self.ADDED[-missing:])] if missing else row
        for column, value in zip(self.SAVED, values, strict=True):
            setattr(self, column, value)


class AlertState(_Saved):
    """One fingerprint: its current or last episode.

    ``starts_at`` is the earliest and ``latest_start`` the latest onset of the episode, ``starts`` all that are
    remembered when there are more; ``ends`` are the reported ends, ``last_end`` the latest (see
    :mod:`correlator.engine.dedup`). ``began`` is the offset of the record in which it last began to fire. ``live``
    means that it counts as a possible explanation: firing, or resolved for less than the grace period. ``entered`` is
    the offset of the record since which it does, ``usual`` how usual it was for its service then.
    ``window`` has the ids of the maintenance windows that hide it while it fires, None without.
    ``ahead`` is how many seconds the clock of its source was known to be ahead.
    ``kind`` is '' (a fault), 'ticket' (cannot be a cause), 'test' or 'unknown' (unplaced service).
    """

    SAVED: ClassVar = (
        "fingerprint",
        "service",
        "name",
        "severity",
        "rank",
        "firing",
        "starts_at",
        "latest_start",
        "starts",
        "last_end",
        "ends",
        "labels",
        "annotations",
        "source",
        "received_at",
        "began",
        "expires_at",
        "live",
        "leaves_at",
        "seen",
        "kind",
        "window",
        "urgent",
        "changes",
        "ended",
        "incident_id",
        "notes",
        "entered",
        "usual",
        "told",
        "ahead",
    )
    __slots__ = (*SAVED, "extract")
    ADDED: ClassVar = (-1, UNKNOWN, "", 0.0)

    fingerprint: str
    service: str
    name: str
    severity: str
    rank: int
    firing: bool
    starts_at: float
    latest_start: float
    starts: list[float]
    last_end: float
    ends: list[float]
    labels: dict[str, str]
    annotations: dict[str, str]
    source: str
    received_at: float
    began: int
    expires_at: float
    live: bool
    leaves_at: float
    seen: bool
    kind: str
    window: list[str] | None
    urgent: bool
    changes: list[float]
    ended: str
    incident_id: str
    notes: Sequence[str]
    entered: int
    usual: float
    told: str  # id of the summary that told of it in this episode
    ahead: float
    extract: Extract | None  # what the rule reads of it, remembered

    def begin(self, row: list[Any], kind: str) -> None:
        """A fingerprint is seen for the first time; ``row`` as in ``PLACED_COLUMNS``."""
        _, _, self.received_at, known, self.fingerprint, self.service, self.name, self.severity = row[:8]
        _, self.starts_at, _, self.labels, self.annotations, self.source, self.notes = row[8:]
        self.rank = severity_rank(self.severity)
        self.latest_start = self.starts_at
        self.starts = self.ends = _NONE
        self.last_end = self.expires_at = self.leaves_at = 0.0
        self.began = self.entered = -1
        self.usual, self.ahead = UNKNOWN, 0.0
        self.extract = None
        self.firing = self.live = self.seen = self.urgent = False
        self.kind = kind if kind or known else "unknown"
        self.window = None
        self.changes = []
        self.ended = self.incident_id = self.told = ""

    @property
    def counts(self) -> bool:
        """Whether it takes part in explanations: live, and neither a ticket nor a test."""
        return self.live and self.kind not in ("ticket", "test")

    @property
    def episode(self) -> int:
        """Start of the current episode in epoch milliseconds."""
        return round(self.starts_at * 1000)


class Incident(_Saved):
    """One root, what it explains, and what was said about it.

    ``group`` is its tree, None once it is over; ``heir`` the incident that it was merged into, for as long as somebody
    remembers this one.
    """

    SAVED: ClassVar = (
        "id",
        "revision",
        "state",
        "kind",
        "born",
        "opened_at",
        "first_received",
        "started_at",
        "updated_at",
        "resolved_at",
        "closes_at",
        "root_service",
        "root_fingerprint",
        "root_history",
        "severity_max",
        "rank_max",
        "rank_now",
        "listed",
        "duplicates",
        "duplicates_shown",
        "alerts",
        "symptoms",
        "services",
        "seq",
        "wanted",
        "urgency",
        "page_reason",
        "first_wanted_at",
        "page_due",
        "paged",
        "opens_at",
        "acknowledged",
        "merged_into",
        "related",
        "flags",
        "resolution",
        "title",
        "graph_version",
        "held_until",
        "facets",
        "past_alerts",
        "alone",
        "candidates",
        "share",
        "verdict",
        "summed",
    )
    __slots__ = (*SAVED, "group", "heir", "left")
    ADDED: ClassVar = ([], [], 1.0, None, [])

    id: str
    revision: int
    state: str
    kind: str  # fault | ticket | test | source_lost | bundle | summary
    born: list[Any]
    opened_at: float
    first_received: float
    started_at: float
    updated_at: float
    resolved_at: float | None
    closes_at: float | None
    root_service: str
    root_fingerprint: str
    root_history: list[dict[str, Any]]
    severity_max: str
    rank_max: int
    rank_now: int
    listed: list[str]
    duplicates: int
    duplicates_shown: int  # as of the revision: repeats alone make none
    alerts: int
    symptoms: int
    services: int
    seq: int
    wanted: bool
    urgency: str
    page_reason: str
    first_wanted_at: float | None
    page_due: float | None
    paged: dict[str, Any] | None
    opens_at: float | None
    acknowledged: dict[str, Any] | None
    merged_into: str | None
    related: list[dict[str, str]]
    flags: list[str]
    resolution: str
    title: str
    graph_version: str
    held_until: float | None
    facets: list[list[str]]
    past_alerts: int
    alone: list[dict[str, Any]]  # pages of alerts whose team has no suppression, latest last
    candidates: list[list[Any]]  # service, confidence, reasons; of the last judgement, its root first
    share: float  # part of the alerts of the region that was judged
    verdict: dict[str, Any] | None  # of an operator, about its root; see named.py
    summed: list[dict[str, Any]]  # members of a summary, as they were told
    group: Group | None
    heir: Incident | None
    left: dict[str, AlertState]  # members that no longer count as an explanation

    def row(self) -> tuple[Any, ...]:
        """The saved form; the last column says whether it has a group."""
        return (*super().row(), self.group is not None)

    def stands_for_root(self, alert: AlertState) -> bool:
        """Whether it is the alert of the root; there is none where the root is silent."""
        return alert.fingerprint == self.root_fingerprint and "inferred" not in self.flags

    def flag(self, name: str) -> None:
        """Set a flag."""
        if name not in self.flags:
            self.flags = sorted([*self.flags, name])

    def unflag(self, name: str) -> None:
        """Take a flag back."""
        if name in self.flags:
            self.flags = [flag for flag in self.flags if flag != name]

    def relate(self, other: str, relation: str) -> None:
        """Name another incident, once; the latest ones are kept."""
        entry = {"id": other, "relation": relation}
        if entry not in self.related:
            self.related = [*self.related, entry][-MOST_RELATED:]

    def final(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in ("closed", "merged")


class Source(_Saved):
    """One sending system: when its heartbeat was last seen and since when it is lost.

    ``beats_for`` is what the last heartbeat was about, service and labels: they decide to which shard the next goes.
    """

    SAVED: ClassVar = (
        "name",
        "beat_at",
        "interval",
        "lost_at",
        "unplaced",
        "bundle",
        "bundle_until",
        "incident_id",
        "beats_for",
    )
    __slots__ = SAVED
    ADDED: ClassVar = (None,)

    name: str
    beat_at: float | None
    interval: float
    lost_at: float | None
    unplaced: list[float]
    bundle: str | None
    incident_id: str | None
    bundle_until: float | None
    beats_for: Sequence[Any] | None


def solo(key: str, alert: AlertState, facets: tuple[Facet, ...]) -> Node:
    """A node outside of the forest: it explains nothing and nothing explains it."""
    node = Node(alert.service, alert.starts_at, False, facets, key)
    node.early = alert.starts_at - alert.ahead
    Group(node)
    return node
