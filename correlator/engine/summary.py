"""Hidden alerts that page all the same, because hiding has failed in this shard: one incident per team and window.

A summary opens with the first hidden alert of a team that is worth a page, pages once, ``settle`` later, and is over
after ``trust_window``; what is hidden then opens the next one. An alert is told once in its episode. The first
``members_listed`` are listed as they were when they were told, all are counted.
"""

from __future__ import annotations

from typing import Any

from correlator.engine import lifecycle
from correlator.engine.birth import open_incident
from correlator.engine.shadow import pages_alone
from correlator.engine.state import MOST_RELATED, AlertState, Incident
from correlator.engine.store import Store
from correlator.engine.trust import wilson
from correlator.model import SEVERITIES

__all__ = ["close", "tell"]


def tell(store: Store) -> None:
    """Take in what was hidden in this step; all that is hidden, where hiding has failed only now. O(those)."""
    found = store.alerts.values() if store.unhide else store.hidden
    store.unhide, hidden = False, [alert for alert in found if _counts(store, alert)]
    store.hidden = []
    for alert in sorted(hidden, key=lambda a: (a.starts_at, a.fingerprint)):
        if not alert.told:
            _take(store, alert)


def _counts(store: Store, alert: AlertState) -> bool:
    """Whether the alert is hidden by an explanation and worth a page that nobody gets."""
    if alert.kind or not alert.firing or alert.urgent or alert.told or not lifecycle.worth(store, alert):
        return False
    incident = store.incident_of(alert)
    return incident is not None and not incident.stands_for_root(alert) and not pages_alone(store, alert)


def _take(store: Store, alert: AlertState) -> None:
    team = store.graph.node(alert.service).team or ""
    incident = store.incidents.get(store.summaries.get(team, "")) or _open(store, team, alert)
    node, hiding = store.forest.nodes[alert.service], store.incident_of(alert)
    assert hiding is not None
    incident.services += all(other.told != incident.id for other in node.alerts.values())
    incident.alerts += 1
    incident.symptoms = incident.alerts
    incident.started_at = min(incident.started_at, alert.starts_at)
    incident.rank_now = incident.rank_max = max(incident.rank_max, alert.rank)
    incident.severity_max = SEVERITIES[incident.rank_max]
    if len(incident.summed) < store.rules.members_listed:
        incident.summed = [*incident.summed, _listed(store, alert)]
    relation = {"id": hiding.id, "relation": "hidden_by"}
    if relation not in incident.related and len(incident.related) < MOST_RELATED:
        incident.related = [*incident.related, relation]
    alert.told = incident.id
    store.mark_alert(alert)
    store.revise(incident)
    if incident.paged is None and incident.page_due is None:
        lifecycle.ask(store, incident, store.now + min(store.rules.settle, store.rules.trust_window / 2))


def _open(store: Store, team: str, alert: AlertState) -> Incident:
    incident = open_incident(store, "summary", team, "", alert.starts_at)
    store.summaries[team] = incident.id
    incident.closes_at = store.now + store.rules.trust_window
    store.at(incident.closes_at, "close", incident.id)
    incident.candidates = [[team, 1.0, [_why(store)]]]
    return incident


def _why(store: Store) -> str:
    right, sampled = store.trust.right, store.trust.sampled
    low, high = wilson(right, sampled)
    of = f"{right} of {sampled} sampled alerts were rightly hidden ({low:.0%} to {high:.0%})"
    return f"{of}, which is below {store.rules.trust_floor:.0%}: what is hidden pages until that is better"


def _listed(store: Store, alert: AlertState) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint,
        "service": alert.service,
        "name": alert.name,
        "severity": alert.severity,
        "verdict": "symptom",
        "path": store.forest.path(alert.service, store.rules.path_limit),
    }


def close(store: Store, incident: Incident) -> None:
    """The window of a summary is over: it tells of nothing new any more."""
    store.summaries.pop(incident.root_service, None)
    incident.rank_now = -1
    incident.page_due = None
    incident.wanted = False
    incident.resolution = "unknown"
    lifecycle.transition(incident, "given_up")
