"""Sends the load past the proxy, and knows how far it got; follows what comes out, and knows when."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from random import Random
from typing import Any, Final
from zlib import crc32

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from benchmarks.chaos.traffic import Item, shard_of
from correlator.config import Settings
from correlator.stream.clients import Consumer

__all__ = ["Feed", "Follow"]

_BEAT: Final = 0.05
_PACK: Final = 25  # most alerts in one record
_MOVED: Final = ("starts_at", "ends_at", "ts", "at")
_OPEN: Final = ("forming", "open")


class Feed:
    """The sender of everything. ``begun`` is the start of the run, epoch seconds; ``jump`` what clocks are wrong by."""

    def __init__(self, settings: Settings, address: str, follow: Follow, seed: int, *, idempotent: bool) -> None:
        self.begun = time.time()
        self.jump = 0.0
        self.sent: Counter[str] = Counter()  # alerts, records, controls, changes
        self.ends: dict[TopicPartition, int] = {}
        self.failed: list[str] = []
        self._topics, self._follow, self._rng = settings.topics, follow, Random(seed)
        self._waiting: set[asyncio.Task[None]] = set()
        self._address, self._idempotent = address, idempotent
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Feed:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._address,
            linger_ms=2,
            enable_idempotence=self._idempotent,
            max_request_size=16 << 20,
            max_batch_size=4 << 20,
            request_timeout_ms=120_000,
        )
        await self._producer.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        for task in self._waiting:
            task.cancel()
        with suppress(Exception):
            if self._producer is not None:
                await asyncio.wait_for(self._producer.stop(), 20)

    async def items(self, items: Iterable[Item]) -> None:
        """Send each when its time has come; late ones at once."""
        coming = iter(items)
        item = next(coming, None)
        while item is not None:
            now, due = time.time() - self.begun, list[Item]()
            while item is not None and item.at <= now:
                due.append(item)
                item = next(coming, None)
            await self._send(due)
            await asyncio.sleep(_BEAT)

    async def _send(self, due: list[Item]) -> None:
        alerts = (item for item in due if item.kind == "alert")
        for number, group in self._grouped(alerts):
            await self.raw(orjson.dumps(group if len(group) > 1 else group[0]), number, len(group))
        for item in due:
            value = self._moved(item.value, 0.0)
            if item.kind == "change":
                await self._put("changes", self._topics.changes[0], 0, orjson.dumps(value))
            elif item.kind == "control":
                await self.control(value, item.region)

    async def control(self, value: dict[str, Any], region: str) -> None:
        """Send a control; an acknowledgement of whatever incident is open in the region, if one is."""
        if value["type"] == "acknowledge":
            incident = self._follow.open(region)
            if not incident:
                return
            value = {**value, "incident": incident}
        await self._put("controls", self._topics.controls, 0, orjson.dumps(value))

    async def alert(self, value: dict[str, Any]) -> None:
        """Send one alert now, as it is."""
        await self.raw(orjson.dumps(value), self.partition(value["service"]), 1)

    async def raw(self, value: bytes | None, partition: int, alerts: int = 0) -> None:
        """Send a raw record that holds so many alerts."""
        self.sent["alerts"] += alerts
        await self._put("records", self._topics.raw[0], partition, value, self.jump)

    def partition(self, service: str) -> int:
        """The raw partition of a service."""
        return crc32(service.encode()) % self._topics.raw_partitions

    async def flushed(self) -> None:
        """Until the broker has acknowledged or refused everything."""
        while self._waiting:
            await asyncio.wait(self._waiting)

    def _grouped(self, alerts: Iterable[Item]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """By raw partition, in order, as senders do: one by one, or several in a record."""
        groups: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for item in alerts:
            number = self.partition(item.value["service"])
            group = groups[number]
            group.append(self._moved(item.value, self.jump))
            if len(group) >= _PACK or self._rng.random() < 0.2:
                yield number, groups.pop(number)
        yield from groups.items()

    def _moved(self, value: dict[str, Any], jump: float) -> dict[str, Any]:
        by = self.begun + jump
        return {k: round(v + by, 3) if k in _MOVED else v for k, v in value.items()}

    async def _put(self, what: str, topic: str, partition: int, value: bytes | None, jump: float = 0.0) -> None:
        at = round((time.time() + jump) * 1000)
        assert self._producer is not None, "sends within its context"
        future = await self._producer.send(topic, value, key=b"", partition=partition, timestamp_ms=at)
        task = asyncio.create_task(self._acknowledged(what, future))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _acknowledged(self, what: str, future: Any) -> None:
        try:
            meta = await future
        except KafkaError as error:
            self.failed.append(f"{what}: {error!r}")
            return
        self.sent[what] += 1
        tp = TopicPartition(meta.topic, meta.partition)
        self.ends[tp] = max(self.ends.get(tp, 0), meta.offset + 1)


class Follow:
    """Reads committed incidents and decisions, and notes when which shard published: seconds of the monotonic clock."""

    def __init__(self, settings: Settings, address: str) -> None:
        self.moments: dict[str, list[float]] = defaultdict(list)
        self._address = address
        self._topics = settings.topics
        self._latest: dict[str, dict[str, str]] = defaultdict(dict)
        self._at: dict[TopicPartition, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Follow:
        self._task = asyncio.create_task(self._run(), name="follow")
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def open(self, region: str) -> str:
        """The incident of a region that was published last, if it is open; else nothing."""
        found = [id for id, state in self._latest[shard_of(region)].items() if state in _OPEN]
        return found[-1] if found else ""

    async def _run(self) -> None:
        while True:
            with suppress(KafkaError, OSError):
                await self._read()
            await asyncio.sleep(0.2)

    async def _read(self) -> None:
        """Follow until the broker fails."""
        topics, n = (self._topics.incidents, self._topics.decisions), self._topics.partitions
        tps = [TopicPartition(topic, number) for topic in topics for number in range(n)]
        consumer = Consumer(
            bootstrap_servers=self._address,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=16 << 20,
            fetch_max_wait_ms=50,
        )
        await consumer.start()
        try:
            consumer.assign(tps)
            for tp in tps:
                consumer.seek(tp, self._at.get(tp, 0))
            while True:
                for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                    self._note(tp, records)
                    self._at[tp] = records[-1].offset + 1
        finally:
            await consumer.stop()

    def _note(self, tp: TopicPartition, records: list[Any]) -> None:
        now = time.monotonic()
        for record in records:
            if tp.topic == self._topics.decisions:
                shard = record.key.decode()
            elif record.value is not None:
                incident = orjson.loads(record.value)
                shard = incident["shard"]
                latest = self._latest[shard]
                latest.pop(incident["id"], None)
                latest[incident["id"]] = incident["state"]
            else:
                continue
            moments = self.moments[shard]
            if not moments or moments[-1] != now:
                moments.append(now)
