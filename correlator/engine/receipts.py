"""A receipt for every verdict that changed: what was decided, by which rule, and what would have made it page."""

from __future__ import annotations

from typing import Any

from correlator.engine.groups import Node
from correlator.engine.render import iso
from correlator.engine.state import AlertState, Incident
from correlator.engine.store import Store

__all__ = ["iso", "plain", "write"]

_WOULD = {
    "root": "it pages with its incident",
    "symptom": "no service on its path alerted, or it matched never_suppress",
    "resolved": "it fired again",
    "unplaced": "it pages with its incident",
    "maintenance": "no maintenance window covered it",
    "test": "it matched no test matcher",
}


def write(store: Store) -> None:
    """Turn the pending verdicts of this step into receipts. O(verdicts), one path per service."""
    at, revision = iso(store.now), store.offset
    said: dict[str, tuple[str, list[str], str, list[str], Incident]] = {}
    out, transitions = store.receipts, store.transitions
    for alert, verdict, cause in store.pending:
        found = said.get(alert.service) if not alert.kind else None
        if found is None:
            found = _explain(store, alert)
            if not alert.kind:
                said[alert.service] = found
        root, path, rule, reasons, incident = found
        if not verdict:
            verdict = _verdict(alert, incident)
            if cause in ("", "resolved_before_firing"):
                transitions[verdict] += 1
        if verdict == "symptom" and len(path) == 1 and not cause:
            rule, reasons = "same_service", [f"{incident.root_fingerprint} stands for {root}"]
        out.append(
            {
                "fingerprint": alert.fingerprint,
                "episode": round(alert.starts_at * 1000),
                "service": alert.service,
                "name": alert.name,
                "verdict": verdict,
                "incident_id": incident.id if incident is not None else None,
                "root": root,
                "path": path,
                "rule": cause or rule,
                "reasons": reasons,
                "would_page_if": _WOULD[verdict],
                "at": at,
                "revision": revision,
            }
        )
    store.pending = []


def _verdict(alert: AlertState, incident: Incident) -> str:
    if not alert.firing:
        return "resolved"
    if alert.window is not None:
        return "maintenance"
    if alert.kind == "test":
        return "test"
    if alert.kind == "unknown":
        return "unplaced"
    return "root" if incident is not None and alert.fingerprint == incident.root_fingerprint else "symptom"


def _explain(store: Store, alert: AlertState) -> tuple[str, list[str], str, list[str], Any]:
    incident = store.incident_of(alert)
    node = store.node_of(alert)
    service = alert.service
    if alert.kind == "unknown":
        return service, [service], "unplaced", [f"the graph has no service {service!r}"], incident
    if alert.kind:
        rule = "not_a_cause" if alert.kind == "ticket" else "test_matcher"
        return service, [service], rule, ["it takes no part in explanations"], incident
    if node is None or incident is None:
        return service, [service], "left", ["its service no longer counts as an explanation"], incident
    if node.parent is None:
        rule = "cycle" if node.head else "no_alerting_dependency"
        return service, [service], rule, [f"no dependency of {service} alerts"], incident
    path = store.forest.path(service, store.rules.path_limit)
    return node.group.root.name, path, *_because(store, node), incident


def _because(store: Store, node: Node) -> tuple[str, list[str]]:
    parent = node.parent
    assert parent is not None
    if node.hops:
        rule, reason = "bridged", f"{parent.name} alerts behind {node.hops} silent service{'s' * (node.hops > 1)}"
    else:
        rule, reason = "depends_on", f"it depends on {parent.name}, which alerts"
    rivals = store.forest.rivals(node)
    return rule, [reason, f"also explained by {', '.join(rivals[:5])}"] if rivals else [reason]


def plain(store: Store, row: list[Any], verdict: str) -> None:
    """A receipt for a message that no incident takes: late, rejected, heartbeat."""
    if verdict == "heartbeat":
        return
    store.receipts.append(
        {
            "fingerprint": row[4],
            "episode": round(row[9] * 1000),
            "service": row[5],
            "name": row[6],
            "verdict": verdict,
            "incident_id": None,
            "root": None,
            "path": [],
            "rule": "ended_episode" if verdict == "late" else "engine_error",
            "reasons": ["it belongs to an episode that has ended" if verdict == "late" else "the engine raised on it"],
            "would_page_if": "it belonged to the current episode" if verdict == "late" else "the cause were mended",
            "at": iso(store.now),
            "revision": store.offset,
        }
    )
