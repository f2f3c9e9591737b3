"""What an incident shows of its group: its root, its totals, its members, its flags."""

from __future__ import annotations

from correlator.engine import infer, lifecycle, named, receipts, suspicion
from correlator.engine.groups import Group, Node
from correlator.engine.render import iso
from correlator.engine.state import MOST_RELATED, AlertState, Incident
from correlator.engine.store import Store
from correlator.model import SEVERITIES

__all__ = ["conclude", "refresh", "release", "root_alert", "standing"]

_ROOT_HISTORY = 20


def refresh(store: Store, incident: Incident, group: Group) -> None:
    """Take the group's root and totals over into its incident, and revise it."""
    node = group.root
    alert = root_alert(node)
    if node.name != incident.root_service:
        _reroot(store, incident, node, alert)
    incident.root_fingerprint = alert.fingerprint
    silent = sum(name in group.members for name in store.forest.inferred)
    incident.services = len(group.members) - silent + _left_services(incident, group)
    incident.alerts = group.alerts + len(incident.left) + incident.past_alerts
    incident.symptoms = incident.alerts - (not node.silent)
    for rank in (3, 2, 1, 0):
        if group.severities[rank]:
            incident.rank_now = rank
            break
    else:
        incident.rank_now = -1
    if incident.rank_now > incident.rank_max or incident.severity_max == "info":
        incident.rank_max = max(incident.rank_max, incident.rank_now)
        incident.severity_max = SEVERITIES[max(0, incident.rank_max)]
    if (alert.kind == "unknown") != ("unplaced" in incident.flags):
        _placed(incident, alert)
    if node.silent or "inferred" in incident.flags:
        concluded = infer.flags(store.graph, node.name) if node.silent else set()
        incident.flags = sorted({*incident.flags} - infer.FLAGS | concluded)
    incident.facets = sorted([kind, value] for kind, value in group.facets)
    incident.graph_version = store.graph.version
    outcome = store.outcomes.get(node.name)
    if outcome is not None and not node.solo:
        incident.candidates, incident.share = outcome
    _link_apart(store, incident, node)
    _list_members(store, incident, group)
    lifecycle.review(store, incident, group)
    suspicion.note(store, incident, group)
    store.revise(incident)


def _link_apart(store: Store, incident: Incident, node: Node) -> None:
    """Name the incidents of what the root depends on, where judgement has kept the root apart from them. O(degree)."""
    found: set[str] = set()
    if node.via is not None and not node.pinned:
        for name in store.graph.dependencies(node.name):
            other = store.forest.nodes.get(name)
            if other is not None and other.group is not node.group and other.group.owners:
                found.add(other.group.owners[0].id)
    if found or any(r["relation"] == "apart" for r in incident.related):
        others = [r for r in incident.related if r["relation"] != "apart"]
        incident.related = [*others, *({"id": id, "relation": "apart"} for id in sorted(found))][-MOST_RELATED:]


def _placed(incident: Incident, alert: AlertState) -> None:
    """The graph came to know the root, or knows it no longer."""
    if alert.kind == "unknown":
        incident.flag("unplaced")
    else:
        incident.unflag("unplaced")
        incident.related = [r for r in incident.related if r["relation"] != "bundled_in"]


def conclude(store: Store, incident: Incident) -> None:
    """Totals of an incident whose services have all left."""
    incident.alerts = len(incident.left) + incident.past_alerts
    incident.services = len({a.service for a in incident.left.values()})
    incident.symptoms = max(0, incident.alerts - 1)
    incident.rank_now = -1
    store.revise(incident)


def _left_services(incident: Incident, group: Group) -> int:
    if not incident.left:
        return 0
    return len({a.service for a in incident.left.values() if a.service not in group.members})


def _list_members(store: Store, incident: Incident, group: Group) -> None:
    room = store.rules.members_listed - len(incident.listed)
    joined = store.joined.get(incident.id)
    if room <= 0 or not joined:
        return
    known = set(incident.listed)
    for alert in joined:
        if alert.fingerprint not in known and alert.live:
            known.add(alert.fingerprint)
            incident.listed.append(alert.fingerprint)
            room -= 1
            if not room:
                return


def _reroot(store: Store, incident: Incident, node: Node, alert: AlertState) -> None:
    was = incident.root_service
    entry = {"service": was, "fingerprint": incident.root_fingerprint, "until": iso(store.now)}
    incident.root_history = [*incident.root_history, entry][-_ROOT_HISTORY:]
    incident.root_service, incident.root_fingerprint = node.name, alert.fingerprint
    path = store.forest.path(was, store.rules.path_limit) if was in store.forest.nodes else [node.name]
    reason = f"{node.name} explains {was}, the root so far" if len(path) > 1 else f"{was} no longer explains the rest"
    if named.stands(incident):
        reason = named.reasons(incident)[0]
    receipts.of_incident(store, incident, "root", "re_rooted", incident, [reason], path)


def root_alert(node: Node) -> AlertState:
    """The alert that stands for a service: firing before over, worse before milder, earlier before later.

    For a silent one it is the first of those that stand for what hangs on it.
    """
    alerts = node.alerts
    if len(alerts) == 1:
        return next(iter(alerts.values()))
    if node.silent:
        return min((root_alert(child) for child in node.children.values()), key=standing)
    return min(alerts.values(), key=standing)


def standing(alert: AlertState) -> tuple[bool, int, float, str]:
    """Sorts the alerts of a service, or of several, by which of them stands for the rest."""
    return not alert.firing, -alert.rank, alert.starts_at, alert.fingerprint


def release(store: Store, incident: Incident, alert: AlertState) -> bool:
    """Forget a member that left long ago, but not the one that stands for the root; False for that."""
    if alert.fingerprint == incident.root_fingerprint:
        return False
    incident.left.pop(alert.fingerprint, None)
    incident.past_alerts += 1
    store.mark_incident(incident)
    if alert.ended == "unknown" and "expired" not in incident.flags:
        incident.flag("expired")
        store.revise(incident)
    if alert.fingerprint in incident.listed:
        incident.listed.remove(alert.fingerprint)
        store.revise(incident)
    return True
