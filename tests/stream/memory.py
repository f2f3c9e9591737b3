"""A broker in memory, and the clients that reach it: what a partition's writer and readers need of Kafka, and no more.

A produce batch is appended whole or not at all. A transaction spans partitions; its records are below the last stable
offset, and so readable, once it is decided and its markers are written, which is a moment after the answer to the
commit; each marker takes an offset and is never delivered. Starting a producer ends the open transaction of its
id and fences the producers that had the id before. ``transactions=False`` makes it a broker without all that.

``test_memory.py`` runs the same steps here and on Apache Kafka.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaTimeoutError, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.producer import TransactionContext
from aiokafka.record import MemoryRecords
from aiokafka.structs import TopicPartition

from correlator.config import Settings
from correlator.stream.clients import MAX_BATCH_BYTES, Clients

__all__ = ["Broker", "MemoryClients"]

#: Seconds between the answer to the end of a transaction and its markers.
_MARKERS: Final = 0.002


class Record(NamedTuple):
    """A record as a consumer delivers it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(eq=False)
class Transaction:
    """One transaction. ``outcome`` is what it will end with, ``over`` that its markers are written."""

    outcome: str = ""
    over: bool = False
    partitions: set[TopicPartition] = field(default_factory=set)


class Entry(NamedTuple):
    """One offset of a log: a record, or the marker of a transaction."""

    record: Record | None
    transaction: Transaction | None


class Broker:
    """Logs by partition, and who may write with which transactional id."""

    def __init__(self, *, transactions: bool = True, batch_bytes: int = MAX_BATCH_BYTES) -> None:
        self.transactions, self.batch_bytes = transactions, batch_bytes
        self._logs: defaultdict[TopicPartition, list[Entry]] = defaultdict(list)
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}

    # -- writing ---------------------------------------------------------------------------------------------

    def init(self, id: str) -> int:
        """The epoch of a new producer of this id, after the end of the last one's transaction."""
        open = self._open.pop(id, None)
        if open is not None:
            open.outcome = open.outcome or "abort"
            self._mark(open)
        self._epochs[id] = self._epochs.get(id, -1) + 1
        return self._epochs[id]

    def check(self, id: str, epoch: int) -> None:
        """Raises ProducerFenced for all but the newest producer of an id."""
        if epoch != self._epochs[id]:
            raise ProducerFenced

    def append(
        self, tp: TopicPartition, records: Sequence[Any], producer: tuple[str, int] | None = None
    ) -> SimpleNamespace:
        """Append a batch."""
        transaction = None
        if producer is not None:
            self.check(*producer)
            transaction = self._open.setdefault(producer[0], Transaction())
            transaction.partitions.add(tp)
        log = self._logs[tp]
        base = len(log)
        for offset, r in enumerate(records, base):
            record = Record(tp.topic, tp.partition, offset, r.timestamp, r.key, r.value, r.headers)
            log.append(Entry(record, transaction))
        return SimpleNamespace(topic=tp.topic, partition=tp.partition, offset=base)

    def end(self, id: str, epoch: int, outcome: str) -> Transaction | None:
        """Decide the open transaction; its markers are written a little later."""
        self.check(id, epoch)
        found = self._open.get(id)
        if found is not None:
            found.outcome = outcome
            asyncio.get_running_loop().call_later(_MARKERS, self._settle, id, found)
        return found

    def _settle(self, id: str, decided: Transaction) -> None:
        if self._open.get(id) is decided:
            del self._open[id]
            self._mark(decided)

    def _mark(self, decided: Transaction) -> None:
        for tp in decided.partitions:
            self._logs[tp].append(Entry(None, decided))
        decided.over = True

    # -- reading ---------------------------------------------------------------------------------------------

    def end_of(self, tp: TopicPartition) -> int:
        """The last stable offset."""
        log = self._logs[tp]
        undecided = (n for n, entry in enumerate(log) if entry.transaction and not entry.transaction.over)
        return next(undecided, len(log))

    def read(self, tp: TopicPartition, at: int, most: int) -> tuple[list[Record], int]:
        """Committed records from an offset on, and the offset after them."""
        found: list[Record] = []
        end = self.end_of(tp)
        while at < end and len(found) < most:
            entry = self._logs[tp][at]
            if entry.record is not None and (entry.transaction is None or entry.transaction.outcome == "commit"):
                found.append(entry.record)
            at += 1
        return found, at

    def decided(self, tp: TopicPartition) -> list[Record]:
        """The records that nothing can undo any more, whether or not their markers are written."""
        entries = (entry for entry in self._logs[tp] if entry.record is not None)
        return [e.record for e in entries if e.record and (not e.transaction or e.transaction.outcome == "commit")]

    def records(self, topic: str) -> list[Record]:
        """All committed records of a topic, partition by partition."""
        tps = sorted(tp for tp in self._logs if tp.topic == topic)
        return [record for tp in tps for record in self.read(tp, 0, len(self._logs[tp]))[0]]


class MemoryClients(Clients):
    """Clients of a broker in memory."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        super().__init__(settings)
        self._broker = broker

    def producer(self, transactional_id: str | None = None) -> Any:
        """A producer, not started."""
        return _Producer(self._broker, transactional_id)

    def reader(self) -> Any:
        """A consumer of committed records, not started."""
        return _Reader(self._broker)


class _Producer:
    """aiokafka's producer, as far as it is used."""

    def __init__(self, broker: Broker, transactional_id: str | None) -> None:
        self._broker, self._id, self._epoch = broker, transactional_id, -1
        self._fatal = self._stopped = False
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._txn_manager = SimpleNamespace(
            is_fatal_error=lambda: self._fatal, wait_for_transaction_end=lambda: self._over
        )
        self._last: Transaction | None = None

    async def start(self) -> None:
        if self._id is not None:
            self._epoch = self._broker.init(self._id)

    async def stop(self) -> None:
        self._stopped = True

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(self._broker.batch_bytes, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[Any]:
        records = list(_decoded(batch))
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._deliver, TopicPartition(topic, partition), records, done)
        return done

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = 0,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> asyncio.Future[Any]:
        batch = self.create_batch()
        at = round(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        batch.append(timestamp=at, key=key, value=value, headers=list(headers))
        return await self.send_batch(batch, topic, partition=partition)

    def _deliver(self, tp: TopicPartition, records: list[Any], done: asyncio.Future[Any]) -> None:
        if done.done():
            return
        if self._stopped:
            done.set_exception(KafkaTimeoutError())
            return
        try:
            done.set_result(self._broker.append(tp, records, None if self._id is None else (self._id, self._epoch)))
        except ProducerFenced as error:
            self._fail(error)
            done.set_exception(error)

    def transaction(self) -> Any:
        return TransactionContext(self)

    async def begin_transaction(self) -> None:
        """Once the markers of the last transaction are written; never again after a fatal error, as in aiokafka."""
        assert not self._fatal, "a transaction cannot begin after a fatal error"
        if self._last is not None and not self._last.over:
            await asyncio.sleep(_MARKERS)

    async def commit_transaction(self) -> None:
        self._end("commit")

    async def abort_transaction(self) -> None:
        self._end("abort")

    def _end(self, outcome: str) -> None:
        assert self._id is not None
        try:
            self._last = self._broker.end(self._id, self._epoch, outcome)
        except ProducerFenced as error:
            self._fail(error)
            raise

    def _fail(self, error: ProducerFenced) -> None:
        self._fatal = True
        if not self._over.done():
            self._over.set_exception(error)
            self._over.exception()  # nobody has to ask


class _Reader:
    """aiokafka's consumer without a group, as far as it is used."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._positions: dict[TopicPartition, int] = {}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, tps: Sequence[TopicPartition]) -> None:
        self._positions = dict.fromkeys(tps, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._positions[tp] = offset

    async def seek_to_beginning(self, *tps: TopicPartition) -> None:
        self._positions |= dict.fromkeys(tps, 0)

    async def beginning_offsets(self, tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {tp: self._broker.end_of(tp) for tp in tps}

    async def position(self, tp: TopicPartition) -> int:
        return self._positions[tp]

    async def getmany(
        self, *, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, list[Record]]:
        found = {}
        for tp, at in self._positions.items():
            records, self._positions[tp] = self._broker.read(tp, at, max_records or 500)
            if records:
                found[tp] = records
        if not found:
            await asyncio.sleep(timeout_ms / 1_000)
        return found


def _decoded(batch: BatchBuilder) -> itertools.chain[Any]:
    """The records in a batch, as a broker decodes them."""
    records, found = MemoryRecords(bytes(batch._build())), []
    while (one := records.next_batch()) is not None:
        found.append(list(one))
    return itertools.chain.from_iterable(found)
