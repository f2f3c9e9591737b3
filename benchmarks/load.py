"""Writes storms to a raw topic, as fast as it goes or at a rate; a process of its own, so that it is not measured.

python -m benchmarks.load --config FILE --alerts N [--variant a] [--services 5000] [--seed 1] [--size N] [--skip N]
                          [--rate N] [--shift S] [--regions R,S]

A drawn storm has times of its own; they are moved so that the last alert is of this moment, because the intake takes
times of another year for mistakes. Prints one line of JSON at the end: alerts sent, bytes, wall and CPU seconds, and
the most that it lagged behind the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import orjson

from correlator.config import Settings, load_settings
from correlator.storms import Storm, storm, stream
from correlator.stream.clients import producer

__all__ = ["main", "regional", "send", "shift_to_now", "shifted"]

_BATCH: Final = 1_000
_IN_FLIGHT: Final = 32
_BEAT: Final = 0.01


async def send(settings: Settings, alerts: Iterator[dict[str, Any]], *, rate: float = 0.0) -> dict[str, float]:
    """Send alerts in order; one dedup key, one partition. ``rate`` is alerts per second, 0 is no limit."""
    topic, partitions = settings.topics.raw[0], settings.topics.raw_partitions
    made = producer(settings)
    await made.start()
    begun, cpu = time.monotonic(), time.process_time()
    sent = size = 0
    behind = 0.0
    waiting: set[asyncio.Future[Any]] = set()
    try:
        while True:
            chunk = list(islice(alerts, _BATCH * partitions if not rate else max(1, round(rate * _BEAT))))
            if not chunk:
                break
            if rate:
                late = time.monotonic() - begun - sent / rate
                behind = max(behind, late)
                if late < 0:
                    await asyncio.sleep(-late)
            now = round(time.time() * 1000)
            batches: dict[int, Any] = {}
            for alert in chunk:
                key, value = alert["key"].encode(), orjson.dumps(alert)
                number = crc32(key) % partitions
                batch = batches.get(number)
                if batch is None:
                    batch = batches[number] = made.create_batch()
                assert batch.append(timestamp=now, key=key, value=value) is not None, "a batch holds a chunk"
                size += len(value)
            for number, batch in batches.items():
                waiting.add(await made.send_batch(batch, topic, partition=number))
            sent += len(chunk)
            while len(waiting) > _IN_FLIGHT:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    future.result()
        await asyncio.gather(*waiting)
    finally:
        await made.stop()
    wall = time.monotonic() - begun
    return {"sent": sent, "bytes": size, "wall": wall, "cpu": time.process_time() - cpu, "behind": behind}


def shift_to_now(drawn: Storm, total: int) -> float:
    """Seconds that move the last of ``total`` alerts of the stream to this moment, in whole seconds."""
    passes, rest = divmod(total - 1, len(drawn.alerts))
    length = passes * (int(drawn.arrivals[-1] - drawn.arrivals[0]) + 60)
    return int(time.time() - drawn.arrivals[rest] - length)


def shifted(alerts: Iterator[dict[str, Any]], shift: float) -> Iterator[dict[str, Any]]:
    """The same alerts, all times later by ``shift`` seconds; they must be copies."""
    for alert in alerts:
        for field in ("starts_at", "ends_at", "ts"):
            if field in alert:
                alert[field] = round(alert[field] + shift, 3)
        yield alert


def regional(alerts: Iterable[dict[str, Any]], regions: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every alert once for each region, as one of its services, with the region as label.

    >>> [a["service"] for a in regional([{"key": "k", "service": "db", "labels": {}}], ["r1", "r2"])]
    ['r1.db', 'r2.db']
    """
    for alert in alerts:
        for region in regions:
            names = {name: f"{region}{mark}{alert[name]}" for name, mark in (("key", "/"), ("service", "."))}
            yield {**alert, **names, "labels": {**alert["labels"], "region": region}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Send, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description="Write storms to a raw topic.")
    parser.add_argument("--config", type=Path, required=True, help="settings of the workers")
    parser.add_argument("--alerts", type=int, required=True, help="alerts to send")
    parser.add_argument("--variant", default="a", help="variant of the storm (default %(default)s)")
    parser.add_argument("--services", type=int, default=5_000, help="services in the graph (default %(default)s)")
    parser.add_argument("--size", type=int, help="alerts of one storm (default: five per service)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the storm (default %(default)s)")
    parser.add_argument("--skip", type=int, default=0, help="alerts of the stream to leave out at its beginning")
    parser.add_argument("--rate", type=float, default=0.0, help="alerts per second; 0: as fast as it goes")
    parser.add_argument("--shift", type=float, help="seconds to add to all times (default: the last alert is now)")
    parser.add_argument("--regions", default="", help="each alert once for each of these, with commas")
    given = parser.parse_args(arguments)
    settings = load_settings(given.config, {})
    drawn = storm(given.variant, services=given.services, alerts=given.size, seed=given.seed)
    total = given.skip + given.alerts
    shift = shift_to_now(drawn, total) if given.shift is None else given.shift
    alerts = shifted(islice(stream(drawn, total), given.skip, None), shift)
    alerts = chain(list(islice(alerts, 1)), alerts)  # what is left out takes its time before the clock starts
    if given.regions:
        alerts = islice(regional(alerts, given.regions.split(",")), given.alerts)
    print(orjson.dumps(asyncio.run(send(settings, alerts, rate=given.rate))).decode(), flush=True)


if __name__ == "__main__":
    main()
