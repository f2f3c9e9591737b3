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

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from correlator.engine import (
    controls,
    deadlines,
    dedup,
    grouping,
    lifecycle,
    moves,
    places,
    receipts,
    regrowth,
    summary,
)
from correlator.engine.rules import Rules
from correlator.engine.store import Store, Watermarks
from topology import ServiceGraph

__all__ = ["Record", "Shard", "StepError"]


_NOTHING: Final[Mapping[int, str]] = {}


class Record(NamedTuple):
    """One record of ``alerts.placed`` for one shard. ``time`` is its Kafka timestamp in epoch seconds.

    ``rows`` follow :data:`correlator.model.PLACED_COLUMNS` and come from the raw partition ``source``
    (``topic/partition``); ``control`` is a control or a tick, an empty mapping for neither; ``ahead`` has the seconds
    by source of the rows, where its clock is known to be ahead of the broker's.
    """

    offset: int
    time: float
    source: str = ""
    rows: list[list[Any]] = []  # noqa: RUF012 - never changed
    control: dict[str, Any] = {}  # noqa: RUF012 - never changed
    ahead: Mapping[str, float] = {}


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
            take, source, store.ahead = self._take, record.source, record.ahead
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

    def _use(self, graph: ServiceGraph, rules: Rules) -> None:
        store = self.store
        if graph.version != store.graph.version or rules != store.rules:
            self._kinds = {}
            regrowth.use(store, graph, rules)


#: Verdict of an answer of :mod:`correlator.engine.dedup` that is not one itself.
_VERDICTS: Final = {"early": "resolved"}
