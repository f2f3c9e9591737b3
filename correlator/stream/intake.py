"""The intake: raw records in, placed records out. Stateless; scales with the raw partitions.

One batch at a time and raw partition: it is read, placed, and written, together with those of the other raw partitions,
and the next one is not written before it is acknowledged. So what a raw partition contributes to a shard
arrives in order and without a gap below its highest offset, which is what the engine's high-water mark relies on; a
batch that is written twice after a failure is ignored there.

Once a second each raw partition gets a heartbeat record from its owner. It comes back in order with the alerts: when
it is read, everything before it has been placed, which is what a watermark says. Ticks carry the watermarks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from correlator.clocks import Clocks
from correlator.config import Settings
from correlator.dialects import Reader
from correlator.errors import BrokerError, CorrelatorError, RejectedError
from correlator.metrics import Metrics
from correlator.place import Placer
from correlator.stream.clients import Clients, close
from correlator.stream.cursor import Cursor
from correlator.stream.outlet import reject_headers

__all__ = ["HEARTBEAT", "REPLAY_INDEX", "Intake", "only_index", "partition_of"]

log = logging.getLogger(__name__)

#: Header that marks a raw record as a heartbeat.
HEARTBEAT: Final = "correlator-heartbeat"
#: Header of a replayed reject: only this alert of the record is taken.
REPLAY_INDEX: Final = "correlator-index"
#: Bytes above which the rows of one shard are spread over several placed records.
_LARGE: Final = 2 << 20


def partition_of(shard: str, partitions: int) -> int:
    """The placed partition of a shard, as Kafka's default partitioner would choose it."""
    return int((murmur2(shard.encode()) & 0x7FFFFFFF) % partitions)


#: By shard: the placed records of one batch, each with the broker's time of its first alert. They are encoded while the
#: batch is read: alerts that wait as objects take several times the memory, and leave the processor's cache.
_Placed = dict[str, list[tuple[float, bytes]]]
#: timestamp in milliseconds, key, value, headers
_Item = tuple[int, bytes, bytes, list[tuple[str, bytes]]]


class Intake:
    """Reads, places and writes for the raw partitions of one worker."""

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        readers: dict[str, Reader],
        placer: Callable[[], Placer],
        layout: Callable[[], int],
        partitions: dict[str, int],
        metrics: Metrics,
        failed: Callable[[CorrelatorError], None],
        seek: Callable[[Any, int], Awaitable[None]],
    ) -> None:
        self._settings, self._clients, self._metrics = settings, clients, metrics
        self._readers, self._placer, self._layout = readers, placer, layout
        self._failed, self._seek = failed, seek
        self._placed_partitions = partitions[settings.topics.placed]
        self._rejected_partitions = partitions[settings.topics.rejected]
        self._raw_partitions = sum(partitions[t] for t in settings.topics.raw)
        self._producer: AIOKafkaProducer | None = None
        self._lanes: dict[Any, _Lane] = {}
        self._out: dict[int, _Outgoing] = {}
        self._beating: asyncio.Task[None] | None = None
        self._beat_at = 0.0
        self._clocks = Clocks()
        self.watermarks: dict[str, float] = {}

    async def start(self) -> None:
        """Start writing. Raises :class:`BrokerError`."""
        self._producer = self._clients.producer()
        try:
            await self._clients.start(self._producer)
        except KafkaError as error:
            raise BrokerError(f"intake: no writer: {error!r}") from error

    async def stop(self) -> None:
        """Finish what was read, and stop writing; what is not acknowledged in time will be read again."""
        await self.release(set(self._lanes))
        if self._beating is not None:
            self._beating.cancel()
        made, self._producer = self._producer, None
        if made is not None:
            await close(made)

    async def begin(self, positions: Mapping[Any, int]) -> None:
        """Raw partitions are ours from these offsets on."""
        await self.release(set(self._lanes))
        self._lanes = {tp: _Lane(self, tp, at) for tp, at in positions.items()}

    async def release(self, gone: set[Any]) -> None:
        """Raw partitions go to another worker, perhaps. What was read of them is still written, if that is quick."""
        lanes = [self._lanes.pop(tp) for tp in gone if tp in self._lanes]
        for tp in gone:
            self.watermarks.pop(f"{tp.topic}/{tp.partition}", None)
        patience = self._settings.broker.session_timeout / 2
        await asyncio.gather(*(lane.finish(patience) for lane in lanes))

    def stuck(self) -> float:
        """Seconds for which a batch or a heartbeat has waited for its acknowledgement."""
        since = [lane.since for lane in self._lanes.values() if lane.since]
        since += [outgoing.since for outgoing in self._out.values() if outgoing.since]
        if self._beating is not None and not self._beating.done():
            since.append(self._beat_at)
        return time.monotonic() - min(since) if since else 0.0

    # -- alerts ----------------------------------------------------------------------------------------------

    async def take(self, event: Any, records: Sequence[Any]) -> None:
        """Read and place one fetch of a raw partition. Waits while that partition has two fetches unwritten."""
        tp = event.message.tp
        lane = self._lanes.get(tp)
        if lane is None:
            return  # not ours any more: whoever has it reads it again
        due = lane.cursor.admit(records)
        if due is None:
            await self._seek(tp, lane.cursor.next)
            return
        if not due:
            return
        placed, rejects, mark = await self._read(tp, due)
        if self._lanes.get(tp) is not lane:
            return
        lane.cursor.next = due[-1].offset + 1
        await lane.queue.put((placed, rejects, mark, event))

    async def _read(self, tp: Any, records: Sequence[Any]) -> tuple[_Placed, list[Any], float]:
        topic, source, most = tp.topic, f"{tp.topic}/{tp.partition}", self._settings.intake.max_batch
        read, row_of, layout = self._readers[topic].read, self._placer().row, self._layout()
        clocks = self._clocks
        placed: _Placed = {}
        waiting: dict[str, list[list[Any]]] = {}
        rejects: list[tuple[Any, int | None, RejectedError, str]] = []
        dialects: dict[str, int] = {}
        noted: dict[str, int] = {}
        mark = records[-1].timestamp / 1000
        for number, record in enumerate(records):
            if not number & 255:
                await asyncio.sleep(0)
            only = None
            if record.headers:
                if record.headers[0][0] == HEARTBEAT:
                    continue
                only = only_index(record)
            received, offset = record.timestamp / 1000, record.offset
            alerts, indices, errors, dialect = read(record.value, received_at=received, topic=topic)
            for index, alert in zip(indices, alerts, strict=True):
                if only is None or index == only:
                    if alert[5] > received:
                        clocks.note(alert[9], alert[5] - received, received)
                    shard, row = row_of(alert, offset, index, received)
                    rows = waiting.get(shard)
                    if rows is None:
                        rows, placed[shard] = waiting.setdefault(shard, []), []
                    rows.append(row)
                    for note in alert[10]:
                        noted[note] = noted.get(note, 0) + 1
                    if len(rows) == most:
                        placed[shard] += _records(source, rows, layout, clocks.of_rows(rows))
                        rows.clear()
            dialects[dialect] = dialects.get(dialect, 0) + len(alerts)
            for at, error in errors:
                if only is None or at in (only, None):
                    rejects.append((record, at, error, dialect))
        for shard, rows in waiting.items():
            placed[shard] += _records(source, rows, layout, clocks.of_rows(rows))
        for dialect, n in dialects.items():
            self._metrics.received(dialect, n)
        for note, n in noted.items():
            self._metrics.noted(note, n)
        return placed, rejects, mark

    async def write(self, tp: Any, placed: _Placed, rejects: list[Any]) -> None:
        """Write one batch and wait for the acknowledgement. Raises KafkaError."""
        made = self._producer
        assert made is not None
        at = round(time.time() * 1000)
        groups: dict[int, list[_Item]] = {}
        for shard, records in placed.items():
            number, key = partition_of(shard, self._placed_partitions), shard.encode()
            group = groups.setdefault(number, [])
            for received, value in records:
                group.append((at, key, value, [("raw", b"%d" % round(received * 1000))]))
        futures = [asyncio.ensure_future(self._outgoing(made, number).put(group)) for number, group in groups.items()]
        for record, index, error, dialect in rejects:
            futures.append(await self._reject(made, tp, record, index, error, dialect))
        await asyncio.gather(*futures)
        for _, _, error, _ in rejects:
            self._metrics.rejected(error.reason)

    def _outgoing(self, made: AIOKafkaProducer, number: int) -> _Outgoing:
        found = self._out.get(number)
        if found is None:
            found = self._out[number] = _Outgoing(made, self._settings.topics.placed, number)
        return found

    async def _reject(
        self, made: AIOKafkaProducer, tp: Any, record: Any, index: int | None, error: RejectedError, dialect: str
    ) -> Any:
        headers = reject_headers((tp.topic, tp.partition, record.offset), index, error.reason, str(error), dialect)
        topic, number = self._settings.topics.rejected, tp.partition % self._rejected_partitions
        return await made.send(topic, record.value, key=record.key or b"", partition=number, headers=headers)

    # -- time ------------------------------------------------------------------------------------------------

    def beat(self, assigned: set[Any]) -> None:
        """A heartbeat into every raw partition that is ours, and a tick with our watermarks to every shard.

        Returns at once; does nothing while the last one is still not acknowledged.
        """
        if self._producer is not None and (self._beating is None or self._beating.done()):
            self._beat_at = time.monotonic()
            self._beating = asyncio.create_task(self._beat(self._producer, assigned), name="heartbeat")

    async def _beat(self, made: AIOKafkaProducer, assigned: set[Any]) -> None:
        moment = time.time()
        self._metrics.clocks(self._clocks.known(moment))
        now = b"%d" % round(moment * 1000)
        tick = orjson.dumps({"type": "tick", "watermarks": self.watermarks, "partitions": self._raw_partitions})
        topics, waiting = self._settings.topics, []
        try:
            for tp in assigned:
                if tp.topic in topics.raw:
                    headers = [(HEARTBEAT, b"1")]
                    waiting.append(await made.send(tp.topic, now, key=b"", partition=tp.partition, headers=headers))
            if self.watermarks:
                for number in range(self._placed_partitions):
                    waiting.append(await made.send(topics.placed, tick, key=b"", partition=number))
        except KafkaError as error:
            log.warning("no heartbeat: %r", error)
        for failed in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(failed, BaseException):
                log.warning("no heartbeat: %r", failed)
                return

    def has(self, tp: Any, lane: _Lane) -> bool:
        """Whether the raw partition is still this lane's."""
        return self._lanes.get(tp) is lane

    def fail(self, error: CorrelatorError) -> None:
        """The intake cannot go on."""
        self._failed(error)


class _Lane:
    """The writer of one raw partition: one batch in flight, two waiting."""

    def __init__(self, intake: Intake, tp: Any, at: int) -> None:
        self.queue: asyncio.Queue[tuple[_Placed, list[Any], float, Any]] = asyncio.Queue(2)
        self.cursor = Cursor(at)
        self.since = 0.0  # when the batch in flight was sent; 0 when there is none
        self._intake, self._tp = intake, tp
        self._task = asyncio.create_task(self._run(), name=f"intake of {tp.topic}/{tp.partition}")

    async def _run(self) -> None:
        while True:
            placed, rejects, mark, event = await self.queue.get()
            self.since = time.monotonic()
            await self._write(placed, rejects)
            name = f"{self._tp.topic}/{self._tp.partition}"
            if self._intake.has(self._tp, self):
                self._intake.watermarks[name] = max(mark, self._intake.watermarks.get(name, 0.0))
            event.ack()
            self.since = 0.0
            self.queue.task_done()

    async def _write(self, placed: _Placed, rejects: list[Any]) -> None:
        delay = 0.2
        while True:
            try:
                await self._intake.write(self._tp, placed, rejects)
                return
            except KafkaError as error:
                log.warning("%s/%d: not written yet: %r", self._tp.topic, self._tp.partition, error)
                await asyncio.sleep(delay)
                delay = min(5.0, 2 * delay)
            except BrokerError as error:
                self._intake.fail(error)
                await asyncio.Event().wait()

    async def finish(self, patience: float) -> None:
        """Write what was read; give up after ``patience`` seconds: the next owner reads it again."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.queue.join(), patience)
        self._task.cancel()
        await asyncio.wait([self._task])


class _Outgoing:
    """One placed partition: what all raw partitions have for it goes out together, one produce batch at a time.

    The broker takes one batch of a partition at a time, so batches of their own would wait for each other.
    """

    def __init__(self, made: AIOKafkaProducer, topic: str, number: int) -> None:
        self._producer, self._topic, self._number = made, topic, number
        self.since = 0.0  # as of a lane; this one outlives rebalances
        self._waiting: list[tuple[list[_Item], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def put(self, items: list[_Item]) -> None:
        """Until the items are acknowledged. Raises KafkaError or BrokerError; then some of them may be written."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"placed partition {self._number}")
        await done

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            error: Exception | None = None
            self.since = time.monotonic()
            try:
                await self._send([item for items, _ in group for item in items])
            except (KafkaError, BrokerError) as failed:
                error = failed
            self.since = 0.0
            for _, done in group:
                if not done.done():
                    done.set_result(None) if error is None else done.set_exception(error)

    async def _send(self, items: list[_Item]) -> None:
        batch = self._producer.create_batch()
        for at, key, value, headers in items:
            if batch.append(timestamp=at, key=key, value=value, headers=headers) is None:
                await self._flush(batch)
                batch = self._producer.create_batch()
                if batch.append(timestamp=at, key=key, value=value, headers=headers) is None:
                    raise BrokerError(f"an alert takes {len(value)} bytes; lower the limits of intake")
        await self._flush(batch)

    async def _flush(self, batch: Any) -> None:
        if batch.record_count():
            await (await self._producer.send_batch(batch, self._topic, partition=self._number))


def _records(
    source: str, rows: list[list[Any]], layout: int, ahead: Mapping[str, float]
) -> Iterator[tuple[float, bytes]]:
    """Records of the rows of one shard, none of many bytes more than ``_LARGE``; ``ahead``: see :mod:`..clocks`."""
    if not rows:
        return
    record = {"type": "alerts", "source": source, "layout": layout, "rows": rows}
    value = orjson.dumps({**record, "ahead": ahead} if ahead else record)
    if len(value) > _LARGE and len(rows) > 1:
        half = len(rows) // 2
        yield from _records(source, rows[:half], layout, ahead)
        yield from _records(source, rows[half:], layout, ahead)
    else:
        yield rows[0][2], value


def only_index(record: Any) -> int | None:
    """Of a replayed reject, the position of the one alert that is to be taken."""
    for name, value in record.headers:
        if name == REPLAY_INDEX and value is not None and value.isdigit() and len(value) < 10:
            return int(value)
    return None
