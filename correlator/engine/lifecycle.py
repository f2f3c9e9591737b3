"""The life of an incident and the decision to wake somebody.

Theory of operation: the life is the table below and nothing else changes ``state``. A page is a field of the incident:
``seq`` grows by one each time that a person should be woken, so a reader that skips revisions still sees that there
was a page. The first page is due ``settle`` seconds after the incident's first alert was received, whatever
happens to its root meanwhile; later ones when it got materially worse than it was at the last page. Alerts of teams
for which suppression is not enabled page on their own (:mod:`correlator.engine.shadow`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from correlator.engine import hiding
from correlator.engine.birth import open_incident
from correlator.engine.groups import Group
from correlator.engine.shadow import entry, pages_alone
from correlator.engine.state import AlertState, Incident, Source
from correlator.engine.store import Store
from correlator.model import SEVERITIES

__all__ = [
    "TRANSITIONS",
    "ask",
    "beat",
    "lose",
    "merge_pages",
    "note_unplaced",
    "page",
    "page_due",
    "reconsider",
    "review",
    "transition",
    "worth",
]

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
    _mark(store, incident, group)
    if (group is not None and group.firing) or (group is None and incident.rank_now >= 0):
        _fires(store, incident)
        hiding.hush(store, incident)
        _consider_page(store, incident)
    elif incident.state in ("forming", "open"):
        _quiet(store, incident, group)


def _mark(store: Store, incident: Incident, group: Group | None) -> None:
    """Flags and onset from the alerts of this step."""
    rules = store.rules
    for alert in store.joined.get(incident.id, ()):
        incident.started_at = min(incident.started_at, alert.starts_at)
        incident.first_received = min(incident.first_received, alert.received_at)
        if len(alert.changes) >= rules.flap_threshold:
            incident.flag("flapping")
        if alert.window is not None:
            incident.flag("maintenance")
    if "maintenance" in incident.flags and not any(a.window is not None for a in _members(incident, group)):
        incident.unflag("maintenance")


def _fires(store: Store, incident: Incident) -> None:
    incident.held_until = None
    if incident.state == "resolved":
        since = store.now - (incident.resolved_at or store.now)
        transition(incident, "fired")
        incident.wanted = incident.seq > 0 or incident.paged is not None
        if since > store.rules.gap_window and incident.paged is not None:
            incident.paged = {**incident.paged, "reopened": True}
    incident.resolved_at = incident.closes_at = None
    incident.resolution = ""


def _quiet(store: Store, incident: Incident, group: Group | None) -> None:
    """Nothing fires any more: recovered, given up, or held because it flaps."""
    now, rules = store.now, store.rules
    if "flapping" in incident.flags and incident.closes_at is None:
        if incident.held_until is None:
            incident.held_until = now + rules.flap_hold
            store.at(incident.held_until, "hold", incident.id)
        if now < incident.held_until:
            return
    incident.held_until = None
    incident.page_due = None
    unknown = "expired" in incident.flags or any(a.ended == "unknown" for a in _members(incident, group))
    if incident.closes_at is None or not unknown:
        incident.closes_at = now + rules.reopen_window
        store.at(incident.closes_at, "close", incident.id)
    incident.resolution = "unknown" if unknown else "recovered"
    if not unknown:
        transition(incident, "recovered")
        incident.resolved_at = now
        incident.wanted = False


def _members(incident: Incident, group: Group | None) -> Iterator[AlertState]:
    for node in () if group is None else group.members.values():
        yield from node.alerts.values()
    yield from incident.left.values()


# -- paging ---------------------------------------------------------------------------------------------------


def _worthy(store: Store, incident: Incident) -> bool:
    if incident.kind == "test" or any(r["relation"] == "bundled_in" for r in incident.related):
        return False
    return incident.rank_now >= store.rules.page_rank


def worth(store: Store, alert: AlertState) -> bool:
    """Whether an alert is worth a page by itself."""
    return alert.rank >= store.rules.page_rank and alert.window is None


def reconsider(store: Store, incident: Incident) -> None:
    """Page an incident that has paged before if it is materially worse now."""
    if incident.paged is not None and incident.group is not None and incident.group.firing:
        _consider_page(store, incident)


def _consider_page(store: Store, incident: Incident) -> None:
    if store.arriving:
        return
    mine = [a for a in store.joined.get(incident.id, ()) if a.firing]
    alone = {a.fingerprint: a for a in mine if a.fingerprint in store.alone}
    for alert in alone.values():
        _page_alone(store, incident, alert)
    urgent = sorted(a.name for a in mine if a.urgent and a.window is None and a.fingerprint not in alone)
    if urgent and incident.kind != "test":
        page(store, incident, f"never_suppress: {urgent[0]}")
    elif not _worthy(store, incident):
        return
    elif incident.paged is None:
        rank = store.rules.page_rank
        waits = [store.settle_time(a.service) for a in mine if a.rank >= rank and not pages_alone(store, a)]
        if not waits and incident.group is not None and not store.rules.suppresses_all:
            return
        wait = min(waits, default=store.settle_time(incident.root_service))
        ask(store, incident, incident.first_received + wait)
    else:
        worse = _worse(incident, incident.paged)
        if worse is not None:
            at_once = worse.startswith(("severity", "reopened", "maintenance"))
            ask(store, incident, store.now + (0.0 if at_once else store.rules.repage_after))


def ask(store: Store, incident: Incident, due: float) -> None:
    """Have an incident page at ``due`` if it is still warranted then, unless it will earlier."""
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
        if not store.rules.suppresses_all and not _for_itself(store, incident):
            return
        page(store, incident, _first_reason(incident))
    else:
        worse = _worse(incident, incident.paged)
        if worse is not None:
            page(store, incident, worse)


def _first_reason(incident: Incident) -> str:
    if incident.kind == "summary":
        return f"hidden, but hiding is not trusted: {incident.alerts} alert{'s' * (incident.alerts > 1)}"
    return f"{incident.severity_max} at {incident.root_service}"


def _for_itself(store: Store, incident: Incident) -> bool:
    """Whether it has something worth a page that does not page on its own. O(members)."""
    group, rank = incident.group, store.rules.page_rank
    if group is None:
        return True  # a lost source, a bundle
    found = (a for a in _members(incident, group) if a.firing and a.rank >= rank and a.window is None)
    return any(not pages_alone(store, alert) for alert in found)


def _worse(incident: Incident, paged: dict[str, Any]) -> str | None:
    """What is materially worse than at the last page, in words."""
    if paged.get("reopened"):
        return "reopened: it fires again"
    if paged.get("hidden"):
        return f"maintenance window {', '.join(paged['hidden'])} is over and it still fires"
    if incident.rank_now > paged["rank"]:
        return f"severity rose to {incident.severity_max}"
    known = paged["facets"]
    highest = min((int(value) for kind, value in known if kind == "tier"), default=None)
    for kind, value in incident.facets:
        if kind == "tenant" and [kind, value] not in known:
            return f"new tenant {value}"
        if kind == "tier" and (highest is None or int(value) < highest):
            return f"new tier {value}, more important than those before"
    if incident.services >= 2 * paged["services"]:
        return f"services rose from {paged['services']} to {incident.services}"
    if paged["root"] is not None and incident.root_service != paged["root"]:
        return f"root changed from {paged['root']} to {incident.root_service}"
    return None


def page(store: Store, incident: Incident, reason: str) -> None:
    """Somebody should be woken, now."""
    incident.seq += 1
    incident.wanted = True
    incident.page_due = None
    incident.urgency = "high" if incident.rank_now >= store.rules.page_rank else "low"
    incident.page_reason = reason
    if incident.first_wanted_at is None:
        incident.first_wanted_at = max(store.now, incident.opened_at)
    incident.paged = {
        "rank": incident.rank_now,
        "facets": [f for f in incident.facets if f[0] in ("tier", "tenant")],
        "services": max(1, incident.services),
        "root": incident.root_service,
    }
    store.revise(incident)


def _page_alone(store: Store, incident: Incident, alert: AlertState) -> None:
    """Wake the alert's own team; whether the incident pages for itself is another question."""
    incident.seq += 1
    incident.wanted = True
    incident.urgency = "high"
    incident.page_reason = f"shadow: {alert.name} on {alert.service}"
    if incident.first_wanted_at is None:
        incident.first_wanted_at = max(store.now, incident.opened_at)
    incident.alone = [*incident.alone, entry(store, alert, incident.seq)][-store.rules.members_listed :]
    incident.flag("shadow")
    store.revise(incident)


def merge_pages(store: Store, incident: Incident, into: Incident) -> None:
    """A merge never delays a page: the earlier of the two times holds."""
    if into.paged is not None:
        return
    if incident.page_due is not None:
        _keep_due(store, into, incident.page_due)
    elif incident.paged is not None and not store.rules.suppresses_all:
        _keep_due(store, into, store.now)  # what was worth its page is here now


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
        found.bundle = found.incident_id = found.beats_for = None
    store.dirty.add(("s", name))
    return found


def beat(store: Store, name: str, interval: float, about: tuple[str, dict[str, str]]) -> None:
    """A heartbeat arrived: the source is alive, its alerts' time to live runs again.

    ``about`` are the service and the labels of the heartbeat.
    """
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
        _revise_those_of(store, name)
    record.beat_at, record.interval, record.beats_for = store.now, interval, about
    store.at(store.now + interval, "beat", name)


def lose(store: Store, record: Source) -> None:
    """The heartbeat of a source is overdue: an incident of its own, and what it last said may be out of date."""
    assert record.beat_at is not None
    record.lost_at = store.now
    store.dirty.add(("s", record.name))
    incident = store.incidents.get(record.incident_id or "")
    if incident is None:
        incident = open_incident(store, "source_lost", record.name, "", record.beat_at)
        incident.flags = ["degraded_source"]
        incident.rank_max, incident.severity_max = 3, "critical"
        incident.services = 1
        record.incident_id = incident.id
        incident.first_received = store.now - store.rules.settle
    incident.started_at = record.beat_at
    incident.rank_now = 3
    review(store, incident, None)
    store.revise(incident)
    _revise_those_of(store, record.name)


def _revise_those_of(store: Store, name: str) -> None:
    """Incidents whose root the source reported say whether it is lost."""
    for incident in store.incidents.values():
        alert = store.alerts.get(incident.root_fingerprint)
        if alert is not None and alert.source == name:
            store.revise(incident)


def note_unplaced(store: Store, incident: Incident, alert: AlertState) -> None:
    """Many unplaced incidents of one source and site at once become one page: the rest are bundled."""
    site = alert.labels.get(store.rules.site_label)
    name = f"{alert.source} at {site}" if site else alert.source
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
    bundle.rank_now = bundle.rank_max = max(bundle.rank_now, alert.rank)
    bundle.severity_max = SEVERITIES[bundle.rank_max]
    incident.relate(bundle.id, "bundled_in")
    record.bundle_until = store.now + rules.unplaced_window
    store.at(record.bundle_until, "bundle", name)
    _consider_page(store, bundle)
    store.revise(bundle)
