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

from typing import Any, Final, NamedTuple

from correlator.engine import deadlines, dedup, grouping, lifecycle, receipts
from correlator.engine.rules import Matcher, Rules
from correlator.engine.state import AlertState, Incident, Source, Window, solo
from correlator.engine.store import Store, solo_key
from correlator.errors import ControlError
from topology import ServiceGraph

__all__ = ["Record", "Shard", "StepFailed"]


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


class StepFailed(Exception):
    """The engine raised on a record; ``index`` is the row it was at, None outside of the rows."""

    def __init__(self, index: int | None, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.index = index


class Shard:
    """The correlation of one shard. Not thread-safe; one owner."""

    def __init__(self, name: str, graph: ServiceGraph, rules: Rules) -> None:
        self.store = Store(name, graph, rules)
        self._kinds: dict[str, str] = {}

    # -- the step --------------------------------------------------------------------------------------------

    def step(self, record: Record, skip: frozenset[int] = frozenset()) -> None:
        """Apply one record; ``skip`` names rows that are quarantined. Raises :class:`StepFailed`.

        After a failure the store is in an undefined state and must be rebuilt.
        """
        store = self.store
        index: int | None = None
        try:
            store.offset, store.births = record.offset, 0
            self._clock(record)
            now = store.now
            self._advance()
            store.now = now
            if record.control:
                self._control(record.control)
            for index, row in enumerate(record.rows):
                self._take(record.source, row, index in skip)
            index = None
            if record.rows and store.partitions:
                last = max(row[2] for row in record.rows)
                store.watermarks[record.source] = max(last, store.watermarks.get(record.source, 0.0))
            self._settle()
        except Exception as error:
            raise StepFailed(index, error) from error

    def _clock(self, record: Record) -> None:
        store = self.store
        if store.now and record.time > store.now + store.rules.max_time_jump:
            store.limits["max_time_jump"] += 1
            store.now += store.rules.max_time_jump
        elif record.time > store.now:
            store.now = record.time
        if record.control.get("type") == "tick":
            for source, time in record.control.get("watermarks", {}).items():
                store.watermarks[source] = max(time, store.watermarks.get(source, 0.0))
            store.partitions = record.control.get("partitions", store.partitions)

    def _advance(self) -> None:
        store = self.store
        budget = store.rules.max_deadlines_per_step
        for time, batch in store.due(store.horizon()):
            store.now = time
            deadlines.fire(store, time, batch)
            self._settle()
            budget -= len(batch)
            if budget <= 0:
                store.limits["max_deadlines_per_step"] += 1
                return

    def _settle(self) -> None:
        store = self.store
        if store.forest.touched or store.pending:
            grouping.settle(store)
            receipts.write(store)
            store.joined = {}

    def _take(self, source: str, row: list[Any], quarantined: bool) -> None:
        store = self.store
        mark = store.marks.get(source)
        if mark is None:
            store.marks[source] = [row[0], row[1]]
        elif row[0] < mark[0] or (row[0] == mark[0] and row[1] <= mark[1]):
            store.replayed += 1
            return
        else:
            mark[0], mark[1] = row[0], row[1]
        store.inputs += 1
        if quarantined:
            verdict = "rejected"
        else:
            kind = self._kinds.get(row[6])
            if kind is None:
                kind = self._kind(row[6])
            if store.rules.has_matchers:
                kind = self._matched(row) or kind
            if kind == "heartbeat":
                verdict = kind
            elif row[8] == "firing":
                verdict = dedup.fire(store, row, kind)
            else:
                verdict = dedup.resolve(store, row)
        if verdict:
            store.transitions[verdict] += 1
            if verdict in ("late", "rejected", "heartbeat"):
                receipts.plain(store, row, verdict)

    def _kind(self, name: str) -> str:
        """What alerts of this name are, remembered for a bounded number of names."""
        if len(self._kinds) > 50_000:
            self._kinds.clear()
        kind = self._kinds[name] = "" if self.store.rules.can_cause(name) else "ticket"
        return kind

    def _matched(self, row: list[Any]) -> str:
        rules = self.store.rules
        for heartbeat in rules.heartbeat:
            if heartbeat.matches(row[5], row[6], row[7], row[13], row[11]):
                if row[8] == "firing":
                    lifecycle.beat(self.store, row[13], heartbeat.interval)
                return "heartbeat"
        if any(m.matches(row[5], row[6], row[7], row[13], row[11]) for m in rules.test):
            return "test"
        return ""

    # -- controls --------------------------------------------------------------------------------------------

    def _control(self, control: dict[str, Any]) -> None:
        apply = _CONTROLS.get(control.get("type", ""))
        if apply is not None:
            apply(self, control)

    def _acknowledge(self, control: dict[str, Any]) -> None:
        incident = self.store.incidents.get(str(control.get("incident", "")))
        if incident is not None:
            at = receipts.iso(self.store.now)
            incident.acknowledged = {"by": str(control.get("by", "")), "at": at}
            self.store.revise(incident)

    def _maintenance(self, control: dict[str, Any]) -> None:
        store, window = self.store, Window()
        window.id = str(control["id"])
        window.match = {str(k): str(v) for k, v in control["match"].items()}
        window.starts_at, window.ends_at = float(control["starts_at"]), float(control["ends_at"])
        window.author, window.reason = str(control.get("author", "")), str(control.get("reason", ""))
        window.matcher = Matcher(window.match)
        store.windows[window.id] = window
        store.dirty.add(("w", window.id))
        store.at(max(window.starts_at, store.now), "window", window.id)
        store.at(window.ends_at, "window", window.id)
        if window.starts_at <= store.now:
            deadlines.fire(store, store.now, [("window", window.id)])

    def _end_maintenance(self, control: dict[str, Any]) -> None:
        window = self.store.windows.get(str(control.get("id", "")))
        if window is not None:
            window.ends_at = min(window.ends_at, self.store.now)
            deadlines.fire(self.store, self.store.now, [("window", window.id)])

    # -- graph and rules -------------------------------------------------------------------------------------

    def use(self, graph: ServiceGraph, rules: Rules) -> None:
        """Change the graph or the rules: the forest is grown anew and the incidents follow it. O(state)."""
        store = self.store
        if graph.version == store.graph.version and rules == store.rules:
            return
        homes = {name: node.group.owners[0] for name, node in store.forest.nodes.items() if node.group.owners}
        storm = store.forest.storm
        store.rules, self._kinds = rules, {}
        store.use_graph(graph)
        store.forest.storm = storm
        for alert in store.alerts.values():
            if alert.kind in ("", "unknown") and alert.live:
                alert.kind = "" if alert.service in graph else "unknown"
                self._grow(alert)
        store.forest.settle()
        for incident in store.incidents.values():
            node = store.forest.nodes.get(incident.root_service)
            if incident.kind == "fault" and incident.group is not None and node is not None:
                node.group.owners.append(incident)
                incident.group = node.group
        for group in store.forest.groups():
            if not group.owners:
                group.origin = homes.get(group.root.name)
            store.forest.touch(group)
        deadlines.arm(store)

    def _grow(self, alert: AlertState) -> None:
        """Put a live alert back to where it counts, without any consequence for the incidents."""
        store = self.store
        if alert.kind in ("ticket", "test"):
            key = solo_key(alert)
            node = store.solos.get(key) or solo(alert.service, alert.starts_at, store.facets(alert.service))
            store.solos[key] = node
        else:
            found = store.forest.nodes.get(alert.service)
            node = found or store.forest.insert(alert.service, alert.starts_at, store.facets(alert.service))
            if alert.starts_at < node.onset:
                store.forest.onset(node, alert.starts_at)
        node.alerts[alert.fingerprint] = alert
        node.group.alerts += 1
        if alert.firing:
            dedup.count_firing(node, alert, 1)

    # -- saved form ------------------------------------------------------------------------------------------

    def meta(self) -> dict[str, Any]:
        """What belongs to the shard as a whole."""
        store = self.store
        return {
            "now": store.now,
            "marks": store.marks,
            "watermarks": store.watermarks,
            "partitions": store.partitions,
            "storm": store.forest.storm,
            "inputs": store.inputs,
            "replayed": store.replayed,
            "transitions": dict(store.transitions),
        }

    def entity(self, kind: str, key: str) -> Any:
        """Saved form of one entity, None where it is gone."""
        store = self.store
        if kind == "t":
            return store.tombs.get(key)
        table: dict[str, Any] = getattr(store, _TABLES[kind])
        found = table.get(key)
        return None if found is None else found.row()

    def restore(self, meta: dict[str, Any], entities: dict[str, dict[str, Any]]) -> None:
        """Rebuild from saved forms: ``entities[kind][key]``. The order of the entries has no effect."""
        store = self.store
        store.now, store.marks = meta["now"], meta["marks"]
        store.watermarks, store.partitions = meta["watermarks"], meta["partitions"]
        store.inputs, store.replayed = meta["inputs"], meta["replayed"]
        store.transitions.update(meta["transitions"])
        store.forest.storm = meta["storm"]
        store.tombs = dict(entities.get("t", {}))
        for kind, make in _MAKE.items():
            table: dict[str, Any] = getattr(store, _TABLES[kind])
            for key, row in sorted(entities.get(kind, {}).items()):
                table[key] = make(row)
        for alert in store.alerts.values():
            store.active += alert.firing
            if alert.live:
                self._grow(alert)
            elif alert.incident_id in store.incidents:
                store.incidents[alert.incident_id].left[alert.fingerprint] = alert
        store.forest.settle()
        for incident in store.incidents.values():
            if incident.group is not None:
                self._attach(incident)
        store.forest.touched = {}
        deadlines.arm(store)

    def _attach(self, incident: Incident) -> None:
        store = self.store
        keys = {"ticket": f"ticket/{incident.root_service}", "test": f"test/{incident.root_fingerprint}"}
        key = keys.get(incident.kind)
        node = store.forest.nodes.get(incident.root_service) if key is None else store.solos.get(key)
        assert node is not None, f"incident {incident.id} has no service {incident.root_service}"
        incident.group = node.group
        node.group.owners = [incident]


def _alert(row: list[Any]) -> AlertState:
    alert = AlertState.__new__(AlertState)
    alert.restore(row)
    return alert


def _incident(row: list[Any]) -> Incident:
    incident = Incident()
    incident.restore(row[:-1])
    incident.left = {}
    incident.group = row[-1] or None  # a mark that _attach replaces by the group
    return incident


def _source(row: list[Any]) -> Source:
    source = Source()
    source.restore(row)
    return source


def _window(row: list[Any]) -> Window:
    window = Window()
    window.restore(row)
    window.matcher = Matcher(window.match)
    return window


_TABLES: Final = {"a": "alerts", "i": "incidents", "s": "sources", "w": "windows"}
_MAKE: Final[dict[str, Any]] = {"a": _alert, "i": _incident, "s": _source, "w": _window}
_CONTROLS: Final[dict[str, Any]] = {
    "acknowledge": Shard._acknowledge,
    "maintenance": Shard._maintenance,
    "maintenance_end": Shard._end_maintenance,
}

assert ControlError
