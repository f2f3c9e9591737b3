"""Poison: many alerts of one source on which the engine raises, and controls and graphs on which it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.engine import controls, dedup
from correlator.engine.breaker import Breakers
from correlator.engine.partition import MARKER, EngineError, Output, Partition
from correlator.engine.rules import Rules
from correlator.engine.shard import Shard
from tests.engine.timeline import RAW, SHARD, START, depends, row
from topology import ServiceGraph

CHAIN = depends("web -> api -> db")
OTHER = depends("web -> db")
RULES = Rules(breaker_errors=3, breaker_window=600.0, breaker_retry=60.0)
FIRE = dedup.fire


@pytest.fixture(autouse=True)
def _sick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that raises on alerts named Poison."""

    def fire(store: Any, given: list[Any], kind: str) -> str:
        if given[6] == "Poison":
            raise ZeroDivisionError("poison")
        return FIRE(store, given, kind)

    monkeypatch.setattr(dedup, "fire", fire)


class Log:
    """A partition that is fed record by record; what was put aside as (service, reason)."""

    def __init__(self, rules: Rules = RULES, graphs: Any = None) -> None:
        self._first = (CHAIN, rules, graphs)
        self.partition = Partition(*self._first)
        self.offset = self.raw = 0
        self.aside: list[tuple[str, str]] = []
        self.outputs: list[Output] = []
        self.entries: dict[bytes, bytes] = {}

    def alerts(self, at: float, *names: str, source: str = "bad") -> None:
        """One record of alerts, named by 'service Name'."""
        rows = []
        for name in names:
            service, _, what = name.partition(" ")
            rows.append(row(self.raw, START + at, service, what or "Down", source=source))
            self.raw += 1
        self.record(at, {"source": RAW, "rows": rows}, SHARD)

    def record(self, at: float, value: Mapping[str, Any], shard: str = "") -> None:
        self.partition.apply(self.offset, START + at, shard, orjson.dumps(value))
        self.offset += 1

    def save(self) -> Output:
        output = self.partition.take()
        self.partition.saved(output)
        self.outputs.append(output)
        self.aside += [(q.row[5] if q.row else q.source, q.reason) for q in output.quarantined]
        for key, value in output.entries.items():
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value
        return output

    def restart(self) -> None:
        self.save()
        self.partition = Partition(*self._first)
        self.partition.load(self.entries)


def test_a_source_that_poisons_is_put_aside_and_others_go_on() -> None:
    """After three errors its alerts are not tried, not even good ones; each has its reason and its receipt."""
    log = Log()
    log.alerts(0, "a Poison", "b Poison", "db", "c Poison", "d Poison", "api")
    log.alerts(1, "web", source="good")
    log.alerts(2, "e Poison")
    output = log.save()
    assert log.aside == [
        ("a", "engine_error"),
        ("b", "engine_error"),
        ("c", "engine_error"),
        ("d", "breaker_open"),
        ("api", "breaker_open"),
        ("e", "breaker_open"),
    ]
    rules = [r["rule"] for r in output.decisions[SHARD] if r["verdict"] == "rejected"]
    assert sorted(rules) == ["breaker_open"] * 3 + ["engine_error"] * 3
    figures = log.partition.figures()[SHARD]
    assert (figures["inputs"], figures["transitions"], figures["active"]) == (8, 8, 2)
    assert list(log.partition.breakers.open) == ["bad"]


def test_one_alert_is_tried_after_a_while() -> None:
    """Poison keeps the breaker open for as long again; a good alert shuts it."""
    log = Log()
    log.alerts(0, "a Poison", "b Poison", "c Poison")
    log.alerts(59, "db")
    log.alerts(60, "d Poison", "api")
    log.alerts(119, "web")
    log.save()
    assert log.aside[3:] == [
        ("db", "breaker_open"),
        ("d", "engine_error"),
        ("api", "breaker_open"),
        ("web", "breaker_open"),
    ]
    log.alerts(120, "db", "e Poison", "f Poison", "api")
    log.save()
    assert log.aside[7:] == [("e", "engine_error"), ("f", "engine_error")]
    assert log.partition.breakers.open == {}


def test_errors_far_apart_open_nothing() -> None:
    """The window is of log time."""
    log = Log()
    for n in range(20):
        log.alerts(n * 301.0, "a Poison", "db")
    log.save()
    assert {reason for _, reason in log.aside} == {"engine_error"}


def test_a_record_of_nothing_but_poison_is_put_aside() -> None:
    """Also where ticks carry watermarks: there is no row whose time would count."""
    log = Log()
    log.record(0, {"type": "tick", "watermarks": {RAW: START}, "partitions": 1})
    log.alerts(1, "a Poison")
    log.alerts(2, "db")
    log.save()
    assert log.aside == [("a", "engine_error")]
    assert log.partition.figures()[SHARD]["active"] == 1


def test_the_trace_says_where() -> None:
    """Whoever mends it needs the place."""
    log = Log()
    log.alerts(0, "a Poison")
    (put_aside,) = log.save().quarantined
    assert put_aside.error == "ZeroDivisionError: poison"
    assert "shard.py" in put_aside.trace
    assert put_aside.trace.endswith(" fire")


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 5.0, 30.0, 61.0, 700.0]),
        st.sampled_from(["bad", "worse", "good"]),
        st.lists(st.sampled_from(["db", "api", "x Poison", "y Poison"]), min_size=1, max_size=5),
        st.sampled_from(["", "save", "restart"]),
    ),
    max_size=25,
)


@given(STEPS)
def test_restarts_and_checkpoints_change_nothing(steps: list[tuple[float, str, list[str], str]]) -> None:
    """The state of the breakers is in the checkpoint: a replay puts the same alerts aside."""
    logs = [Log(), Log()]
    for number, log in enumerate(logs):
        at = 0.0
        for passed, source, names, then in steps:
            at += passed
            log.alerts(at, *names, source=source)
            if number and then:
                log.save() if then == "save" else log.restart()
        log.save()
    assert logs[0].aside == logs[1].aside
    assert logs[0].entries[MARKER] == logs[1].entries[MARKER]
    figures = [log.partition.figures() for log in logs]
    assert figures[0] == figures[1]


@given(STEPS)
def test_a_source_without_poison_loses_nothing(steps: list[tuple[float, str, list[str], str]]) -> None:
    """Whatever the others send."""
    log, at = Log(), 0.0
    for passed, source, names, _ in steps:
        at += passed
        log.alerts(at, *(n for n in names if source != "good" or "Poison" not in n), source=source)
    output = log.save()
    assert not [q for q in output.quarantined if q.row[13] == "good"]


def test_the_state_of_before_there_were_breakers_is_read() -> None:
    """An older checkpoint has no word about them."""
    log = Log()
    log.alerts(0, "a Poison")
    log.save()
    marker = orjson.loads(log.entries[MARKER])
    del marker["breakers"]
    fresh = Partition(CHAIN, RULES)
    fresh.load({**log.entries, MARKER: orjson.dumps(marker)})
    assert fresh.breakers.open == {}


def test_a_jump_in_time_is_limited() -> None:
    """One record of the far future does not end the wait of a source."""
    breakers = Breakers()
    breakers.sift([row(0, 0, "a", "x", source="s")] * 3, RAW, {0, 1, 2}, RULES, START)
    breakers.sift([], RAW, (), RULES, START + 1e9)
    assert breakers.plain()["now"] == START + RULES.max_time_jump


# -- controls and graphs --------------------------------------------------------------------------------------

WINDOW = {"type": "maintenance", "id": "CHG-1", "match": {"service": "db"}, "author": "ana", "reason": "upgrade"}


def test_a_control_on_which_the_engine_raises_is_put_aside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its bytes; the state is as if it had not been there, and time passes."""
    known = controls.apply

    def apply(store: Any, control: dict[str, Any]) -> None:
        if control.get("id") == "boom":
            store.alerts.clear()
            raise KeyError("boom")
        known(store, control)

    monkeypatch.setattr(controls, "apply", apply)
    log, plain = Log(), Log()
    for one in (log, plain):
        one.alerts(0, "db")
        one.record(
            5, {**WINDOW, "id": "boom", "starts_at": START, "ends_at": START + 900} if one is log else {"type": "tick"}
        )
        one.record(6, {"type": "acknowledge", "incident": "0" * 16, "by": "ana"})
        one.alerts(7, "web")
    output, wanted = log.save(), plain.save()
    (put_aside,) = output.quarantined
    assert (put_aside.offset, put_aside.reason, orjson.loads(put_aside.value)["id"]) == (1, "engine_error", "boom")
    assert output.incidents == wanted.incidents
    assert output.decisions == wanted.decisions
    log.restart()
    assert log.partition.applied == 3


def test_a_graph_that_cannot_be_read_is_put_aside() -> None:
    """The graph of before stays in force, after a restart too; a graph that is not known stops as before."""

    def graphs(version: str) -> ServiceGraph:
        if version == "0" * 16:
            raise ValueError("half a document")
        return {g.version: g for g in (CHAIN, OTHER)}[version]

    log = Log(graphs=graphs)
    log.alerts(0, "db")
    log.record(1, {"type": "graph", "version": "0" * 16})
    log.alerts(2, "web")
    (put_aside,) = log.save().quarantined
    assert put_aside.error == "ValueError: half a document"
    assert log.partition.graph.version == CHAIN.version
    log.restart()
    log.record(3, {"type": "graph", "version": OTHER.version})
    assert log.partition.graph.version == OTHER.version


def test_a_graph_that_the_engine_cannot_use_is_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises while the forest is grown anew: the forest of before is back."""
    known = Shard._use

    def use(self: Shard, graph: ServiceGraph, rules: Rules) -> None:
        if graph.version == OTHER.version:
            self.store.solos.clear()
            raise RecursionError("too deep")
        known(self, graph, rules)

    monkeypatch.setattr(Shard, "_use", use)
    log = Log(graphs={OTHER.version: OTHER}.__getitem__)
    log.alerts(0, "db", "web")
    log.record(1, {"type": "graph", "version": OTHER.version})
    log.alerts(2, "api")
    output = log.save()
    assert [q.error for q in output.quarantined] == ["RecursionError: too deep"]
    assert log.partition.graph.version == CHAIN.version
    assert output.incidents[-1][1]["counts"]["services"] == 3  # type: ignore[index]


def test_time_on_which_the_engine_raises_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control is not blamed for it: it would be lost for nothing."""
    log = Log()
    log.alerts(0, "db")

    def fire(*_: Any) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("correlator.engine.deadlines.fire", fire)
    with pytest.raises(EngineError, match="offset 1"):
        log.record(100, {"type": "acknowledge", "incident": "0" * 16, "by": "ana"})
