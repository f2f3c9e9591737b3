"""The whole path with real workers: alerts per CPU second against the floor of the stack, or latency under a rate.

python -m benchmarks.end_to_end [--broker embedded|kafka|HOST:PORT] [--alerts 1000000] [--workers 1] [--json FILE]
python -m benchmarks.end_to_end --rate 10000 [--seconds 30]

Throughput: the raw topic is filled with storms, their repeats and resolutions; then workers start, and the CPU
seconds that they use until every alert has its verdict are counted, start-up left aside. Incidents, receipts and
checkpoints are on, as shipped. The floor is aiokafka's ``getmany`` and ``orjson.loads`` over the same topic, in the
same run.

Latency: while storms arrive at a rate, probes are sent, each for a service of its own without dependencies. Counted
is the time from the broker's timestamp of the raw record to the moment in which a consumer that reads committed
records has the incident that names the service.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from aiokafka.structs import TopicPartition

from benchmarks.fleet import Fleet, WorkerProcess, fleet, options, shape
from benchmarks.measure import introduce, percentiles, show, write_json
from benchmarks.probes import Probes, with_probes
from correlator.config import Settings
from correlator.storms import Storm, storm
from correlator.stream.clients import reader
from correlator.stream.rejected import records

__all__ = ["floor", "latency", "main", "throughput"]

_LEAD: Final = 3.0


def throughput(given: argparse.Namespace, drawn: Storm) -> dict[str, Any]:
    """Fill, start the workers, wait until all is decided; one row of figures."""
    with _fleet(given, drawn) as run:
        filled = run.loaded(run.load(**_stream(given), alerts=given.alerts))
        settings = run.settings
        least = asyncio.run(floor(settings, given.alerts))
        started = time.monotonic()
        workers = [run.worker(profile=_numbered(given.profile, n)) for n in range(given.workers)]
        serving = time.monotonic()
        run.until(lambda: run.decided(workers)[0] >= given.alerts, workers, f"{given.alerts} verdicts", 0.5)
        wall, spent = time.monotonic() - serving, run.spent(workers)
        time.sleep(1.5)  # a checkpoint and a report later nothing may have been added
        decided, difference = run.decided(workers)
        used = run.memory(workers)
        codes = [worker.stop() for worker in workers]
        last, receipts = asyncio.run(_outcome(settings))
        live = [i for i in last.values() if i["state"] not in ("merged", "closed")]
        rate = given.alerts / spent
        return {
            "broker": run.broker,
            "workers": given.workers,
            "alerts": given.alerts,
            "CPU s": round(spent, 2),
            "alerts/CPU s": round(rate),
            "floor/CPU s": round(least),
            "ratio": round(least / rate, 2),
            "wall s": round(wall, 1),
            "alerts/s": round(given.alerts / wall),
            "start s": round(serving - started, 1),
            "peak MiB": used["peak"],
            "verdicts": round(decided),
            "difference": round(difference),
            "incidents": len(last),
            "live": len(live),
            "receipts": receipts,
            "bytes": filled["bytes"],
            "exit": max(codes, key=abs),
        }


async def floor(settings: Settings, alerts: int) -> float:
    """Records per CPU second of this process: fetch and decode the raw topic, nothing else."""
    consumer, topic, found = reader(settings), settings.topics.raw[0], 0
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(settings.topics.raw_partitions)])
        await consumer.seek_to_beginning()
        cpu = time.process_time()
        while found < alerts:
            batches = await consumer.getmany(timeout_ms=5_000, max_records=4_000)
            if not batches:
                raise RuntimeError(f"the raw topic holds {found} records, expected {alerts}")
            for batch in batches.values():
                for record in batch:
                    orjson.loads(record.value)
                found += len(batch)
        return found / (time.process_time() - cpu)
    finally:
        await consumer.stop()


async def _outcome(settings: Settings) -> tuple[dict[str, Any], int]:
    """The last value of every incident, and how many receipts there are."""
    last, receipts = {}, 0
    async for record in records(settings, settings.topics.incidents):
        if record.value is not None:
            incident = orjson.loads(record.value)
            last[incident["id"]] = incident
    async for record in records(settings, settings.topics.decisions):
        receipts += len(orjson.loads(record.value)["decisions"]) if record.value else 0
    return last, receipts


def latency(given: argparse.Namespace, drawn: Storm) -> dict[str, Any]:
    """Send at a rate, probe meanwhile; one row of figures."""
    count = round(given.probes * given.seconds)
    with _fleet(given, with_probes(drawn, count)) as run:
        workers = [run.worker(profile=_numbered(given.profile, n), wait="/readyz") for n in range(given.workers)]
        total = round(given.rate * (given.seconds + 2 * _LEAD))
        probes = asyncio.run(_probe(run, given, count, total, workers))
        decided, difference = run.decided(workers)
        spent, used = run.spent(workers), run.memory(workers)
        codes = [worker.stop() for worker in workers]
        waits = probes.waits()
        p50, p99, most = (round(wait * 1000) for wait in percentiles(waits) or [0.0] * 3)
        return {
            "broker": run.broker,
            "workers": given.workers,
            "alerts/s": given.rate,
            "probes": count,
            "unseen": count - len(waits),
            "p50 ms": p50,
            "p99 ms": p99,
            "max ms": most,
            "CPU s": round(spent, 2),
            "peak MiB": used["peak"],
            "behind ms": round(probes.behind * 1000),
            "alerts": total,
            "verdicts": round(decided),
            "difference": round(difference),
            "exit": max(codes, key=abs),
        }


async def _probe(
    run: Fleet, given: argparse.Namespace, count: int, total: int, workers: Sequence[WorkerProcess]
) -> Probes:
    """Probes go out between a lead and a tail of load alone; back when they and the load are through."""
    async with Probes(run.settings) as probes:
        await probes.ready(workers, run.deadline)
        child = run.load(**_stream(given), alerts=total, rate=given.rate)
        await asyncio.to_thread(run.until, lambda: run.decided(workers)[0] > given.rate / 2, workers, "the load")
        await asyncio.sleep(_LEAD)
        begun = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, begun + number / given.probes - time.monotonic()))
            await probes.send(number)
        figures = await asyncio.to_thread(run.loaded, child)
        probes.behind = figures["behind"]
        wanted = total + len(probes.sent)
        await asyncio.to_thread(run.until, lambda: run.decided(workers)[0] >= wanted, workers, f"{wanted} verdicts")
        await probes.drain(10.0)
        return probes


def _fleet(given: argparse.Namespace, drawn: Storm) -> Any:
    shards = given.shards.split(",") if given.shards else ()
    return fleet(given.broker, drawn.graph, shards=shards, **shape(given))


def _stream(given: argparse.Namespace) -> dict[str, Any]:
    return {"variant": given.variant, "services": given.services, "size": given.size, "seed": given.seed}


def _numbered(path: Path | None, number: int) -> Path | None:
    return None if path is None else path.with_name(f"{path.name}.{number}" if number else path.name).resolve()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description="Measure the whole path.")
    parser.add_argument("--alerts", type=int, default=1_000_000, help="alerts to decide (default %(default)s)")
    parser.add_argument("--variant", default="a", help="variant of the storm (default %(default)s)")
    parser.add_argument("--services", type=int, default=5_000, help="services in the graph (default %(default)s)")
    parser.add_argument("--size", type=int, help="alerts of one storm (default: five per service)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the storm (default %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default %(default)s)")
    parser.add_argument("--shards", default="", help="labels that make the shards, with commas (default: one shard)")
    parser.add_argument("--rate", type=float, default=0.0, help="measure latency at so many alerts per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to probe (default %(default)s)")
    parser.add_argument("--probes", type=float, default=20.0, help="probes per second (default %(default)s)")
    parser.add_argument("--profile", type=Path, help="run the workers under cProfile and write their profiles here")
    options(parser, deadline=900.0)
    given = parser.parse_args(arguments)
    drawn = storm(given.variant, services=given.services, alerts=given.size, seed=given.seed)
    introduce()
    row = latency(given, drawn) if given.rate else throughput(given, drawn)
    show([{"figure": name, "value": value} for name, value in row.items()])
    write_json(given.json, [row])


if __name__ == "__main__":
    main()
