"""Marked alerts among the load, each about a service of its own, and when the incident that names it comes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from aiokafka.structs import TopicPartition

from benchmarks.fleet import WorkerProcess
from correlator.config import Settings
from correlator.storms import Storm
from correlator.stream.clients import producer, reader

__all__ = ["Probes", "with_probes"]

#: Number of the probe that waits for the workers.
_WARM_UP: Final = 90_000


def with_probes(drawn: Storm, count: int) -> Storm:
    """The storm over a graph with ``count`` more services, and one for the warm-up, that depend on nothing."""
    more = {_name(number): {"tier": 2} for number in (*range(count), _WARM_UP)}
    return replace(drawn, graph={"nodes": {**drawn.graph["nodes"], **more}, "edges": drawn.graph["edges"]})


def _name(number: int) -> str:
    return f"probe-{number:05d}"


class Probes:
    """Sends probes and follows the incidents topic, between entry and exit of the context."""

    def __init__(self, settings: Settings) -> None:
        self.sent: dict[str, float] = {}
        self.seen: dict[str, float] = {}
        self.behind = 0.0
        self.said = 0
        self._settings = settings
        self._producer = producer(settings)
        self._consumer = reader(settings)

    async def __aenter__(self) -> Probes:
        await self._producer.start()
        await self._consumer.start()
        topics = self._settings.topics
        self._consumer.assign([TopicPartition(topics.incidents, number) for number in range(topics.partitions)])
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._following.cancel()
        await asyncio.wait([self._following])
        await self._producer.stop()
        await self._consumer.stop()

    async def _follow(self) -> None:
        while True:
            for found in (await self._consumer.getmany(timeout_ms=1_000)).values():
                now = time.time()
                for record in found:
                    if record.value is not None and b'"service":"probe-' in record.value:
                        incident = orjson.loads(record.value)
                        if incident["state"] in ("forming", "open"):
                            self.seen.setdefault(incident["root"]["service"], now)

    async def send(self, number: int) -> None:
        """Send a probe and remember the broker's time of it."""
        self.sent[_name(number)] = await self._say(number, "firing")

    async def end(self, number: int) -> None:
        """Resolve a probe and forget it, so that its service can be probed again."""
        await self._say(number, "resolved")
        self.sent.pop(_name(number), None)
        self.seen.pop(_name(number), None)

    async def _say(self, number: int, status: str) -> float:
        name, topics = _name(number), self._settings.topics
        value = orjson.dumps(
            {
                "key": name,
                "service": name,
                "name": "Probe",
                "severity": "warning",
                "status": status,
                "starts_at": round(time.time() if status == "firing" else self.sent[name], 3),
                "source": "probe",
            }
        )
        made = await self._producer.send_and_wait(
            topics.raw[0], value, partition=number % topics.raw_partitions, timestamp_ms=round(time.time() * 1000)
        )
        self.said += 1
        return float(made.timestamp / 1000)

    async def ready(self, workers: Sequence[WorkerProcess], deadline: float) -> None:
        """Wait until a probe comes through, which does not count. Raises RuntimeError."""
        await self.send(_WARM_UP)
        while _name(_WARM_UP) not in self.seen:
            for worker in workers:
                if worker.process.poll() is not None:
                    raise RuntimeError(f"a worker ended with {worker.process.returncode}:\n{worker.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError("the first probe does not come out")
            await asyncio.sleep(0.02)

    async def drain(self, timeout: float) -> None:
        """Wait for probes that are still under way."""
        until = time.monotonic() + timeout
        while len(self.seen) < len(self.sent) and time.monotonic() < until:  # noqa: ASYNC110 - bounded, and rare
            await asyncio.sleep(0.05)

    def wait_of(self, number: int) -> float | None:
        """Seconds until a probe came out; None while it has not."""
        name = _name(number)
        return self.seen[name] - self.sent[name] if name in self.seen else None

    def waits(self) -> list[float]:
        """Seconds of every probe that came out, the warm-up left aside."""
        return [self.seen[name] - at for name, at in self.sent.items() if name in self.seen and name != _name(_WARM_UP)]
