"""What happens when time passes: one function per kind of deadline, each checking that it still applies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from correlator.engine import assess, changes, dedup, grouping, hiding, lifecycle, places, shown, summary, trust
from correlator.engine.groups import subtree
from correlator.engine.store import Deadline, Store

__all__ = ["arm", "fire", "tidy"]

#: Stale deadlines are thrown away when there are so many times as many deadlines as there were without, and some.
_STALE: Final = 4
_SOME: Final = 10_000


def fire(store: Store, time: float, batch: Sequence[Deadline], budget: int = 1_000_000_000) -> int:
    """Fire the deadlines of one instant; the caller has set ``store.now`` to it. The answer is how many still applied.

    After ``budget`` of them the rest is left for a later step.
    """
    fired = 0
    for place, (kind, key) in enumerate(batch):
        if fired >= budget:
            for deadline in batch[place:]:
                store.at(time, *deadline)
            break
        fired += _KINDS[kind](store, key, time)
    return fired


def _ttl(store: Store, key: str, time: float) -> bool:
    alert = store.alerts.get(key)
    if alert is None or not alert.firing:
        return False
    record = store.sources.get(alert.source)
    if record is not None and record.lost_at is not None:
        return False  # stands still; armed again when the source is back
    if alert.expires_at > time:
        store.at(alert.expires_at, "ttl", key)
        return False
    dedup.expire(store, alert)
    return True


def _leave(store: Store, key: str, time: float) -> bool:
    alert = store.alerts.get(key)
    if alert is None or not alert.live or alert.firing or alert.leaves_at > time:
        return False
    places.leave(store, alert)
    return True


def _forget(store: Store, key: str, time: float) -> bool:
    alert = store.alerts.get(key)
    if alert is None or alert.firing or alert.live or alert.leaves_at > time:
        return False
    incident = store.incidents.get(alert.incident_id)
    if incident is not None and not shown.release(store, incident, alert):
        alert.leaves_at = time + store.rules.late_window
        store.at(alert.leaves_at, "forget", key)
    else:
        del store.alerts[key]
    store.mark_alert(alert)
    return True


def _open(store: Store, key: str, time: float) -> bool:
    incident = store.incidents.get(key)
    if incident is None or incident.state != "forming" or incident.opens_at is None or incident.opens_at > time:
        return False
    lifecycle.transition(incident, "settled")
    store.revise(incident)
    return True


def _page(store: Store, key: str, time: float) -> bool:
    incident = store.incidents.get(key)
    if incident is None or incident.page_due is None or incident.page_due > time:
        return False
    lifecycle.page_due(store, incident)
    return True


def _hold(store: Store, key: str, time: float) -> bool:
    incident = store.incidents.get(key)
    if incident is None or incident.held_until is None or incident.held_until > time:
        return False
    lifecycle.review(store, incident, incident.group)
    store.revise(incident)
    return True


def _close(store: Store, key: str, time: float) -> bool:
    incident = store.incidents.get(key)
    if incident is None or incident.closes_at is None or incident.closes_at > time:
        return False
    if incident.kind == "summary":
        summary.close(store, incident)
        grouping.bury(store, incident)
        return True
    group = incident.group
    for node in [] if group is None else reversed(list(subtree(group.root))):
        for alert in list(node.alerts.values()):
            places.leave(store, alert)
    if group is not None:
        group.owners = [o for o in group.owners if o is not incident]
    incident.group = None
    assess.learn(store, incident)
    shown.conclude(store, incident)
    incident.wanted = False
    lifecycle.transition(incident, "over" if incident.state == "resolved" else "given_up")
    grouping.bury(store, incident)
    return True


def _tomb(store: Store, key: str, time: float) -> bool:
    if store.tombs.get(key, time + 1.0) > time:
        return False
    del store.tombs[key]
    store.dirty.add(("t", key))
    if key in store.homes:
        store.departed[key] = store.homes.pop(key)
        store.dirty.add(("o", key))
    store.finals.append((key, None))
    return True


def _beat(store: Store, key: str, time: float) -> bool:
    record = store.sources.get(key)
    if record is None or record.lost_at is not None or record.beat_at is None:
        return False
    if record.beat_at + record.interval > time:
        return False
    lifecycle.lose(store, record)
    return True


def _bundle(store: Store, key: str, time: float) -> bool:
    record = store.sources.get(key)
    if record is None or record.bundle_until is None or record.bundle_until > time:
        return False
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
    return True


def _judge(store: Store, key: str, time: float) -> bool:
    return assess.fire(store, time)


_KINDS: Final[dict[str, Callable[[Store, str, float], bool]]] = {
    "beat": _beat,
    "bundle": _bundle,
    "change": changes.expire,
    "close": _close,
    "forget": _forget,
    "hold": _hold,
    "judge": _judge,
    "leave": _leave,
    "open": _open,
    "page": _page,
    "review": trust.expire,
    "tomb": _tomb,
    "ttl": _ttl,
    "window": hiding.turn,
}


def tidy(store: Store) -> None:
    """Throw stale deadlines away when they are most of them: an alert that comes and goes leaves one each time.

    Amortised O(1) a deadline.
    """
    if store.asked > _STALE * store.armed + _SOME:
        arm(store)


def arm(store: Store) -> None:
    """Ask again for every deadline that the entities imply: after a restart, or a change of rules. O(entities)."""
    store.heap.clear()
    store.buckets.clear()
    store.asked = 0
    assess.arm(store)
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
    hiding.arm(store)
    changes.rearm(store)
    trust.arm(store)
    for key, time in store.tombs.items():
        store.at(time, "tomb", key)
    store.armed = store.asked
