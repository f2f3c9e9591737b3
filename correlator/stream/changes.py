"""The way of a change: read, placed on the graph like an alert, and written into the deciding log of its shard.

A change is delivered at least once: its id makes a repeated one have no effect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from correlator.changes import ChangeReader
from correlator.config import Settings
from correlator.errors import BrokerError, RejectedError
from correlator.metrics import Metrics
from correlator.model import Change
from correlator.place import Placer
from correlator.stream.clients import Clients, close, producer
from correlator.stream.intake import only_index, partition_of
from correlator.stream.outlet import reject_headers

__all__ = ["KEPT_HEADERS", "ChangeIntake", "placed_change", "send"]

log = logging.getLogger(__name__)

#: Headers that a rejected record keeps: without them the event of a record in binary mode would be lost.
KEPT_HEADERS: Final = ("ce_", "content-type")


def placed_change(change: Change, placer: Placer) -> tuple[str, dict[str, Any]]:
    """The shard of a change, and its record for the deciding log."""
    shard, node = placer.spot(change.service, change.labels)
    data = change._asdict()
    del data["labels"]
    return shard, {"type": "change", **data, "service": node}


class ChangeIntake:
    """Reads, places and writes the changes that one worker gets. Changes are few: one record at a time."""

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        reader: ChangeReader,
        placer: Callable[[], Placer],
        partitions: Mapping[str, int],
        metrics: Metrics,
    ) -> None:
        self._topics, self._clients = settings.topics, clients
        self._reader, self._placer, self._metrics = reader, placer, metrics
        self._placed = partitions[settings.topics.placed]
        self._rejected = partitions[settings.topics.rejected]
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Start writing. Raises :class:`BrokerError`."""
        self._producer = self._clients.producer()
        try:
            await self._clients.start(self._producer)
        except KafkaError as error:
            raise BrokerError(f"changes: no writer: {error!r}") from error

    async def stop(self) -> None:
        """Stop writing."""
        made, self._producer = self._producer, None
        if made is not None:
            await close(made)

    async def take(self, records: Sequence[Any]) -> None:
        """Until everything that the records hold is acknowledged; goes on trying while the broker fails."""
        for record in records:
            delay = 0.2
            while True:
                if self._producer is None:
                    raise BrokerError("changes: stopped before everything was written")
                try:
                    await self._take(self._producer, record)
                    break
                except KafkaError as error:
                    log.warning("%s/%d: not written yet: %r", record.topic, record.offset, error)
                    await asyncio.sleep(delay)
                    delay = min(5.0, 2 * delay)

    async def _take(self, made: AIOKafkaProducer, record: Any) -> None:
        reading = self._reader.read(record.value, record.headers, received_at=record.timestamp / 1000)
        only, placer, waiting = only_index(record), self._placer(), []
        changes = [change for position, change in reading.changes if only is None or position == only]
        rejects = [(position, error) for position, error in reading.rejects if only is None or position in (only, None)]
        for change in changes:
            shard, data = placed_change(change, placer)
            number, at = partition_of(shard, self._placed), round(time.time() * 1000)
            value, key = orjson.dumps(data), shard.encode()
            waiting.append(await made.send(self._topics.placed, value, key=key, partition=number, timestamp_ms=at))
        for position, error in rejects:
            waiting.append(await self._reject(made, record, position, error, reading.form))
        await asyncio.gather(*waiting)
        for change in changes:
            self._metrics.changed(change.kind)
        self._metrics.changed("ignored", reading.ignored)
        for _, error in rejects:
            self._metrics.rejected(error.reason)

    async def _reject(
        self, made: AIOKafkaProducer, record: Any, position: int | None, error: RejectedError, form: str
    ) -> Any:
        place = (record.topic, record.partition, record.offset)
        headers = reject_headers(place, position, error.reason, str(error), form)
        own = ((name, value) for name, value in record.headers if value is not None)
        headers += [(name, value) for name, value in own if name.startswith(KEPT_HEADERS)]
        number = record.partition % self._rejected
        return await made.send(
            self._topics.rejected, record.value, key=record.key or b"", partition=number, headers=headers
        )


async def send(settings: Settings, change: Mapping[str, Any]) -> None:
    """Publish a change in our own form. Raises :class:`RejectedError`, :class:`BrokerError`."""
    from correlator.assemble import change_reader_for

    value = orjson.dumps(change)
    reading = change_reader_for(settings).read(value, received_at=time.time())
    for _, error in reading.rejects:
        raise error
    made = producer(settings)
    try:
        await made.start()
        await made.send_and_wait(settings.topics.changes[0], value, key=str(change["service"]).encode())
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await made.stop()
