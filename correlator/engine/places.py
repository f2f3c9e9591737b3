"""Where an alert counts as a possible explanation: it enters, leaves, moves, is masked.

A fault counts in the forest under its service; a ticket or a test counts on its own, outside of it.
"""

from __future__ import annotations

from correlator.engine import assess, shadow
from correlator.engine.groups import Node
from correlator.engine.state import AlertState, solo
from correlator.engine.store import Store, solo_key

__all__ = ["count_firing", "enter", "leave", "mask", "recount_onset", "relocate", "settle_onsets", "touch", "withdraw"]


def enter(store: Store, alert: AlertState) -> None:
    """The alert starts to count as a possible explanation."""
    alert.live = True
    forest = store.forest
    previous = store.incidents.get(alert.incident_id) if alert.incident_id else None
    if previous is not None:
        previous.left.pop(alert.fingerprint, None)
        store.revise(previous)
    starts, early = alert.starts_at, alert.starts_at - alert.ahead
    node: Node | None
    if alert.kind in ("ticket", "test"):
        key = solo_key(alert)
        node = store.solos.get(key)
        if node is None:
            node = store.solos[key] = solo(key, alert, store.facets(alert.service))
    else:
        node = forest.nodes.get(alert.service)
        if node is None:
            node = forest.insert(alert.service, starts, store.facets(alert.service), early)
        elif node.silent:
            forest.awake(node, starts, early)
        elif starts < node.onset or early < node.early:
            forest.onset(node, min(starts, node.onset), min(early, node.early))
        assess.note(store, alert, node)
    group = node.group
    node.alerts[alert.fingerprint] = alert
    group.alerts += 1
    if alert.firing:
        count_firing(node, alert, 1)
    forest.touched[id(group)] = group


def leave(store: Store, alert: AlertState) -> None:
    """The alert no longer counts as a possible explanation; its incident remembers it."""
    node = store.node_of(alert)
    assert node is not None
    owner = store.current(store.forest.before(node)) or store.incidents.get(alert.incident_id)
    withdraw(store, alert)
    alert.incident_id = owner.id if owner is not None else ""
    if owner is not None:
        owner.left[alert.fingerprint] = alert
    alert.leaves_at = store.now + store.rules.late_window
    store.at(alert.leaves_at, "forget", alert.fingerprint)
    store.mark_alert(alert)


def relocate(store: Store, alert: AlertState, service: str, known: bool) -> None:
    """The alert turns out to be about another service."""
    withdraw(store, alert)
    alert.service = service
    if alert.kind in ("", "unknown"):
        alert.kind = "" if known else "unknown"
    if alert.firing:
        hidden, alert.window = alert.window, store.masks(alert)
        if hidden is not None and alert.window is None:
            shadow.note(store, alert)
    enter(store, alert)
    store.mark_alert(alert)


def withdraw(store: Store, alert: AlertState) -> None:
    """Take the alert out of where it counts; its incident does not hear of it."""
    node = store.node_of(alert)
    assert node is not None
    touch(store, node)
    if alert.firing:
        count_firing(node, alert, -1)
    alert.live = False
    del node.alerts[alert.fingerprint]
    node.group.alerts -= 1
    if node.alerts:
        store.restless[id(node)] = node
    elif node.solo:
        del store.solos[node.solo]
        node.group.members.clear()
    else:
        store.forest.remove(node.name)


def mask(store: Store, alert: AlertState, window: list[str] | None) -> None:
    """A maintenance window begins or ends for a firing alert."""
    node = store.node_of(alert)
    assert node is not None
    count_firing(node, alert, -1)
    alert.window = window
    count_firing(node, alert, 1)
    touch(store, node)
    shadow.note(store, alert)
    store.mark_alert(alert)
    store.pending.append((alert, "", "maintenance_over" if window is None else "maintenance"))


def touch(store: Store, node: Node) -> None:
    """Something about the node, and so about its group, changed in this step."""
    node.pile = None
    store.forest.touched[id(node.group)] = node.group


def count_firing(node: Node, alert: AlertState, sign: int) -> None:
    """Count a firing alert in or out; a masked one fires but has no say in the severity."""
    group = node.group
    node.firing += sign
    group.firing += sign
    if alert.window is None:
        node.severities[alert.rank] += sign
        group.severities[alert.rank] += sign


def recount_onset(store: Store, alert: AlertState) -> None:
    """The onset of the alert changed: so may that of its service."""
    node = store.node_of(alert)
    if node is not None:
        store.restless[id(node)] = node


def settle_onsets(store: Store) -> None:
    """Bring the onsets of services in line with their alerts: once a step, however many of them changed.

    O(alerts of those services + what :meth:`Forest.onset` costs).
    """
    restless, store.restless = store.restless, {}
    for node in sorted(restless.values(), key=lambda node: (node.name, node.solo)):
        current = store.solos.get(node.solo) if node.solo else store.forest.nodes.get(node.name)
        if current is not node or not node.alerts:
            continue
        onset = min([alert.starts_at for alert in node.alerts.values()])
        early = min([alert.starts_at - alert.ahead for alert in node.alerts.values()])
        if onset != node.onset or early != node.early:
            if node.solo:
                node.onset, node.early = onset, early
            else:
                store.forest.onset(node, onset, early)
            touch(store, node)
