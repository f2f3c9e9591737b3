"""Laws of the engine over random graphs and logs. Each test's docstring is the promise."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from correlator.engine.shard import Record, Shard
from correlator.engine.state import AlertState
from tests.engine.strategies import ALERTS, LAW, RULES, Log, Run, graphs, logs, run
from tests.engine.timeline import RAW, START, row
from topology import ServiceGraph

SORTED = orjson.OPT_SORT_KEYS

# -- order and repetition -------------------------------------------------------------------------------------

_BATCH = st.lists(
    st.tuples(st.sampled_from(sorted(ALERTS)), st.sampled_from(["firing", "firing", "resolved"]), st.integers(0, 9)),
    min_size=1,
    max_size=9,
    unique=True,
)


def batch_rows(graph: ServiceGraph, messages: list[tuple[str, str, int]]) -> list[list[Any]]:
    """Rows at one moment; the number is the onset of a firing message and the end of a resolved one."""
    rows = []
    for number, (fingerprint, status, time) in enumerate(messages):
        service, name, source = ALERTS[fingerprint]
        more = {"fingerprint": fingerprint, "source": source, "known": service in graph, "starts_at": START - 50 + time}
        ends = START - 50 + time if status == "resolved" else None
        rows.append(row(number, START, service, name, status, ends_at=ends, **more))
    return rows


def situation(shard: Shard) -> dict[str, Any]:
    """Per fingerprint: whether it fires, its onset, the root and the services of its group."""
    found: dict[str, Any] = {}
    for key, alert in shard.store.alerts.items():
        node = shard.store.node_of(alert)
        if node is not None:
            members = sorted(a for n in node.group.members.values() for a in n.alerts)
            root = node.group.root
            found[key] = (alert.firing, alert.starts_at, root.name, root.solo, members, bool(node.group.owners))
        else:
            found[key] = (alert.firing, alert.seen)
    return found


@LAW
@given(graphs(), _BATCH, st.randoms(use_true_random=False), st.integers(1, 4), st.sampled_from([0.0, 5.0, 30.0]))
def test_the_order_of_arrival_does_not_matter(
    graph: ServiceGraph, messages: list[tuple[str, str, int]], order: Any, size: int, ahead: float
) -> None:
    """The same messages at one time end in the same roots, members, status and onsets, in any order and any records."""
    ends = []
    for _ in range(3):
        shard, arranged = Shard("s", graph, RULES), list(messages)
        order.shuffle(arranged)
        rows = batch_rows(graph, arranged)
        for offset, start in enumerate(range(0, len(rows), size)):
            shard.step(Record(offset, START, RAW, rows[start : start + size], ahead={"am": ahead}))
        ends.append({key: what[:-1] if len(what) > 2 else what for key, what in situation(shard).items()})
    assert ends[0] == ends[1] == ends[2]


@LAW
@given(logs(), st.data())
def test_what_intake_repeats_after_a_crash_changes_nothing(log: Log, data: st.DataObject) -> None:
    """Rows whose place in the raw topic was passed are counted as replayed; values, receipts and state stay equal."""
    plain, repeated = (Log(log.graph, log.other, list(log.records)) for _ in range(2))
    where = data.draw(st.integers(0, len(log.records) - 1))
    offset, time, _, _ = log.records[where]
    tail = [r for r in log.records[max(0, where - 3) : where + 1] if b'"rows"' in r[3]]
    again = [(offset + 1 + i, time, shard, value) for i, (_, _, shard, value) in enumerate(tail)]
    repeated.records[where + 1 : where + 1] = again
    plain.records[where + 1 : where + 1] = [(offset, time, shard, b"") for offset, time, shard, _ in again]
    (once, partition), (twice, again_partition) = run(plain), run(repeated)
    assert twice.last == once.last
    assert twice.receipts == once.receipts
    rows = sum(len(orjson.loads(value)["rows"]) for _, _, _, value in again)
    figures, others = partition.figures(), again_partition.figures()
    assert sum(f["replayed"] for f in others.values()) == sum(f["replayed"] for f in figures.values()) + rows
    for shard, before in figures.items():
        assert {**before, "replayed": 0} == {**others[shard], "replayed": 0}


# -- values ---------------------------------------------------------------------------------------------------


@LAW
@given(graphs(), _BATCH)
def test_inputs_are_left_untouched(graph: ServiceGraph, messages: list[tuple[str, str, int]]) -> None:
    """Rows and controls are equal before and after."""
    window = {"type": "maintenance", "id": "m", "match": {"service": "a"}, "starts_at": START, "ends_at": START + 9}
    records = [
        Record(0, START, control=window),
        Record(1, START, RAW, batch_rows(graph, messages)),
        Record(2, START + 40.0, control={"type": "tick", "watermarks": {RAW: START}, "partitions": 1}),
        Record(3, START + 900.0),
    ]
    before, shard = copy.deepcopy(records), Shard("s", graph, RULES)
    for record in records:
        shard.step(record)
    assert records == before


@LAW
@given(logs())
def test_every_output_is_json_and_reads_back_equal(log: Log) -> None:
    """Incidents, receipts and entries hold JSON types only: what a reader loads equals what was said."""
    result, _ = run(log)
    for _, value in result.revisions:
        assert orjson.loads(orjson.dumps(value)) == value
    assert orjson.loads(orjson.dumps(result.receipts)) == result.receipts
    for entry in result.entries.values():
        assert orjson.dumps(orjson.loads(entry)) == entry


@LAW
@given(logs())
def test_nothing_is_lost_or_counted_twice(log: Log) -> None:
    """After every record the verdict transitions add up to the inputs, and the counted alerts are the active ones."""
    result, partition, seen = Run(), log.partition(), {"s": 0, "t": 0}
    for record in log.records:
        partition.apply(*record)
        result.take(partition)
        if b'"rows"' in record[3]:
            seen[record[2]] += len(orjson.loads(record[3])["rows"])
        for shard, figures in partition.figures().items():
            assert figures["inputs"] == figures["transitions"] == seen[shard] - figures["replayed"]
            assert figures["active"] == figures["counted"]
            firing = [a for a in partition.shards[shard].store.alerts.values() if a.firing]
            assert figures["active"] == len(firing)


@LAW
@given(logs())
def test_the_receipts_of_an_alert_agree_with_its_state(log: Log) -> None:
    """The last receipt of the current episode says resolved exactly when the alert does not fire."""
    result, partition = run(log)
    for name, shard in partition.shards.items():
        last = {r["fingerprint"]: r for r in result.receipts.get(name, []) if r["verdict"] not in ("late", "rejected")}
        for key, alert in shard.store.alerts.items():
            # Re-roots and merges speak of the alert that stood for the root; they come with a root or a symptom.
            if alert.seen and last[key]["rule"] not in ("re_rooted", "merged"):
                assert (last[key]["verdict"] == "resolved") == (not alert.firing)


@LAW
@given(logs())
def test_every_alert_that_fires_is_in_exactly_one_incident(log: Log) -> None:
    """Nothing that fires is muted into silence: its one incident is open, and a real path leads to its root."""
    partition = log.partition()
    for record in log.records:
        partition.apply(*record)
        for shard in partition.shards.values():
            store = shard.store
            owners = {id(i.group): i for i in store.incidents.values() if i.group is not None}
            assert len(owners) == sum(i.group is not None for i in store.incidents.values())
            for alert in store.alerts.values():
                if not alert.firing:
                    continue
                node = store.node_of(alert)
                assert node is not None
                (owner,) = node.group.owners
                assert owners[id(node.group)] is owner
                assert owner.state in ("forming", "open")
                if not node.solo:
                    path = store.forest.path(alert.service)
                    assert path[-1] == owner.root_service
                    steps = itertools.pairwise(path)
                    assert all(v in store.graph.dependencies(u) or u in store.graph.dependencies(v) for u, v in steps)


@LAW
@given(logs())
def test_what_an_operator_said_stands(log: Log) -> None:
    """As long as the named root alerts, neither new alerts nor judgements take away what was put below it."""
    partition = log.partition()
    for record in log.records:
        held = [n for shard in partition.shards.values() for n in shard.store.forest.nodes.values() if n.pinned]
        roots = [node.group.root for node in held]
        partition.apply(*record)
        if b'"verdict"' in record[3] or b'"graph"' in record[3]:
            continue
        alive = {id(n) for shard in partition.shards.values() for n in shard.store.forest.nodes.values()}
        for node, root in zip(held, roots, strict=True):
            if id(node) in alive and id(root) in alive:
                assert node.pinned
                assert node.group.root is root


@LAW
@given(logs())
def test_a_resolve_always_passes(log: Log) -> None:
    """In any state a resolve ends the current episode at once, and what has resolved in all its parts is resolved."""
    result, partition = run(log)
    offset, now = log.records[-1][0], log.records[-1][1]
    alerts: dict[str, list[AlertState]] = {}
    for name, shard in sorted(partition.shards.items()):
        alerts[name] = [a for _, a in sorted(shard.store.alerts.items()) if a.firing or a.ended == "unknown"]
        rows = [
            row(
                10_000 + i,
                now,
                a.service,
                a.name,
                "resolved",
                fingerprint=a.fingerprint,
                source=a.source,
                ends_at=now + 1,
            )
            for i, a in enumerate(alerts[name])
        ]
        offset += 1
        partition.apply(offset, now, name, orjson.dumps({"source": RAW, "rows": rows}))
    before = {name: len(receipts) for name, receipts in result.receipts.items()}
    result.take(partition)
    for name, gone in alerts.items():
        said = [r for r in result.receipts.get(name, [])[before.get(name, 0) :] if r["verdict"] == "resolved"]
        assert {r["fingerprint"] for r in said} == {a.fingerprint for a in gone}
        assert not any(a.firing for a in partition.shards[name].store.alerts.values())
        for incident in partition.shards[name].store.incidents.values():
            if incident.kind in ("fault", "ticket", "test") and not {"flapping", "expired"} & set(incident.flags):
                assert incident.state == "resolved"
                assert incident.resolution == "recovered"


@LAW
@given(logs(), st.integers(2, 30))
def test_no_page_is_lost_by_skipping_revisions(log: Log, every: int) -> None:
    """page.seq never shrinks, and who reads the last value only knows of as many pages as who reads them all."""
    fine, _ = run(log)
    coarse, _ = run(log, every=every)
    seq: dict[str, int] = {}
    revision: dict[str, int] = {}
    for id, value in fine.revisions:
        if value is None:
            continue
        assert value["page"]["seq"] >= seq.get(id, 0)
        assert value["revision"] >= revision.get(id, -1)
        seq[id], revision[id] = value["page"]["seq"], value["revision"]
    last = {id: value for id, value in coarse.revisions if value is not None}
    assert {id: value["page"]["seq"] for id, value in last.items()} == {id: seq[id] for id in last}
    assert all(seq[id] == 0 for id in seq.keys() - last.keys())


@LAW
@given(logs())
def test_what_is_over_stays_over(log: Log) -> None:
    """After its merged or closed revision an incident has no further one but its tombstone."""
    result, _ = run(log)
    over: set[str] = set()
    for id, value in result.revisions:
        assert value is None or id not in over
        if value is not None and value["state"] in ("merged", "closed"):
            over.add(id)
            assert not value["page"]["wanted"]
            assert (value["merged_into"] is not None) == (value["state"] == "merged")


@LAW
@given(logs(), st.integers(0, 10**6))
def test_poison_is_put_aside_alone(log: Log, at: int) -> None:
    """A row that no engine can take is quarantined; everything else is as if it had never been sent."""
    places = [n for n, r in enumerate(log.records) if b'"rows"' in r[3]]
    if not places:
        return
    where = places[at % len(places)]
    offset, time, shard, value = log.records[where]
    data = orjson.loads(value)
    sick = {**data, "rows": [*data["rows"], ["not", "a", "row"]]}
    poisoned = Log(log.graph, log.other, list(log.records))
    poisoned.records[where] = (offset, time, shard, orjson.dumps(sick))
    well, partition = run(log)
    result, other = run(poisoned, every=3)
    assert [q.row for q in result.quarantined] == [["not", "a", "row"]]
    assert result.last == well.last
    receipts = {s: [r for r in found if r["verdict"] != "rejected"] for s, found in result.receipts.items()}
    assert {s: r for s, r in receipts.items() if r} == well.receipts
    for name, figures in partition.figures().items():
        extra = int(name == shard)
        wanted = {**figures, "inputs": figures["inputs"] + extra, "transitions": figures["transitions"] + extra}
        assert other.figures()[name] == wanted
