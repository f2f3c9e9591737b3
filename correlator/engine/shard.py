"""One shard: the order of the steps. Everything that a record does to a shard is in :meth:`Shard.step`.

Inputs are the state and one record; outputs are collected in the store until they are taken. There is no clock, no
randomness and no I/O, so the same log gives the same outputs on any machine. The order:

1. the clock moves to the record's time, never backwards and never by more than ``max_time_jump``;
2. every deadline up to then fires, in order, each at its own time, but none that the raw topics' watermarks
   have not passed: our own backlog is not the sources' silence;
3. the record's alerts are taken one by one (:mod:`correlator.engine.dedup`), or its control is applied;
4. the incidents are brought in line (:mod:`correlator.engine.grouping`), once for the whole record;
5. every alert that got a verdict gets its receipt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from correlator.engine import (
    assess,
    changes,
    controls,
    deadlines,
    dedup,
    grouping,
    lifecycle,
    moves,
    pins,
    places,
    receipts,
    shadow,
    summary,
    trust,
)
from correlator.engine.groups import Facet, Group
from correlator.engine.maintenance import Window
from correlator.engine.rules import Rules
from correlator.engine.state import AlertState, Incident, Source, solo
from correlator.engine.store import Store, Watermarks, matches, solo_key
from topology import ServiceGraph

__all__ = ["Record", "Shard", "StepError"]


_NOTHING: Final[Mapping[int, str]] = {}


class Record(NamedTuple):
    """One record of ``alerts.placed`` for one shard. ``time`` is its Kafka timestamp in epoch seconds.

    ``rows`` follow :data:`correlator.model.PLACED_COLUMNS` and come from the raw partition ``source``
    (``topic/partition``); ``control`` is a control or a tick, an empty mapping for neither.
    """

    offset: int
    time: float
    source: str = ""
    rows: list[list[Any]] = []  # noqa: RUF012 - never changed
    control: dict[str, Any] = {}  # noqa: RUF012 - never changed


class StepError(Exception):
    """The engine raised on a record; ``index`` is the row it was at, None outside of the rows."""

    def __init__(self, index: int | None, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.index = index


class Shard:
    """The correlation of one shard. Not thread-safe; one owner."""

    def __init__(self, name: str, graph: ServiceGraph, rules: Rules, watermarks: Watermarks | None = None) -> None:
        self.store = Store(name, graph, rules, watermarks or Watermarks())
        self._kinds: dict[str, tuple[str, bool]] = {}

    # -- the step --------------------------------------------------------------------------------------------

    def step(
        self, record: Record, skip: Mapping[int, str] = _NOTHING, use: tuple[ServiceGraph, Rules] | None = None
    ) -> None:
        """Apply one record; ``skip`` maps rows that are put aside to the rule, ``use`` has a graph and rules.

        Raises :class:`StepError`. After it the store is in an undefined state and must be rebuilt.
        """
        store = self.store
        index: int | None = None
        try:
            store.offset, store.births = store.base + record.offset, 0
            deadlines.tidy(store)
            self._clock(record, skip)
            now = store.now
            self._advance()
            store.now = now
            store.enter(str(store.offset))
            if use is not None:
                self._use(*use)
            if record.control:
                controls.apply(store, record.control)
            take, source = self._take, record.source
            for index, row in enumerate(record.rows):
                if index in skip:
                    self._reject(source, row, skip[index])
                else:
                    take(source, row)
            index = None
            if record.rows and store.watermarks.partitions:
                last = max((row[2] for i, row in enumerate(record.rows) if i not in skip), default=0.0)
                store.watermarks.advance(record.source, last)
            self.settle()
        except Exception as error:
            raise StepError(index, error) from error

    def _clock(self, record: Record, skip: Mapping[int, str]) -> None:
        store = self.store
        if store.now and record.time > store.now + store.rules.max_time_jump:
            store.limits["max_time_jump"] += 1
            store.now += store.rules.max_time_jump
        elif record.time > store.now:
            store.now = record.time
        if record.control.get("type") == "tick":
            controls.tick(store.watermarks, record.control)
        elif record.rows and store.watermarks.partitions:
            # Whoever read these rows has read everything before them.
            first = next((row[2] for i, row in enumerate(record.rows) if i not in skip), 0.0)
            store.watermarks.advance(record.source, first)

    def _advance(self) -> None:
        store = self.store
        budget = store.rules.max_deadlines_per_step
        for time, batch in store.due(store.horizon()):
            store.now = time
            store.enter(f"@{time!r}")
            budget -= deadlines.fire(store, time, batch, budget)
            self.settle()
            if budget <= 0:
                store.limits["max_deadlines_per_step"] += 1
                return

    def settle(self) -> None:
        """Bring onsets, incidents and receipts in line with what changed."""
        store = self.store
        if store.restless:
            places.settle_onsets(store)
        if store.forest.touched or store.pending or store.reviews:
            grouping.settle(store)
            receipts.write(store)
            store.joined, store.alone = {}, set()
            store.outcomes = {}
        elif store.repeats:
            moves.count_repeats(store)
        if store.hidden or store.unhide:
            summary.tell(store)
        if store.forest.reassigned:
            store.dirty.update(("p", name) for name in store.forest.reassigned)
            store.forest.reassigned = {}
        if store.forest.reinferred:
            store.dirty.update(("g", name) for name in store.forest.reinferred)
            store.forest.reinferred = {}

    def _reject(self, source: str, row: Any, rule: str) -> None:
        """Count a row that is put aside, of which nothing but its place is trusted, and not even that."""
        if isinstance(row, list) and [type(n) for n in row[:2]] == [int, int]:
            mark = self.store.marks.setdefault(source, [-1, -1])
            if row[:2] <= mark:
                self.store.replayed += 1
                return
            mark[:] = row[:2]
        self.store.inputs += 1
        self.store.transitions["rejected"] += 1
        receipts.rejected(self.store, row, rule)

    def _take(self, source: str, row: list[Any]) -> None:
        store = self.store
        mark = store.marks.get(source)
        if mark is None:
            store.marks[source] = [row[0], row[1]]
        elif row[0] > mark[0] or (row[0] == mark[0] and row[1] > mark[1]):
            mark[0], mark[1] = row[0], row[1]
        else:
            store.replayed += 1
            return
        store.inputs += 1
        found = self._kinds.get(row[6])
        if found is None:
            found = self._kind(row[6])
        kind, special = found
        if special:
            kind = self._matched(row) or kind
        if kind == "heartbeat":
            verdict = kind
        elif row[8] == "firing":
            verdict = dedup.fire(store, row, kind)
        else:
            verdict = self._resolve(row)
        if verdict:
            store.transitions[_VERDICTS.get(verdict, verdict)] += 1
            if verdict in ("late", "rejected", "early"):
                receipts.plain(store, row, verdict)

    def _resolve(self, row: list[Any]) -> str:
        """What began to fire in this record is shown before it ends: an alert of a moment is an alert."""
        alert = self.store.alerts.get(row[4])
        if alert is not None and alert.firing and alert.began == self.store.offset:
            self.settle()
        return dedup.resolve(self.store, row)

    def _kind(self, name: str) -> tuple[str, bool]:
        """What alerts of this name are, and whether a matcher may say otherwise; remembered for some names."""
        if len(self._kinds) > 50_000:
            self._kinds.clear()
        rules = self.store.rules
        special = any(matcher.possible(name) for matcher in (*rules.heartbeat, *rules.test))
        found = self._kinds[name] = ("" if rules.can_cause(name) else "ticket", special)
        return found

    def _matched(self, row: list[Any]) -> str:
        rules = self.store.rules
        for heartbeat in rules.heartbeat:
            if heartbeat.matches(row[5], row[6], row[7], row[13], row[11]):
                if row[8] == "firing":
                    lifecycle.beat(self.store, row[13], heartbeat.interval, (row[5], row[11]))
                return "heartbeat"
        if any(m.matches(row[5], row[6], row[7], row[13], row[11]) for m in rules.test):
            return "test"
        return ""

    # -- graph and rules -------------------------------------------------------------------------------------

    def _use(self, graph: ServiceGraph, rules: Rules) -> None:
        """Change the graph or the rules: the forest is grown anew and the incidents follow it. O(state)."""
        store = self.store
        if graph.version == store.graph.version and rules == store.rules:
            return
        homes = {node.name: owners[0] for node in store.forest.nodes.values() if (owners := node.group.owners)}
        storm, pinned = store.forest.storm, pins.held(store.forest)
        store.rules, self._kinds = rules, {}
        store.dirty.update(("p", node.name) for node in store.forest.nodes.values() if node.via is not None)
        store.dirty.update(("g", name) for name in store.forest.inferred)
        store.use_graph(graph)
        store.forest.storm = storm
        store.solos.clear()
        for _, alert in sorted(store.alerts.items()):
            self._replace(alert, homes)
        self._plant()
        pins.renew(store.forest, pinned)
        store.forest.settle()
        changes.replace(store)
        for incident in store.incidents.values():
            store.revise(incident)
            if incident.group is not None and "inferred" in incident.flags:  # to be concluded anew, or not
                incident.root_service = store.alerts[incident.root_fingerprint].service
            if incident.group is not None:
                self._attach(incident)
        store.forest.moved = {name: homes.get(name) for name in store.forest.nodes}
        for group in store.forest.groups():
            store.forest.touch(group)
        for node in store.solos.values():
            store.forest.touch(node.group)
        assess.start_over(store)
        trust.update(store)
        deadlines.arm(store)

    def _replace(self, alert: AlertState, homes: dict[str, Incident]) -> None:
        """Find the place of an alert in another graph, and what the rules say about it."""
        store = self.store
        alert.extract = None
        if alert.kind in ("", "unknown"):
            was, placed = alert.service, store.graph.place(alert.service)
            alert.kind = "unknown" if placed is None else ""
            home = homes.get(was)
            if placed is not None and placed != was:
                alert.service = placed
                if home is not None and alert.live:
                    homes.setdefault(placed, home)
                    home.root_service = placed if home.root_service == was else home.root_service
        if alert.firing:
            alert.urgent = any(matches(m, alert) for m in store.rules.never_suppress)
            hidden, alert.window = alert.window, store.masks(alert)
            if alert.window != hidden:
                cause = "maintenance_over" if alert.window is None else "maintenance"
                store.pending.append((alert, "", cause))
                shadow.note(store, alert)
        store.mark_alert(alert)

    def _plant(self) -> None:
        """Put the live alerts back to where they count, without any consequence for the incidents. O(state)."""
        store = self.store
        live = [alert for alert in store.alerts.values() if alert.live]
        alerting: dict[str, tuple[float, tuple[Facet, ...]]] = {}
        for alert in live:
            if alert.kind not in ("ticket", "test"):
                known = alerting.get(alert.service)
                onset = alert.starts_at if known is None else min(known[0], alert.starts_at)
                alerting[alert.service] = (onset, store.facets(alert.service))
        store.forest.plant(alerting)
        for alert in live:
            if alert.kind in ("ticket", "test"):
                key = solo_key(alert)
                node = store.solos.get(key) or solo(key, alert, store.facets(alert.service))
                store.solos[key] = node
            else:
                node = store.forest.nodes[alert.service]
            node.alerts[alert.fingerprint] = alert
            node.group.alerts += 1
            if alert.firing:
                places.count_firing(node, alert, 1)
        store.forest.settle()
        store.forest.moved = {}

    # -- saved form ------------------------------------------------------------------------------------------

    def meta(self) -> dict[str, Any]:
        """What belongs to the shard as a whole."""
        store = self.store
        return {
            "now": store.now,
            "base": store.base,
            "marks": store.marks,
            "storm": store.forest.storm,
            "judge_due": store.judge_due,
            "failing": store.failing,
            "said": dict(store.said),
            "judged_at": store.judged_at,
            "inputs": store.inputs,
            "replayed": store.replayed,
            "transitions": dict(store.transitions),
            "limits": dict(store.limits),
        }

    def keys(self) -> Iterator[tuple[str, str]]:
        """Kind and key of every entity."""
        store = self.store
        for kind, name in (_TABLES | _PLAIN).items():
            for key in getattr(store, name):
                yield kind, key
        yield from (("g", service) for service in store.forest.inferred)
        yield from (("h", service) for service in store.history)
        yield from (("p", node.name) for node in store.forest.nodes.values() if node.via is not None)

    def entity(self, kind: str, key: str) -> Any:
        """Saved form of one entity, None where it is gone."""
        store = self.store
        if kind == "g":
            inferred = store.forest.inferred.get(key)
            return None if inferred is None else inferred.onset
        if kind == "h":
            return store.history.row(key)
        if kind == "p":
            node = store.forest.nodes.get(key)
            if node is None or node.via is None:
                return None
            return [None if node.parent is None else node.parent.name, node.via, node.pinned]
        if kind in _PLAIN:
            return getattr(store, _PLAIN[kind]).get(key)
        table: dict[str, Any] = getattr(store, _TABLES[kind])
        found = table.get(key)
        return None if found is None else found.row()

    def restore(self, meta: dict[str, Any], entities: dict[str, dict[str, Any]]) -> None:
        """Rebuild from saved forms: ``entities[kind][key]``. The order of the entries has no effect."""
        store = self.store
        store.now, store.marks = meta["now"], meta["marks"]
        store.base = meta.get("base", 0)
        store.inputs, store.replayed = meta["inputs"], meta["replayed"]
        store.transitions.update(meta["transitions"])
        store.limits.update(meta["limits"])
        store.forest.storm = meta["storm"]
        store.history.restore(entities.get("h", {}))
        store.failing = meta.get("failing", False)
        store.said.update(meta.get("said", {}))
        store.judge_due, store.judged_at = meta.get("judge_due"), meta.get("judged_at", -1)
        for kind, name in _PLAIN.items():
            setattr(store, name, dict(entities.get(kind, {})))
        for kind, make in _MAKE.items():
            table: dict[str, Any] = getattr(store, _TABLES[kind])
            for key, row in sorted(entities.get(kind, {}).items()):
                table[key] = make(row, store.now) if kind == "w" else make(row)
        store.summaries = {i.root_service: i.id for i in store.incidents.values() if i.kind == "summary"}
        for alert in store.alerts.values():
            store.active += alert.firing
            if not alert.live and alert.incident_id in store.incidents:
                store.incidents[alert.incident_id].left[alert.fingerprint] = alert
            if alert.counts and alert.entered > store.judged_at:
                store.unjudged.add(alert.service)
        self._plant()
        for service, onset in sorted(entities.get("g", {}).items()):
            store.forest.infer(service, onset, store.facets(service))
        places = entities.get("p", {})
        pinned = {key for key, (_, _, pinned) in places.items() if pinned}
        store.forest.assign({key: (parent, tuple(via)) for key, (parent, via, _) in places.items()}, pinned)
        store.forest.settle()
        store.forest.moved, store.forest.reassigned, store.forest.reinferred = {}, {}, {}
        for incident in store.incidents.values():
            if incident.group is not None:
                self._attach(incident).was = incident
        store.forest.touched = {}
        if "judge_due" not in meta:  # schema 1 has no judgements
            assess.start_over(store)
        deadlines.arm(store)

    def _attach(self, incident: Incident) -> Group:
        store = self.store
        keys = {"ticket": f"ticket/{incident.root_service}", "test": f"test/{incident.root_fingerprint}"}
        key = keys.get(incident.kind)
        node = store.forest.nodes.get(incident.root_service) if key is None else store.solos.get(key)
        assert node is not None, f"incident {incident.id} has no service {incident.root_service}"
        incident.group = node.group
        node.group.owners.append(incident)
        return node.group


_WINDOW: Final = AlertState.SAVED.index("window")


def _alert(row: list[Any]) -> AlertState:
    alert = AlertState.__new__(AlertState)
    if isinstance(row[_WINDOW], str):  # before schema version 2 one was named, where there were several too
        row[_WINDOW] = [row[_WINDOW]]
    alert.restore(row)
    alert.extract = None
    return alert


def _incident(row: list[Any]) -> Incident:
    incident = Incident()
    incident.restore(row[:-1])
    incident.left, incident.heir = {}, None
    incident.group = row[-1] or None  # a mark that _attach replaces by the group
    return incident


def _source(row: list[Any]) -> Source:
    source = Source()
    source.restore(row)
    return source


#: Kind of an entity -> table of the store; the plain ones are saved as they are.
_TABLES: Final = {"a": "alerts", "c": "changes", "i": "incidents", "s": "sources", "v": "trust", "w": "windows"}
_PLAIN: Final = {"o": "homes", "t": "tombs", "u": "suspects"}
_MAKE: Final[dict[str, Any]] = {
    "a": _alert,
    "c": lambda row: changes.Changed(*row),
    "i": _incident,
    "s": _source,
    "v": lambda row: trust.Review(*row),
    "w": Window.restored,
}
#: Verdict of an answer of :mod:`correlator.engine.dedup` that is not one itself.
_VERDICTS: Final = {"early": "resolved"}
