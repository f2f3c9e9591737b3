"""An hour under a steady load, or with a burst in it: whether memory, changelog and latency stay, or come back.

python -m benchmarks.soak [--minutes 60] [--rate 2000] [--every 60] [--broker embedded|kafka|HOST:PORT] [--json FILE]
python -m benchmarks.soak --minutes 40 --burst 10 [--burst-minutes 10]

One worker; storms, their repeats and their resolutions arrive at the rate, one episode after the other, and every two
seconds a probe, for a service of its own, which is resolved a quarter of an hour later. Every ``--every`` seconds a
row: resident memory, records of the changelog that a recovery would read beside their keys, latency of the probes of
that time, and records that wait to be read. There are four parts: the warm-up, the steady state, a time in which the
rate is ``--burst`` times as high, and what comes after it; of equal length, but for a third one of ``--burst-minutes``.
The medians of the second part and of the last one are compared, of the changelog, which compaction makes a sawtooth,
the highest values, and memory after a burst with that in the burst, because a process keeps what it once took; exit
code 1 when one grew by more than ``--growth``, or an alert was lost or counted twice.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.fleet import Fleet, WorkerProcess, changelog, fleet
from benchmarks.load import shift_to_now
from benchmarks.measure import introduce, metric, percentiles, show, write_json
from benchmarks.probes import Probes, with_probes
from correlator.storms import Storm, storm

__all__ = ["growth", "main", "soak"]

#: Seconds between two probes, and for which one fires: an incident of a service that comes back later is a new one.
_PAUSE, _LIFE = 2.0, 960.0
#: Services for probes: each is at work again when the last one has been resolved for as long as it fired.
_PROBES: Final = round(2 * _LIFE / _PAUSE)
_MEMORY: Final = "RSS MiB"
#: What must not grow, and which value of it stands for a part.
_FLAT: Final[dict[str, Callable[[Iterable[float]], float]]] = {
    _MEMORY: median,
    "changelog records": max,
    "p50 ms": median,
    "p99 ms": median,
}


async def soak(run: Fleet, given: argparse.Namespace, drawn: Storm) -> tuple[list[dict[str, Any]], int]:
    """A row for every stretch of time, and how many alerts were lost or decided more than once."""
    seconds, rows = given.minutes * 60, list[dict[str, Any]]()
    async with Probes(run.settings) as probes:
        worker = await asyncio.to_thread(run.worker, wait="/readyz")
        await probes.ready([worker], run.deadline)
        begun, waits = time.monotonic(), list[float]()
        loading = asyncio.create_task(_load(run, given, drawn))
        probing = asyncio.create_task(_probe(probes, waits))
        try:
            for number in range(1, round(seconds / given.every) + 1):
                await asyncio.sleep(max(0.0, begun + number * given.every - time.monotonic()))
                for task in (loading, probing):
                    if task.done():
                        task.result()  # raises what ended it
                row = {"minute": round(number * given.every / 60, 1), **await _figures(run, worker, waits)}
                print("  ".join(f"{name} {value:,}" for name, value in row.items()), flush=True)
                rows.append(row)
        finally:
            probing.cancel()
            await asyncio.wait([probing])
        wanted = await loading + probes.said
        await asyncio.to_thread(run.until, lambda: run.decided([worker])[0] >= wanted, [worker], f"{wanted} verdicts")
        await asyncio.sleep(1.5)  # a checkpoint and a report later nothing may have been added
        decided, difference = run.decided([worker])
        return rows, round(abs(decided - wanted) + difference)


async def _load(run: Fleet, given: argparse.Namespace, drawn: Storm) -> int:
    """Send what belongs to each part, at its rate, those of the same rate together; the number of alerts."""
    part = _part(given)
    steady, burst = float(given.rate), float(given.rate * given.burst)
    parts = ((steady, part), (steady, part), (burst, given.burst_minutes), (steady, part))
    loads = [(rate, sum(minutes for _, minutes in same)) for rate, same in groupby(parts, itemgetter(0))]
    counts = [round(rate * minutes * 60) for rate, minutes in loads]
    shift = shift_to_now(drawn, sum(counts)) + given.minutes * 60
    stream = {"variant": given.variant, "services": given.services, "size": len(drawn.alerts), "seed": given.seed}
    sent = 0
    for (rate, _), count in zip(loads, counts, strict=True):
        load = run.load(**stream, alerts=count, skip=sent, rate=rate, shift=shift)
        try:
            await asyncio.to_thread(run.loaded, load)
        except asyncio.CancelledError:
            load.kill()  # else the thread waits for it, and the interpreter for the thread
            raise
        sent += count
    return sent


def _part(given: argparse.Namespace) -> float:
    """Minutes of each part but the third."""
    return float(given.minutes - given.burst_minutes) / 3


async def _probe(probes: Probes, waits: list[float]) -> None:
    """Fire and resolve probes, for ever; the seconds that each took are added to ``waits`` when it has come out."""
    begun, number, ended, unread = time.monotonic(), 0, 0, list[int]()
    while True:
        await asyncio.sleep(max(0.0, begun + number * _PAUSE - time.monotonic()))
        await probes.send(number % _PROBES)
        unread.append(number % _PROBES)
        number += 1
        for one in list(unread):
            wait = probes.wait_of(one)
            if wait is not None:
                waits.append(wait)
                unread.remove(one)
        if (number - ended) * _PAUSE > _LIFE:
            if ended % _PROBES in unread:
                waits.append(_LIFE)
                unread.remove(ended % _PROBES)
            await probes.end(ended % _PROBES)
            ended += 1


async def _figures(run: Fleet, worker: WorkerProcess, waits: list[float]) -> dict[str, Any]:
    """What is so now; takes the latencies out of ``waits``."""
    samples = await asyncio.to_thread(worker.samples)
    p50, p99, most = (round(wait * 1000) for wait in percentiles(waits) or [0.0] * 3)
    waits.clear()
    read, keys, _ = await changelog(run.settings)
    return {
        _MEMORY: round(run.memory([worker])["rss"]),
        "active": round(metric(samples, "correlator_alerts_active")),
        "changelog records": read,
        "state keys": keys,
        "p50 ms": p50,
        "p99 ms": p99,
        "max ms": most,
        "lag records": round(metric(samples, "correlator_consumer_lag_records")),
    }


def growth(rows: Sequence[Mapping[str, float]], part: float, *, burst: bool = False) -> dict[str, float]:
    """Each figure that must not grow in the last ``part`` minutes, over the same in the second.

    Of memory after a ``burst``: over that of the part between.

    >>> rows = [{"minute": minute} | {name: minute for name in _FLAT} for minute in (1, 2, 4, 5, 7, 8)]
    >>> growth(rows, 2)["RSS MiB"], growth(rows, 2, burst=True)["RSS MiB"]
    (1.88, 1.5)
    """
    last = rows[-1]["minute"] - part
    late = [row for row in rows if row["minute"] > last]
    found = {}
    for name, of in _FLAT.items():
        begin, end = (2 * part, last) if burst and name == _MEMORY else (part, 2 * part)
        early = [row for row in rows if begin < row["minute"] <= end] or rows
        found[name] = round(of(r[name] for r in late) / max(1, of(r[name] for r in early)), 2)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, and say whether it was flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Whether a steady load stays cheap.")
    parser.add_argument("--broker", default="kafka", help="embedded, kafka or HOST:PORT (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default %(default)s)")
    parser.add_argument("--rate", type=float, default=2_000.0, help="alerts per second (default %(default)s)")
    parser.add_argument("--burst", type=float, default=1.0, help="times the rate, third part (default %(default)s)")
    parser.add_argument("--burst-minutes", type=float, help="how long the third part is (default: as the others)")
    parser.add_argument("--every", type=float, default=60.0, help="seconds of a row (default %(default)s)")
    parser.add_argument("--growth", type=float, default=1.15, help="what is still flat (default %(default)s)")
    parser.add_argument("--variant", default="c", help="variant of the storm (default %(default)s)")
    parser.add_argument("--services", type=int, default=5_000, help="services in the graph (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the storm (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    if given.burst_minutes is None:
        given.burst_minutes = given.minutes / 4
    if not 0 < given.burst_minutes < given.minutes:
        parser.error(f"--burst-minutes must be more than 0 and less than {given.minutes:g}, the length of the run")
    introduce()
    drawn = storm(given.variant, services=given.services, seed=given.seed)
    deadline = given.minutes * 60 + 300
    with fleet(given.broker, with_probes(drawn, _PROBES).graph, deadline=deadline) as run:
        rows, wrong = asyncio.run(soak(run, given, drawn))
    show(rows)
    grown = growth(rows, _part(given), burst=given.burst > 1)
    against = "the second, memory over the third" if given.burst > 1 else "the second"
    print(f"last part over {against}: {', '.join(f'{name} x {value}' for name, value in grown.items())}")
    print(f"alerts lost or counted twice: {wrong}")
    write_json(given.json, rows, growth=grown, wrong=wrong)
    if wrong or max(grown.values()) > given.growth:
        sys.exit(1)


if __name__ == "__main__":
    main()
