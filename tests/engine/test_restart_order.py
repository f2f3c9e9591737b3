"""What a restart cannot know must not show."""

from __future__ import annotations

from typing import Any

import orjson

from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from tests.engine.timeline import RAW, Timeline, depends, row
from topology import Edge, Node, ServiceGraph

START = 1_750_000_000.0
GRAPH = ServiceGraph.build(
    {name: Node() for name in ("far", "near", "web")}, {("web", "far"): Edge(), ("web", "near"): Edge()}
)


def _record(offset: int, *alerts: tuple[str, str, float]) -> bytes:
    rows: list[list[Any]] = []
    for index, (fingerprint, service, onset) in enumerate(alerts):
        row = [offset, index, START, True, fingerprint * 16, service, "Slow", "critical", "firing", START + onset]
        rows.append([*row, None, {}, {}, "source", []])
    return orjson.dumps({"type": "alerts", "source": "raw/0", "rows": rows})


def _run(restart: bool) -> dict[str, bytes | None]:
    """The alerts of ``web`` come in the order z, a; then a better explanation moves them to another incident."""
    partition = Partition(GRAPH, Rules())
    last: dict[str, bytes | None] = {}
    saved: dict[bytes, bytes] = {}
    records = [_record(0, ("f", "far", -50.0)), _record(1, ("z", "web", 0.0), ("a", "web", 0.0))]
    for offset, value in enumerate([*records, _record(2, ("n", "near", -1.0))]):
        partition.apply(offset, START + offset, "all", value)
        output = partition.take()
        partition.saved(output)
        saved.update({key: value for key, value in output.entries.items() if value is not None})
        last.update({key: orjson.dumps(incident) if incident else None for key, incident in output.incidents})
        if restart:
            partition = Partition(GRAPH, Rules())
            partition.load(saved)
    return last


def test_members_that_move_are_listed_alike_after_a_restart() -> None:
    """Alerts of one service come back in another order than they arrived; what is published is the same bytes."""
    last = _run(restart=False)
    assert last == _run(restart=True)
    moved = [orjson.loads(value) for value in last.values() if value and orjson.loads(value)["counts"]["alerts"] == 3]
    assert [member["fingerprint"][0] for member in moved[0]["members"]] == ["n", "a", "z"]


def test_a_repeat_counts_for_the_incident_that_stays() -> None:
    """A repeat in the very record that merges its incident into another one counts there, restart or not."""
    graph = depends("a -> calm -> root", "b -> calm", "a2 -> a", "b2 -> b")
    shown = []
    for restart in (False, True):
        story = Timeline(graph).fires("b").fires("b2").fires("a").fires("a2")
        if restart:
            story.restarts()
        rows = [row(4, START, "root", "Down"), row(5, START, "a", "Down"), row(6, START, "b", "Down")]
        story.record({"source": RAW, "rows": rows})
        shown.append({v["id"]: (v["state"], v["counts"]["duplicates"]) for v in story.last.values() if v})
    assert sorted(shown[0].values()) == [("forming", 2), ("merged", 0)]
    assert shown[0] == shown[1]
