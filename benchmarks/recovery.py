"""A worker is killed in the middle of a storm: how soon the next incident comes, and what is read for it.

python -m benchmarks.recovery [--broker embedded|kafka|HOST:PORT] [--alerts 10000,100000] [--services 50000]
                              [--ways cold,restart,replace,promotion] [--rate 2000] [--episodes 0]

A storm of so many different alerts is decided and stays active; with ``--episodes`` it comes, repeats and is resolved
so many times before, at the rate, and the changelog grows. Then, under repeats at the rate, the owner of the shard gets
SIGKILL, in one way after the other, and

- ``cold``: nothing runs any more and the group has forgotten everybody, when another worker is started;
- ``restart``: it is started again at once, as the same static member;
- ``replace``: another worker is started at once; the group waits for the session of the dead one;
- ``promotion``: another worker runs already and has followed the state as a standby.

Seconds count from the start of the process, in a promotion from the kill: ``serving`` (imports, topics and graph),
``opened`` (the state of the shard is there), ``incident`` (a probe that was sent right after the kill comes out);
``since kill`` is that from the kill. ``read`` of ``records`` in the changelog of the shard, which holds ``keys``, were
read to open it. ``floor s`` is what fetching and decoding that changelog takes alone, in this process, in CPU seconds;
``reading s`` also makes the engine's state of it, unless a standby did before. At the end everything sent must have
been decided, each alert once.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from benchmarks.fleet import Child, Fleet, WorkerProcess, changelog, counted, fleet, options, shape
from benchmarks.load import shift_to_now
from benchmarks.measure import introduce, metric, show, write_json
from benchmarks.probes import Probes, with_probes
from correlator.config import Settings
from correlator.storms import Storm, storm
from correlator.stream.intake import partition_of
from correlator.stream.rejected import records
from correlator.stream.topics import state_topic

__all__ = ["WAYS", "Recovery", "floor", "main"]

#: How the state is taken over.
WAYS: Final = ("cold", "restart", "replace", "promotion")
_OPENED: Final = re.compile(r"^(\S+ \S+) INFO \S+: partition (\d+): (\d+) changelog records read", re.MULTILINE)
_STATIC: Final = "static"


class Recovery:
    """One fleet with one storm, and the take-overs that it goes through."""

    def __init__(self, run: Fleet, probes: Probes, given: argparse.Namespace, drawn: Storm) -> None:
        self._run, self._probes, self._rate = run, probes, given.rate
        self.size, self.sent = len(drawn.alerts), 0
        self._before = sum(4 + episode % 2 for episode in range(given.episodes))  # passes of the storm
        shift = shift_to_now(drawn, (self._before + 3) * self.size)
        self._stream = {
            **{"variant": given.variant, "services": _services(given, self.size), "seed": given.seed},
            **{"size": self.size, "shift": shift},
        }
        self._number = partition_of("all", run.settings.topics.partitions)
        self._owner: WorkerProcess | None = None

    async def begin(self) -> dict[str, float]:
        """Have the storm decided, and the episodes before it; memory of the worker."""
        owner = self._owner = await asyncio.to_thread(self._run.worker, wait="/readyz", name=_STATIC)
        await self._probes.ready([owner], self._run.deadline)
        if self._before:
            await self._loaded(self._load(self._before * self.size, skip=0, rate=self._rate))
        await self._loaded(self._load(self.size, skip=self._before * self.size, rate=0.0))
        await self._decided(owner, self.sent)
        return self._run.memory([owner])

    async def take_over(self, way: str) -> dict[str, Any]:
        """Kill the owner in the middle of repeats, have it taken over; one row."""
        owner, run = self._owner, self._run
        assert owner is not None
        standby = await self._standby(owner) if way == "promotion" else None
        if standby is not None and self._owns(standby):
            owner, standby = standby, owner
        active = metric(owner.samples(), "correlator_alerts_active")
        child = self._repeats(30.0)
        before = run.decided([owner])[0]
        await asyncio.to_thread(run.until, lambda: run.decided([owner])[0] > before, [owner], "repeats arrive")
        owner.kill()
        killed = time.time()
        probe = len(self._probes.sent)
        await self._probes.send(probe)
        if way == "cold":
            await asyncio.sleep(run.settings.broker.session_timeout + 2)
        again = standby
        if again is None:
            again = await asyncio.to_thread(run.worker, name=_STATIC if way == "restart" else "")
        started, serving = (killed, None) if again is standby else (again.started, time.time())
        await self._seen(again)
        opened, read = self._opened(again, killed)
        samples, used = again.samples(), run.memory([again])
        total, keys, size = await changelog(run.settings, self._number)
        least = await floor(run.settings)
        await self._loaded(child)
        await self._probes.send(probe + 1)
        await self._seen(again)
        self._owner = again
        incident = self._probes.seen[f"probe-{probe:05d}"]
        return {
            "active alerts": round(active),
            "way": way,
            "serving s": None if serving is None else round(serving - started, 1),
            "opened s": round(opened - started, 1),
            "incident s": round(incident - started, 1),
            "since kill s": round(incident - killed, 1),
            "reading s": round(metric(samples, "correlator_recovery_seconds"), 2),
            "floor s": round(least, 2),
            "read": read,
            "records": total,
            "keys": keys,
            "read %": round(100 * read / total, 1),
            "records/keys": round(total / keys, 2),
            "state MiB": round(size / 2**20, 1),
            "RSS MiB": used["rss"],
            "peak MiB": used["peak"],
        }

    async def end(self) -> tuple[int, int, int]:
        """Alerts sent, alerts decided as the last checkpoint says, and the exit code of the last worker."""
        assert self._owner is not None
        wanted, found = self.sent + len(self._probes.sent), 0
        until = time.monotonic() + 30
        while found < wanted and time.monotonic() < until:
            found = await counted(self._run.settings)
        return wanted, found, await asyncio.to_thread(self._owner.stop)

    # -- the load ----------------------------------------------------------------------------------------------

    def _load(self, alerts: int, *, skip: int, rate: float) -> Child:
        self.sent += alerts
        return self._run.load(**self._stream, alerts=alerts, skip=skip, rate=rate)

    def _repeats(self, seconds: float) -> Child:
        """The storm's alerts again, for so long at most; each comes twice more before it is resolved."""
        alerts = max(1, min(2 * self.size, round(self._rate * seconds)))
        return self._load(alerts, skip=(self._before + 1) * self.size, rate=self._rate)

    async def _loaded(self, child: Child) -> None:
        await asyncio.to_thread(self._run.loaded, child)

    async def _decided(self, worker: WorkerProcess, alerts: int) -> None:
        run = self._run
        await asyncio.to_thread(run.until, lambda: run.decided([worker])[0] > alerts, [worker], f"{alerts} verdicts")

    # -- the workers -------------------------------------------------------------------------------------------

    def _owns(self, worker: WorkerProcess) -> bool:
        return metric(worker.samples(), "correlator_alerts_active") > 0

    async def _standby(self, owner: WorkerProcess) -> WorkerProcess:
        """Another worker; back when the one that does not own the shard has all of its state."""
        run, label = self._run, f'partition="{self._number}"'
        other = await asyncio.to_thread(run.worker, wait="/readyz")

        def in_step() -> bool:
            follows = [s for w in (owner, other) if (s := w.samples()) and metric(s, "correlator_standby_keys", label)]
            return any(metric(samples, "correlator_standby_lag_records", label) < 100 for samples in follows) and any(
                self._owns(worker) for worker in (owner, other)
            )

        await asyncio.to_thread(run.until, in_step, [owner, other], "a standby is in step")
        return other

    async def _seen(self, worker: WorkerProcess) -> None:
        while len(self._probes.seen) < len(self._probes.sent):
            if worker.process.poll() is not None:
                raise RuntimeError(f"the worker ended with {worker.process.returncode}:\n{worker.tail()}")
            if time.monotonic() > self._run.deadline:
                raise RuntimeError(f"a probe does not come out:\n{worker.tail()}")
            await asyncio.sleep(0.02)

    def _opened(self, worker: WorkerProcess, after: float) -> tuple[float, int]:
        """When the shard's partition was opened, by the worker's log, and the changelog records that were read."""
        for moment, partition, count in _OPENED.findall(worker.log.read_text(errors="replace")):
            at = datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
            if int(partition) == self._number and at > after:
                return at, int(count)
        raise RuntimeError(f"the worker has not opened partition {self._number}:\n{worker.tail()}")


async def floor(settings: Settings) -> float:
    """CPU seconds of this process for fetching and decoding the changelog, and nothing else."""
    started = time.process_time()
    async for record in records(settings, state_topic(settings)):
        if record.value:
            orjson.loads(record.value)
    return time.process_time() - started


def _services(given: argparse.Namespace, alerts: int) -> int:
    """Services in the graph: each of them alerts, so not more than there are alerts."""
    return min(int(given.services), alerts)


async def _measure(run: Fleet, given: argparse.Namespace, drawn: Storm) -> list[dict[str, Any]]:
    async with Probes(run.settings) as probes:
        recovery = Recovery(run, probes, given, drawn)
        filled = await recovery.begin()
        rows = [await recovery.take_over(way) for way in given.ways.split(",")]
        sent, decided, code = await recovery.end()
        services, session = _services(given, recovery.size), run.settings.broker.session_timeout
        print(
            f"{run.broker}, {services:,} services, session {session:g} s; "
            f"with the storm active {filled['rss']:,.0f} MiB, peak {filled['peak']:,.0f} MiB; "
            f"sent {sent:,}, decided {decided:,}; exit code {code}"
        )
        return [{**row, "sent": sent, "decided": decided, "exit": code} for row in rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each size of storm on a fleet of its own, and print a row for each way of taking over."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description="Measure recovery from a crash.")
    parser.add_argument("--alerts", default="100000", help="active alerts, with commas (default %(default)s)")
    parser.add_argument("--ways", default=",".join(WAYS), help="how to take over, with commas (default %(default)s)")
    parser.add_argument(
        "--services", type=int, default=50_000, help="services in the graph, at most one an alert (default %(default)s)"
    )
    parser.add_argument("--variant", default="a", help="variant of the storm (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the storm (default %(default)s)")
    parser.add_argument("--rate", type=float, default=2_000.0, help="repeats per second (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=0, help="storms that come and go before (default %(default)s)")
    options(parser, deadline=900.0)
    given = parser.parse_args(arguments)
    unknown = set(given.ways.split(",")) - set(WAYS)
    if unknown:
        parser.error(f"argument --ways: {', '.join(sorted(unknown))}: not one of {', '.join(WAYS)}")
    introduce()
    rows: list[dict[str, Any]] = []
    for size in map(int, given.alerts.split(",")):
        drawn = storm(given.variant, services=_services(given, size), alerts=size, seed=given.seed)
        more = {"worker": {"static_membership": True}}
        with fleet(given.broker, with_probes(drawn, 2 * len(WAYS)).graph, more=more, **shape(given)) as run:
            rows += asyncio.run(_measure(run, given, drawn))
    show(rows, [name for name in rows[0] if name not in ("sent", "decided", "exit")])
    write_json(given.json, rows)


if __name__ == "__main__":
    main()
