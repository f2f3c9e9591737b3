"""What a move brings where: from the shards of all partitions as they are to those that the new layout has.

The answer is a value, and the shards that it was made from are not touched. A shard of which nothing changes is left
where it is; every other one leaves its partition, and what it held arrives, once, in the shards where it belongs:

* an alert with its episode, its times to live, its repeats and what hides it; of two with the same fingerprint the one
  that fires, and the later one;
* an incident under its own id, cut where its alerts part (:mod:`correlator.engine.parting`);
* what was learned about a service, changes of it, places that a judgement or an operator assigned, reviews, windows;
* counters, whole, with the main shard, so that inputs and transitions still add up;
* up to where each raw partition had been placed: one mark for all shards, because everything up to it is in some shard.

Revisions go on growing: a shard adds to its offsets what makes them higher than any that it has published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from correlator.engine.layout import Incoming
from correlator.engine.parting import Cut, Old, Routes
from correlator.engine.state import AlertState, Source

__all__ = ["Leg", "Rehoming", "rehome"]


class Leg(NamedTuple):
    """What goes from one shard to another: alerts, how many of them fire, and incidents that keep their id."""

    from_partition: int
    from_shard: str
    to_partition: int
    to_shard: str
    alerts: int
    firing: int
    incidents: int


class Rehoming(NamedTuple):
    """What leaves each partition, and what arrives in it by shard; ``legs`` and ``cuts`` tell people of it.

    ``cuts`` are the incidents that do not stay whole, as they are where they keep their id; ``joined`` counts alerts
    that two shards had.
    """

    leave: dict[int, list[str]]
    arrive: dict[int, dict[str, Incoming]]
    marks: dict[str, list[int]]
    legs: list[Leg]
    cuts: list[Cut]
    joined: int


def rehome(olds: Iterable[Old], routes: Routes, marks: Mapping[str, list[int]]) -> Rehoming:
    """Where everything goes. ``marks`` are those below which nothing is counted anyway. O(state)."""
    shards = sorted(olds, key=lambda old: (old.partition, old.name))
    moving = _moving(shards)
    sources: dict[str, list[Old]] = {}
    for old in moving:
        for target in old.targets:
            sources.setdefault(target, []).append(old)
    found = Rehoming({}, {}, _highest(shards, marks), [], [], 0)
    winners, joined = _winners(moving)
    cuts = {id(old): list(old.cuts(lambda name, key: winners[name, key])) for old in moving}
    for target, known in sorted(sources.items()):
        partition = routes.partition(target)
        arrival = _Arriving(target, partition, known, cuts, winners).arrival()
        found.arrive.setdefault(partition, {})[target] = arrival
    for old in moving:
        found.leave.setdefault(old.partition, []).append(old.name)
        found.legs.extend(_legs(old, cuts[id(old)], routes))
        found.cuts.extend(cut for cut in cuts[id(old)] if cut.parts and cut.id == cut.incident.id)
    return found._replace(joined=joined)


def _moving(shards: list[Old]) -> list[Old]:
    """All but the shards that stay as they are. One that stays moves too where something else arrives in it."""
    moving = [old for old in shards if not old.stays()]
    reached = {target for old in moving for target in old.targets}
    return [old for old in shards if not old.stays() or old.targets & reached]


def _highest(shards: list[Old], marks: Mapping[str, list[int]]) -> dict[str, list[int]]:
    found = {source: list(mark) for source, mark in marks.items()}
    for old in shards:
        for source, mark in old.store.marks.items():
            found[source] = max(found.get(source, [-1, -1]), list(mark))
    return dict(sorted(found.items()))


def _winners(moving: list[Old]) -> tuple[dict[tuple[str, str], AlertState], int]:
    """The alert of each new shard and fingerprint, and how many were joined to others."""
    found: dict[tuple[str, str], AlertState] = {}
    for old in moving:
        for key, alert in old.store.alerts.items():
            place = (old.to[key], key)
            if place not in found or _stronger(alert) > _stronger(found[place]):
                found[place] = alert
    return found, sum(len(old.to) for old in moving) - len(found)


def _stronger(alert: AlertState) -> tuple[bool, bool, float, float]:
    return alert.firing, alert.live, alert.latest_start, alert.received_at


def _legs(old: Old, cuts: list[Cut], routes: Routes) -> Iterator[Leg]:
    firing = Counter(old.to[key] for key, alert in old.store.alerts.items() if alert.firing)
    kept = Counter(cut.to for cut in cuts if cut.id == cut.incident.id)
    for target in sorted({*old.count, *kept} or {old.main or old.name}):
        place = (old.partition, old.name, routes.partition(target), target)
        yield Leg(*place, old.count[target], firing[target], kept[target])


class _Arriving:
    """One new shard, put together from the old ones that something of it comes from."""

    def __init__(
        self,
        name: str,
        partition: int,
        sources: list[Old],
        cuts: Mapping[int, list[Cut]],
        winners: Mapping[tuple[str, str], AlertState],
    ) -> None:
        self._name, self._partition, self._sources, self._winners = name, partition, sources, winners
        self._cuts = {id(old): [cut for cut in cuts[id(old)] if cut.to == name] for old in sources}
        self._bringing = [old for old in sources if old.count[name]]
        #: Whether alerts of different shards come together here, or those of one shard come apart.
        self._mixed = len(self._bringing) > 1 or any(len(old.count) > 1 for old in self._bringing)
        self._entities: dict[str, dict[str, Any]] = {}

    def arrival(self) -> Incoming:
        was: dict[str, str] = {}
        for old in self._sources:
            ids = {cut.incident.id: cut.id for cut in self._cuts[id(old)]}
            self._alerts(old, ids, was)
            for cut in self._cuts[id(old)]:
                self._put("i", cut.id, cut.row)
            self._of_incidents(old)
            self._of_services(old)
            self._of_sources(old, ids)
            self._of_shard(old)
        self._places()
        return Incoming(self._meta(), self._entities, was)

    def _put(self, kind: str, key: str, row: Any) -> None:
        self._entities.setdefault(kind, {})[key] = row

    def _alerts(self, old: Old, ids: Mapping[str, str], was: dict[str, str]) -> None:
        """Alerts, and by service the incident that they were in."""
        store, name = old.store, self._name
        for key, alert in sorted(store.alerts.items()):
            if old.to[key] != name or self._winners[name, key] is not alert:
                continue
            row = dict(zip(AlertState.SAVED, alert.row(), strict=True))
            row["incident_id"] = ids.get(alert.incident_id, "")
            record = store.sources.get(alert.source)
            if record is not None and record.lost_at is not None and old.source_to(record) != name:
                row["expires_at"] += store.now - record.lost_at  # for which it stood still
            self._put("a", key, list(row.values()))
            incident = store.incident_of(alert) if self._mixed and alert.counts else None
            if incident is not None and incident.id in ids:
                was.setdefault(alert.service, ids[incident.id])

    def _of_incidents(self, old: Old) -> None:
        """Suspected changes, where it goes on being published, and tombstones to come."""
        store = old.store
        kept = [cut.id for cut in self._cuts[id(old)] if cut.id == cut.incident.id]
        for key in kept:
            if key in store.suspects:
                self._put("u", key, store.suspects[key])
        tombs = sorted(store.tombs.items()) if old.main == self._name else []
        for key, time in tombs:
            self._put("t", key, time)
        for key in (*kept, *(key for key, _ in tombs)):
            home = store.homes.get(key, old.partition)
            if home != self._partition:
                self._put("o", key, home)

    def _of_services(self, old: Old) -> None:
        """What was learned about services, and their changes; of two the row that rests on more, or the later one."""
        store = old.store
        history, patterns, known = (self._entities.get(kind, {}) for kind in "hlc")
        learned = [service for service in sorted(store.history) if self._name in old.all_of(service)]
        for service in learned:
            row = store.history.row(service)
            assert row is not None
            self._put("h", service, max(row, history.get(service, row), key=lambda r: (r[0], str(r))))
        for key in sorted(store.patterns) if learned else ():
            pattern = store.patterns.row(key)
            assert pattern is not None
            self._put("l", key, max(pattern, patterns.get(key, pattern), key=lambda r: (r[0], str(r))))
        for key in sorted(store.changes):
            change = store.changes.get(key)
            assert change is not None
            if self._name in old.all_of(change.service):
                self._put("c", key, max(list(change.row()), known.get(key, []), key=lambda r: (r[4:5], str(r))))

    def _of_sources(self, old: Old, ids: Mapping[str, str]) -> None:
        for key, record in sorted(old.store.sources.items()):
            if old.source_to(record) == self._name:
                row = dict(zip(Source.SAVED, record.row(), strict=True))
                for column in ("bundle", "incident_id"):
                    row[column] = ids.get(row[column] or "")
                other = self._entities.get("s", {}).get(key)
                if other is not None:
                    row = _one_source(row, dict(zip(Source.SAVED, other, strict=True)))
                self._put("s", key, list(row.values()))

    def _of_shard(self, old: Old) -> None:
        """Windows and reviews: whatever the alerts of a shard rest on goes with each part of them."""
        if old.main != self._name and not old.count[self._name]:
            return
        store = old.store
        for key in sorted(store.windows):
            window = store.windows.get(key)
            assert window is not None
            other = self._entities.get("w", {}).get(key)
            if other is None or window.begun:
                self._put("w", key, list(window.row()))
        for key in sorted(store.trust):
            review = store.trust.get(key)
            assert review is not None
            self._put("v", key, max(list(review.row()), self._entities.get("v", {}).get(key, [])))

    def _places(self) -> None:
        """Places that were assigned, as far as what they hang on is here too; and the silent services."""
        found: dict[str, Any] = {}
        for old in reversed(self._sources):
            for name, node in old.nodes_in(self._name).items():
                if node.silent:
                    self._put("g", name, node.onset)
                if node.via is not None:
                    found[name] = [None if node.parent is None else node.parent.name, list(node.via), node.pinned]
        while lost := [name for name, (parent, _, pinned) in found.items() if not _stands(found, parent, pinned)]:
            for name in lost:
                del found[name]
        for name, row in sorted(found.items()):
            self._put("p", name, row)
        alerting = {row[1] for row in self._entities.get("a", {}).values()}
        silent = self._entities.get("g", {})
        for name in [name for name in silent if name in alerting]:
            del silent[name]

    def _meta(self) -> dict[str, Any]:
        stores = [old.store for old in self._sources]
        counted = [old.store for old in self._sources if old.main == self._name]
        now = max(store.now for store in stores)
        meta: dict[str, Any] = {"now": now, "base": 1 + max(old.last for old in self._sources), "marks": {}}
        if self._mixed:  # everything is to be judged anew, beside what is here now
            meta |= {"judge_due": now, "judge_from": 0.0, "judged_at": -1}
        else:
            one = self._bringing[0].store if self._bringing else stores[0]
            meta |= {"judge_due": one.judge_due, "judge_from": one.judge_from, "judged_at": one.judged_at}
        meta |= {
            "storm": any(store.forest.storm for store in stores),
            "failing": any(store.failing for store in stores),
        }
        for name in ("said", "transitions", "limits"):
            meta[name] = dict(sum((getattr(store, name) for store in counted), Counter()))
        for name in ("inputs", "replayed"):
            meta[name] = sum(getattr(store, name) for store in counted)
        return meta


def _stands(found: Mapping[str, Any], parent: str | None, pinned: bool) -> bool:
    """Whether an assigned place can be given again: with its parent's, and what is pinned below what is pinned."""
    return parent is None or (parent in found and (found[parent][2] or not pinned))


def _one_source(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """A source that two shards know: the later heartbeat holds."""
    later, other = (a, b) if (a["beat_at"] or 0.0) >= (b["beat_at"] or 0.0) else (b, a)
    unplaced = sorted([*a["unplaced"], *b["unplaced"]])
    return {
        **later,
        "unplaced": unplaced,
        "incident_id": later["incident_id"] or other["incident_id"],
        "bundle": later["bundle"] or other["bundle"],
        "bundle_until": later["bundle_until"] if later["bundle"] else other["bundle_until"],
    }
