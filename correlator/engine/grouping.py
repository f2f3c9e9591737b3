"""From trees to incidents: births, re-roots, merges, splits, and the totals that an incident shows.

Called once at the end of every step, for the groups that the step touched, in the order of their roots' names.
One group has one incident. Where trees grew together the oldest incident stays and the others are merged into
it; where a tree was cut the incident stays with the heir and the rest that still fires becomes new incidents that name
their origin. A late root therefore changes the root of the incident that people already know.
"""

from __future__ import annotations

from typing import Any

from correlator.engine import lifecycle, moves, named, suspicion
from correlator.engine.birth import open_incident
from correlator.engine.groups import Group, Node
from correlator.engine.places import leave
from correlator.engine.render import iso, snapshot
from correlator.engine.state import MOST_RELATED, AlertState, Incident
from correlator.engine.store import Store
from correlator.model import SEVERITIES
from topology import OBSERVER

__all__ = ["bury", "conclude", "merge", "release", "root_alert", "settle", "standing"]

_ROOT_HISTORY = 20


def settle(store: Store) -> None:
    """Bring the incidents in line with the forest. O(touched groups + services that changed incident)."""
    forest = store.forest
    reviewed = [incident for key in sorted(store.reviews) if (incident := store.incidents.get(key)) is not None]
    store.reviews = set()
    for incident in reviewed:
        if incident.group is not None:
            forest.touch(incident.group)
    seen = {id(g): g for g in _owned(store) if g.members}
    moves.note(store, seen.values())
    moves.count_repeats(store)
    _join(store)
    for group in [g for g in seen.values() if g.owners]:
        refresh(store, group.owners[0], group)
    for incident in reviewed:
        if incident.group is None:
            lifecycle.review(store, incident, None)
            store.revise(incident)
    store.named = {}


def _owned(store: Store) -> list[Group]:
    """Give every touched group one incident, until that touches no further one; the answer is all of them."""
    forest = store.forest
    forest.settle()
    back = [alert for alert, _, _ in store.pending if alert.incident_id]
    for alert in back:
        _bring_back(store, alert)
    seen: list[Group] = []
    while forest.touched:
        for group in [g for g in forest.touched.values() if g.owners and not g.members]:
            _rehome(store, group)
        groups = sorted(forest.touched.values(), key=lambda g: (g.root.name, g.root.solo))
        forest.touched = {}
        for group in groups:
            if group.members:
                _own(store, group, back)
                seen.append(group)
        for group in groups:
            if not group.members and group.owners:
                _dissolve(store, group)
        forest.settle()
    return seen


def _join(store: Store) -> None:
    """Sort the alerts that got a verdict by the incident they are in now."""
    joined = store.joined = {}
    nodes = store.forest.nodes
    for alert, _, _ in store.pending:
        node = nodes.get(alert.service)
        if alert.kind or node is None or not alert.live or not node.group.owners:
            incident = store.incident_of(alert)
            if incident is None:
                continue
        else:
            incident = node.group.owners[0]
        found = joined.get(incident.id)
        if found is None:
            joined[incident.id] = [alert]
        else:
            found.append(alert)


def _own(store: Store, group: Group, back: list[AlertState]) -> None:
    """See to it that the group carries exactly one incident; ``back`` are alerts of this step that had one before."""
    for incident in group.owners:
        incident.group = group
    if not group.owners:
        if not group.firing:
            if store.forest.before(group.root) is not None:
                _evict(store, group)
            return  # nothing but early resolves: they wait for what they may explain
        incident = _returning(store, group, back) or _birth(store, group)
        group.owners = [incident]
        incident.group = group
    elif len(group.owners) > 1:
        owners = sorted(group.owners, key=lambda i: (i.opened_at, i.born))
        group.owners = owners[:1]
        for other in owners[1:]:
            merge(store, other, owners[0])


def _evict(store: Store, group: Group) -> None:
    """Services that have recovered and lost the root they waited for: nothing to say about them any more."""
    for node in list(group.members.values()):
        for alert in list(node.alerts.values()):
            leave(store, alert)


def _returning(store: Store, group: Group, back: list[AlertState]) -> Incident | None:
    """A resolved incident that is still open for reopening and whose alert fires again."""
    found = []
    for alert in back:
        incident, node = store.incidents.get(alert.incident_id), store.node_of(alert)
        if incident is None or incident.group is not None or incident.final() or node is None:
            continue
        if node.group is group and incident.kind in ("fault", "ticket", "test"):
            found.append(incident)
    return min(found, key=lambda i: (i.opened_at, i.born), default=None)


def _birth(store: Store, group: Group) -> Incident:
    node = group.root
    alert = root_alert(node)
    kind = alert.kind if alert.kind in ("ticket", "test") else "fault"
    incident = open_incident(store, kind, node.name, alert.fingerprint, alert.starts_at)
    alerts = [a for n in group.members.values() for a in n.alerts.values()]
    incident.first_received = min(store.now, *(a.received_at for a in alerts))
    incident.started_at = min(a.starts_at for a in alerts)
    incident.verdict = store.named.get(node.name)
    if alert.kind == "unknown":
        _flag(incident, "unplaced")
        lifecycle.note_unplaced(store, incident, alert)
    if kind == "test":
        _flag(incident, "test")
    origin = store.current(store.forest.before(group.root))
    if origin is not None:
        _relate(incident, origin.id, "split_from")
        _relate(origin, incident.id, "split_to")
        store.revise(origin)
        alerts.sort(key=lambda a: (a.starts_at, a.fingerprint))
        incident.listed = [a.fingerprint for a in alerts[: store.rules.members_listed]]
    return incident


def merge(store: Store, incident: Incident, into: Incident) -> None:
    """``incident`` turns out to be part of ``into``; its last revision says so."""
    into.first_received = min(into.first_received, incident.first_received)
    into.started_at = min(into.started_at, incident.started_at)
    into.duplicates += incident.duplicates
    into.past_alerts += incident.past_alerts
    into.listed = list(dict.fromkeys(into.listed + incident.listed))[: store.rules.members_listed]
    if into.rank_max < incident.rank_max:
        into.rank_max, into.severity_max = incident.rank_max, incident.severity_max
    for alert in incident.left.values():
        alert.incident_id = into.id
        store.mark_alert(alert)
    into.left.update(incident.left)
    incident.left = {}
    for flag in incident.flags:
        _flag(into, flag)
    if incident.acknowledged and not into.acknowledged:
        into.acknowledged = incident.acknowledged
    lifecycle.merge_pages(store, incident, into)
    suspicion.hand_over(store, incident, into)
    named.hand_over(incident, into)
    _relate(into, incident.id, "merged")
    incident.state, incident.merged_into, incident.group = "merged", into.id, None
    incident.heir = into
    incident.wanted = False
    node = store.forest.nodes.get(incident.root_service)
    path = [incident.root_service] if node is None else store.forest.path(node.name, store.rules.path_limit)
    reason = f"{incident.root_service} is explained by {path[-1]}"
    store.receipts.append(_receipt(store, incident, "symptom", "merged", into, [reason], path))
    bury(store, incident)


def _bring_back(store: Store, alert: AlertState) -> None:
    """The root of an incident that waits to be closed fires again where another one is: they are one then."""
    incident, node = store.incidents.get(alert.incident_id), store.node_of(alert)
    if incident is None or incident.group is not None or node is None or not node.group.owners:
        return
    if incident.root_fingerprint == alert.fingerprint and alert.firing and incident.kind == "fault":
        incident.group = node.group
        node.group.owners.append(incident)
        store.forest.touch(node.group)


def _rehome(store: Store, group: Group) -> None:
    """The incident of an emptied group follows the alert that stands for it, if that counts elsewhere now."""
    for incident in list(group.owners):
        alert = store.alerts.get(incident.root_fingerprint)
        node = store.node_of(alert) if alert is not None else None
        if node is not None and incident.kind == "fault" and not node.solo:
            group.owners.remove(incident)
            node.group.owners.append(incident)
            store.forest.touch(node.group)


def _dissolve(store: Store, group: Group) -> None:
    """All services of the group have been quiet for long enough."""
    owners, group.owners = group.owners, []
    for incident in owners:
        incident.group = None
        if not incident.final():
            conclude(store, incident)
            lifecycle.review(store, incident, None)


def refresh(store: Store, incident: Incident, group: Group) -> None:
    """Take the group's root and totals over into its incident, and revise it."""
    node = group.root
    alert = root_alert(node)
    if node.name != incident.root_service:
        _reroot(store, incident, node, alert)
    incident.root_fingerprint = alert.fingerprint
    incident.services = len(group.members) + _left_services(incident, group)
    incident.alerts = group.alerts + len(incident.left) + incident.past_alerts
    incident.symptoms = incident.alerts - 1
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
        flags = {*incident.flags} - {"inferred", "visibility_lost"}
        if node.silent:
            watches = OBSERVER in store.graph.node(node.name).labels
            flags |= {"inferred", "visibility_lost"} if watches else {"inferred"}
        incident.flags = sorted(flags)
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
        _flag(incident, "unplaced")
    else:
        incident.flags = [f for f in incident.flags if f != "unplaced"]
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
    store.receipts.append(_receipt(store, incident, "root", "re_rooted", incident, [reason], path))


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


def bury(store: Store, incident: Incident) -> None:
    """Nothing more can happen to it: publish its last revision as it is now, and a tombstone later."""
    store.revise(incident)
    store.finals.append((incident.id, snapshot(store, incident)))
    suspicion.forget(store, incident)
    store.changed.pop(incident.id, None)
    incident.left = {}
    del store.incidents[incident.id]
    store.tombs[incident.id] = store.now + store.rules.incident_retention
    store.dirty.add(("t", incident.id))
    store.at(store.tombs[incident.id], "tomb", incident.id)


def release(store: Store, incident: Incident, alert: AlertState) -> bool:
    """Forget a member that left long ago, but not the one that stands for the root; False for that."""
    if alert.fingerprint == incident.root_fingerprint:
        return False
    incident.left.pop(alert.fingerprint, None)
    incident.past_alerts += 1
    store.mark_incident(incident)
    if alert.ended == "unknown" and "expired" not in incident.flags:
        _flag(incident, "expired")
        store.revise(incident)
    if alert.fingerprint in incident.listed:
        incident.listed.remove(alert.fingerprint)
        store.revise(incident)
    return True


def _receipt(
    store: Store,
    incident: Incident,
    verdict: str,
    rule: str,
    target: Incident,
    reasons: list[str],
    path: list[str],
) -> dict[str, Any]:
    alert = store.alerts.get(incident.root_fingerprint)
    return {
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


def _flag(incident: Incident, flag: str) -> None:
    if flag not in incident.flags:
        incident.flags = sorted([*incident.flags, flag])


def _relate(incident: Incident, other: str, relation: str) -> None:
    entry = {"id": other, "relation": relation}
    if entry not in incident.related:
        incident.related = [*incident.related, entry][-MOST_RELATED:]
