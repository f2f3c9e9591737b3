"""The life of an incident and the decision to wake somebody.

Theory of operation: the life is the table below and nothing else changes ``state``. A page is a field of the incident:
``seq`` grows by one each time that a person should be woken, so a reader that skips revisions still sees that there
was a page. The first page is due ``settle`` seconds after the incident's first alert was received, whatever
happens to its root meanwhile; later ones when it got materially worse than it was at the last page.
"""

from __future__ import annotations

from typing import Any, Final

from correlator.engine.birth import open_incident
from correlator.engine.groups import Group
from correlator.engine.state import Incident, Source
from correlator.engine.store import Store

__all__ = ["TRANSITIONS", "beat", "merge_pages", "note_unplaced", "page_due", "review", "transition"]

#: (state, event) -> state
TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    ("forming", "settled"): "open",
    ("forming", "recovered"): "resolved",
    ("forming", "given_up"): "closed",
    ("open", "recovered"): "resolved",
    ("open", "given_up"): "closed",
    ("resolved", "fired"): "open",
    ("resolved", "over"): "closed",
}


def transition(incident: Incident, event: str) -> None:
    """Move along the table. An event that the state does not know is a programming error: ``LookupError``."""
    try:
        incident.state = TRANSITIONS[incident.state, event]
    except KeyError:
        raise LookupError(f"incident {incident.id}: {event!r} has no meaning in state {incident.state!r}") from None


def review(store: Store, incident: Incident, group: Group | None) -> None:
    """Look at an incident after a change: is it over, is it back, must somebody be woken?"""
    _mark(store, incident)
    if (group is not None and group.firing) or (group is None and incident.rank_now >= 0):
        _fires(store, incident)
        _consider_page(store, incident)
    elif incident.state in ("forming", "open") and incident.closes_at is None:
        _quiet(store, incident, group)


def _mark(store: Store, incident: Incident) -> None:
    """Flags and onset from the alerts of this step."""
    rules = store.rules
    for alert in store.joined.get(incident.id, ()):
        incident.started_at = min(incident.started_at, alert.starts_at)
        incident.first_received = min(incident.first_received, alert.received_at)
        flags = set(incident.flags)
        if len(alert.changes) >= rules.flap_threshold:
            flags.add("flapping")
        if alert.window is not None:
            flags.add("maintenance")
        if len(flags) != len(incident.flags):
            incident.flags = sorted(flags)


def _fires(store: Store, incident: Incident) -> None:
    incident.held_until = None
    if incident.state == "resolved":
        since = store.now - (incident.resolved_at or store.now)
        transition(incident, "fired")
        incident.wanted = incident.seq > 0
        if since > store.rules.gap_window and incident.paged is not None:
            incident.paged = {**incident.paged, "reopened": True}
    incident.resolved_at = incident.closes_at = None
    incident.resolution = ""


def _quiet(store: Store, incident: Incident, group: Group | None) -> None:
    """Nothing fires any more: recovered, given up, or held because it flaps."""
    now, rules = store.now, store.rules
    if "flapping" in incident.flags:
        if incident.held_until is None:
            incident.held_until = now + rules.flap_hold
            store.at(incident.held_until, "hold", incident.id)
        if now < incident.held_until:
            return
    incident.held_until = None
    incident.page_due = None
    incident.closes_at = now + rules.reopen_window
    store.at(incident.closes_at, "close", incident.id)
    members = [] if group is None else [a for n in group.members.values() for a in n.alerts.values()]
    if any(a.ended == "unknown" for a in [*members, *incident.left.values()]):
        incident.resolution = "unknown"
    else:
        transition(incident, "recovered")
        incident.resolved_at = now
        incident.resolution = "recovered"
        incident.wanted = False


# -- paging ---------------------------------------------------------------------------------------------------


def _worthy(store: Store, incident: Incident) -> bool:
    if incident.kind == "test" or any(r["relation"] == "bundled_in" for r in incident.related):
        return False
    return incident.rank_now >= store.rules.page_rank


def _consider_page(store: Store, incident: Incident) -> None:
    mine = [a for a in store.joined.get(incident.id, ()) if a.firing]
    urgent = sorted(a.name for a in mine if a.urgent and a.window is None)
    if urgent and incident.kind != "test":
        _page(store, incident, f"never_suppress: {urgent[0]}")
    elif not _worthy(store, incident):
        return
    elif incident.paged is None:
        rank = store.rules.page_rank
        waits = [store.settle_time(a.service) for a in mine if a.rank >= rank]
        wait = min(waits, default=store.settle_time(incident.root_service))
        _ask(store, incident, incident.first_received + wait)
    else:
        worse = _worse(incident, incident.paged)
        if worse is not None:
            at_once = worse.startswith(("severity", "reopened"))
            _ask(store, incident, store.now + (0.0 if at_once else store.rules.repage_after))


def _ask(store: Store, incident: Incident, due: float) -> None:
    if incident.page_due is None or due < incident.page_due:
        incident.page_due = due
        store.at(due, "page", incident.id)
        store.mark_incident(incident)
    if incident.page_due <= store.horizon():
        page_due(store, incident)


def page_due(store: Store, incident: Incident) -> None:
    """The time has come: page if it is still warranted."""
    incident.page_due = None
    store.mark_incident(incident)
    if not _worthy(store, incident) or incident.final() or incident.state == "resolved":
        return
    if incident.paged is None:
        _page(store, incident, f"{incident.severity_max} at {incident.root_service}")
    else:
        worse = _worse(incident, incident.paged)
        if worse is not None:
            _page(store, incident, worse)


def _worse(incident: Incident, paged: dict[str, Any]) -> str | None:
    """What is materially worse than at the last page, in words."""
    if paged.get("reopened"):
        return "reopened: it fires again"
    if incident.rank_now > paged["rank"]:
        return f"severity rose to {incident.severity_max}"
    facets = [f for f in incident.facets if f not in paged["facets"]]
    for kind, value in facets:
        if kind in ("tier", "tenant"):
            return f"new {kind} {value}"
    if incident.services >= 2 * paged["services"]:
        return f"services rose from {paged['services']} to {incident.services}"
    if incident.root_service != paged["root"]:
        return f"root changed from {paged['root']} to {incident.root_service}"
    return None


def _page(store: Store, incident: Incident, reason: str) -> None:
    incident.seq += 1
    incident.wanted = True
    incident.page_due = None
    incident.urgency = "high" if incident.rank_now >= store.rules.page_rank else "low"
    incident.page_reason = reason
    if incident.first_wanted_at is None:
        incident.first_wanted_at = store.now
    incident.paged = {
        "rank": incident.rank_now,
        "facets": [f for f in incident.facets if f[0] in ("tier", "tenant")],
        "services": max(1, incident.services),
        "root": incident.root_service,
    }
    store.revise(incident)


def merge_pages(store: Store, incident: Incident, into: Incident) -> None:
    """A merge never delays a page: the earlier of the two times holds."""
    if incident.page_due is not None and into.paged is None:
        _keep_due(store, into, incident.page_due)


def _keep_due(store: Store, incident: Incident, due: float) -> None:
    if incident.page_due is None or due < incident.page_due:
        incident.page_due = due
        store.at(due, "page", incident.id)


# -- sources --------------------------------------------------------------------------------------------------


def source(store: Store, name: str) -> Source:
    """The record of a sending system, made on first use."""
    found = store.sources.get(name)
    if found is None:
        found = store.sources[name] = Source()
        found.name, found.interval = name, 0.0
        found.beat_at = found.lost_at = found.bundle_until = None
        found.unplaced = []
        found.bundle = found.incident_id = None
    store.dirty.add(("s", name))
    return found


def beat(store: Store, name: str, interval: float) -> None:
    """A heartbeat arrived: the source is alive, its alerts' time to live runs again."""
    record = source(store, name)
    if record.lost_at is not None:
        stood = store.now - record.lost_at
        for alert in store.alerts.values():
            if alert.source == name and alert.firing:
                alert.expires_at += stood
                store.at(alert.expires_at, "ttl", alert.fingerprint)
                store.mark_alert(alert)
        record.lost_at = None
        incident = store.incidents.get(record.incident_id or "")
        if incident is not None:
            incident.rank_now = -1
            review(store, incident, None)
            store.revise(incident)
        record.incident_id = None
    record.beat_at, record.interval = store.now, interval
    store.at(store.now + interval, "beat", name)


def note_unplaced(store: Store, incident: Incident, name: str) -> None:
    """Many unplaced incidents of one source at once become one page: the rest are bundled."""
    rules, record = store.rules, source(store, name)
    record.unplaced = [t for t in record.unplaced if t > store.now - rules.unplaced_window]
    record.unplaced = [*record.unplaced, store.now][-rules.unplaced_burst - 1 :]
    if len(record.unplaced) <= rules.unplaced_burst:
        return
    bundle = store.incidents.get(record.bundle or "")
    if bundle is None or bundle.final():
        bundle = open_incident(store, "bundle", name, "", store.now)
        bundle.flags = ["unplaced"]
        record.bundle = bundle.id
    bundle.alerts += 1
    bundle.services += 1
    bundle.symptoms = bundle.alerts
    rank = max((a.rank for a, _, _ in store.pending if a.kind == "unknown"), default=0)
    bundle.rank_now = max(bundle.rank_now, rank)
    bundle.rank_max = max(bundle.rank_max, rank)
    incident.related = [*incident.related, {"id": bundle.id, "relation": "bundled_in"}]
    record.bundle_until = store.now + rules.unplaced_window
    store.at(record.bundle_until, "bundle", name)
    _consider_page(store, bundle)
    store.revise(bundle)
