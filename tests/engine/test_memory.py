"""What is kept takes the memory of its contents."""

from __future__ import annotations

import gc
import tracemalloc

import orjson

from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from tests.engine.timeline import RAW, SHARD, START, depends, row

GRAPH = depends("web -> api -> db")


def test_alerts_that_come_and_go_leave_nothing_behind() -> None:
    """Long after the hundredth time there is no more of them than after it."""
    partition, sizes = Partition(GRAPH, Rules()), dict[int, int]()
    tracemalloc.start()
    try:
        for number in range(1_600):
            at, status = START + 10.0 * number, "resolved" if number % 2 else "firing"
            rows = [row(60 * number + n, at, "db", f"Down{n}", status, known=True) for n in range(60)]
            partition.apply(number, at, SHARD, orjson.dumps({"source": RAW, "rows": rows}))
            partition.saved(partition.take())
            if number in (399, 1_599):
                gc.collect()
                sizes[number], _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sizes[1_599] < sizes[399] + 1_500_000, "a deadline for each would take 2.4 MB"


def test_saved_entries_take_the_memory_of_their_bytes() -> None:
    """At most half as much again as keys and values with 100 bytes of overhead each: no buffers."""
    partition = Partition(GRAPH, Rules())
    rows = [row(number, START, "db", f"Down{number}", known=True) for number in range(500)]
    partition.apply(0, START, SHARD, orjson.dumps({"source": RAW, "rows": rows}))
    tracemalloc.start()
    try:
        output = partition.take()
        partition.saved(output)
        entries = dict(partition.entries)
        del output
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(len(key) + len(value) + 2 * 100 for key, value in entries.items())
    assert len(entries) > 500
    assert taken < 1.5 * size
