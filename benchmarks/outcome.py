"""What an installation has read and written, as its topics hold it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from aiokafka.structs import TopicPartition

from correlator.config import Settings
from correlator.engine.partition import MARKER
from correlator.stream.clients import Consumer
from correlator.stream.topics import state_topic
from topology import ServiceGraph

__all__ = ["Outcome", "Published"]

_FETCH: Final = 32 << 20


@dataclass
class Published:
    """What the topics hold, read committed."""

    placed: list[Any]
    graphs: dict[str, ServiceGraph]
    incidents: list[Any]
    history: list[Any]
    decisions: list[Any]
    rejected: list[Any]
    applied: dict[int, int]
    marks: dict[int, dict[str, Any]]

    @property
    def last(self) -> dict[str, bytes | None]:
        """Last value per incident id; None is a tombstone."""
        return {record.key.decode(): record.value for record in self.incidents}

    @property
    def receipts(self) -> list[dict[str, Any]]:
        """Every receipt."""
        return [receipt for record in self.decisions for receipt in orjson.loads(record.value)["decisions"]]


class Outcome:
    """Reads the topics of one installation at ``address``, which need not be the one that its workers use.

    ``exact`` is whether the broker tells the end of a partition exactly; the embedded one may say less.
    """

    def __init__(self, settings: Settings, address: str, *, exact: bool = True) -> None:
        self.settings, self.address, self.exact = settings, address, exact

    async def read(
        self,
        topic: str,
        *,
        offsets: Mapping[int, int] | None = None,
        isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
    ) -> list[Any]:
        """Every record of a topic, partition by partition, from ``offsets`` on."""
        found: list[Any] = []
        consumer = Consumer(
            bootstrap_servers=self.address,
            isolation_level=isolation,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH,
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        try:
            await consumer._client._wait_on_metadata(topic)
            for number in sorted(consumer.partitions_for_topic(topic) or ()):
                tp = TopicPartition(topic, number)
                consumer.assign([tp])
                end = (await consumer.end_offsets([tp]))[tp]
                if offsets is None:
                    await consumer.seek_to_beginning(tp)
                else:
                    consumer.seek(tp, offsets.get(number, 0))
                more = not self.exact
                while await consumer.position(tp) < end or more:
                    batch = (await consumer.getmany(timeout_ms=300, max_records=20_000)).get(tp, [])
                    found += batch
                    more = more and bool(batch)
        finally:
            await consumer.stop()
        return found

    async def committed(self) -> dict[TopicPartition, int]:
        """What the group has committed, of every topic that it reads for good."""
        topics = self.settings.topics
        counts = {topic: topics.raw_partitions for topic in topics.raw}
        counts |= {topics.placed: topics.partitions, topics.controls: 1} | dict.fromkeys(topics.changes, 1)
        tps = [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
        group = self.settings.worker.application
        consumer = Consumer(bootstrap_servers=self.address, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(tps)
            return {tp: await consumer.committed(tp) or 0 for tp in tps}
        finally:
            await consumer.stop()

    async def placed_ends(self) -> dict[TopicPartition, int]:
        """The end of every partition of the deciding log."""
        topic = self.settings.topics.placed
        tps = [TopicPartition(topic, number) for number in range(self.settings.topics.partitions)]
        consumer = Consumer(bootstrap_servers=self.address)
        await consumer.start()
        try:
            return dict(await consumer.end_offsets(tps))
        finally:
            await consumer.stop()

    async def published(self) -> Published:
        """Everything that the workers wrote. Call it when they have stopped."""
        topics = self.settings.topics
        state: dict[tuple[int, bytes], bytes | None] = {}
        for record in await self.read(state_topic(self.settings)):
            state[(record.partition, record.key)] = record.value
        marks = {number: orjson.loads(value) for (number, key), value in state.items() if key == MARKER and value}
        graphs = {}
        for record in await self.read(topics.topology):
            if record.key != b"current" and record.value is not None:
                graph = ServiceGraph.from_native(orjson.loads(zlib.decompress(record.value)))
                graphs[record.key.decode()] = graph
        return Published(
            placed=await self.read(topics.placed),
            graphs=graphs,
            incidents=await self.read(topics.incidents),
            history=await self.read(topics.history),
            decisions=await self.read(topics.decisions),
            rejected=await self.read(topics.rejected),
            applied={number: mark["applied"] for number, mark in marks.items()},
            marks=marks,
        )
