"""The vocabulary: what an alert is, and the words for its severity, status, verdict and incident state.

Everything here is a value. Nothing here imports another module of ours.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

__all__ = [
    "CHANGE_KINDS",
    "FIRING",
    "PLACED_COLUMNS",
    "RESOLVED",
    "SEVERITIES",
    "VERDICTS",
    "Alert",
    "Change",
    "ChangeKind",
    "IncidentState",
    "Severity",
    "Verdict",
    "severity_of",
    "severity_rank",
]

Severity = Literal["info", "warning", "error", "critical"]
Verdict = Literal[
    "root",
    "symptom",
    "duplicate",
    "resolved",
    "unplaced",
    "late",
    "maintenance",
    "heartbeat",
    "test",
    "rejected",
]
ChangeKind = Literal["deployment", "feature_flag", "configuration", "infrastructure", "other"]
IncidentState = Literal["forming", "open", "resolved", "closed", "merged"]

#: Canonical severities, mildest first; the position is the rank.
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error", "critical")
VERDICTS: Final[tuple[Verdict, ...]] = (
    "root",
    "symptom",
    "duplicate",
    "resolved",
    "unplaced",
    "late",
    "maintenance",
    "heartbeat",
    "test",
    "rejected",
)
#: What can be changed about a service; the position has no meaning.
CHANGE_KINDS: Final[tuple[ChangeKind, ...]] = (
    "deployment",
    "feature_flag",
    "configuration",
    "infrastructure",
    "other",
)
FIRING: Final = "firing"
RESOLVED: Final = "resolved"

_RANK: Final[dict[str, int]] = {name: rank for rank, name in enumerate(SEVERITIES)}
_FOREIGN: Final[dict[str, Severity]] = {
    **{word: "critical" for word in "critical crit page emergency emerg fatal disaster p1 sev1 blocker down".split()},
    **{word: "error" for word in "error err major high severe alert p2 sev2".split()},
    **{word: "warning" for word in "warning warn minor average medium p3 sev3 degraded unknown".split()},
    **{word: "info" for word in "info informational information notice low ok none debug p4 p5 sev4 normal".split()},
}


class Alert(NamedTuple):
    """One normalised message about one service.

    A named tuple, because one is made for every message that arrives and a frozen dataclass of this size
    costs several times as much to build. Times are epoch seconds.

    ``fingerprint`` is the dedup key: 16 hex digits, a stable hash of the identifying labels. ``service`` is
    the sender's word for what the alert is about; placing it in the graph is a later step. ``ends_at`` of a
    firing alert is the sender's own time to live, or None; of a resolved one, the moment it ended.
    ``source`` names the sending system. ``notes`` says what had to be mended on the way in.
    """

    fingerprint: str
    service: str
    name: str
    severity: Severity
    status: str
    starts_at: float
    ends_at: float | None
    labels: dict[str, str]
    annotations: dict[str, str]
    source: str
    notes: tuple[str, ...] = ()


class Change(NamedTuple):
    """Something that somebody did to one service on purpose, and that may have broken it.

    ``id`` is the sender's, or a hash of the rest: the same id again replaces what was said before. ``service`` is the
    sender's word; placing it in the graph is a later step. ``summary`` says what was done, in a few words ("deployed
    v2.3.1"). ``at`` is when it took effect, in epoch seconds. ``labels`` count for the shard only.
    """

    id: str
    kind: ChangeKind
    service: str
    summary: str
    at: float
    author: str
    link: str
    labels: dict[str, str]


#: Columns of one row of an ``alerts.placed`` record: where the alert came from (raw offset, index in the raw
#: record, raw broker timestamp in epoch seconds), the node it is placed on, whether the graph knows that node,
#: then the fields of :class:`Alert` from the fingerprint on (``service`` is replaced by the node).
PLACED_COLUMNS: Final[tuple[str, ...]] = (
    "offset",
    "index",
    "received_at",
    "known",
    "fingerprint",
    "service",
    "name",
    "severity",
    "status",
    "starts_at",
    "ends_at",
    "labels",
    "annotations",
    "source",
    "notes",
)


def severity_rank(severity: str) -> int:
    """Rank of a canonical severity, 0 (info) to 3 (critical).

    >>> severity_rank("critical") > severity_rank("warning")
    True
    """
    return _RANK[severity]


def severity_of(word: Any) -> Severity | None:
    """Canonical severity for a sender's word, or None when the word is not known.

    >>> severity_of("Page"), severity_of("SEV3"), severity_of("blue")
    ('critical', 'warning', None)
    """
    return _FOREIGN.get(word.strip().lower()) if isinstance(word, str) else None
