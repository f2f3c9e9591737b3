"""One message about one fingerprint: new, again, over, or too late.

An episode is one firing-to-resolved life of a fingerprint. Messages arrive in any order, so the answer is a function of
the onsets and ends that were reported, whatever their order::

    it fires    when the latest onset is after the latest end
    its onset   is the earliest onset after the latest of the ends that are before the latest onset

So a firing message that started at or before the last end belongs to an ended episode, a resolve that ended before the
latest onset ends an older one, and a resolve that comes before its firing is remembered and ends it on arrival. Four
onsets and four ends of a fingerprint are remembered: with more in one late window the answer is that of the latest
ones, and of the earliest onset.

The time to live ends an alert without an end: when it fires again with the same onset, it is the same episode.
"""

from __future__ import annotations

from typing import Any, Final

from correlator.engine import shadow
from correlator.engine.places import count_firing, enter, recount_onset, relocate, touch, withdraw
from correlator.engine.state import AlertState
from correlator.engine.store import Store, matches
from correlator.model import severity_rank

__all__ = ["expire", "fire", "resolve"]

_REMEMBERED: Final = 4
_ENDS_AT_SLACK: Final = 30.0


# -- messages -------------------------------------------------------------------------------------------------


def fire(store: Store, row: list[Any], kind: str) -> str:
    """Take a firing message; the answer is its verdict, '' where grouping decides it."""
    alert = store.alerts.get(row[4])
    if alert is None:
        if len(store.alerts) >= store.rules.max_active_alerts:
            store.limits["max_active_alerts"] += 1
            return "rejected"
        alert = store.alerts[row[4]] = AlertState()
        alert.begin(row, kind)
        if store.ahead:
            alert.ahead = store.ahead.get(row[13], 0.0)
        _start(store, alert, row)
        return ""
    if store.ahead:
        _note_ahead(store, alert, store.ahead.get(row[13], 0.0))
    starts = row[9]
    if starts <= alert.last_end and alert.ends:
        return _ended(store, alert, row, kind)
    if alert.firing:
        _again(store, alert, row)
        return "duplicate"
    if alert.ended == "unknown" and starts > alert.latest_start:
        _note_end(alert, alert.latest_start)  # nobody said so, but the one that expired is over
    _note_start(alert, starts)
    _describe(store, alert, row, kind)
    _start(store, alert, row)
    return ""


def _ended(store: Store, alert: AlertState, row: list[Any], kind: str) -> str:
    """A firing of an episode that has ended: it may lower the onset, or joins as already resolved."""
    store.mark_alert(alert)
    _note_start(alert, row[9])
    if alert.seen:
        recount_onset(store, alert)
        return "late"
    _describe(store, alert, row, kind)
    alert.received_at = row[2]
    alert.seen, alert.ended = True, "resolved"
    alert.leaves_at = store.now + store.rules.grace
    store.at(alert.leaves_at, "leave", alert.fingerprint)
    enter(store, alert)
    store.pending.append((alert, "", "resolved_before_firing"))
    return ""


def _describe(store: Store, alert: AlertState, row: list[Any], kind: str) -> None:
    """Take over what a message says about an alert that does not fire; it may be about another service by now."""
    kind = kind if kind or row[3] else "unknown"
    if alert.live and (row[5] != alert.service or kind != alert.kind):
        withdraw(store, alert)
    alert.kind = kind
    alert.service, alert.name, alert.severity = row[5], row[6], row[7]
    alert.rank = severity_rank(row[7])
    alert.labels, alert.annotations, alert.source, alert.notes = row[11], row[12], row[13], row[14]
    alert.extract = None


def _start(store: Store, alert: AlertState, row: list[Any]) -> None:
    """A new episode begins, or one that had expired goes on."""
    rules, now = store.rules, store.now
    alert.firing = alert.seen = True
    alert.ended = alert.told = ""
    alert.received_at, alert.began = row[2], store.offset
    if alert.changes:
        recent = [t for t in alert.changes if t > now - rules.flap_window][1 - rules.flap_threshold :]
        alert.changes = [*recent, now]
    else:
        alert.changes = [now]
    ends_at = row[10]
    alert.expires_at = ends_at if ends_at is not None and ends_at > now else now + rules.ttl
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
        recount_onset(store, alert)
        touch(store, node)
    else:
        enter(store, alert)
    if not rules.suppresses_all:
        shadow.note(store, alert)
    store.pending.append((alert, "", ""))
    store.dirty.add(("a", alert.fingerprint))


def _refresh(store: Store, alert: AlertState, ends_at: float | None) -> None:
    """A repeat puts the expiry off. Small advances are ignored: they would only cost writes."""
    now = store.now
    if ends_at is not None and ends_at > now:
        wanted, slack = ends_at, _ENDS_AT_SLACK
    else:
        wanted, slack = now + store.rules.ttl, store.rules.ttl / 16
    if 0 <= wanted - alert.expires_at < slack:
        return
    if wanted < alert.expires_at:
        store.at(wanted, "ttl", alert.fingerprint)
    alert.expires_at = wanted
    store.dirty.add(("a", alert.fingerprint))


def _again(store: Store, alert: AlertState, row: list[Any]) -> None:
    """The same alert fires again: it may be worse, or turn out to have started at another time."""
    starts = row[9]
    if starts != alert.latest_start and starts != alert.starts_at:
        _note_start(alert, starts)
        recount_onset(store, alert)
        store.dirty.add(("a", alert.fingerprint))
    if row[7] != alert.severity and severity_rank(row[7]) > alert.rank:
        _escalate(store, alert, row[7])
    if row[5] != alert.service:
        relocate(store, alert, row[5], bool(row[3]))
        store.pending.append((alert, "", "placed"))
    _refresh(store, alert, row[10])
    store.repeats[alert.fingerprint] = store.repeats.get(alert.fingerprint, 0) + 1


def _escalate(store: Store, alert: AlertState, severity: str) -> None:
    node = store.node_of(alert)
    assert node is not None, "an alert that fires is live"
    count_firing(node, alert, -1)
    alert.severity, alert.rank = severity, severity_rank(severity)
    if store.rules.never_suppress:
        alert.urgent = any(matches(m, alert) for m in store.rules.never_suppress)
    if store.windows:
        alert.window = store.masks(alert)
    count_firing(node, alert, 1)
    touch(store, node)
    shadow.note(store, alert)
    store.pending.append((alert, "", "escalated"))
    store.dirty.add(("a", alert.fingerprint))


def resolve(store: Store, row: list[Any]) -> str:
    """Take a resolve; the answer is its verdict. A resolve of the current episode always passes."""
    alert = store.alerts.get(row[4])
    ends = row[10] if row[10] is not None else row[9]
    if alert is None:
        return _early(store, row, ends)
    store.mark_alert(alert)
    _note_end(alert, ends)
    if not alert.seen:
        return "duplicate"
    if ends < alert.latest_start:
        recount_onset(store, alert)
        return "late"
    if alert.firing:
        _end(store, alert, "resolved")
    elif alert.ended == "unknown":
        alert.ended = "resolved"
        _review(store, alert)
    else:
        return "duplicate"
    store.pending.append((alert, "resolved", "resolved"))
    return "resolved"


def _early(store: Store, row: list[Any], ends: float) -> str:
    """A resolve before its firing: remembered for the late window."""
    if len(store.alerts) >= store.rules.max_active_alerts:
        store.limits["max_active_alerts"] += 1
        return "rejected"
    alert = store.alerts[row[4]] = AlertState()
    alert.begin(row, "")
    _note_end(alert, ends)
    alert.leaves_at = store.now + store.rules.late_window
    store.at(alert.leaves_at, "forget", alert.fingerprint)
    store.mark_alert(alert)
    return "early"


def expire(store: Store, alert: AlertState) -> None:
    """Nobody repeated the alert for its time to live. That is not a recovery."""
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


def _review(store: Store, alert: AlertState) -> None:
    """Have the incident of an alert that no longer fires looked at again."""
    node = store.node_of(alert)
    if node is not None:
        touch(store, node)
    elif alert.incident_id in store.incidents:
        store.reviews.add(alert.incident_id)


def _note_ahead(store: Store, alert: AlertState, ahead: float) -> None:
    """The clock of the source is ahead by so much: the most counts for as long as the alert is remembered."""
    if ahead > alert.ahead:
        alert.ahead = ahead
        recount_onset(store, alert)
        store.mark_alert(alert)


# -- episodes -------------------------------------------------------------------------------------------------


def _note_start(alert: AlertState, starts: float) -> None:
    """An onset was reported: forget those of ended episodes, keep the first and the latest of the others."""
    known = {*alert.starts, starts}
    if alert.seen:
        known |= {alert.starts_at, alert.latest_start}
    _episode(alert, sorted(known))


def _note_end(alert: AlertState, ends: float) -> None:
    """An end was reported."""
    alert.ends = sorted({*alert.ends, ends})[-_REMEMBERED:]
    alert.last_end = alert.ends[-1]
    if alert.seen:
        _episode(alert, sorted({*alert.starts, alert.starts_at, alert.latest_start}))


def _episode(alert: AlertState, starts: list[float]) -> None:
    latest = starts[-1]
    over = [end for end in alert.ends if end < latest]
    if over:
        starts = [s for s in starts if s > over[-1]]
    alert.starts_at, alert.latest_start = starts[0], latest
    alert.starts = [] if len(starts) < 3 else [starts[0], *starts[1:][1 - _REMEMBERED :]]
