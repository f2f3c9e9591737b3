"""What the bypass reads: the raw topics, what the broker knows of the workers' group, and its own open incidents."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError as CoordinatorNotAvailable
from aiokafka.errors import GroupLoadInProgressError as CoordinatorLoading
from aiokafka.errors import KafkaError
from aiokafka.errors import NotCoordinatorForGroupError as NotCoordinator
from aiokafka.structs import TopicPartition

from correlator.bypass.path import Offsets
from correlator.config import Settings
from correlator.errors import BrokerError
from correlator.stream import clients, rejected
from correlator.stream.topics import inspect

__all__ = ["NOTE", "Feed", "Stored", "partitions", "stored"]

log = logging.getLogger(__name__)

#: Header of a bypass incident: whose it is and which raw offsets it is about, for the next start.
NOTE = "correlator-bypass"


class Stored(NamedTuple):
    """A bypass incident found on the incidents topic: its last value and its note."""

    value: dict[str, Any]
    note: dict[str, Any]


async def partitions(settings: Settings) -> dict[str, int]:
    """Partitions of the topics that the bypass needs. Raises :class:`BrokerError` where one is missing."""
    topics = settings.topics
    needed = {*topics.raw, topics.placed, topics.incidents, topics.history}
    found = {state.plan.name: state.partitions for state in await inspect(settings) if state.plan.name in needed}
    missing = sorted(name for name in needed if not found.get(name))
    if missing:
        raise BrokerError(f"topics: {', '.join(missing)} missing; create them with: correlator topics --create")
    return {name: count or 0 for name, count in found.items()}


async def stored(settings: Settings) -> dict[str, Stored]:
    """Bypass incidents by id, as published last. Reads the whole topic. Raises :class:`BrokerError`."""
    found: dict[str, Stored] = {}
    async for record in rejected.records(settings, settings.topics.incidents):
        note = next((value for name, value in record.headers if name == NOTE), None)
        key = (record.key or b"").decode(errors="replace")
        if note is not None and record.value is not None:
            found[key] = Stored(orjson.loads(record.value), orjson.loads(note))
        else:
            found.pop(key, None)
    return found


class Feed:
    """Reads every raw partition, from where the last bypass had proof that everything before is decided."""

    def __init__(self, settings: Settings, counts: Mapping[str, int]) -> None:
        self._settings = settings
        self.raw: dict[TopicPartition, str] = {}
        self._placed = self._of(settings.topics.placed, counts)
        self._consumer = clients.Consumer(
            **clients.options(settings),
            group_id=f"{settings.worker.application}-bypass",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=2 * clients.MAX_BATCH_BYTES,
            fetch_max_wait_ms=200,
        )
        self._admin: AIOKafkaAdminClient = clients.admin(settings)
        self._committed: dict[TopicPartition, int] = {}
        #: Ends of the raw partitions when reading began: what lies before was missed while nobody watched.
        self.began: dict[str, int] = {}
        self._position: dict[str, int] = {}

    @staticmethod
    def _of(topic: str, counts: Mapping[str, int]) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(counts[topic])]

    async def start(self, counts: Mapping[str, int]) -> None:
        """Begin to read. Raises :class:`BrokerError`."""
        try:
            await self._admin.start()
            await clients.Clients(self._settings).start(self._consumer)
            await self._begin(counts)
        except KafkaError as error:
            raise BrokerError(f"{self._settings.broker.bootstrap[0]}: {error!r}") from error

    async def _begin(self, counts: Mapping[str, int]) -> None:
        """A new cluster takes its time to say who coordinates a group."""
        deadline = time.monotonic() + self._settings.broker.request_timeout
        while True:
            try:
                return await self.extend(counts)
            except (CoordinatorNotAvailable, NotCoordinator, CoordinatorLoading):
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.5)

    async def stop(self) -> None:
        """Stop reading; never raises."""
        await clients.close(self._consumer)
        with suppress(Exception):
            await self._admin.close()

    async def extend(self, counts: Mapping[str, int]) -> None:
        """Read the raw partitions that came to be, too. Raises KafkaError."""
        wanted = [tp for topic in self._settings.topics.raw for tp in self._of(topic, counts)]
        new = [tp for tp in wanted if tp not in self.raw]
        if not new:
            return
        later = bool(self.raw)
        at = {tp: await self._consumer.position(tp) for tp in self.raw}
        ends = await self._consumer.end_offsets(new)
        theirs = await self._group(self._settings.worker.application, new)
        for tp in new:
            own = await self._consumer.committed(tp)
            at[tp] = (
                0 if later else ends[tp] if own is None and tp not in theirs else theirs[tp] if own is None else own
            )
            name = self.raw[tp] = f"{tp.topic}/{tp.partition}"
            self.began[name] = ends[tp]
        self._consumer.assign(list(at))
        for tp, offset in at.items():
            self._consumer.seek(tp, offset)
            self._position[self.raw[tp]] = offset

    def caught_up(self) -> bool:
        """Whether what was missed has been read."""
        return all(self._position[source] >= end for source, end in self.began.items())

    async def read(self, timeout: float) -> dict[str, list[Any]]:
        """Records by raw partition; waits up to ``timeout`` seconds for the first. Raises KafkaError."""
        batch = await self._consumer.getmany(timeout_ms=round(timeout * 1000), max_records=2_000)
        found = {self.raw[tp]: records for tp, records in batch.items() if records}
        for source, records in found.items():
            self._position[source] = records[-1].offset + 1
        return found

    async def offsets(self) -> Offsets:
        """How far the workers are, and then where the logs end. Raises KafkaError."""
        raw, placed = list(self.raw), self._placed
        committed = await self._group(self._settings.worker.application, [*raw, *placed])
        ends = await self._consumer.end_offsets([*raw, *placed])
        return Offsets(
            committed={self.raw[tp]: committed[tp] for tp in raw if tp in committed},
            decided={tp.partition: committed[tp] for tp in placed if tp in committed},
            ends={tp.partition: ends[tp] for tp in placed},
            raw_ends={self.raw[tp]: ends[tp] for tp in raw},
        )

    async def _group(self, group: str, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        found = await self._admin.list_consumer_group_offsets(group, partitions=tps)
        return {tp: meta.offset for tp, meta in found.items() if meta.offset >= 0}

    async def commit(self, decided: Mapping[str, int]) -> None:
        """Remember for the next start up to where everything is decided. A failure is made up for by the next call."""
        offsets = {tp: decided[name] for tp, name in self.raw.items() if name in decided}
        news = {tp: offset for tp, offset in offsets.items() if self._committed.get(tp) != offset}
        if news:
            try:
                await self._consumer.commit(news)
                self._committed |= news
            except KafkaError as error:
                log.info("offsets not committed: %r", error)

    @staticmethod
    def moment(record: Any, began: int) -> float:
        """When a record was seen, in monotonic seconds: now, or its own time if it was there before reading began."""
        now = time.monotonic()
        return now if record.offset >= began else now - max(0.0, time.time() - record.timestamp / 1000)
