"""One partition of ``alerts.placed``: its shards, what they have to say, and their checkpoint.

The shell feeds records in order with :meth:`Partition.apply`, takes the outputs with :meth:`Partition.take` and the
changed entries with them, and confirms with :meth:`Partition.saved` once the broker has both. Nothing here waits
or writes; the same class serves the stream, the offline replay and the tests.

What the engine raises on is put aside, alone, and the rest goes on (:mod:`correlator.engine.journal`). A source that
sends much of it is put aside as a whole (:mod:`correlator.engine.breaker`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from correlator.engine import controls, saved
from correlator.engine.arrival import arrived
from correlator.engine.breaker import Breakers
from correlator.engine.entries import MARKER, by_shard, entry_key, entry_value, is_shard, marker_of
from correlator.engine.journal import Entry, Journal
from correlator.engine.layout import MOVES, Layout, Moved
from correlator.engine.likeness import Part
from correlator.engine.poison import EngineError, Fault, Quarantined
from correlator.engine.records import Output, decoded, misfit
from correlator.engine.render import snapshot
from correlator.engine.rules import Rules
from correlator.engine.shard import Record, Shard, StepError
from correlator.engine.standing import Standing
from correlator.engine.state import SCHEMA_VERSION
from correlator.engine.store import Watermarks
from correlator.engine.unsaid import Unsaid
from correlator.errors import REJECT_REASONS, ControlError, CorrelatorError, StateError
from topology import ServiceGraph

__all__ = ["MARKER", "EngineError", "Output", "Partition", "Quarantined"]


class Partition:
    """The shards of one partition. Not thread-safe; one owner."""

    def __init__(self, graph: ServiceGraph, rules: Rules, graphs: Callable[[str], ServiceGraph] | None = None) -> None:
        self._first = (graph, rules)
        self._graphs = graphs
        self._journal = Journal(self._rebuild)
        self._again = False
        self._clear()

    def _clear(self) -> None:
        self.graph, self.rules = self._first
        self.shards: dict[str, Shard] = {}
        self.applied = -1
        self.watermarks = Watermarks()
        self.breakers = Breakers()
        self.layout = Layout()
        self._windows = Standing()
        self._unsaid = Unsaid()
        self._quarantined: list[Quarantined] = []
        self._touched: dict[str, None] = {}

    @property
    def windows(self) -> Mapping[str, dict[str, Any]]:
        """The maintenance controls of all shards by id; some may be over."""
        return self._windows.known

    @property
    def entries(self) -> Mapping[bytes, bytes]:
        """The state as the broker has it: the last value of every key that was confirmed."""
        return self._journal.saved

    # -- records ---------------------------------------------------------------------------------------------

    def apply(self, offset: int, time: float, shard: str, value: bytes) -> None:
        """Apply one record of ``alerts.placed``; offsets at or below the applied one are skipped.

        Raises :class:`EngineError` when the engine cannot get past the record.
        """
        if offset <= self.applied:
            return
        self._journal.since.append(Entry(offset, time, shard, value))
        try:
            self._step(offset, time, shard, value)
        except StepError as failure:
            self._journal.leave_out(failure)

    def history(self, service: str) -> dict[str, tuple[list[Any], Part]]:
        """What each shard has learned about a service: a row of :class:`History`, its part in what is remembered."""
        stores = [(name, shard.store) for name, shard in sorted(self.shards.items())]
        rows = ((name, store.history.row(service), store.patterns) for name, store in stores)
        return {name: (row, patterns.part(service)) for name, row, patterns in rows if row is not None}

    def step(self, record: Record, shard: str) -> None:
        """Apply a record that is already decoded; without the poison guard. For measurements and tests."""
        self._shard(shard).step(record)
        self._touched[shard] = None
        self.applied = record.offset

    def _step(self, offset: int, time: float, shard: str, value: bytes) -> None:
        data = decoded(value)
        if data is None:
            self._quarantined.append(Quarantined(offset, shard, [], "not_json", "not_json", value))
        elif not is_shard(shard) and (shard or data.get("type", "alerts") == "alerts"):
            text = f"{shard[:80]!r} cannot be the key of a record with alerts"
            self._quarantined.append(Quarantined(offset, shard, [], text, "missing_field", value))
        elif (error := self._journal.bad(offset)) is not None:
            self._quarantined.append(Quarantined(offset, shard, [], error.text, value=value, trace=error.trace))
            self._control(Record(offset, time, control={"type": "tick"}), "")
        elif data.get("type", "alerts") in MOVES:
            self._move(Record(offset, time, control=data))
        elif self.layout.moving or (data.get("type", "alerts") == "alerts" and self.layout.stale(data)):
            self._leave_out(offset, shard, data)
        elif data.get("type", "alerts") == "alerts":
            self._alerts(Record(offset, time, data["source"], data["rows"], ahead=data.get("ahead", {})), shard)
        else:
            self._control(Record(offset, time, control=data), shard)
        self.applied = offset

    def _alerts(self, record: Record, shard: str) -> None:
        """The alerts of a record, without those that are known to be poison and those of a source put aside."""
        offset, rows = record.offset, record.rows
        skips = self._journal.skips(offset)
        failed = [index for index in skips if self._journal.fault(offset, index) is not None]
        aside = self.breakers.sift(rows, record.source, failed, self.rules, record.time)
        skip = dict.fromkeys(aside, "breaker_open") | dict.fromkeys(skips, "engine_error")
        wrong = misfit(rows, skip)
        if wrong is not None:
            raise StepError(wrong, TypeError("a row of the log has a field of a wrong type"))
        self._shard(shard).step(record, skip)
        self._touched[shard] = None
        for index, reason in sorted(skip.items()):
            error = self._journal.fault(offset, index) or Fault(REJECT_REASONS[reason], "")
            self._quarantined.append(
                Quarantined(offset, record.source, rows[index], error.text, reason, trace=error.trace)
            )

    def _control(self, record: Record, shard: str) -> None:
        """A tick, a graph or rules are for all shards; any other control is for its shard, or for all without one."""
        kind, use = record.control["type"], None
        if kind == "tick":
            controls.tick(self.watermarks, record.control)
        elif kind == "change" and shard:
            self._shard(shard)
        elif kind in ("maintenance", "maintenance_end"):
            if shard:
                self._shard(shard)
            else:
                self._windows.take(record.control, record.time, self.rules.max_windows)
        elif kind in ("graph", "rules"):
            try:
                self._adopt(kind, record.control)
            except ControlError:
                record = record._replace(control={})
                for name in sorted(self.shards):
                    self.shards[name].store.limits["control_refused"] += 1
            use = (self.graph, self.rules)
        everyone = not shard or use is not None
        for name in sorted(self.shards) if everyone else [shard] if shard in self.shards else []:
            self.shards[name].step(record, use=use)
            self._touched[name] = None

    def _leave_out(self, offset: int, shard: str, data: dict[str, Any]) -> None:
        """What comes while a move is under way, or was placed before one, counts for nothing: it is sent again."""
        if data.get("type") != "tick":
            what = f"{len(data['rows'])} alerts" if "rows" in data else f"a control of type {data.get('type')}"
            self._unsaid.refused.append(f"{shard or 'all shards'}: {what} at offset {offset}, from before a move")

    def _move(self, record: Record) -> None:
        """A control of a move: nothing happens before its end. Raises :class:`StepError`."""
        try:
            moved = self.layout.take(record.control)
            if moved is not None:
                self._moved(record, moved)
        except StepError:
            raise
        except Exception as error:
            raise StepError(None, error) from error

    def _moved(self, record: Record, moved: Moved) -> None:
        controls.tick(self.watermarks, moved.tick)
        for name in moved.leave:
            if name in self.shards:
                self._unsaid.leave(name, self.shards.pop(name).store)
                self._touched.pop(name, None)
        for name, arrival in sorted(moved.arrive.items()):
            shard = arrived(name, self.graph, self.rules, self.watermarks, record.offset, arrival)
            self._tell_windows(shard)
            self.shards[name] = shard
        for name in sorted(self.shards):
            marks = self.shards[name].store.marks
            marks.update({source: max(mark, marks.get(source, [-1, -1])) for source, mark in self._floor().items()})
            self.shards[name].step(record._replace(control={"type": "tick"}))
            self._touched[name] = None

    def _floor(self) -> dict[str, list[int]]:
        return {source: list(mark) for source, mark in self.layout.floor.items()}

    def _tell_windows(self, shard: Shard) -> None:
        """Tell a shard of the windows of all shards that it does not know."""
        for window in self._windows:
            if shard.store.windows.get(str(window["id"])) is None:
                controls.apply(shard.store, window)

    def _adopt(self, kind: str, data: dict[str, Any]) -> None:
        """A new graph or new rules hold from this record on."""
        if kind == "rules":
            self.rules = controls.rules_of(data.get("rules"))
        elif not isinstance(data.get("version"), str):
            raise ControlError("a graph needs its version")
        else:
            try:
                self.graph = self._graph(data["version"])
            except CorrelatorError:
                raise
            except Exception as error:  # a document that cannot be read is poison like any other
                raise StepError(None, error) from error

    def _graph(self, version: str) -> ServiceGraph:
        if version == self.graph.version:
            return self.graph
        if self._graphs is None:
            raise StateError(f"the log and the state need graph {version}, which is not known here")
        return self._graphs(version)

    def _shard(self, name: str) -> Shard:
        shard = self.shards.get(name)
        if shard is None:
            shard = self.shards[name] = Shard(name, self.graph, self.rules, self.watermarks)
            shard.store.marks.update(self._floor())
            self._tell_windows(shard)
        return shard

    def _rebuild(self) -> None:
        """Apply the records since the last confirmed state anew."""
        self._restore(self._journal.saved)
        for entry in self._journal.since:
            self._step(*entry)
            if entry.offset <= self._journal.taken:
                self._discard()

    # -- outputs ---------------------------------------------------------------------------------------------

    def say_again(self) -> bool:
        """Have the next :meth:`take` say what every incident is now, changed or not; False where there is none.

        For a topic in which an older word may be the last one: who was the owner before may have written late.
        """
        self._again = any(shard.store.incidents for shard in self.shards.values())
        return self._again

    def take(self, *, entries: bool = True) -> Output:
        """Everything to publish and to save since the last call. To be confirmed with :meth:`saved`.

        Without ``entries`` the state is left out, for a replay that saves nothing.
        """
        if self._again:
            self._again = False
            for name, shard in self.shards.items():
                shard.store.changed = dict(shard.store.incidents)
                self._touched[name] = None
        unsaid = self._unsaid
        incidents, decisions, homes = unsaid.incidents, unsaid.decisions, unsaid.homes
        changed: dict[bytes, bytes | None] = dict.fromkeys(unsaid.keys if entries else ())
        for name in self._touched:
            store = self.shards[name].store
            homes |= store.homes | store.departed
            incidents += store.finals
            for incident in sorted(store.changed.values(), key=lambda i: (i.revision, i.id)):
                incidents.append((incident.id, snapshot(store, incident)))
            if store.receipts:
                decisions[name] = [*decisions.get(name, ()), *store.receipts]
            if entries:
                self._save(name, changed)
        if entries:
            self._windows.save(changed)
            self.layout.save(changed)
            changed[MARKER] = self._marker()
        quarantined = self._quarantined
        refused = [f"{name}: {line}" for name in self._touched for line in self.shards[name].store.refused]
        refused += unsaid.refused
        homes = {key: homes[key] for key, _ in incidents if key in homes}
        self._discard()
        self._journal.taken = self.applied
        return Output(self.applied, incidents, decisions, changed, quarantined, refused, homes)

    def _save(self, name: str, entries: dict[bytes, bytes | None]) -> None:
        shard = self.shards[name]
        for kind, key in sorted(shard.store.dirty):
            row = saved.entity(shard.store, kind, key)
            entries[entry_key(name, kind, key)] = None if row is None else entry_value(row)
        entries[entry_key(name, "m")] = entry_value(saved.meta(shard.store))

    def _marker(self) -> bytes:
        return entry_value(
            {
                "schema": SCHEMA_VERSION,
                "applied": self.applied,
                "graph": self.graph.version,
                "rules": self.rules.plain(),
                "watermarks": self.watermarks.read,
                "partitions": self.watermarks.partitions,
                "breakers": self.breakers.plain(),
                "layout": self.layout.plain(),
            }
        )

    def _discard(self) -> None:
        for name in self._touched:
            store = self.shards[name].store
            store.finals, store.receipts, store.refused = [], [], []
            store.changed = {}
            store.dirty = set()
            store.departed = {}
        self._windows.discard()
        self.layout.discard()
        self._unsaid = Unsaid()
        self._touched = {}
        self._quarantined = []

    def saved(self, output: Output) -> None:
        """The broker has acknowledged ``output``: what came before it is no longer needed."""
        self._journal.confirm(output.applied, output.entries)

    # -- restart ---------------------------------------------------------------------------------------------

    def load(self, entries: Mapping[bytes, bytes]) -> None:
        """Continue from saved entries. Raises :class:`StateError` where they do not make a whole."""
        self._restore(entries)
        self._journal.restart(entries, self.applied)

    def _restore(self, entries: Mapping[bytes, bytes]) -> None:
        self._clear()
        if not entries:
            return
        marker = marker_of(entries)
        if marker is None:
            raise StateError(f"the state has {len(entries)} entries but no marker with the applied offset")
        if marker["schema"] > SCHEMA_VERSION:
            raise StateError(
                f"the state has schema version {marker['schema']}, this program reads up to {SCHEMA_VERSION}: "
                "run a newer version"
            )
        shards = by_shard(entries.items())
        everyone = shards.pop("", {})
        windows, older = everyone.get("w", {}), marker.get("windows", {})  # in the marker of schema 1
        place = "the marker"
        try:
            self.applied, self.rules = marker["applied"], controls.rules_of(marker["rules"])
            self.graph = self._graph(marker["graph"])
            self.watermarks.read.update(marker["watermarks"])
            self.watermarks.partitions = marker["partitions"]
            self.breakers.restore(marker.get("breakers", {}))
            self.layout.restore(marker.get("layout", {}), everyone.get("n", {}))
            for name, kinds in sorted(shards.items()):
                place = f"shard {name!r}"
                shard = self.shards[name] = Shard(name, self.graph, self.rules, self.watermarks)
                saved.restore(shard.store, kinds.pop("m")[""], kinds)
            place = "the windows of all shards"
            self._windows.restore(older or windows, dirty=bool(older))
        except StateError:
            raise
        except Exception as error:  # what does not fit together was not written by this program
            raise StateError(f"the state cannot be read: {place}: {type(error).__name__}: {error}") from error

    def marks(self) -> dict[str, int]:
        """The highest raw offset that was counted, by raw partition (``topic/number``)."""
        found: dict[str, int] = {}
        for shard in self.shards.values():
            for source, (offset, _) in shard.store.marks.items():
                found[source] = max(offset, found.get(source, -1))
        return found

    # -- figures ---------------------------------------------------------------------------------------------

    def figures(self) -> dict[str, dict[str, int]]:
        """Per shard: inputs, their transitions, active and hidden alerts, open incidents and windows, reviews.

        O(groups).
        """
        found = {}
        for name, shard in self.shards.items():
            store = shard.store
            nodes = (*store.forest.nodes.values(), *store.solos.values())
            counted = sum(node.firing for node in nodes)
            found[name] = {
                "inputs": store.inputs,
                "transitions": sum(store.transitions.values()),
                "active": store.active,
                "counted": counted,
                "hidden": counted - sum(sum(node.severities) for node in nodes),
                "windows": len(store.windows.open(store.now)),
                "reviewed": store.trust.sampled,
                "right": store.trust.right,
                "complaints": store.trust.complaints,
                "failing": int(store.failing),
                "replayed": store.replayed,
                "open": sum(i.state in ("forming", "open") for i in store.incidents.values()),
            }
        return found
