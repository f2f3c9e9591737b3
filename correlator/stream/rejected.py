"""What could not be read: list it, and feed it back once the cause is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from correlator.config import Settings
from correlator.errors import BrokerError
from correlator.stream.changes import KEPT_HEADERS
from correlator.stream.clients import producer, reader
from correlator.stream.intake import REPLAY_INDEX

__all__ = ["Reject", "dump", "records", "rejects", "replay"]


#: Reasons for which the record holds just that alert.
_ALONE: Final = ("engine_error", "breaker_open")


class Reject(NamedTuple):
    """One rejected record: where it came from, why it was refused, and its bytes."""

    topic: str
    partition: int
    offset: int
    alert: int | None  # position in the record; None for the whole
    reason: str
    message: str
    dialect: str
    key: bytes | None
    value: bytes | None
    at: float
    place: str  # partition/offset on the reject topic
    trace: str  # where the engine raised, innermost last
    headers: tuple[tuple[str, bytes], ...] = ()  # its own, of an event in binary mode


async def records(
    settings: Settings, topic: str, *, partition: int | None = None, start: int | None = None
) -> AsyncIterator[Any]:
    """Every committed record of a topic, or of one ``partition``, up to its end now or a little beyond, in turn; from
    the offset ``start`` on.

    The embedded broker gives as the end the offset after the first record of the last batch, so no record is left
    out for lying beyond it. Raises :class:`BrokerError`.
    """
    consumer = reader(settings)
    try:
        await consumer.start()
        numbers = consumer.partitions_for_topic(topic) or await _partitions(consumer, topic)
        for number in sorted(numbers) if partition is None else [partition]:
            tp = TopicPartition(topic, number)
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            if start is None:
                await consumer.seek_to_beginning(tp)
            else:
                consumer.seek(tp, start)
            while await consumer.position(tp) < end:
                for found in (await consumer.getmany(timeout_ms=1_000, max_records=5_000)).values():
                    for record in found:
                        yield record
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client._wait_on_metadata(topic)
    found: set[int] = consumer.partitions_for_topic(topic) or set()
    return found


async def rejects(settings: Settings, *, reason: str | None = None) -> AsyncIterator[Reject]:
    """The rejected records, oldest first within a partition."""
    async for record in records(settings, settings.topics.rejected):
        headers = {name: value.decode(errors="replace") for name, value in record.headers}
        if reason is not None and headers.get("reason") != reason:
            continue
        yield Reject(
            headers.get("topic", ""),
            int(headers.get("partition", "-1")),
            int(headers.get("offset", "-1")),
            int(headers["index"]) if headers.get("index") else None,
            headers.get("reason", ""),
            headers.get("message", ""),
            headers.get("dialect", ""),
            record.key,
            record.value,
            record.timestamp / 1000,
            f"{record.partition}/{record.offset}",
            headers.get("traceback", ""),
            tuple(header for header in record.headers if header[0].startswith(KEPT_HEADERS)),
        )


async def replay(settings: Settings, *, reason: str | None = None, since: float = 0.0) -> int:
    """Send rejected records back to the topic and partition they came from; how many.

    Records come back byte for byte; of a record with several alerts only the one that was refused is taken. Controls
    that the engine raised on go back to the deciding log.
    """
    made, sent = producer(settings), 0
    inputs = (*settings.topics.raw, *settings.topics.changes)
    try:
        await made.start()
        async for reject in rejects(settings, reason=reason):
            control = reject.topic == settings.topics.placed and reject.reason == "engine_error"
            if reject.at < since or not (control or reject.topic in inputs):
                continue
            headers = list(reject.headers)
            if reject.alert is not None and reject.reason not in _ALONE:
                headers += [(REPLAY_INDEX, b"%d" % reject.alert)]
            await made.send_and_wait(
                reject.topic, reject.value, key=reject.key or b"", partition=reject.partition, headers=headers
            )
            sent += 1
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await made.stop()
    return sent


async def dump(settings: Settings, topic: str) -> AsyncIterator[dict[str, Any]]:
    """Records as plain data, as ``replay --placed`` and ``explain --decisions`` read them."""
    import zlib

    import orjson

    async for record in records(settings, topic):
        value = record.value
        if value is not None and topic == settings.topics.topology and record.key != b"current":
            value = zlib.decompress(value)
        yield {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": (record.key or b"").decode(errors="replace"),
            "value": None if value is None else orjson.loads(value),
        }
