"""Without transactions: how long a batch is on its way after its writer has looked whether it may still write.

python -m benchmarks.window [--alerts 10000] [--services 2000]

A worker that is frozen in this window, for longer than its session, writes one more batch when it goes on, over those
of its successor. A storm is decided by the engine and written by a worker's outlet to the embedded broker, a checkpoint
at a time. ``way`` is from the look at the lease to the acknowledgement of a batch. That bounds the window from above:
what the network already has is written at once, also when its writer is frozen. ``share`` is the part of the time in
which a batch is on its way, with a checkpoint every ``checkpoint.interval``: of so many freezes one finds one there.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import introduce, percentiles, show, write_json
from benchmarks.storm import graph_of, prepared
from correlator.brokers import embedded
from correlator.config import Settings
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from correlator.place import ALL
from correlator.storms import Storm, storm
from correlator.stream.clients import Clients
from correlator.stream.outlet import Outlet
from correlator.stream.topics import create

__all__ = ["main", "window"]


class TimedClients(Clients):
    """Clients whose batches are timed from when they are handed over, in seconds on the performance counter."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.ways: list[float] = []

    def producer(self, transactional_id: str | None = None) -> Any:
        """A producer that notes for each batch how long its acknowledgement takes."""
        made = super().producer(transactional_id)
        send = made.send_batch

        async def timed(batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
            began = time.perf_counter()
            done: asyncio.Future[Any] = await send(batch, topic, partition=partition)
            done.add_done_callback(lambda _: self.ways.append(time.perf_counter() - began))
            return done

        made.send_batch = timed
        return made


async def window(settings: Settings, drawn: Storm) -> dict[str, Any]:
    """Decide and write the storm; a row of figures."""
    await create(settings)
    graph = graph_of(drawn)
    partition, clients = Partition(graph, Rules()), TimedClients(settings)
    outlet = Outlet(settings, clients, 0, lambda: True, transactions=False, rejected_partitions=1)
    await outlet.start()
    sizes, lasted = [], []
    try:
        for record in prepared(drawn, graph)[0]:
            partition.step(record, ALL)
            output = partition.take()
            began = time.perf_counter()
            sizes.append(await outlet.write(output, graph.version))
            lasted.append(time.perf_counter() - began)
            partition.saved(output)
    finally:
        await outlet.stop()
    p50, p99, most = percentiles(clients.ways)
    return {
        "checkpoints": len(lasted),
        "bytes of one": round(sum(sizes) / len(sizes)),
        "batches": len(clients.ways),
        "way p50 ms": round(1_000 * p50, 2),
        "way p99 ms": round(1_000 * p99, 2),
        "way max ms": round(1_000 * most, 2),
        "checkpoint p50 ms": round(1_000 * percentiles(lasted)[0], 2),
        "share %": round(100 * _share(lasted, settings.checkpoint.interval), 1),
    }


def _share(lasted: Sequence[float], interval: float) -> float:
    """Part of the time in which one of the checkpoints is written, when the next one begins ``interval`` later."""
    return sum(lasted) / sum(seconds + interval for seconds in lasted)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.window", description="Measure the way of a batch.")
    parser.add_argument("--alerts", type=int, default=10_000, help="in the storm (default %(default)s)")
    parser.add_argument("--services", type=int, default=2_000, help="in the graph (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    introduce()
    drawn = storm("a", services=given.services, alerts=given.alerts, seed=1)
    with embedded() as broker:
        settings = Settings.model_validate({"broker": {"bootstrap": [broker.address]}, "topics": {"partitions": 1}})
        row = asyncio.run(window(settings, drawn))
    show([{"figure": name, "value": value} for name, value in row.items()])
    write_json(given.json, [row])


if __name__ == "__main__":
    main()
