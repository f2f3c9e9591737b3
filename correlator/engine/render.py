"""What is said about an incident and a verdict: plain data of the published schemas, ready for JSON."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from correlator.engine import hiding, named, suspicion
from correlator.engine.account import BROKE_FIRST, STANDS_OUT
from correlator.engine.groups import Node
from correlator.engine.state import AlertState, Incident
from correlator.engine.store import Store
from correlator.engine.words import counted, few, iso
from correlator.model import SEVERITIES
from topology import Node as ServiceNode

__all__ = ["INCIDENT_SCHEMA_VERSION", "confidence", "iso", "judged", "reasons", "snapshot", "verdict_of"]

INCIDENT_SCHEMA_VERSION = 1
_SITES_LISTED = 50


def _when(time: float | None) -> str | None:
    return None if time is None else iso(time)


def snapshot(store: Store, incident: Incident) -> dict[str, Any]:
    """The incident as published. O(listed members x path length)."""
    group = incident.group
    node = group.root if group is not None else None
    alert = store.alerts.get(incident.root_fingerprint)
    root = _responsible(store, incident)
    sure = confidence(store, incident, node)
    why = reasons(store, incident, node)
    why = [*why, *suspicion.in_words(store, incident), *hiding.root_reasons(store, alert)]
    severity = SEVERITIES[incident.rank_now] if incident.rank_now >= 0 else incident.severity_max
    return {
        "schema_version": INCIDENT_SCHEMA_VERSION,
        "id": incident.id,
        "revision": incident.revision,
        "title": _title(incident, alert),
        "state": incident.state,
        "kind": incident.kind,
        "page": _page(incident),
        "root": _root(incident, alert, severity),
        "confidence": sure,
        "candidates": _candidates(incident, node, sure, why),
        "reasons": why,
        "counts": _counts(incident),
        "services": [] if incident.state == "merged" else _services(store, incident),
        "members": [] if incident.state == "merged" else _members(store, incident),
        "severity": severity,
        "severity_max": incident.severity_max,
        "started_at": iso(incident.started_at),
        "opened_at": iso(incident.opened_at),
        "updated_at": iso(incident.updated_at),
        "resolved_at": _when(incident.resolved_at),
        "resolution": incident.resolution or None,
        "acknowledged": incident.acknowledged,
        "merged_into": incident.merged_into,
        "related": incident.related,
        "root_history": incident.root_history,
        "impact": _impact(incident),
        "owner": root.owner,
        "team": root.team,
        "on_call": root.on_call,
        "runbook": root.runbook or (alert.annotations.get("runbook_url") if alert is not None else None),
        "channel": root.channel,
        "links": _links(alert),
        "changes": suspicion.listed(store, incident),
        "maintenance": hiding.listed(store, incident),
        "verdict": named.shown(incident),
        "flags": _flags(store, incident, alert),
        "graph_version": incident.graph_version,
        "shard": store.shard,
    }


def _responsible(store: Store, incident: Incident) -> ServiceNode:
    """Who answers for the root; of a summary, for its team."""
    if incident.kind != "summary":
        return store.graph.node(incident.root_service)
    first = store.graph.node(incident.summed[0]["service"])
    return ServiceNode(team=incident.root_service or None, on_call=first.on_call, channel=first.channel)


def _page(incident: Incident) -> dict[str, Any]:
    return {
        "wanted": incident.wanted,
        "seq": incident.seq,
        "urgency": incident.urgency,
        "reason": incident.page_reason,
        "first_wanted_at": _when(incident.first_wanted_at),
        "shadow": incident.alone,
    }


def _root(incident: Incident, alert: AlertState | None, severity: str) -> dict[str, Any]:
    return {
        "service": incident.root_service,
        "fingerprint": incident.root_fingerprint,
        "name": alert.name if alert is not None else incident.title,
        "severity": alert.severity if alert is not None else severity,
        "inferred": "inferred" in incident.flags,
    }


def _counts(incident: Incident) -> dict[str, int]:
    return {
        "alerts": incident.alerts,
        "symptoms": incident.symptoms,
        "duplicates": incident.duplicates_shown,
        "services": incident.services,
    }


def _impact(incident: Incident) -> dict[str, Any]:
    facets: dict[str, list[str]] = {"tier": [], "tenant": [], "site": [], "customer_facing": []}
    for kind, value in incident.facets:
        facets[kind].append(value)
    return {
        "tiers": sorted(int(t) for t in facets["tier"]),
        "customer_facing": any(v.lower() not in ("", "false", "0", "no") for v in facets["customer_facing"]),
        "tenants": facets["tenant"][:_SITES_LISTED],
        "sites": facets["site"][:_SITES_LISTED],
    }


def _flags(store: Store, incident: Incident, alert: AlertState | None) -> list[str]:
    flags = set(incident.flags)
    record = store.sources.get(alert.source) if alert is not None else None
    if record is not None and record.lost_at is not None:
        flags.add("degraded_source")
    if alert is not None and alert.firing and alert.window is not None:
        flags.add("root_in_maintenance")
    return sorted(flags)


def _title(incident: Incident, alert: AlertState | None) -> str:
    if incident.kind == "source_lost":
        return f"Source lost: no heartbeat from {incident.root_service}"
    if incident.kind == "bundle":
        return f"{incident.alerts} alerts about unknown services from {incident.root_service}"
    if "visibility_lost" in incident.flags:
        return f"Visibility lost: nothing is seen of what {incident.root_service} watches"
    if "network_cut" in incident.flags:
        return f"Network cut at {incident.root_service}: {incident.alerts} alerts of services that reach across"
    if "inferred" in incident.flags:
        return f"{incident.root_service} is silent and the likely cause of {incident.alerts} alerts of its dependents"
    if incident.kind == "summary":
        team = f"team {incident.root_service}" if incident.root_service else "no team"
        return f"{incident.alerts} hidden alert{'s' * (incident.alerts > 1)} of {team}"
    title = f"{alert.name if alert is not None else incident.title or 'Problem'} on {incident.root_service}"
    others = incident.services - 1
    return f"{title}, {others} other service{'s' if others > 1 else ''} affected" if others > 0 else title


def _links(alert: AlertState | None) -> list[dict[str, str]]:
    if alert is None:
        return []
    names = ("generator_url", "runbook_url", "dashboard_url", "panel_url", "link")
    return [{"rel": n, "href": alert.annotations[n]} for n in names if n in alert.annotations]


def _listed(store: Store, incident: Incident) -> list[AlertState]:
    found = []
    root = store.alerts.get(incident.root_fingerprint)
    if root is not None and incident.kind not in ("bundle", "source_lost"):
        found.append(root)
    for fingerprint in incident.listed:
        alert = store.alerts.get(fingerprint)
        if alert is not None and alert is not root and store.incident_of(alert) is incident:
            found.append(alert)
    return found[: store.rules.members_listed]


def _members(store: Store, incident: Incident) -> list[dict[str, Any]]:
    if incident.kind == "summary":
        return incident.summed
    paths: dict[Node | None, list[str]] = {None: []}
    members = []
    for alert in _listed(store, incident):
        node = store.node_of(alert)
        if node is not None and node.solo:
            node = None
        path = paths.get(node)
        if path is None:
            path = paths[node] = store.forest.path(alert.service, store.rules.path_limit)
        members.append(
            {
                "fingerprint": alert.fingerprint,
                "service": alert.service,
                "name": alert.name,
                "severity": alert.severity,
                "verdict": verdict_of(alert, incident),
                "path": path or [alert.service],
            }
        )
    return members


def verdict_of(alert: AlertState, incident: Incident | None) -> str:
    """What became of an alert in its incident, as receipts and incidents say it."""
    if not alert.firing:
        return "resolved"
    if alert.window is not None:
        return "maintenance"
    if alert.kind == "test":
        return "test"
    if alert.kind == "unknown":
        return "unplaced"
    return "root" if incident is not None and incident.stands_for_root(alert) else "symptom"


def _services(store: Store, incident: Incident) -> list[str]:
    if incident.kind == "summary":
        return list(dict.fromkeys(m["service"] for m in incident.summed))[: store.rules.services_listed]
    seen = dict.fromkeys([incident.root_service]) if incident.kind not in ("bundle",) else {}
    for alert in _listed(store, incident):
        seen[alert.service] = None
    return list(seen)[: store.rules.services_listed]


def confidence(store: Store, incident: Incident, node: Node | None) -> float:
    """How sure the root is, in [0, 1]: as judged, or where the graph alone decides by what the root explains.

    More services that it explains make it surer, a cycle less sure. A lone alert is its own root but may be a
    symptom of something unseen: 0.6.
    """
    if incident.kind in ("source_lost", "test", "ticket", "summary") or named.stands(incident):
        return 1.0
    if "unplaced" in incident.flags:
        return 0.3
    if judged(incident):
        return float(incident.candidates[0][1])
    sure = 1.0 - 0.4 / (1 + max(0, incident.services - 1))
    if node is not None and node.head:
        sure *= 0.7
    return round(sure, 3)


def judged(incident: Incident) -> bool:
    """Whether what was judged last is about the root of now."""
    return bool(incident.candidates) and incident.candidates[0][0] == incident.root_service


def reasons(store: Store, incident: Incident, node: Node | None) -> list[str]:
    """Why this root, in words and numbers."""
    service = incident.root_service
    if incident.kind == "source_lost":
        return [f"no heartbeat from {service} since {iso(incident.started_at)}"]
    if incident.kind == "bundle":
        return [f"more than {store.rules.unplaced_burst} alerts about services that the graph does not know"]
    if incident.kind == "test":
        return ["matches a test matcher"]
    if incident.kind == "summary":
        return list(incident.candidates[0][2])
    if service not in store.graph:
        return [f"the graph has no service {service!r}: nothing can explain it"]
    if incident.kind == "ticket":
        return ["an alert of this name cannot be the cause of another one, and nothing is explained by it"]
    found = named.reasons(incident)
    if not named.stands(incident):
        found.append(_position(store, incident, node))
    found += _parts(store, service)
    others = incident.services - ("inferred" not in incident.flags)
    if others > 0:
        found.append(f"it explains {counted(incident.symptoms, 'alert')} of {counted(others, 'other service')}")
    if incident.root_history:
        found.append(f"it took over from {incident.root_history[-1]['service']}")
    if judged(incident) and not named.stands(incident):
        found += incident.candidates[0][2]
    return found


def _position(store: Store, incident: Incident, node: Node | None) -> str:
    """What the graph says about a root. Nothing in it may change without a revision: outputs are taken at any time."""
    if "inferred" in incident.flags:
        return "it does not alert itself"
    if node is not None and node.head:
        cycle = store.forest.cycle_of(node)
        return f"depends on itself through {', '.join(cycle[:5])}: one service of the circle stays as the root"
    count = len(store.graph.dependencies(incident.root_service))
    if not count:
        return "it depends on nothing"
    if judged(incident) and any(reason.startswith((STANDS_OUT, BROKE_FIRST)) for reason in incident.candidates[0][2]):
        return "nothing that it depends on explains it"
    which = "its one dependency does not alert" if count == 1 else f"none of its {count} dependencies alerts"
    return f"{which}, directly or behind silent services"


def _parts(store: Store, service: str) -> Iterator[str]:
    """What the graph says about a root that is an instance, or on which others run."""
    graph = store.graph
    whole = graph.place(graph.service_of(service))
    if whole is not None and service in graph.instances(whole):
        count = len(graph.instances(whole))
        yield f"it is one of {count} instances of {whole}" if count > 1 else f"it is the instance of {whole}"
    if hosted := graph.hosted(service):
        yield f"{few(hosted)} {'run' if len(hosted) > 1 else 'runs'} on it"


def _candidates(incident: Incident, node: Node | None, sure: float, why: list[str]) -> list[dict[str, Any]]:
    found = [{"service": incident.root_service, "confidence": sure, "reasons": why}]
    if named.stands(incident):
        others = [row for row in incident.candidates if row[0] != incident.root_service]
        return found + [{"service": name, "confidence": 0.0, "reasons": words} for name, _, words in others]
    if judged(incident):
        others = incident.candidates[1:]
        return found + [{"service": name, "confidence": part, "reasons": words} for name, part, words in others]
    if node is None or not node.children:
        return found
    nearest = heapq.nsmallest(2, node.children.values(), key=lambda n: (-_worst(n), n.onset, n.name))
    for other in nearest:
        said = f"depends on {incident.root_service}, which alerts; next in line by severity and onset"
        found.append({"service": other.name, "confidence": round((1 - sure) / 2, 3), "reasons": [said]})
    return found


def _worst(node: Node) -> int:
    return max((rank for rank in range(4) if node.severities[rank]), default=-1)
