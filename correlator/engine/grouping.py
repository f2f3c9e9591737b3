"""From trees to incidents: births, merges, splits, and which incident goes with which group.

Called once at the end of every step, for the groups that the step touched, in the order of their roots' names.
One group has one incident. Where trees grew together the oldest incident stays and the others are merged into
it; where a tree was cut the incident stays with the heir and the rest that still fires becomes new incidents that name
their origin. A late root therefore changes the root of the incident that people already know.
"""

from __future__ import annotations

from correlator.engine import lifecycle, moves, named, receipts, shown, suspicion
from correlator.engine.birth import open_incident
from correlator.engine.groups import Group
from correlator.engine.places import leave
from correlator.engine.render import snapshot
from correlator.engine.state import AlertState, Incident
from correlator.engine.store import Store

__all__ = ["bury", "merge", "settle"]


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
        shown.refresh(store, group.owners[0], group)
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
    alert = shown.root_alert(node)
    kind = alert.kind if alert.kind in ("ticket", "test") else "fault"
    incident = open_incident(store, kind, node.name, alert.fingerprint, alert.starts_at)
    alerts = [a for n in group.members.values() for a in n.alerts.values()]
    incident.first_received = min(store.now, *(a.received_at for a in alerts))
    incident.started_at = min(a.starts_at for a in alerts)
    incident.verdict = store.named.get(node.name)
    if alert.kind == "unknown":
        incident.flag("unplaced")
        lifecycle.note_unplaced(store, incident, alert)
    if kind == "test":
        incident.flag("test")
    origin = store.current(store.forest.before(group.root))
    if origin is not None:
        incident.relate(origin.id, "split_from")
        origin.relate(incident.id, "split_to")
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
        into.flag(flag)
    if incident.acknowledged and not into.acknowledged:
        into.acknowledged = incident.acknowledged
    lifecycle.merge_pages(store, incident, into)
    suspicion.hand_over(store, incident, into)
    named.hand_over(incident, into)
    into.relate(incident.id, "merged")
    incident.state, incident.merged_into, incident.group = "merged", into.id, None
    incident.heir = into
    incident.wanted = False
    node = store.forest.nodes.get(incident.root_service)
    path = [incident.root_service] if node is None else store.forest.path(node.name, store.rules.path_limit)
    reason = f"{incident.root_service} is explained by {path[-1]}"
    receipts.of_incident(store, incident, "symptom", "merged", into, [reason], path)
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
            shown.conclude(store, incident)
            lifecycle.review(store, incident, None)


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
