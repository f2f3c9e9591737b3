"""One message about one fingerprint: new, again, over, or too late.

An episode is one firing-to-resolved life of a fingerprint. Messages arrive in any order, so what is kept makes
the order irrelevant: the earliest and the latest onset since the last known end, and that end. A firing message
that started at or before the last end belongs to an ended episode; a resolve that ended before the latest
onset ends an older one. A resolve that comes before its firing is remembered and ends it on arrival.
"""

from __future__ import annotations

from typing import Any

from correlator.engine.groups import Node
from correlator.engine.state import AlertState, solo
from correlator.engine.store import Store, matches, solo_key
from correlator.model import severity_rank

__all__ = ["count_firing", "enter", "expire", "fire", "leave", "mask", "resolve"]


def fire(store: Store, row: list[Any], kind: str) -> str:
    """Take a firing message; the answer is its verdict, '' where grouping decides it."""
    alert = store.alerts.get(row[4])
    if alert is None:
        if len(store.alerts) >= store.rules.max_active_alerts:
            store.limits["max_active_alerts"] += 1
            return "rejected"
        alert = store.alerts[row[4]] = AlertState(row, kind)
        _start(store, alert, row)
        return ""
    if alert.firing:
        _again(store, alert, row)
        return "duplicate"
    starts = row[9]
    if not alert.live:
        alert.kind = kind
    if starts > alert.last_end:
        alert.starts_at = alert.latest_start = starts
        _describe(alert, row)
        _start(store, alert, row)
        return ""
    return _stale_firing(store, alert, row)


def _stale_firing(store: Store, alert: AlertState, row: list[Any]) -> str:
    """A firing of an episode that has ended: it lowers the onset, or joins as already resolved."""
    store.mark_alert(alert)
    if alert.seen:
        if alert.live and row[9] < alert.starts_at:
            alert.starts_at = row[9]
            _onset(store, alert)
        return "late"
    alert.starts_at = alert.latest_start = row[9]
    _describe(alert, row)
    alert.seen, alert.ended = True, "resolved"
    alert.leaves_at = store.now + store.rules.grace
    store.at(alert.leaves_at, "leave", alert.fingerprint)
    enter(store, alert)
    store.pending.append((alert, "", "resolved_before_firing"))
    return ""


def _describe(alert: AlertState, row: list[Any]) -> None:
    alert.service, alert.name, alert.severity = row[5], row[6], row[7]
    alert.rank = severity_rank(row[7])
    alert.labels, alert.annotations, alert.source, alert.notes = row[11], row[12], row[13], row[14]
    if not row[3] and not alert.kind:
        alert.kind = "unknown"


def _start(store: Store, alert: AlertState, row: list[Any]) -> None:
    """A new episode begins."""
    rules, now = store.rules, store.now
    alert.firing = alert.seen = True
    alert.ended = ""
    alert.received_at = row[2]
    if alert.changes:
        recent = [t for t in alert.changes if t > now - rules.flap_window][1 - rules.flap_threshold :]
        alert.changes = [*recent, now]
    else:
        alert.changes = [now]
    ends_at = row[10]
    alert.sender_ttl = ends_at is not None and ends_at > now
    alert.expires_at = ends_at if alert.sender_ttl else now + rules.ttl
    alert.refreshed_at = now
    store.at(alert.expires_at, "ttl", alert.fingerprint)
    if rules.never_suppress:
        alert.urgent = any(matches(m, alert) for m in rules.never_suppress)
    if store.windows:
        alert.window = store.masks(alert)
    store.active += 1
    if alert.live:
        node = store.node_of(alert)
        assert node is not None
        count_firing(node, alert, 1)
        _onset(store, alert)
        touch(store, node)
    else:
        enter(store, alert)
    store.pending.append((alert, "", ""))
    store.dirty.add(("a", alert.fingerprint))


def _refresh(store: Store, alert: AlertState, ends_at: float | None) -> None:
    """A repeat puts the expiry off. Small advances are ignored: they would only cost writes."""
    now = store.now
    if ends_at is not None and ends_at > now:
        alert.sender_ttl = True
        wanted, slack = ends_at, 30.0
    else:
        wanted, slack = now + store.rules.ttl, store.rules.ttl / 16
    if 0 <= wanted - alert.expires_at < slack:
        return
    if wanted < alert.expires_at:
        store.at(wanted, "ttl", alert.fingerprint)
    alert.expires_at, alert.refreshed_at = wanted, now
    store.dirty.add(("a", alert.fingerprint))


def _again(store: Store, alert: AlertState, row: list[Any]) -> None:
    """The same alert fires again: it may be worse, or turn out to have started earlier."""
    starts = row[9]
    if starts > alert.latest_start:
        alert.latest_start = starts
        store.dirty.add(("a", alert.fingerprint))
    elif starts < alert.starts_at and starts > alert.last_end:
        alert.starts_at = starts
        store.dirty.add(("a", alert.fingerprint))
        _onset(store, alert)
    if row[7] != alert.severity and severity_rank(row[7]) > alert.rank:
        _escalate(store, alert, row[7])
    _refresh(store, alert, row[10])
    incident = store.incident_of(alert)
    if incident is not None:
        incident.duplicates += 1
        store.dirty.add(("i", incident.id))


def _escalate(store: Store, alert: AlertState, severity: str) -> None:
    node = store.node_of(alert)
    assert node is not None
    count_firing(node, alert, -1)
    alert.severity, alert.rank = severity, severity_rank(severity)
    count_firing(node, alert, 1)
    touch(store, node)
    store.pending.append((alert, "", "escalated"))
    store.dirty.add(("a", alert.fingerprint))


def resolve(store: Store, row: list[Any]) -> str:
    """Take a resolve; the answer is its verdict. A resolve always passes."""
    alert = store.alerts.get(row[4])
    ends = row[10] if row[10] is not None else row[9]
    if alert is None:
        alert = store.alerts[row[4]] = AlertState(row, "")
        alert.last_end = ends
        alert.leaves_at = store.now + store.rules.late_window
        store.at(alert.leaves_at, "forget", alert.fingerprint)
        store.dirty.add(("a", alert.fingerprint))
        return "resolved"
    store.mark_alert(alert)
    if not alert.firing:
        alert.last_end = max(alert.last_end, ends)
        return "duplicate"
    if ends < alert.latest_start:
        alert.last_end = max(alert.last_end, ends)
        if alert.starts_at <= ends:
            alert.starts_at = alert.latest_start
            _onset(store, alert)
        return "late"
    alert.last_end = ends
    _end(store, alert, "resolved")
    store.pending.append((alert, "resolved", "resolved"))
    return "resolved"


def expire(store: Store, alert: AlertState) -> None:
    """Nobody repeated the alert for its time to live. That is not a recovery."""
    alert.last_end = max(alert.last_end, alert.latest_start)
    _end(store, alert, "unknown")
    store.pending.append((alert, "resolved", "expired"))


def _end(store: Store, alert: AlertState, how: str) -> None:
    node = store.node_of(alert)
    assert node is not None
    count_firing(node, alert, -1)
    alert.firing = False
    alert.ended = how
    alert.window = None
    alert.leaves_at = store.now + store.rules.grace
    store.active -= 1
    store.at(alert.leaves_at, "leave", alert.fingerprint)
    touch(store, node)
    store.mark_alert(alert)


# -- where an alert counts ------------------------------------------------------------------------------------


def enter(store: Store, alert: AlertState) -> None:
    """The alert starts to count as a possible explanation."""
    alert.live = True
    forest = store.forest
    previous = store.incidents.get(alert.incident_id) if alert.incident_id else None
    if previous is not None:
        previous.left.pop(alert.fingerprint, None)
        store.revise(previous)
    node: Node | None
    if alert.kind in ("ticket", "test"):
        key = solo_key(alert)
        node = store.solos.get(key)
        if node is None:
            node = store.solos[key] = solo(alert.service, alert.starts_at, store.facets(alert.service))
    else:
        node = forest.nodes.get(alert.service)
        if node is None:
            node = forest.insert(alert.service, alert.starts_at, store.facets(alert.service))
        elif alert.starts_at < node.onset:
            forest.onset(node, alert.starts_at)
    node.alerts[alert.fingerprint] = alert
    node.group.alerts += 1
    if alert.firing:
        count_firing(node, alert, 1)
    touch(store, node)


def leave(store: Store, alert: AlertState) -> None:
    """The alert no longer counts as a possible explanation; its incident remembers it."""
    node = store.node_of(alert)
    assert node is not None
    owner = node.group.owners[0] if node.group.owners else node.group.origin
    touch(store, node)
    alert.live = False
    alert.incident_id = owner.id if owner is not None else ""
    if owner is not None:
        owner.left[alert.fingerprint] = alert
    del node.alerts[alert.fingerprint]
    node.group.alerts -= 1
    store.at(store.now + store.rules.late_window, "forget", alert.fingerprint)
    alert.leaves_at = store.now + store.rules.late_window
    store.mark_alert(alert)
    if node.alerts:
        _recompute_onset(store, node)
    elif alert.kind in ("ticket", "test"):
        del store.solos[solo_key(alert)]
        node.group.members.clear()
    else:
        store.forest.remove(node.name)


def mask(store: Store, alert: AlertState, window: str | None) -> None:
    """A maintenance window begins or ends for a firing alert."""
    node = store.node_of(alert)
    assert node is not None
    count_firing(node, alert, -1)
    alert.window = window
    count_firing(node, alert, 1)
    touch(store, node)
    store.mark_alert(alert)
    store.pending.append((alert, "", "maintenance_over" if window is None else "maintenance"))


def touch(store: Store, node: Node) -> None:
    """Something about the node's group changed in this step."""
    store.forest.touched[id(node.group)] = node.group


def count_firing(node: Node, alert: AlertState, sign: int) -> None:
    """Count a firing alert in or out; a masked one fires but has no say in the severity."""
    group = node.group
    node.firing += sign
    group.firing += sign
    if alert.window is None:
        node.severities[alert.rank] += sign
        group.severities[alert.rank] += sign


def _onset(store: Store, alert: AlertState) -> None:
    node = store.node_of(alert)
    if node is not None:
        _recompute_onset(store, node)


def _recompute_onset(store: Store, node: Node) -> None:
    onset = min(a.starts_at for a in node.alerts.values())
    if onset != node.onset:
        if store.forest.nodes.get(node.name) is node:
            store.forest.onset(node, onset)
        else:
            node.onset = onset

