"""One partition under loads that no day should bring: how long it stands still, and what it remembers.

python -m benchmarks.pressure [--only distinct,service,expiry,strangers,graph] [--share 1.0] [--json FILE]

``distinct``: a million different alerts of 5,000 services. ``service``: 100,000 of one service, which then resolve.
``expiry``: 100,000 whose time to live ends in the same second. ``strangers``: one alert each of 50,000 services that
the graph does not know. ``graph``: the graph arrives while 20,000 incidents stand for 20,000 of its services, and joins
them. ``--share`` makes all of them smaller.

The engine with its checkpoints, as a worker runs it, without broker; every load has a process of its own. Given are the
longest step and the longest checkpoint (CPU seconds, in which nothing else of the process goes on), the largest
checkpoint, and the memory that is held per alert when all has been said. Exit code 1 when that is above ``--bytes``, a
step or a checkpoint above ``--stall``, or an alert has no verdict or two.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.measure import introduce, memory, show, tuned_collector, write_json
from benchmarks.storm import graph_of
from correlator.assemble import rules_for
from correlator.config import Settings
from correlator.dialects import Reader
from correlator.engine.partition import Partition
from correlator.place import ALL, Placer
from correlator.storms import storm
from topology import ServiceGraph

__all__ = ["main", "pressure_row"]

_SOURCE: Final = "alerts.raw/0"
_ROWS, _EVERY = 500, 20  # alerts of a record, records of a checkpoint: 10,000 alerts, half a second of a fast worker
_START: Final = 1_750_000_000.0


class Bench:
    """A partition that is fed, ticked and saved, with a stop-watch."""

    def __init__(self, graph: ServiceGraph, graphs: Callable[[str], ServiceGraph] | None = None) -> None:
        self.partition = Partition(graph, rules_for(Settings()), graphs)
        self.now = _START
        self.steps: list[float] = []
        self.saves: list[float] = []
        self.largest = 0
        self.alerts = 0
        self._graph = graph
        self._offset = 0

    def feed(self, alerts: Iterable[dict[str, Any]]) -> None:
        """Place alerts and step them, 20,000 of them a second."""
        reader, placer, rows = Reader(), Placer(self._graph), list[list[Any]]()
        for alert in alerts:
            self.alerts += 1
            found = reader.read(orjson.dumps(alert), received_at=self.now, topic="alerts.raw").alerts[0]
            rows.append(placer.row(found, self.alerts, 0, self.now)[1])
            if len(rows) == _ROWS:
                self._records(rows)
                rows = []
        self._records(rows)

    def _records(self, rows: list[list[Any]]) -> None:
        if rows:
            self.now += _ROWS / 20_000
            self.record({"type": "alerts", "source": _SOURCE, "rows": rows}, ALL)

    def pass_by(self, seconds: float) -> None:
        """Time passes, in steps of at most a minute, and everything that is due gets decided."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 60.0)
            self.record({"type": "tick", "watermarks": {_SOURCE: self.now}, "partitions": 1})
        for _ in range(20):  # a step does not fire more deadlines than it may; the next one goes on
            self.now += 1.0
            self.record({"type": "tick", "watermarks": {_SOURCE: self.now}, "partitions": 1})
        self.save()

    def record(self, value: dict[str, Any], shard: str = "") -> None:
        """Step one record; save what came out when it is time."""
        content = orjson.dumps(value)
        started = time.process_time()
        self.partition.apply(self._offset, self.now, shard, content)
        self.steps.append(time.process_time() - started)
        self._offset += 1
        if not self._offset % _EVERY:
            self.save()

    def save(self) -> None:
        """Take a checkpoint, as bytes, and confirm it."""
        started = time.process_time()
        output = self.partition.take()
        for _, incident in output.incidents:
            orjson.dumps(incident)
        for receipts in output.decisions.values():
            orjson.dumps(receipts)
        self.saves.append(time.process_time() - started)
        self.largest = max(self.largest, sum(len(key) + len(value or b"") for key, value in output.entries.items()))
        self.partition.saved(output)


def _alert(service: str, number: int, **more: Any) -> dict[str, Any]:
    return {
        "service": service,
        "name": "HighErrorRate",
        "severity": "critical",
        "status": "firing",
        "starts_at": _START,
        "labels": {"instance": str(number)},
        "annotations": {"summary": f"errors of {service}"},
        **more,
    }


def _spread(graph: ServiceGraph, count: int, **more: Any) -> Iterator[dict[str, Any]]:
    names = list(graph)
    return (_alert(names[number % len(names)], number, **more) for number in range(count))


def distinct(count: int) -> Bench:
    """Different alerts, of all services in turn."""
    graph = _graph(5_000)
    bench = Bench(graph)
    bench.feed(_spread(graph, count))
    return bench


def service(count: int) -> Bench:
    """Different alerts of one service, and their ends."""
    graph = _graph(5_000)
    bench = Bench(graph)
    name = next(iter(graph))
    for status in ("firing", "resolved"):
        bench.feed(_alert(name, number, status=status) for number in range(count))
    return bench


def expiry(count: int) -> Bench:
    """Alerts with a time to live, all until the same second, and that second."""
    graph = _graph(5_000)
    bench = Bench(graph)
    bench.feed(_spread(graph, count, ends_at=_START + 3_600.0))
    bench.pass_by(3_700.0)
    return bench


def strangers(count: int) -> Bench:
    """Services that nobody knows, one alert each, and their incidents."""
    bench = Bench(ServiceGraph.empty())
    bench.feed(_alert(f"stranger-{number}", number) for number in range(count))
    bench.pass_by(120.0)
    return bench


def graph(count: int) -> Bench:
    """The graph arrives when each of its services has an incident of its own."""
    known = _graph(count)
    bench = Bench(ServiceGraph.empty(), lambda _: known)
    bench.feed(_spread(known, count))
    bench.pass_by(120.0)
    bench.record({"type": "graph", "version": known.version})
    bench.pass_by(10.0)
    return bench


def _graph(services: int) -> ServiceGraph:
    return graph_of(storm("a", services=services, seed=1))


#: What each load is made of when it is whole.
LOADS: Final[dict[str, tuple[Callable[[int], Bench], int]]] = {
    "distinct": (distinct, 1_000_000),
    "service": (service, 100_000),
    "expiry": (expiry, 100_000),
    "strangers": (strangers, 50_000),
    "graph": (graph, 20_000),
}


def pressure_row(name: str, share: float) -> dict[str, Any]:
    """Bring one load about; its figures."""
    load, size = LOADS[name]
    count = max(100, round(size * share))
    _graph(count if name == "graph" else 5_000)  # what drawing it takes stays with the process, and is not the load's
    before = memory()["rss"]
    with tuned_collector():
        bench = load(count)
        bench.save()
    held = memory()["rss"] - before
    figures = bench.partition.figures()[ALL]
    return {
        "load": name,
        "alerts": bench.alerts,
        "incidents": len(bench.partition.shards[ALL].store.incidents),
        "us/alert": round((sum(bench.steps) + sum(bench.saves)) / bench.alerts * 1e6, 1),
        "longest step ms": round(max(bench.steps) * 1e3),
        "longest checkpoint ms": round(max(bench.saves) * 1e3),
        "largest checkpoint MiB": round(bench.largest / 2**20, 1),
        "RSS MiB": round(memory()["rss"]),
        "bytes/alert": round(held * 2**20 / count),
        "lost": abs(figures["inputs"] - bench.alerts) + abs(figures["transitions"] - bench.alerts),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Bring the loads about, print a row of each, and say whether they stay in bounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pressure", description="What no day should bring.")
    parser.add_argument("--only", default=",".join(LOADS), help="comma-separated (default %(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes above (default %(default)s)")
    parser.add_argument("--bytes", type=int, default=12_288, help="most memory per alert (default %(default)s)")
    parser.add_argument("--stall", type=float, default=10.0, help="longest standstill, CPU s (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    names = given.only.split(",")
    if unknown := [name for name in names if name not in LOADS]:
        parser.error(f"no such load: {', '.join(unknown)}; there are {', '.join(LOADS)}")
    introduce()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        rows = [pool.submit(pressure_row, name, given.share).result() for name in names]
    show(rows)
    write_json(given.json, rows)
    stalls = [max(row["longest step ms"], row["longest checkpoint ms"]) / 1e3 for row in rows]
    if any(row["lost"] or row["bytes/alert"] > given.bytes for row in rows) or max(stalls) > given.stall:
        sys.exit(1)


if __name__ == "__main__":
    main()
