"""Workers are restarted one after the other under load: how long each shard publishes nothing.

python -m benchmarks.rolling [--broker embedded|kafka|HOST:PORT] [--workers 3] [--rate 5000]
                             [--memberships leaving,static]

Each partition has a shard of its own. Storms arrive at the rate, shared by the shards, and each shard gets a pulse ten
times a second, an alert that changes an incident of its own. Each worker in turn gets SIGTERM and is started again; the
next one follows when it is ready and all shards have published. ``leaving``: a worker that stops leaves the group, and
the others take over; ``static``: its partitions wait for it. A gap is the time between two publications of a shard, as
a consumer that reads committed records sees them. At the end everything sent must have been decided.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final
from zlib import crc32

import orjson
from aiokafka.structs import TopicPartition

from benchmarks.chaos.traffic import Regions
from benchmarks.fleet import Fleet, WorkerProcess, counted, fleet, options, shape
from benchmarks.measure import introduce, percentiles, show, write_json
from correlator.config import Settings
from correlator.storms import Graph, storm
from correlator.stream.clients import producer, reader

__all__ = ["MEMBERSHIPS", "main", "rolling"]

#: What a stop means to the group.
MEMBERSHIPS: Final = ("leaving", "static")
_PULSE: Final = 0.1


class Pulses:
    """Sends a pulse to every region and notes when each partition of the incidents publishes."""

    def __init__(self, settings: Settings, regions: Sequence[str]) -> None:
        self.moments: dict[int, list[float]] = {number: [] for number in range(settings.topics.partitions)}
        self.sent = 0
        self._topics, self._regions = settings.topics, regions
        self._producer, self._consumer = producer(settings), reader(settings)
        self._over = False
        self._sender: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Pulses:
        await self._producer.start()
        await self._consumer.start()
        self._consumer.assign([TopicPartition(self._topics.incidents, number) for number in self.moments])
        self._sender, self._follower = asyncio.create_task(self._send()), asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.stop()
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])
        await self._consumer.stop()
        await self._producer.stop()

    async def stop(self) -> None:
        """No more pulses; back when all that were sent are acknowledged."""
        self._over = True
        if self._sender is not None:
            await self._sender

    async def all_published(self) -> None:
        """Wait until every partition has published from now on."""
        now = time.monotonic()
        while any(not times or times[-1] < now for times in self.moments.values()):  # noqa: ASYNC110 - bounded by main
            await asyncio.sleep(0.05)

    def gaps(self, since: float) -> list[float]:
        """The longest gap of each partition that ended after ``since``, monotonic seconds."""
        return [
            max((later - earlier for earlier, later in pairwise(times) if later > since), default=float("inf"))
            for times in self.moments.values()
        ]

    async def _send(self) -> None:
        number, begun = 0, time.monotonic()
        while not self._over:
            for region in self._regions:
                alert = {
                    "key": f"{region}/pulse/{number}",
                    "service": f"{region}.pulse",
                    "name": "Pulse",
                    "severity": "info",
                    "status": "firing",
                    "starts_at": round(time.time(), 3),
                    "labels": {"region": region},
                    "source": "pulse",
                }
                raw = crc32(region.encode()) % self._topics.raw_partitions
                await self._producer.send_and_wait(self._topics.raw[0], orjson.dumps(alert), partition=raw)
                self.sent += 1
            number += 1
            await asyncio.sleep(max(0.0, begun + number * _PULSE - time.monotonic()))

    async def _follow(self) -> None:
        while True:
            found = await self._consumer.getmany(timeout_ms=1_000)
            now = time.monotonic()
            for tp in found:
                self.moments[tp.partition].append(now)


def graph_of(regions: Sequence[str], services: int) -> Graph:
    """The services of a storm in each region, and what pulses."""
    drawn = storm("a", services=services, seed=1).graph
    nodes: dict[str, dict[str, Any]] = {f"{region}.pulse": {"tier": 3} for region in regions}
    edges: list[tuple[str, str]] = []
    for region in regions:
        nodes |= {f"{region}.{service}": values for service, values in drawn["nodes"].items()}
        edges += [(f"{region}.{u}", f"{region}.{v}") for u, v in drawn["edges"]]
    return {"nodes": nodes, "edges": edges}


async def rolling(run: Fleet, given: argparse.Namespace, membership: str, regions: Sequence[str]) -> dict[str, Any]:
    """Restart every worker once under load; one row of figures."""
    names = [f"w{number}" if membership == "static" else "" for number in range(given.workers)]
    workers = [await asyncio.to_thread(run.worker, wait="/readyz", name=name) for name in names]
    async with asyncio.timeout(given.deadline), Pulses(run.settings, regions) as pulses:
        await pulses.all_published()
        total = round(given.rate * given.seconds)
        child = run.load(
            services=given.services, seed=1, alerts=total, rate=given.rate, regions=",".join(regions), size=given.size
        )
        await asyncio.to_thread(run.until, lambda: run.decided(workers)[0] > total / 20, workers, "the load")
        await pulses.all_published()
        begun, waits = time.monotonic(), []
        for number, name in enumerate(names):
            waits.append(await _restarted(run, workers, number, name))
            await pulses.all_published()
        ended = time.monotonic()
        figures = await asyncio.to_thread(run.loaded, child)
        await pulses.all_published()
        await pulses.stop()
        gaps = pulses.gaps(begun)
        wanted, found = total + pulses.sent, 0
        while found < wanted:
            found = await counted(run.settings)
        codes = [await asyncio.to_thread(worker.stop) for worker in workers]
        return {
            "membership": membership,
            "workers": given.workers,
            "shards": len(regions),
            "alerts/s": given.rate,
            "longest gap s": round(max(gaps), 1),
            "median of shards s": round(percentiles(gaps, (50,))[0], 1),
            "restart s": round(max(waits), 1),
            "roll s": round(ended - begun, 1),
            "behind s": round(figures["behind"], 1),
            "under load": ended - begun < figures["wall"],
            "sent": wanted,
            "decided": found,
            "exit": max(codes, key=abs),
        }


async def _restarted(run: Fleet, workers: list[WorkerProcess], number: int, name: str) -> float:
    """Stop a worker and start it again; seconds until it was ready."""
    begun = time.monotonic()
    code = await asyncio.to_thread(workers[number].stop)
    if code:
        raise RuntimeError(f"a worker ended with {code}:\n{workers[number].tail()}")
    workers[number] = await asyncio.to_thread(run.worker, wait="/readyz", name=name)
    return time.monotonic() - begun


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each membership on a fleet of its own and print a row for it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rolling", description="Measure a rolling restart.")
    parser.add_argument("--memberships", default=",".join(MEMBERSHIPS), help="with commas (default %(default)s)")
    parser.add_argument("--workers", type=int, default=3, help="worker processes (default %(default)s)")
    parser.add_argument("--rate", type=float, default=5_000.0, help="alerts per second, in all (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long they arrive (default %(default)s)")
    parser.add_argument("--services", type=int, default=500, help="services of each shard (default %(default)s)")
    parser.add_argument("--size", type=int, default=2_500, help="alerts of each shard's storm (default %(default)s)")
    options(parser, deadline=600.0)
    given = parser.parse_args(arguments)
    unknown = set(given.memberships.split(",")) - set(MEMBERSHIPS)
    if unknown:
        parser.error(f"argument --memberships: {', '.join(sorted(unknown))}: not one of {', '.join(MEMBERSHIPS)}")
    introduce()
    regions, rows = Regions(1, given.partitions).names, []
    for membership in given.memberships.split(","):
        with fleet(
            given.broker,
            graph_of(regions, given.services),
            shards=["region"],
            more={"worker": {"static_membership": membership == "static"}},
            **shape(given),
        ) as run:
            rows.append(asyncio.run(rolling(run, given, membership, regions)))
    show(rows)
    write_json(given.json, rows)


if __name__ == "__main__":
    main()
