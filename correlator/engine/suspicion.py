"""Which recent changes an incident suspects, kept with it and brought up to date whenever it is revised.

An incident lists a change that came before it (:func:`correlator.engine.changes.in_time`) and touched a service that
has to do with it, closest first:

* ``root``: its root;
* ``dependency``: what the root depends on directly, whether it is silent or an incident of its own;
* ``path``: a silent service between two of its services;
* ``member``: another one of its services that alert.

What is listed outlives the memory of changes, and is saved in :attr:`Store.suspects`: rows of the change's columns and
the relation, most suspicious first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from correlator.engine import assess
from correlator.engine.changes import Changed, arm, drop, forgotten_at, in_time, read
from correlator.engine.changes import in_words as said
from correlator.engine.groups import Group
from correlator.engine.state import Incident
from correlator.engine.store import Store
from correlator.engine.words import iso

__all__ = ["above", "apply", "concerned", "forget", "hand_over", "in_words", "listed", "note"]

RELATIONS: Final = ("root", "dependency", "path", "member")
_WHERE: Final = {
    "root": "",
    "dependency": ", which the root depends on",
    "path": ", on the way to the root",
    "member": ", which the root explains",
}
#: Dependents of a silent service that are asked whether it lies on their path.
_ASKED: Final = 50


def apply(store: Store, control: dict[str, Any]) -> None:
    """Remember a change from the log. Raises :class:`ControlError`; one from too long ago has no effect."""
    change = read(control)
    placed = store.graph.place(change.service)  # who wrote it may have known another graph
    if placed is not None:
        change = change._replace(service=placed)
    if forgotten_at(store, change) <= store.now:
        return
    was = store.changes.get(change.id)
    if was == change:
        return
    store.changes[change.id] = change
    store.dirty.add(("c", change.id))
    kept = store.rules.changes_kept
    if len(store.changes) > kept:
        store.limits["changes_kept"] += 1
        for key in store.changes.oldest(len(store.changes) - max(1, kept * 9 // 10)):
            drop(store, key)
    arm(store)
    for about in (change,) if was is None else (change, was):
        _touch(store, about)


def _touch(store: Store, change: Changed) -> None:
    """Have the incidents that a change may concern looked at again."""
    nodes, service = store.forest.nodes, change.service
    near = dict.fromkeys([service, *store.graph.dependents(service), *above(store, service)])
    groups = [nodes[name].group for name in near if name in nodes]
    ticket = store.solos.get(f"ticket/{service}")
    for group in groups if ticket is None else [*groups, ticket.group]:
        if group.owners and in_time(store, group.owners[0].started_at - change.at):
            store.forest.touch(group)
    users = store.graph.dependents(service)
    for name in [service] if service in nodes else users if len(users) <= _ASKED else []:
        if name in nodes and in_time(store, nodes[name].onset - change.at):
            assess.again(store, name)


def above(store: Store, service: str) -> Iterator[str]:
    """What depends on a service directly or through others, nearest first, as far as silence is bridged; not all of a
    hub. Follows from the graph and the rules alone."""
    asked, ring, seen = 0, [service], {service}
    for _ in range(store.rules.storm_bridge + 1):
        outer = []
        for name in ring:
            for user in store.graph.dependents(name):
                asked += 1
                if asked > _ASKED:
                    return
                if user not in seen:
                    yield user
                    seen.add(user)
                    outer.append(user)
        ring = outer


def note(store: Store, incident: Incident, group: Group) -> None:
    """Bring the suspects of an incident in line with its services and its onset.

    Costs nothing while no change is remembered, else O(its services or the services with a change, whichever are
    fewer), a microsecond each at most. Nobody asks what caused a test.
    """
    known = store.suspects.get(incident.id, [])
    if (not known and not store.changes) or incident.kind == "test":
        return
    kept: dict[str, dict[str, Changed]] = {}
    for row in known:
        change = Changed(*row[:-1])
        current = store.changes.get(change.id)
        if current is None or current.service == change.service:
            kept.setdefault(change.service, {})[change.id] = change
    changed, started, members = store.changes.services, incident.started_at, group.members
    root, paths = incident.root_service, dict[str, list[str]]()
    found: list[tuple[bool, int, float, str, Changed]] = []
    for service in {*kept, *concerned(store, group)}:
        if service in members and service != root:
            relation: str | None = "member"
        else:
            relation = _relation(store, incident, group, service, paths)
        if relation is None and service in kept:
            relation = "member" if any(a.service == service for a in incident.left.values()) else None
        if relation is None:
            continue
        place, mine = RELATIONS.index(relation), changed.get(service, {})
        for change in ({**kept[service], **mine} if service in kept else mine).values():
            age = started - change.at
            if in_time(store, age):
                found.append((age < 0.0, place, abs(age), change.id, change))
    first = heapq.nsmallest(store.rules.changes_listed, found)
    rows = [[*change, RELATIONS[place]] for _, place, _, _, change in first]
    if rows != known:
        _keep(store, incident.id, rows)


def concerned(store: Store, group: Group) -> Iterator[str]:
    """Services with a change that may have to do with the group.

    Its own, the root's dependencies, and others that it is not far above. Some may come twice.
    """
    members, changes = group.members, store.changes
    changes.survey(lambda service: above(store, service))
    if not group.root.solo:
        yield from (name for name in store.graph.dependencies(group.root.name) if name in changes.services)
    if len(members) < len(changes.services):
        for name in members:
            if name in changes.services:
                yield name
            if not group.root.solo:
                yield from changes.below.get(name, ())
        return
    for service in changes.services:
        if service in members or not (group.root.solo or members.keys().isdisjoint(changes.above[service])):
            yield service


def _keep(store: Store, key: str, rows: list[list[Any]]) -> None:
    if rows:
        store.suspects[key] = rows
    else:
        store.suspects.pop(key, None)
    store.dirty.add(("u", key))


def _relation(store: Store, incident: Incident, group: Group, service: str, paths: dict[str, list[str]]) -> str | None:
    """How a service has to do with an incident, None for not at all; ``paths`` are those asked for before."""
    if service == incident.root_service:
        return "root"
    if service in group.members:
        return "member"
    if group.root.solo:
        return None
    if service in store.graph.dependencies(incident.root_service):
        return "dependency"
    near, limit = store.changes.above.get(service), store.rules.path_limit
    for name in above(store, service) if near is None else near:
        node = group.members.get(name)
        if node is None or not node.hops:
            continue
        path = paths.get(name) or store.forest.path(name, limit, paths)
        if service in path:
            return "path"
    return None


def listed(store: Store, incident: Incident) -> list[dict[str, Any]]:
    """The suspects of an incident as published, most suspicious first."""
    return [
        {
            "id": id,
            "kind": kind,
            "service": service,
            "relation": relation,
            "summary": summary,
            "at": iso(at),
            "age_seconds": round(incident.started_at - at, 3),
            "author": author or None,
            "link": link or None,
        }
        for id, kind, service, summary, at, author, link, relation in store.suspects.get(incident.id, ())
    ]


def in_words(store: Store, incident: Incident) -> list[str]:
    """The first suspect of an incident as a reason; none where there is none."""
    for *change, relation in store.suspects.get(incident.id, ())[:1]:
        suspect = Changed(*change)
        return [f"first suspect: {suspect.service}{_WHERE[relation]}: {said(suspect, incident.started_at)}"]
    return []


def hand_over(store: Store, incident: Incident, into: Incident) -> None:
    """``incident`` becomes part of ``into``, and so do its suspects; :func:`note` sorts them out."""
    rows = store.suspects.get(incident.id)
    if rows:
        mine = store.suspects.get(into.id, [])
        known = {row[0] for row in mine}
        _keep(store, into.id, [*mine, *(row for row in rows if row[0] not in known)])


def forget(store: Store, incident: Incident) -> None:
    """The incident is over and published."""
    if incident.id in store.suspects:
        _keep(store, incident.id, [])
