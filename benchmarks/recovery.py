"""A worker is killed in the middle of a storm: how soon the next one goes on, and how large the state is.

python -m benchmarks.recovery [--broker embedded|kafka|HOST:PORT] [--alerts 100000] [--services 50000] [--rate 2000]

A storm of so many different alerts is decided and stays active; its repeats then arrive at a rate. In the middle of
them the worker gets SIGKILL, and another one starts at once, under the same load. Counted from its start: ``serving``
(imports, topics and graph), ``opened`` (state read, of the partition with the storm), ``ready`` (all partitions),
``first incident`` (a probe that was sent right after the kill comes out). The group waits for the dead worker's
session to time out, which is part of these figures and in its own row. At the end everything sent must have been
decided, each alert once.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.fleet import Fleet, WorkerProcess, fleet
from benchmarks.load import shift_to_now
from benchmarks.measure import machine, metric, show, write_json
from benchmarks.probes import Probes, with_probes
from correlator.config import Settings
from correlator.storms import Storm, storm
from correlator.stream.intake import partition_of
from correlator.stream.rejected import records
from correlator.stream.topics import state_topic

__all__ = ["main", "recovery"]

_OPENED: Final = re.compile(r"^(\S+ \S+) INFO \S+: partition (\d+): (\d+) changelog records read", re.MULTILINE)


async def recovery(run: Fleet, given: argparse.Namespace, drawn: Storm) -> dict[str, Any]:
    """Storm, kill, restart; one row of figures."""
    size, shift = len(drawn.alerts), shift_to_now(drawn, 3 * len(drawn.alerts))
    stream = {"variant": given.variant, "services": given.services, "size": size, "seed": given.seed, "shift": shift}
    repeats = min(size, round(given.rate * given.seconds))
    async with Probes(run.settings) as probes:
        worker = await asyncio.to_thread(run.worker, wait="/readyz")
        await probes.ready([worker], run.deadline)
        await asyncio.to_thread(run.loaded, run.load(**stream, alerts=size))
        await asyncio.to_thread(run.until, lambda: run.decided([worker])[0] > size, [worker], "the storm is decided")
        active = metric(worker.samples(), "correlator_alerts_active")
        filled = run.memory([worker])
        child = run.load(**stream, alerts=repeats, skip=size, rate=given.rate)
        before = run.decided([worker])[0]
        await asyncio.to_thread(
            run.until, lambda: run.decided([worker])[0] > before + repeats / 3, [worker], "repeats arrive"
        )
        worker.kill()
        killed = time.time()
        again = await asyncio.to_thread(run.worker)
        await probes.send(0)
        serving = time.time()
        await asyncio.to_thread(again.wait, run.deadline, "/readyz")
        ready = time.time()
        await _seen(probes, again, run.deadline)
        figures = await asyncio.to_thread(run.loaded, child)
        await probes.send(1)
        await _seen(probes, again, run.deadline)
        wanted = size + repeats + 3
        counted = await _counted(run, again, wanted)
        opened, read = _opened(run.settings, again)
        samples, used = again.samples(), run.memory([again])
        code = await asyncio.to_thread(again.stop)
        keys, bytes_, total = await _state(run.settings)
        start = again.started
        return {
            "broker": run.broker,
            "services": given.services,
            "active alerts": round(active),
            "serving s": round(serving - start, 2),
            "opened s": round(opened - start, 2),
            "ready s": round(ready - start, 2),
            "first incident s": round(probes.seen["probe-00000"] - start, 2),
            "since the kill s": round(probes.seen["probe-00000"] - killed, 2),
            "session timeout s": run.settings.broker.session_timeout,
            "reading state s": round(metric(samples, "correlator_recovery_seconds"), 2),
            "changelog records read": read,
            "changelog records": total,
            "state keys": keys,
            "state MiB": round(bytes_ / 2**20, 1),
            "RSS MiB, storm active": filled["rss"],
            "peak MiB, storm active": filled["peak"],
            "RSS MiB, recovered": used["rss"],
            "peak MiB, recovered": used["peak"],
            "sent": wanted,
            "decided": counted,
            "behind ms": round(figures["behind"] * 1000),
            "exit": code,
        }


async def _seen(probes: Probes, worker: WorkerProcess, deadline: float) -> None:
    while len(probes.seen) < len(probes.sent):
        if worker.process.poll() is not None:
            raise RuntimeError(f"the worker ended with {worker.process.returncode}:\n{worker.tail()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"a probe does not come out:\n{worker.tail()}")
        await asyncio.sleep(0.02)


def _opened(settings: Settings, worker: WorkerProcess) -> tuple[float, int]:
    """When the partition of the storm was opened, by the worker's log, and the changelog records that were read."""
    number = partition_of("all", settings.topics.partitions)
    at, read = 0.0, 0
    for moment, partition, count in _OPENED.findall(worker.log.read_text(errors="replace")):
        if int(partition) == number:
            at = datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
            read = int(count)
    return at, read


async def _counted(run: Fleet, worker: WorkerProcess, wanted: int) -> int:
    """Alerts decided in the life of the shard, as the last checkpoint says, once there are ``wanted`` or time is up."""
    found, until = 0, time.monotonic() + 20
    while time.monotonic() < until:
        async for record in records(run.settings, state_topic(run.settings)):
            if record.key is not None and record.key.endswith(b"\x1fm\x1f") and record.value is not None:
                found = sum(orjson.loads(record.value)["transitions"].values())
        if found >= wanted:
            break
        await asyncio.sleep(1)
    return found


async def _state(settings: Settings) -> tuple[int, int, int]:
    """Keys of the state, bytes of their last values, and records in the changelog as it is."""
    last: dict[tuple[int, bytes], int] = {}
    total = 0
    async for record in records(settings, state_topic(settings)):
        total += 1
        key = (record.partition, record.key)
        if record.value is None:
            last.pop(key, None)
        else:
            last[key] = len(record.key) + len(record.value)
    return len(last), sum(last.values()), total


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description="Measure recovery from a crash.")
    parser.add_argument("--broker", default="kafka", help="embedded, kafka or HOST:PORT (default %(default)s)")
    parser.add_argument("--alerts", type=int, default=100_000, help="active alerts (default %(default)s)")
    parser.add_argument("--services", type=int, default=50_000, help="services in the graph (default %(default)s)")
    parser.add_argument("--variant", default="a", help="variant of the storm (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the storm (default %(default)s)")
    parser.add_argument("--rate", type=float, default=2_000.0, help="repeats per second (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they arrive (default %(default)s)")
    parser.add_argument("--partitions", type=int, default=8, help="of the placed topic (default %(default)s)")
    parser.add_argument("--raw-partitions", type=int, default=8, help="of the raw topic (default %(default)s)")
    parser.add_argument("--deadline", type=float, default=600.0, help="give up after so many seconds")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    print(f"load of the machine: {machine()['load']}")
    drawn = storm(given.variant, services=given.services, alerts=given.alerts, seed=given.seed)
    shape = {"partitions": given.partitions, "raw_partitions": given.raw_partitions, "deadline": given.deadline}
    with fleet(given.broker, with_probes(drawn, 2).graph, **shape) as run:
        row = asyncio.run(recovery(run, given, drawn))
    show([{"figure": name, "value": value} for name, value in row.items()])
    write_json(given.json, [row])


if __name__ == "__main__":
    main()
