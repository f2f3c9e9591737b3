"""The laws of time and of the saved state: cuts, restarts and ticks make no difference, over random logs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from correlator.engine import saved
from correlator.engine.entries import MARKER, entry_key, window_key
from correlator.engine.partition import Partition
from tests.engine.strategies import LAW, Log, Run, logs, run
from tests.engine.timeline import RAW, START

SORTED = orjson.OPT_SORT_KEYS


@LAW
@given(logs(), st.integers(2, 30))
def test_where_batches_are_cut_does_not_matter(log: Log, every: int) -> None:
    """Outputs taken after every record or rarely: the same last values and receipts, byte for byte."""
    fine, _ = run(log)
    coarse, _ = run(log, every=every)
    assert coarse.last == fine.last
    assert orjson.dumps(coarse.receipts, option=SORTED) == orjson.dumps(fine.receipts, option=SORTED)
    assert coarse.entries == fine.entries


@LAW
@given(logs(), st.sets(st.integers(0, 49), min_size=1, max_size=3), st.booleans())
def test_a_restart_is_no_restart(log: Log, restarts: set[int], lagging: bool) -> None:
    """Loading the saved entries at any record and going on gives the same values, receipts and entries, in bytes.

    So it does while deadlines wait for a raw partition that is behind.
    """
    if lagging:
        log.records.insert(0, (-5, START, "", orjson.dumps({"type": "tick", "partitions": 1})))
    through, partition = run(log)
    stopped, restarted = run(log, restart=frozenset(restarts))
    assert stopped.last == through.last
    assert orjson.dumps(stopped.receipts, option=SORTED) == orjson.dumps(through.receipts, option=SORTED)
    assert stopped.entries == through.entries
    assert restarted.figures() == partition.figures()


@LAW
@given(logs())
def test_what_is_said_again_is_what_was_said_last(log: Log) -> None:
    """Byte for byte, of every incident that is remembered, after a restart too; and that changes nothing."""
    said, partition = run(log)
    last, entries = said.last, dict(said.entries)
    fresh = log.partition()
    fresh.load(entries)
    for one in (partition, fresh):
        one.say_again()
        output = one.take()
        known = {key for shard in one.shards.values() for key in shard.store.incidents}
        assert {key: orjson.dumps(value) for key, value in output.incidents} == {key: last[key] for key in known}
        assert not any(output.decisions.values())
        assert all(entries.get(key) == value for key, value in output.entries.items())


def dumped(partition: Partition) -> dict[bytes, bytes]:
    """The whole state, entity by entity, whether it is marked as changed or not."""
    found = {}
    for name, shard in partition.shards.items():
        store = shard.store
        tables: dict[str, Iterable[str]] = {
            "a": store.alerts,
            "i": store.incidents,
            "s": store.sources,
            "w": store.windows,
            "t": store.tombs,
            "g": store.forest.inferred,
            "h": store.history,
            "l": store.patterns,
            "p": [node.name for node in store.forest.nodes.values() if node.via is not None],
            "c": store.changes,
            "u": store.suspects,
            "v": store.trust,
        }
        for kind, table in tables.items():
            for key in table:
                found[entry_key(name, kind, key)] = orjson.dumps(saved.entity(shard.store, kind, key))
        found[entry_key(name, "m")] = orjson.dumps(saved.meta(shard.store))
    return found | {window_key(key): orjson.dumps(control) for key, control in partition.windows.items()}


@LAW
@given(logs())
def test_what_is_saved_is_the_whole_state(log: Log) -> None:
    """No change of an entity goes by unmarked: after every record the saved entries equal the state."""
    result, partition = Run(), log.partition()
    for record in log.records:
        partition.apply(*record)
        result.take(partition)
        assert {k: v for k, v in result.entries.items() if k != MARKER} == dumped(partition)


def told(result: Run) -> dict[str, Any]:
    """Last values without what numbers them."""
    return {
        id: value and {k: v for k, v in value.items() if k not in ("revision", "updated_at")}
        for id, value in result.values.items()
    }


@LAW
@given(logs(), st.data(), st.booleans())
def test_missing_repeated_and_foreign_ticks_change_nothing(log: Log, data: st.DataObject, watermarks: bool) -> None:
    """Ticks let time pass and decide nothing: with more of them the incidents end the same but for their revisions."""
    records = list(log.records)
    end = (records[-1][0] + 10, records[-1][1] + 400.0, "", orjson.dumps({"type": "tick", "watermarks": {RAW: 1e10}}))
    start = (-5, START, "", orjson.dumps({"type": "tick", "partitions": int(watermarks)}))
    records = [start, *records, end]
    more = list(records)
    places = data.draw(st.sets(st.integers(1, len(records) - 2), max_size=6)) if len(records) > 2 else set()
    for place in places:
        offset, time, _, _ = records[place]
        time += data.draw(st.floats(0.0, 1.0)) * (records[place + 1][1] - time)
        shard = data.draw(st.sampled_from(["", "s", "foreign"]))
        tick = {"type": "tick", "watermarks": {RAW: time} if data.draw(st.booleans()) else {}}
        more.append((offset + 5, time, shard, orjson.dumps(tick)))
    fewer, _ = run(Log(log.graph, log.other, records))
    ticked, _ = run(Log(log.graph, log.other, sorted(more)))
    assert told(ticked) == told(fewer)
    receipts = [[{**r, "revision": 0} for r in run.receipts.get("s", [])] for run in (ticked, fewer)]
    assert receipts[0] == receipts[1]
