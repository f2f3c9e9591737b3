"""A receipt for every verdict that changed: what was decided, by which rule, and what would have made it page."""

from __future__ import annotations

from typing import Any, Final

from correlator.engine import hiding, named
from correlator.engine.account import BROKE_FIRST
from correlator.engine.groups import Node
from correlator.engine.render import iso, judged, verdict_of
from correlator.engine.shadow import pages_alone
from correlator.engine.state import AlertState, Incident
from correlator.engine.store import Store

__all__ = ["iso", "of_incident", "plain", "rejected", "write"]

_WOULD = {
    "root": "it pages with its incident",
    "symptom": "no service on its path alerted, or it matched never_suppress",
    "resolved": "it fired again",
    "unplaced": "it pages with its incident",
    "maintenance": "no maintenance window covered it",
    "test": "it matched no test matcher",
}


#: root, path, rule, reasons and incident of a service
_Said = tuple[str, list[str], str, list[str], Incident | None]


def write(store: Store) -> None:
    """Turn the pending verdicts of this step into receipts. O(verdicts), one path per service."""
    at, revision = iso(store.now), store.offset
    said: dict[str, _Said] = {}
    paths: dict[str, list[str]] = {}
    add, transitions = store.receipts.append, store.transitions
    suppresses_all = store.rules.suppresses_all
    for alert, verdict, cause in store.pending:
        service = alert.service
        found = said.get(service)
        if found is None or alert.kind or not alert.live:
            found = _explain(store, alert, paths)
            if alert.live and not alert.kind:
                said[service] = found
        root, path, rule, reasons, incident = found
        if not verdict:
            verdict = verdict_of(alert, incident)
            if not cause or cause == "resolved_before_firing":
                transitions[verdict] += 1
            if len(path) == 1 and verdict == "symptom" and not cause and incident is not None:
                rule, reasons = "same_service", [f"another alert of {root} stands for it as the root"]
        if store.failing and verdict == "symptom":
            store.hidden.append(alert)
        if alert.window is not None and alert.firing:
            reasons = [*reasons, *hiding.alert_reasons(store, alert)]
        would = _WOULD["root" if rule == "same_service" and verdict == "symptom" else verdict]
        if not suppresses_all and verdict in ("root", "symptom") and pages_alone(store, alert):
            team = store.graph.node(service).team
            reasons = [*reasons, f"shadow: suppression is not enabled for {f'team {team}' if team else 'no team'}"]
            would = "it pages on its own"
        add(
            {
                "fingerprint": alert.fingerprint,
                "episode": round(alert.starts_at * 1000),
                "service": service,
                "name": alert.name,
                "verdict": verdict,
                "incident_id": incident.id if incident is not None else None,
                "root": root,
                "path": path,
                "rule": cause or rule,
                "reasons": reasons,
                "would_page_if": would,
                "at": at,
                "revision": revision,
            }
        )
    store.pending = []


def _explain(store: Store, alert: AlertState, paths: dict[str, list[str]]) -> _Said:
    service = alert.service
    node = store.forest.nodes.get(service)
    if node is None or node.parent is None or alert.kind or not alert.live or not node.group.owners:
        return _explain_alone(store, alert)
    parent, group = node.parent, node.group
    if node.pinned and group.owners[0].verdict is not None:
        rule, reason = "verdict", f"{named.author(group.owners[0])} named {group.root.name} as the root"
    elif node.via is not None and (node.via or (parent.name,))[0] not in store.graph.dependencies(service):
        rule, reason = _beside(store, node, parent)
    elif parent.silent:
        rule, reason = (
            "inferred",
            f"{parent.name}, which it depends on, is silent, but nearly all its dependents alert",
        )
    elif node.hops:
        rule, reason = "bridged", f"{parent.name} alerts behind {node.hops} silent service{'s' * (node.hops > 1)}"
    else:
        rule, reason = "depends_on", f"{_tie(store, service, parent.name)}, which alerts"
    reasons = [reason]
    if len(group.members) != len(store.forest.nodes):
        rivals = store.forest.rivals(node)
        if rivals:
            reasons.append(f"also explained by {', '.join(rivals[:5])}")
    path = store.forest.path(service, store.rules.path_limit, paths)
    return group.root.name, path, rule, reasons, group.owners[0]


def _tie(store: Store, service: str, other: str) -> str:
    """How a service depends on another one, in words."""
    if store.graph.runs_on(service, other):
        return f"it runs on {other}"
    if store.graph.is_instance(other, service):
        return f"its instance is {other}"
    return f"it depends on {other}"


def _beside(store: Store, node: Node, parent: Node) -> tuple[str, str]:
    """Of a service that hangs on one that it does not depend on, as judged."""
    if parent.name in store.graph.dependents(node.name):
        return "effect", f"{parent.name}, which depends on it, alerts and shows more: this follows from there"
    return "beside", f"it shares {node.via[0] if node.via else 'a dependency'} with {parent.name} and shows less"


def _explain_alone(store: Store, alert: AlertState) -> _Said:
    """Of an alert that nothing else explains, or that takes no part in explanations."""
    incident, node, service = store.incident_of(alert), store.node_of(alert), alert.service
    if alert.kind == "unknown":
        rule, reason = "unplaced", f"the graph has no service {service!r}"
    elif alert.kind:
        rule, reason = ("not_a_cause" if alert.kind == "ticket" else "test_matcher"), "it takes no part in explanations"
    elif node is None or incident is None:
        rule, reason = "left", "its service no longer counts as an explanation"
    else:
        rule, reason = _on_top(store, node, incident)
    return service, [service], rule, [reason], incident


def _on_top(store: Store, node: Node, incident: Incident) -> tuple[str, str]:
    """Of a root."""
    if node.pinned and named.stands(incident):
        return "verdict", named.reasons(incident)[0]
    if node.head:
        return "cycle", f"no dependency of {node.name} outside of its circle alerts"
    broke = [r for r in incident.candidates[0][2] if r.startswith(BROKE_FIRST)] if judged(incident) else []
    if node.via is not None and broke:
        return "broke_first", broke[0]
    if node.via is not None and any(name in store.forest.nodes for name in store.graph.dependencies(node.name)):
        return "stands_out", f"{node.name} shows more than what it depends on can explain"
    return "no_alerting_dependency", f"no dependency of {node.name} alerts"


def plain(store: Store, row: list[Any], verdict: str) -> None:
    """A receipt for a message that no incident takes: late, rejected, or a resolve before its firing."""
    rule, reason, would = _PLAIN[verdict]
    verdict = "resolved" if verdict == "early" else verdict
    _alone(store, (row[4], row[5], row[6]), round(row[9] * 1000), verdict, rule, reason, would)


def rejected(store: Store, row: Any, rule: str) -> None:
    """A receipt for a row that was put aside, of which nothing is certain."""
    words = [row[i] if isinstance(row, list) and len(row) > i and isinstance(row[i], str) else "" for i in (4, 5, 6)]
    _alone(store, (words[0], words[1], words[2]), None, "rejected", *_PLAIN[rule])


#: rule, reason, and what would have made it page, for each answer that no incident takes
_PLAIN: Final = {
    "late": ("ended_episode", "it belongs to an episode that has ended", "it belonged to the current episode"),
    "early": ("resolve_before_firing", "nothing is known to fire: remembered", "it fired later than this end"),
    "rejected": ("max_active_alerts", "more alerts than max_active_alerts are known", "there was room for it"),
    "engine_error": ("engine_error", "the engine raised on it", "the cause were mended"),
    "breaker_open": ("breaker_open", "the engine raised on many alerts of its source", "its source were not put aside"),
}


def _alone(
    store: Store, about: tuple[str, str, str], episode: int | None, verdict: str, rule: str, reason: str, would: str
) -> None:
    store.receipts.append(
        {
            "fingerprint": about[0],
            "episode": episode,
            "service": about[1],
            "name": about[2],
            "verdict": verdict,
            "incident_id": None,
            "root": None,
            "path": [],
            "rule": rule,
            "reasons": [reason],
            "would_page_if": would,
            "at": iso(store.now),
            "revision": store.offset,
        }
    )


def of_incident(
    store: Store, incident: Incident, verdict: str, rule: str, target: Incident, reasons: list[str], path: list[str]
) -> None:
    """One receipt for all alerts of an incident, which got another root or went into ``target``."""
    alert = store.alerts.get(incident.root_fingerprint)
    store.receipts.append(
        {
            "fingerprint": incident.root_fingerprint,
            "episode": alert.episode if alert is not None else None,
            "service": incident.root_service,
            "name": alert.name if alert is not None else "",
            "verdict": verdict,
            "incident_id": incident.id,
            "root": path[-1],
            "path": path,
            "rule": rule,
            "reasons": reasons,
            "would_page_if": "",
            "merged_into": target.id if target is not incident else None,
            "at": iso(store.now),
            "revision": store.offset,
        }
    )
