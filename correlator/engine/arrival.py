"""How a shard begins that arrives from elsewhere: its alerts are where they were, and nobody is woken for that.

Where alerts of different shards come together, or apart, other alerts may explain them now: the incidents follow, as
they would after a change of the graph, and what the alerts say is judged at once. An incident that has paged is
compared with what its alerts have paged for before the move, or were not worth a page, wherever that was, and not with
a root that it had among others. What was due to page stays due.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from correlator.engine import assess, lifecycle, saved, trust
from correlator.engine.grouping import merge
from correlator.engine.layout import Incoming
from correlator.engine.rules import Rules
from correlator.engine.shard import Shard
from correlator.engine.state import Incident
from correlator.engine.store import Store, Watermarks
from topology import ServiceGraph

__all__ = ["arrived"]


def arrived(
    name: str, graph: ServiceGraph, rules: Rules, watermarks: Watermarks, offset: int, arrival: Incoming
) -> Shard:
    """The shard ``name`` from what the move brings, at ``offset`` of the log of its partition. O(state of the shard).

    Every incident gets a revision, because its shard has another name or place, and what fires gets a receipt with the
    rule ``shard_moved``.
    """
    shard = Shard(name, graph, rules, watermarks)
    store = shard.store
    saved.restore(store, arrival.meta, arrival.entities)
    store.offset = store.base + offset
    store.enter(f"{store.offset} moved")
    store.dirty.update(saved.keys(store))
    if arrival.was:
        store.forest.moved = {node: store.incidents.get(arrival.was.get(node, "")) for node in store.forest.nodes}
    for group in [*store.forest.groups(), *(node.group for node in store.solos.values())]:
        store.forest.touch(group)
    store.pending = [(alert, "", "shard_moved") for _, alert in sorted(store.alerts.items()) if alert.firing]
    before = dict(sorted(store.incidents.items()))
    known = {key: what for key, incident in before.items() if (what := _known(incident)) is not None}
    store.arriving = True
    _join_sources(store)
    shard.settle()
    if assess.fire(store, store.now):
        shard.settle()
    store.arriving = False
    if arrival.was:
        _pages(store, before, known, arrival.was)
    trust.update(store)
    for _, incident in sorted(store.incidents.items()):
        store.revise(incident)
    return shard


def _join_sources(store: Store) -> None:
    """A source that was known in several shards is one now: so is what was said about it."""
    stands = {key for record in store.sources.values() for key in (record.incident_id, record.bundle) if key}
    about = {(i.kind, i.root_service): i for key, i in sorted(store.incidents.items()) if key in stands}
    for key, incident in sorted(store.incidents.items()):
        into = about.get((incident.kind, incident.root_service))
        if incident.kind in ("source_lost", "bundle") and key not in stands and into is not None:
            merge(store, incident, into)


def _known(incident: Incident) -> dict[str, Any] | None:
    """What an incident is before the move, and is not about to page for, is no news after it."""
    if incident.page_due is not None:
        return incident.paged
    facets = [facet for facet in incident.facets if facet[0] in ("tier", "tenant")]
    now = {"rank": incident.rank_now, "facets": facets, "services": incident.services, "root": None}
    return now if incident.paged is None else _together(incident, [incident.paged, now])


def _pages(store: Store, before: dict[str, Incident], known: dict[str, dict[str, Any]], was: Mapping[str, str]) -> None:
    """What is ``known`` of incidents counts as paged in whatever became of them, if that has paged.

    ``was`` has the incident of each service before the move: its alerts may be elsewhere than the incident itself.
    """
    origins: dict[str, list[Incident]] = {}
    for incident in before.values():
        heir = store.current(incident)
        if heir is not None:
            origins.setdefault(heir.id, []).append(incident)
    for key, incident in sorted(store.incidents.items()):
        if key not in before:
            origins[key] = _cut_from(incident, before)
        found = {origin.id: origin for origin in origins.get(key, ())}
        for name in incident.group.members if incident.group is not None else ():
            origin = before.get(was.get(name, ""))
            if origin is not None:
                found.setdefault(origin.id, origin)
        if incident.paged is None and incident.page_due is None:
            _inherit(store, incident, list(found.values()))
        if incident.paged is not None:
            told = [known[id] for id in found if id in known]
            incident.paged = _together(incident, [incident.paged, *told])
            store.mark_incident(incident)
            lifecycle.reconsider(store, incident)


def _cut_from(incident: Incident, before: dict[str, Incident]) -> list[Incident]:
    """Of an incident that was born of the move: those that its services were in."""
    related = (before.get(r["id"]) for r in incident.related if r["relation"] == "split_from")
    return [origin for origin in related if origin is not None]


def _inherit(store: Store, incident: Incident, origins: list[Incident]) -> None:
    """Somebody was called to what it came from: that goes on, without another call."""
    told = [origin for origin in origins if origin.paged is not None]
    if told:
        first = told[0]
        incident.paged = first.paged
        incident.wanted = any(origin.wanted for origin in told)
        incident.urgency, incident.page_reason = first.urgency, first.page_reason
        incident.first_wanted_at = first.first_wanted_at
        incident.acknowledged = incident.acknowledged or first.acknowledged
        return
    due = [origin.page_due for origin in origins if origin.page_due is not None]
    if due:
        incident.page_due = min(due)
        store.at(incident.page_due, "page", incident.id)


def _together(incident: Incident, paged: list[dict[str, Any]]) -> dict[str, Any]:
    """What several pages have told, as one: the worst, and all of it. The root is open until it pages again."""
    facets: dict[tuple[str, str], None] = {}
    for one in paged:
        facets.update(dict.fromkeys((kind, value) for kind, value in one["facets"]))
    known = {"rank": max(one["rank"] for one in paged), "facets": [list(facet) for facet in sorted(facets)]}
    known |= {"services": max(1, incident.services, *(one["services"] for one in paged)), "root": None}
    return {**paged[0], **known}
