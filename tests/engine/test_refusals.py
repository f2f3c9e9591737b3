"""Limits, poison, records that are none, and state that does not make a whole."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest

from correlator.engine import deadlines, dedup, grouping
from correlator.engine.partition import MARKER, EngineError, Partition
from correlator.engine.rules import Rules
from correlator.engine.state import SCHEMA_VERSION
from correlator.errors import StateError
from tests.engine.timeline import RAW, SHARD, START, Timeline, depends, row

CHAIN = depends("web -> api -> db")


def test_a_mass_expiry_goes_on_in_later_steps() -> None:
    """A step fires so many deadlines and no more; the rest follows, at the time that it was due."""
    graph = depends(*(f"s{n} -> db" for n in range(9)))
    story = Timeline(graph, ttl=600.0, max_deadlines_per_step=4).at("0s").together(*(f"s{n}" for n in range(9)))
    active = [9]
    for _ in range(20):
        story.at("11m").restarts().tick()
        active.append(story.partition.figures()[SHARD]["active"])
    assert all(0 <= before - after <= 4 for before, after in itertools.pairwise(active))
    assert active[-1] == 0
    assert {r["at"] for r in story.receipts if r["rule"] == "expired"} == {"2025-06-15T15:16:40.000Z"}


def test_more_alerts_than_there_is_room_for_are_rejected_and_counted() -> None:
    """The limit is visible: a verdict, a receipt, a counter."""
    story = Timeline(CHAIN, max_active_alerts=1).at("0s").fires("db").fires("web").resolves("api")
    assert story.verdicts("web") == story.verdicts("api") == ["rejected"]
    assert story.partition.shards[SHARD].store.limits["max_active_alerts"] == 2


def sick(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """An engine that raises on alerts named Poison: when they are taken, or only when the record is settled."""
    original = getattr(dedup, function)

    def raising(store: Any, row: list[Any], kind: str) -> str:
        if row[6] == "Poison":
            raise ZeroDivisionError("poison")
        answer: str = original(store, row, kind)
        return answer

    monkeypatch.setattr(dedup, function, raising)


def records(poison: bool) -> list[bytes]:
    """Three records; the second one holds the poison."""
    rows = [row(n, START, s, "Down") for n, s in enumerate(["db", "api", "web"])]
    extra = [row(5, START, "web", "Poison")] if poison else []
    parts = [[rows[0]], [rows[1], *extra, row(6, START, "web", "Slow")], [row(7, START, "web", "Down")]]
    return [orjson.dumps({"source": RAW, "rows": part}) for part in parts]


def test_a_poisonous_alert_is_put_aside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine raises on one row: that row is quarantined with its place, the rest is as if it were not there."""
    sick(monkeypatch, "fire")
    out = []
    for poison in (True, False):
        partition = Partition(CHAIN, Rules())
        for offset, value in enumerate(records(poison)):
            partition.apply(offset, START, SHARD, value)
        out.append(partition.take())
    assert [(q.offset, q.source, q.row[6], q.error) for q in out[0].quarantined] == [
        (1, RAW, "Poison", "ZeroDivisionError: poison")
    ]
    assert out[0].incidents == out[1].incidents
    assert [r for r in out[0].decisions[SHARD] if r["verdict"] != "rejected"] == out[1].decisions[SHARD]
    differing = {key for key in out[0].entries if out[0].entries[key] != out[1].entries.get(key)}
    assert differing == {MARKER, f"{SHARD}\x1fm\x1f".encode()}  # the count of the shard, and of the breaker


def test_poison_that_shows_only_at_the_end_of_a_record_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the record are tried by halves: the neighbours of the one at fault are kept."""
    original = grouping.settle

    def raising(store: Any) -> None:
        if any(alert.name == "Poison" for alert, _, _ in store.pending):
            raise ZeroDivisionError("poison")
        original(store)

    monkeypatch.setattr(grouping, "settle", raising)
    partition = Partition(CHAIN, Rules())
    for offset, value in enumerate(records(poison=True)):
        partition.apply(offset, START, SHARD, value)
    out = partition.take()
    assert [q.row[6] for q in out.quarantined] == ["Poison"]
    assert partition.figures()[SHARD]["active"] == 4


def test_an_engine_that_raises_without_an_alert_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to put aside: going on would guess."""

    def raising(*_: Any) -> int:
        raise ZeroDivisionError

    partition = Partition(CHAIN, Rules())
    partition.apply(0, START, SHARD, records(poison=False)[0])
    monkeypatch.setattr(deadlines, "fire", raising)
    with pytest.raises(EngineError, match="offset 1"):
        partition.apply(1, START + 100.0, SHARD, b"")


AHEAD = [b'{"source":"x","rows":[],"ahead":[1]}', b'{"source":"x","rows":[],"ahead":{"am":"1s"}}']


@pytest.mark.parametrize(
    "value", [b"{", b"[]", b"{}", b'{"rows":[]}', b'{"source":"x","rows":3}', b'{"type":3}', *AHEAD]
)
def test_a_record_that_is_none_is_put_aside(value: bytes) -> None:
    """Somebody else wrote into the log: the bytes are reported, the log goes on."""
    partition = Partition(CHAIN, Rules())
    partition.apply(0, START, SHARD, value)
    out = partition.take()
    assert [(q.offset, q.error) for q in out.quarantined] == [(0, "not_json")]
    assert out.applied == 0


def test_state_that_does_not_make_a_whole_is_refused() -> None:
    """No marker, a newer schema, a graph that nobody knows: do not start."""
    other = depends("a -> b")
    story = Timeline(CHAIN, [other]).at("0s").fires("db").uses(other)
    entries = dict(story.entries)
    with pytest.raises(StateError, match="graph"):
        Partition(CHAIN, Rules()).load(entries)
    marker = orjson.loads(entries[MARKER])
    newer = {**entries, MARKER: orjson.dumps({**marker, "schema": SCHEMA_VERSION + 1})}
    with pytest.raises(StateError, match="schema"):
        story.partition.load(newer)
    del entries[MARKER]
    with pytest.raises(StateError, match="marker"):
        story.partition.load(entries)


def test_a_partition_that_loads_nothing_starts_anew() -> None:
    """What it held before is gone, also for the rebuild after a poisonous alert."""
    story = Timeline(CHAIN).at("0s").fires("db")
    story.partition.load({})
    assert story.partition.applied == -1
    assert story.partition.take().incidents == []


def test_members_are_listed_up_to_a_limit_and_counted_all() -> None:
    """The wire size of an incident is bounded."""
    graph = depends(*(f"s{n} -> db" for n in range(12)))
    story = Timeline(graph, members_listed=5, services_listed=4).at("0s").together("db", *(f"s{n}" for n in range(12)))
    value = story.the("db")
    assert (len(value["members"]), len(value["services"]), value["counts"]["alerts"]) == (5, 4, 13)
    assert value["members"][0]["verdict"] == "root"
