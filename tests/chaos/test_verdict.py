"""What must hold after a run, and that it is said when it does not."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from benchmarks.chaos.traffic import BAD, Regions, poison
from benchmarks.chaos.verdict import Evidence, judge
from benchmarks.outcome import Published
from benchmarks.poison import injected
from correlator.assemble import placer_for, reader_for, rules_for
from correlator.config import Settings, load_settings
from correlator.engine.partition import Partition
from topology import Edge, Node, ServiceGraph

#: Epoch seconds.
NOW = 1_750_000_000


def record(offset: int, value: Any, *, key: bytes = b"", headers: Any = ()) -> Any:
    given = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    return SimpleNamespace(
        partition=0, offset=offset, key=key, value=given, headers=headers, timestamp=1_750_000_000_000
    )


@pytest.fixture
def settings() -> Settings:
    return load_settings(None, {"CORRELATOR_SHARDS__LABELS": '["region"]'})


@pytest.fixture
def evidence(settings: Settings) -> Evidence:
    """A run without faults, in memory: alerts, one that poisons, a bad record, a window, a change."""
    regions = Regions(3, 1)
    graph = ServiceGraph.build(
        {name: Node() for name in regions.graph["nodes"]}, dict.fromkeys(regions.graph["edges"], Edge())
    )
    raw: list[Any] = []
    placed: list[Any] = []
    rejected: list[tuple[int, str, str]] = []
    reader, placer = reader_for(settings, settings.topics.raw[0]), placer_for(settings, graph)
    source = f"{settings.topics.raw[0]}/0"
    placed.append(record(0, {"type": "graph", "version": graph.version}))
    placed.append(record(1, {"type": "rules", "rules": rules_for(settings).plain()}))
    found = [item.value for item in regions.items(20) if item.kind == "alert"]
    for value in (*found, poison(Random(1), "r0", 0), BAD["not_json"]):
        raw.append(record(len(raw), value))
        reading = reader.read(raw[-1].value, received_at=NOW, topic=settings.topics.raw[0])
        for alert in reading.alerts:
            shard, row = placer.row(alert, raw[-1].offset, 0, NOW)
            placed.append(record(len(placed), {"type": "alerts", "source": source, "rows": [row]}, key=shard.encode()))
        for _, error in reading.rejects:
            rejected.append((raw[-1].offset, "", error.reason))
    window: dict[str, Any] = {"type": "maintenance", "id": "w", "match": {"service": "x"}, "author": "a", "reason": "r"}
    window |= {"starts_at": 1.0, "ends_at": 2.0}
    placed.append(record(len(placed), window))
    placed.append(record(len(placed), {"type": "change", "id": "c", "kind": "other", "service": "r0.pulse"}, key=b"?"))
    with injected():
        partition = Partition(ServiceGraph.empty(), rules_for(settings), {graph.version: graph}.__getitem__)
        for one in placed:
            partition.apply(one.offset, one.timestamp / 1000, one.key.decode(), one.value)
        output = partition.take()
    rejected += [(q.row[0], "0", q.reason) for q in output.quarantined if q.row]
    incidents = [record(n, value, key=key.encode()) for n, (key, value) in enumerate(output.incidents)]
    return Evidence(
        raw,
        [record(0, window)],
        [record(0, {"id": "c"})],
        Published(
            placed=placed,
            graphs={graph.version: graph},
            incidents=incidents,
            history=[one for one in incidents if one.value is not None],
            decisions=[record(n, {"decisions": found}) for n, found in enumerate(output.decisions.values())],
            rejected=[record(n, b"", headers=headers(settings, *where)) for n, where in enumerate(rejected)],
            applied={0: len(placed) - 1},
            marks={},
        ),
    )


def headers(settings: Settings, offset: int, index: str, reason: str) -> list[tuple[str, bytes]]:
    values = {
        "topic": settings.topics.raw[0],
        "partition": "0",
        "offset": str(offset),
        "index": index,
        "reason": reason,
    }
    return [(name, value.encode()) for name, value in values.items()]


LAWS = (
    "byte for byte what the log implies",
    "every alert placed",
    "every alert decided once",
    "every bad record rejected",
    "what the engine raised on put aside",
    "every control and change in the log",
)


def broken(evidence: Evidence, settings: Settings) -> dict[str, list[str]]:
    with injected():
        laws = judge(evidence, settings, exact=True).laws
    assert tuple(laws) == LAWS
    return {law: lines for law, lines in laws.items() if lines}


def test_a_run_in_which_nothing_went_wrong_breaks_no_law(evidence: Evidence, settings: Settings) -> None:
    """Alerts decided, poison put aside, the bad record rejected."""
    assert broken(evidence, settings) == {}
    with injected():
        figures = judge(evidence, settings, exact=True).figures
    assert figures["alerts fed"] == figures["alerts decided"] > 100
    assert (figures["bad records"], figures["alerts put aside"]) == (1, 1)


def test_an_alert_that_was_never_placed_is_lost(evidence: Evidence, settings: Settings) -> None:
    """It is named by raw partition, offset and position."""
    evidence.raw.append(record(len(evidence.raw), {"name": "x", "service": "y"}))
    found = broken(evidence, settings)
    assert found["every alert placed"] == [f"alert lost: (0, {len(evidence.raw) - 1}, 0)"]
    assert "every alert decided once" in found


def test_an_incident_that_says_something_else_is_found(evidence: Evidence, settings: Settings) -> None:
    """A last value that the log does not imply, one that is missing, and a receipt that is there twice."""
    published = evidence.published
    published.incidents[0].value = b'{"id": "other"}'
    gone = published.incidents.pop()
    published.decisions.append(published.decisions[0])
    (lines,) = broken(evidence, settings).values()
    assert lines[0].startswith("last value of incident")
    assert any(gone.key.decode() in line for line in lines)
    assert any(line.startswith("receipt not implied") for line in lines)


def test_a_revision_that_was_published_twice_is_found(evidence: Evidence, settings: Settings) -> None:
    """Though its last value is right; where the broker has no transactions it may be."""
    evidence.published.history.append(evidence.published.history[-1])
    (lines,) = broken(evidence, settings).values()
    assert [line.partition(":")[0] for line in lines] == ["revision twice in history"]
    with injected():
        assert judge(evidence, settings, exact=False).broken == []


def test_rejects_controls_and_changes_that_are_missing_are_found(evidence: Evidence, settings: Settings) -> None:
    """Each under its law."""
    evidence.published.rejected.clear()
    evidence.controls.append(record(1, {"type": "maintenance", "id": "w2"}))
    evidence.changes.append(record(1, {"id": "c2"}))
    offset = len(evidence.raw) - 1
    assert broken(evidence, settings) == {
        "every bad record rejected": [f"bad record lost: (0, {offset}, 'not_json')"],
        "what the engine raised on put aside": ["the engine puts 1 aside, 0 are on the rejected topic"],
        "every control and change in the log": ["lost: change c2", "lost: maintenance w2"],
    }


def test_only_some_of_many_differences_are_named(evidence: Evidence, settings: Settings) -> None:
    """And the rest is counted."""
    first = len(evidence.raw)
    evidence.raw += [record(first + n, {"name": "x", "service": "y"}) for n in range(8)]
    lines = broken(evidence, settings)["every alert placed"]
    assert len(lines) == 6
    assert lines[-1] == "alert lost: 3 more"
