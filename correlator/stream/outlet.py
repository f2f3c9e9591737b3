"""How a partition speaks: its incidents, history, receipts and checkpoint, written so that they agree.

With transactions, one transaction holds all of it, written by a producer whose id belongs to the partition: a worker
that lost the partition is fenced off and cannot write. Without them, the outputs are acknowledged before the
checkpoint that covers them is written, in one produce batch, which the log takes whole or not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder

from correlator.config import Settings
from correlator.engine.partition import Output
from correlator.errors import BrokerError, FencedError
from correlator.stream.clients import producer
from correlator.stream.topics import state_topic

__all__ = ["Outlet", "event_headers"]

Headers = list[tuple[str, bytes]]


def event_headers(application: str, incident: Mapping[str, Any]) -> Headers:
    """CloudEvents 1.0 attributes of an incident, in Kafka's binary mode."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"correlator.incident.v1"),
        ("ce_source", f"/{application}/{incident['shard']}".encode()),
        ("ce_id", f"{incident['id']}/{incident['revision']}".encode()),
        ("ce_subject", incident["id"].encode()),
        ("ce_time", incident["updated_at"].encode()),
        ("ce_dataschema", b"urn:correlator:incident:1"),
        ("content-type", b"application/json"),
    ]


class Outlet:
    """The writer of one partition. :meth:`start` fences older writers where the broker can."""

    def __init__(self, settings: Settings, number: int, *, transactions: bool) -> None:
        self._settings = settings
        self._number = number
        self._transactions = transactions
        self._application = settings.worker.application
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Become the writer. Raises :class:`BrokerError` when the broker refuses."""
        transactional_id = f"{self._application}-{self._number}" if self._transactions else None
        made = producer(self._settings, transactional_id=transactional_id)
        try:
            await made.start()
        except KafkaError as error:
            await made.stop()
            raise BrokerError(f"partition {self._number}: no writer: {error!r}") from error
        self._producer = made

    async def stop(self) -> None:
        """Stop writing; never raises."""
        made, self._producer = self._producer, None
        if made is not None:
            with suppress(Exception):
                await asyncio.wait_for(made.stop(), 10)

    async def write(self, output: Output, graph_version: str) -> int:
        """Publish and save ``output``; the bytes of its checkpoint.

        Raises :class:`FencedError` when another writer took over, :class:`BrokerError` on any other failure:
        the partition must then be loaded anew.
        """
        made = self._producer
        if made is None:
            raise BrokerError(f"partition {self._number}: the writer is stopped")
        try:
            if self._transactions:
                async with made.transaction():
                    futures = await self._send(made, output, graph_version)
                    size, saved = await self._save(made, output)
                    await asyncio.gather(*futures, *saved)
            else:
                await asyncio.gather(*await self._send(made, output, graph_version))
                size, saved = await self._save(made, output)
                await asyncio.gather(*saved)
            return size
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError(f"partition {self._number} belongs to another worker now") from error
        except KafkaError as error:
            raise BrokerError(f"partition {self._number}: {error!r}") from error

    async def _send(self, made: AIOKafkaProducer, output: Output, graph: str) -> list[asyncio.Future[Any]]:
        """Queue incidents, history and receipts; one batch a topic while it fits."""
        topics, sender = self._settings.topics, _Sender(made, self._number)
        for key, incident in output.incidents:
            if incident is None:
                await sender.add(topics.incidents, key.encode(), None, [])
                continue
            value, headers = orjson.dumps(incident), event_headers(self._application, incident)
            await sender.add(topics.incidents, key.encode(), value, headers)
            await sender.add(topics.history, key.encode(), value, headers)
        for shard, receipts in output.decisions.items():
            for start in range(0, len(receipts), 1_000):
                chunk = receipts[start : start + 1_000]
                await sender.add(topics.decisions, shard.encode(), _decisions(shard, graph, chunk), [])
        return await sender.close()

    async def _save(self, made: AIOKafkaProducer, output: Output) -> tuple[int, list[asyncio.Future[Any]]]:
        sender, size, topic = _Sender(made, self._number), 0, state_topic(self._settings)
        for key, value in output.entries.items():
            size += len(key) + len(value or b"")
            await sender.add(topic, key, value, [])
        return size, await sender.close()


def _decisions(shard: str, graph: str, receipts: list[dict[str, Any]]) -> bytes:
    last = receipts[-1]
    return orjson.dumps(
        {
            "schema_version": 1,
            "shard": shard,
            "offset": last["revision"],
            "at": last["at"],
            "graph_version": graph,
            "decisions": receipts,
        }
    )


class _Sender:
    """Fills one produce batch per topic and sends each when it is full."""

    def __init__(self, made: AIOKafkaProducer, number: int) -> None:
        self._producer, self._number = made, number
        self._open: dict[str, BatchBuilder] = {}
        self._sent: list[asyncio.Future[Any]] = []
        self._at = round(time.time() * 1000)

    async def add(self, topic: str, key: bytes, value: bytes | None, headers: Headers) -> None:
        batch = self._open.get(topic)
        if batch is None:
            batch = self._open[topic] = self._producer.create_batch()
        if batch.append(timestamp=self._at, key=key, value=value, headers=headers) is None:
            await self._flush(topic, batch)
            batch = self._open[topic] = self._producer.create_batch()
            batch.append(timestamp=self._at, key=key, value=value, headers=headers)

    async def _flush(self, topic: str, batch: BatchBuilder) -> None:
        batch.close()
        self._sent.append(await self._producer.send_batch(batch, topic, partition=self._number))

    async def close(self) -> list[asyncio.Future[Any]]:
        for topic, batch in self._open.items():
            await self._flush(topic, batch)
        self._open = {}
        return self._sent
