"""How a partition speaks: its incidents, history, receipts and checkpoint, written so that they agree.

With transactions, one transaction holds all of it, written by a producer whose id belongs to the partition: a worker
that lost the partition is fenced off and cannot write. Without them, the outputs are acknowledged before the
checkpoint that covers them is written, in one produce batch, which the log takes whole or not at all; and before each
batch the writer looks whether its lease of the group's membership holds, so that one that was frozen does not
write over its successor. What it had already handed to the network by then is not held back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, KafkaError, KafkaTimeoutError, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder

from correlator.config import Settings
from correlator.engine.partition import Output, Quarantined
from correlator.errors import BrokerError, FencedError
from correlator.model import PLACED_COLUMNS
from correlator.stream.clients import Clients, close
from correlator.stream.topics import state_topic

__all__ = ["Outlet", "decisions_headers", "event_headers", "reject_headers"]

Headers = list[tuple[str, bytes]]

#: Bytes above which receipts are spread over several records.
_LARGE: Final = 2 << 20
#: Seconds in which the broker is told that a transaction is given up.
_GIVING_UP: Final = 2.0
#: Fields of a quarantined alert that its record on the reject topic has.
_NATIVE: Final = (
    *("fingerprint", "service", "name", "severity", "status", "starts_at", "ends_at"),
    *("labels", "annotations", "source"),
)


def event_headers(application: str, incident: Mapping[str, Any]) -> Headers:
    """CloudEvents 1.0 attributes of an incident, in Kafka's binary mode."""
    source, id = f"/{application}/{incident['shard']}", incident["id"]
    return _attributes("incident", source, f"{id}/{incident['revision']}", id, incident["updated_at"])


def decisions_headers(application: str, shard: str, value: bytes, at: str) -> Headers:
    """The same of a record of receipts, the last of them of the time ``at``. The same bytes have the same id."""
    return _attributes("decisions", f"/{application}/{shard}", blake2b(value, digest_size=16).hexdigest(), shard, at)


def _attributes(kind: str, source: str, id: str, subject: str, time: str) -> Headers:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", f"correlator.{kind}.v1".encode()),
        ("ce_source", source.encode()),
        ("ce_id", id.encode()),
        ("ce_subject", subject.encode()),
        ("ce_time", time.encode()),
        ("ce_dataschema", f"urn:correlator:{kind}:1".encode()),
        ("content-type", b"application/json"),
    ]


def reject_headers(place: tuple[str, int, int], index: int | None, reason: str, message: str, dialect: str) -> Headers:
    """Where a rejected record came from (topic, partition, offset, index of the alert), and why it was refused."""
    topic, partition, offset = place
    return [
        ("reason", reason.encode()),
        ("message", message[:1_000].encode(errors="replace")),
        ("topic", topic.encode()),
        ("partition", b"%d" % partition),
        ("offset", b"%d" % offset),
        ("index", b"" if index is None else b"%d" % index),
        ("dialect", dialect.encode()),
    ]


class Outlet:
    """The writer of one partition. :meth:`start` fences older writers where the broker can."""

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        number: int,
        is_member: Callable[[], bool],
        *,
        transactions: bool,
        rejected_partitions: int,
    ) -> None:
        self._settings, self._clients = settings, clients
        self._is_member = is_member
        self._rejected_partitions = rejected_partitions
        self._number = number
        self._transactions = transactions
        self._application = settings.worker.application
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Become the writer. Raises :class:`BrokerError` when the broker refuses."""
        transactional_id = f"{self._application}-{self._number}" if self._transactions else None
        made = self._clients.producer(transactional_id)
        try:
            await self._clients.start(made)
        except KafkaError as error:
            await close(made)
            raise BrokerError(f"partition {self._number}: no writer: {error!r}") from error
        self._producer = made

    async def stop(self) -> None:
        """Stop writing; never raises."""
        made, self._producer = self._producer, None
        if made is not None:
            await close(made)

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
                async with _transaction(made, self._clients.patience):
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

    def _check_lease(self) -> None:
        if not self._transactions and not self._is_member():
            raise FencedError(f"partition {self._number}: the group may have given it to another worker")

    async def _send(self, made: AIOKafkaProducer, output: Output, graph: str) -> list[asyncio.Future[Any]]:
        """Queue incidents, history and receipts; one batch a topic while it fits."""
        topics, sender = self._settings.topics, _Sender(made, self._number, self._check_lease)
        for key, incident in output.incidents:
            home = output.homes.get(key)
            if incident is None:
                await sender.add(topics.incidents, key.encode(), None, [], home)
                continue
            value, headers = orjson.dumps(incident), event_headers(self._application, incident)
            await sender.add(topics.incidents, key.encode(), value, headers, home)
            await sender.add(topics.history, key.encode(), value, headers, home)
        for shard, receipts in output.decisions.items():
            for start in range(0, len(receipts), 1_000):
                chunk = receipts[start : start + 1_000]
                await self._decide(sender, shard, graph, chunk)
        for quarantined in output.quarantined:
            await self._reject(sender, quarantined)
        return await sender.close()

    async def _decide(self, sender: _Sender, shard: str, graph: str, receipts: list[dict[str, Any]]) -> None:
        value = _decisions(shard, graph, receipts)
        if len(value) > _LARGE and len(receipts) > 1:
            half = len(receipts) // 2
            await self._decide(sender, shard, graph, receipts[:half])
            await self._decide(sender, shard, graph, receipts[half:])
        else:
            headers = decisions_headers(self._application, shard, value, receipts[-1]["at"])
            await sender.add(self._settings.topics.decisions, shard.encode(), value, headers)

    async def _reject(self, sender: _Sender, quarantined: Quarantined) -> None:
        """An alert that was put aside, as an alert that can be fed back; or a record of the placed topic, as it is."""
        reason, error = quarantined.reason, quarantined.error
        found, topic = _alert_of(quarantined), self._settings.topics.rejected
        if found is None:
            place = (self._settings.topics.placed, self._number, quarantined.offset)
            headers = reject_headers(place, None, reason, error, "")
            key, value = quarantined.source.encode(), quarantined.value or orjson.dumps(quarantined.row)
            number = self._number
        else:
            place, index, alert = found
            headers = reject_headers(place, index, reason, error, "native")
            key, value, number = b"", orjson.dumps(alert), place[1]
        if quarantined.trace:
            headers.append(("traceback", quarantined.trace.encode()))
        await sender.add(topic, key, value, headers, number % self._rejected_partitions)

    async def _save(self, made: AIOKafkaProducer, output: Output) -> tuple[int, list[asyncio.Future[Any]]]:
        sender, size, topic = _Sender(made, self._number, self._check_lease), 0, state_topic(self._settings)
        for key, value in output.entries.items():
            size += len(key) + len(value or b"")
            await sender.add(topic, key, value, [])
        return size, await sender.close()


@asynccontextmanager
async def _transaction(made: AIOKafkaProducer, patience: float) -> AsyncIterator[None]:
    """A transaction: committed at the end, given up on an error.

    aiokafka's own waits for the broker to hear of either, if need be for ever. Who writes next ends it in any case, and
    the changelog says how. Of one that has failed in the middle the next call only says that there is none: what it
    failed of is raised here.
    """
    await made.begin_transaction()
    try:
        yield
    except BaseException as error:
        end = made._txn_manager.wait_for_transaction_end()
        if not made._txn_manager.is_fatal_error():
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(_GIVING_UP):
                    await made.abort_transaction()
        if isinstance(error, IllegalOperation):
            raise (end.exception() if end.done() else None) or KafkaError(str(error)) from error
        raise
    try:
        async with asyncio.timeout(patience):
            await made.commit_transaction()
    except TimeoutError as error:
        raise KafkaTimeoutError(f"no answer to the end of a transaction within {patience:g} s") from error


def _alert_of(quarantined: Quarantined) -> tuple[tuple[str, int, int], int, dict[str, Any]] | None:
    """Where in the raw log an alert was, and the alert; None for what is no row of the deciding log."""
    row = quarantined.row
    topic, _, partition = quarantined.source.rpartition("/")
    if not isinstance(row, list) or len(row) != len(PLACED_COLUMNS) or not partition.isdigit():
        return None
    named = dict(zip(PLACED_COLUMNS, row, strict=True))
    offset, index = named["offset"], named["index"]
    if type(offset) is not int or type(index) is not int:
        return None
    return (topic, int(partition), offset), index, {f: named[f] for f in _NATIVE if named[f] is not None}


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
    """Fills one produce batch per topic and sends each when it is full, after ``check``."""

    def __init__(self, made: AIOKafkaProducer, number: int, check: Callable[[], None]) -> None:
        self._producer, self._number, self._check = made, number, check
        self._open: dict[tuple[str, int], BatchBuilder] = {}
        self._sent: list[asyncio.Future[Any]] = []
        self._at = round(time.time() * 1000)

    async def add(
        self, topic: str, key: bytes, value: bytes | None, headers: Headers, number: int | None = None
    ) -> None:
        where = (topic, self._number if number is None else number)
        batch = self._open.get(where)
        if batch is not None:
            if batch.append(timestamp=self._at, key=key, value=value, headers=headers) is not None:
                return
            await self._flush(where, batch)
        batch = self._open[where] = self._producer.create_batch()
        if batch.append(timestamp=self._at, key=key, value=value, headers=headers) is None:
            raise BrokerError(f"a record of {len(value or b'')} bytes for {topic} is larger than a produce batch")

    async def _flush(self, where: tuple[str, int], batch: BatchBuilder) -> None:
        batch.close()
        topic, number = where
        self._check()
        self._sent.append(await self._producer.send_batch(batch, topic, partition=number))

    async def close(self) -> list[asyncio.Future[Any]]:
        for where, batch in self._open.items():
            await self._flush(where, batch)
        self._open = {}
        return self._sent
