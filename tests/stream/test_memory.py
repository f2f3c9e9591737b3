"""The broker in memory does what Apache Kafka does, as far as a partition's writer and readers can tell."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import ProducerFenced
from aiokafka.structs import TopicPartition

from correlator.brokers import BrokerProcess
from correlator.stream.clients import Clients
from tests.stream.conftest import Make
from tests.stream.harness import until
from tests.stream.life import SETTINGS
from tests.stream.memory import Broker, MemoryClients


async def send(made: Any, tp: TopicPartition, *values: bytes) -> None:
    batch = made.create_batch()
    for value in values:
        batch.append(timestamp=1, key=b"k", value=value, headers=[("h", b"1")])
    batch.close()
    await (await made.send_batch(batch, tp.topic, partition=tp.partition))


async def steps(clients: Clients, id: str, tp: TopicPartition) -> list[Any]:
    """Transactions that are committed, aborted, fenced and left open, and after each the log as a reader sees it."""
    seen: list[Any] = []
    consumer = clients.reader()
    await consumer.start()
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)

    async def look(end: int) -> None:
        async def reached() -> bool:
            return bool((await consumer.end_offsets([tp]))[tp] >= end)

        await until(f"end {end}", reached, 20)
        at = await consumer.position(tp)
        while await consumer.position(tp) < end:
            for record in (await consumer.getmany(timeout_ms=200)).get(tp, []):
                seen.append((record.offset, record.key, record.value, list(record.headers)))
        seen.append(((await consumer.end_offsets([tp]))[tp], await consumer.position(tp) - at))

    first, second = clients.producer(id), clients.producer(id)
    await first.start()
    async with first.transaction():
        await send(first, tp, b"1", b"2")
        await look(0)
    await look(3)
    await first.begin_transaction()
    await send(first, tp, b"aborted")
    await first.abort_transaction()
    await look(5)
    await first.begin_transaction()
    await send(first, tp, b"fenced")
    await second.start()
    await look(7)
    with pytest.raises(ProducerFenced):
        await first.commit_transaction()
    async with second.transaction():
        await send(second, tp, b"3")
    await look(9)
    for client in (first, second, consumer):
        await client.stop()
    return seen


@pytest.mark.broker
@pytest.mark.kafka
async def test_the_same_steps_have_the_same_effect(kafka_broker: BrokerProcess, install: Make) -> None:
    """Offsets of records and markers, what is delivered and when, and who is fenced."""
    here = install(kafka_broker)
    await here.create()
    tp = TopicPartition(here.settings.topics.incidents, 0)
    real = await steps(Clients(here.settings), here.name, tp)
    assert await steps(MemoryClients(SETTINGS, Broker()), here.name, tp) == real
    assert [found[2] for found in real if len(found) == 4] == [b"1", b"2", b"3"]


async def test_a_batch_of_a_stale_producer_is_refused() -> None:
    """Whoever started last with an id may write with it."""
    clients, tp = MemoryClients(SETTINGS, Broker()), TopicPartition("incidents", 0)
    first, second = clients.producer("id"), clients.producer("id")
    await first.start()
    await second.start()
    await first.begin_transaction()
    with pytest.raises(ProducerFenced):
        await asyncio.wait_for(send(first, tp, b"1"), 5)
