"""The changelog of the state: one partition of it, read into the last value of every key.

Whoever takes a partition over needs these values up to the end of the changelog. A worker that has followed it before
(:mod:`correlator.stream.standby`) reads only what came since; the same :func:`read` does both. When that is right:

- Compaction leaves the last record of every key, so whoever reads on from any offset to the end has the last value of
  every key that was written since. Only a tombstone disappears, ``delete.retention.ms`` after it was written at the
  earliest: values that were not in step with the end for that long may be of keys that are gone. Then all is read anew.
- A log that ends before the offset, or starts behind it, is another one, or was cut. So is one in which another
  record is where the last one was: it is read once more. Then all is read anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from aiokafka.structs import TopicPartition

from correlator.config import Settings
from correlator.errors import BrokerError
from correlator.stream.clients import Clients, Consumer, close
from correlator.stream.rejected import records
from correlator.stream.topics import STATE_DELETE_RETENTION, state_topic

__all__ = ["Reading", "Replica", "bounds", "last_values", "read"]

#: Most records of one fetch that are handed on at once.
FETCH_RECORDS: Final = 50_000


class Last(NamedTuple):
    """The record that was read last: what tells one log from another."""

    offset: int
    timestamp: int
    key: bytes


@dataclass(slots=True)
class Replica:
    """The last value of every key of one partition, up to an offset. Memory: O(keys), the values as they are.

    ``position`` is the next offset to read. No tombstone from before the epoch second ``as_of`` is missing: the values
    were those of the whole log then, or reading began.
    """

    as_of: float
    entries: dict[bytes, bytes] = field(default_factory=dict)
    position: int = 0
    last: Last | None = None

    @property
    def start(self) -> int:
        """The offset to read from: the last record once more, to see that it is still there."""
        return self.position if self.last is None else self.last.offset

    def take(self, records: Iterable[Any]) -> int | None:
        """Apply records in the order of the log; how many were new. None: this is not the log that was read before.

        A record that was read last and has been compacted away is no sign of another log.
        """
        new, last, entries, position = 0, self.last, self.entries, self.position
        record = None
        for record in records:
            if record.offset < position:
                if (record.offset, record.timestamp, record.key) != last:
                    return None
                continue
            new += 1
            if record.value is None:
                entries.pop(record.key, None)
            else:
                entries[record.key] = record.value
        if new and record is not None:
            self.last = Last(record.offset, record.timestamp, record.key)
            self.position = record.offset + 1
        return new

    def refused(self, first: int, end: int, now: float) -> str | None:
        """Why reading cannot go on here, in a log of these bounds at epoch second ``now``; None when it can."""
        if not self.position:
            return None
        if not first <= self.position <= end:
            return f"the log has offsets {first} to {end}, and {self.position} was next: it is another one"
        return self.late(now)

    def late(self, now: float) -> str | None:
        """Why tombstones may be missing when the end of the log is reached at epoch second ``now``; None: none is."""
        behind = now - self.as_of
        if behind < STATE_DELETE_RETENTION:
            return None
        return f"not in step for {behind:.0f} s, and tombstones are kept for {STATE_DELETE_RETENTION:.0f} s"


class Reading(NamedTuple):
    """A partition read to its end: the values, records read, the offset of the first, and why all was read anew."""

    replica: Replica
    records: int
    start: int
    anew: str | None


@asynccontextmanager
async def _consumer(clients: Clients, number: int, what: str) -> AsyncIterator[Consumer]:
    consumer = clients.reader()
    try:
        await clients.start(consumer)
        yield consumer
    except BrokerError:
        raise
    except Exception as error:
        raise BrokerError(f"partition {number}: cannot read {what}: {error!r}") from error
    finally:
        await close(consumer)


async def bounds(clients: Clients, topic: str, number: int) -> tuple[int, int]:
    """First and next offset of a partition, for readers of committed records. Raises :class:`BrokerError`."""
    tp = TopicPartition(topic, number)
    async with _consumer(clients, number, f"offsets of {topic}") as consumer:
        return await _bounds(consumer, tp)


async def _bounds(consumer: Consumer, tp: TopicPartition) -> tuple[int, int]:
    first = (await consumer.beginning_offsets([tp]))[tp]
    return first, (await consumer.end_offsets([tp]))[tp]


async def read(clients: Clients, topic: str, number: int, replica: Replica | None = None) -> Reading:
    """Bring a replica to the end of the changelog; an empty one by default. O(records since its position).

    The replica is changed in place and returned, or left for a new one. Raises :class:`BrokerError` when the broker
    fails, or the reading took so long that tombstones may have gone meanwhile.
    """
    anew = None
    async with _consumer(clients, number, "the state") as consumer:
        tp = TopicPartition(topic, number)
        consumer.assign([tp])
        while True:
            now = time.time()
            first, end = await _bounds(consumer, tp)
            refused = replica.refused(first, end, now) if replica is not None else None
            if replica is None or refused is not None:
                replica, anew = Replica(now), refused or anew
            start = max(first, replica.start)
            count = await _to_end(consumer, tp, replica, start, end, clients.patience)
            if count is not None:
                break
            replica, anew = None, f"another record is at offset {start} than before: the log is another one"
    late = replica.late(time.time())
    if late is not None:
        raise BrokerError(f"partition {number}: the state cannot be read: {late}")
    replica.as_of = now
    return Reading(replica, count, start, anew)


async def last_values(settings: Settings, partitions: int) -> dict[int, dict[bytes, bytes]]:
    """The last value of every key, by partition, of the whole changelog. Raises :class:`BrokerError`."""
    found: dict[int, dict[bytes, bytes]] = {number: {} for number in range(partitions)}
    async for record in records(settings, state_topic(settings)):
        if record.value is None:
            found[record.partition].pop(record.key, None)
        else:
            found[record.partition][record.key] = record.value
    return found


async def _to_end(
    consumer: Consumer, tp: TopicPartition, replica: Replica, start: int, end: int, patience: float
) -> int | None:
    """Read from ``start`` to ``end``; how many records, None when they are not of the log that was read before.

    Raises :class:`BrokerError` when none comes for ``patience`` seconds.
    """
    clock = asyncio.get_running_loop().time
    count, moved = 0, clock()
    consumer.seek(tp, start)
    while (at := await consumer.position(tp)) < end:
        if at < start:
            return None
        for fetched in (await consumer.getmany(timeout_ms=1_000, max_records=FETCH_RECORDS)).values():
            new = replica.take(fetched)
            if new is None:
                return None
            count, moved = count + new, clock()
        if clock() - moved > patience:
            raise BrokerError(f"partition {tp.partition}: nothing of the state came for {patience:g} s, at offset {at}")
    replica.position = max(replica.position, end)
    return count
