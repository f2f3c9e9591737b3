"""What happens when time passes: one function per kind of deadline, each checking that it still applies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from correlator.engine import dedup, grouping, lifecycle
from correlator.engine.groups import subtree
from correlator.engine.store import Deadline, Store, matches

__all__ = ["arm", "fire"]


def fire(store: Store, time: float, batch: Sequence[Deadline]) -> None:
    """Fire the deadlines of one instant. The caller has set ``store.now`` to it."""
    for kind, key in batch:
        _KINDS[kind](store, key, time)


def _ttl(store: Store, key: str, time: float) -> None:
    alert = store.alerts.get(key)
    if alert is None or not alert.firing:
        return
    record = store.sources.get(alert.source)
    if record is not None and record.lost_at is not None:
        return  # stands still; armed again when the source is back
    if alert.expires_at <= time:
        dedup.expire(store, alert)
    else:
        store.at(alert.expires_at, "ttl", key)


def _leave(store: Store, key: str, time: float) -> None:
    alert = store.alerts.get(key)
    if alert is not None and alert.live and not alert.firing and alert.leaves_at <= time:
        dedup.leave(store, alert)


def _forget(store: Store, key: str, time: float) -> None:
    alert = store.alerts.get(key)
    if alert is None or alert.firing or alert.live or alert.leaves_at > time:
        return
    incident = store.incidents.get(alert.incident_id)
    if incident is not None:
        incident.left.pop(key, None)
        incident.past_alerts += 1
        store.mark_incident(incident)
    del store.alerts[key]
    store.mark_alert(alert)


def _open(store: Store, key: str, time: float) -> None:
    incident = store.incidents.get(key)
    if incident is not None and incident.state == "forming":
        lifecycle.transition(incident, "settled")
        store.revise(incident)


def _page(store: Store, key: str, time: float) -> None:
    incident = store.incidents.get(key)
    if incident is not None and incident.page_due is not None and incident.page_due <= time:
        lifecycle.page_due(store, incident)


def _hold(store: Store, key: str, time: float) -> None:
    incident = store.incidents.get(key)
    if incident is not None and incident.held_until is not None and incident.held_until <= time:
        lifecycle.review(store, incident, incident.group)
        store.revise(incident)


def _close(store: Store, key: str, time: float) -> None:
    incident = store.incidents.get(key)
    if incident is None or incident.closes_at is None or incident.closes_at > time:
        return
    group = incident.group
    for node in [] if group is None else reversed(list(subtree(group.root))):
        for alert in list(node.alerts.values()):
            dedup.leave(store, alert)
    if group is not None:
        group.owners = [o for o in group.owners if o is not incident]
    incident.group = None
    grouping.conclude(store, incident)
    incident.wanted = False
    lifecycle.transition(incident, "over" if incident.state == "resolved" else "given_up")
    grouping.bury(store, incident)


def _tomb(store: Store, key: str, time: float) -> None:
    if store.tombs.pop(key, None) is not None:
        store.dirty.add(("t", key))
        store.finals.append((key, None))


def _beat(store: Store, key: str, time: float) -> None:
    record = store.sources.get(key)
    if record is None or record.lost_at is not None or record.beat_at is None:
        return
    if record.beat_at + record.interval > time:
        return
    record.lost_at = time
    store.dirty.add(("s", key))
    incident = grouping.open_incident(store, "source_lost", key, "", record.beat_at)
    incident.flags = ["degraded_source"]
    incident.rank_now = incident.rank_max = 3
    incident.severity_max = "critical"
    incident.services = 1
    record.incident_id = incident.id
    incident.first_received = time - store.rules.settle
    lifecycle.review(store, incident, None)


def _bundle(store: Store, key: str, time: float) -> None:
    record = store.sources.get(key)
    if record is None or record.bundle_until is None or record.bundle_until > time:
        return
    incident = store.incidents.get(record.bundle or "")
    record.bundle = record.bundle_until = None
    store.dirty.add(("s", key))
    if incident is not None:
        incident.rank_now = -1
        incident.closes_at = time
        incident.resolution = "unknown"
        incident.wanted = False
        lifecycle.transition(incident, "given_up")
        grouping.bury(store, incident)


def _window(store: Store, key: str, time: float) -> None:
    """A maintenance window begins or ends: what fires and matches is masked or comes out."""
    window = store.windows.get(key)
    if window is None:
        return
    for alert in list(store.alerts.values()):
        if alert.firing and (alert.window == key or matches(window.matcher, alert)):
            found = store.masks(alert)
            if found != alert.window:
                dedup.mask(store, alert, found)
    if time >= window.ends_at:
        del store.windows[key]
        store.dirty.add(("w", key))


_KINDS: Final[dict[str, Callable[[Store, str, float], None]]] = {
    "beat": _beat,
    "bundle": _bundle,
    "close": _close,
    "forget": _forget,
    "hold": _hold,
    "leave": _leave,
    "open": _open,
    "page": _page,
    "tomb": _tomb,
    "ttl": _ttl,
    "window": _window,
}


def arm(store: Store) -> None:
    """Ask again for every deadline that the entities imply: after a restart, or a change of rules."""
    store.heap.clear()
    store.buckets.clear()
    for key, alert in store.alerts.items():
        if alert.firing:
            store.at(alert.expires_at, "ttl", key)
        else:
            store.at(alert.leaves_at, "leave" if alert.live else "forget", key)
    for key, incident in store.incidents.items():
        if incident.state == "forming" and incident.opens_at is not None:
            store.at(incident.opens_at, "open", key)
        for time, kind in (
            (incident.page_due, "page"),
            (incident.held_until, "hold"),
            (incident.closes_at, "close"),
        ):
            if time is not None:
                store.at(time, kind, key)
    for key, record in store.sources.items():
        if record.beat_at is not None and record.lost_at is None:
            store.at(record.beat_at + record.interval, "beat", key)
        if record.bundle_until is not None:
            store.at(record.bundle_until, "bundle", key)
    for key, window in store.windows.items():
        store.at(max(window.starts_at, store.now) if store.now < window.starts_at else window.ends_at, "window", key)
    for key, time in store.tombs.items():
        store.at(time, "tomb", key)
