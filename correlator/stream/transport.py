"""Faust's Kafka transport, fed one event per fetch and partition instead of one per record.

Faust spends some hundred microseconds of asyncio work on each event; a batch as one event makes that negligible,
and groups, rebalancing, commits and sensors stay Faust's. The value of such an event is the list of the fetched
records; its offset is that of the last one, so acknowledging the event commits all of them.

The consumer also keeps the *lease*: how long the group certainly counts this worker as a member. A worker that was
frozen finds it expired before it has heard anything from the group; where no transaction fences it, it asks here
before it writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import JoinGroupRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver

__all__ = ["BatchConsumer", "BatchTransport"]

log = logging.getLogger(__name__)


#: How long a broker may hold a fetch that finds nothing, in milliseconds. A consumer has one fetch under way per broker
#: and leaves out the partitions whose records it has not handed on yet; with Faust's 1,500 ms those wait for it.
_FETCH_WAIT: Final = 50


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread with a short fetch wait, which Faust has no setting for, and with the lease."""

    #: When the membership may end, on the monotonic clock: the session timeout after the last heartbeat that the
    #: group answered was sent. The group counts from when it came, which is later.
    member_until = 0.0

    async def on_start(self) -> None:
        """Start the consumer, and have its coordinator say what it hears from the group."""
        await super().on_start()
        coordinator: Any = self._ensure_consumer()._coordinator
        heartbeat, joined = coordinator._do_heartbeat, coordinator._on_join_complete

        async def beat() -> bool:
            sent = time.monotonic()
            if await heartbeat():
                self.member_until = sent + self.app.conf.broker_session_timeout
                return True
            if coordinator.member_id == JoinGroupRequest.UNKNOWN_MEMBER_ID:
                self.member_until = 0.0
            return False

        async def join(*answer: Any) -> None:
            await beat()  # the answer to the join may have waited here for long
            await joined(*answer)

        coordinator._do_heartbeat, coordinator._on_join_complete = beat, join

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        made = super()._create_worker_consumer(transport)
        made._fetch_max_wait_ms = _FETCH_WAIT
        return made


class BatchConsumer(driver.Consumer):
    """A consumer whose records come in batches, for every topic that it reads."""

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def is_member(self) -> bool:
        """Whether the group counts this worker as a member now. Thread-safe."""
        return time.monotonic() < cast("BatchConsumerThread", self._thread).member_until

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        records, active = await super()._wait_next_records(timeout)
        if records:
            records = {tp: [_batch(found)] for tp, found in records.items() if found}
        return records, active

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        """Commit; a failure is no reason to stop: the offsets are a hint, and the next commit covers them."""
        try:
            return bool(await self._thread.call_thread(self._commit_now, offsets))
        except KafkaError as error:
            log.info("offsets not committed: %r", error)
            return False

    async def _commit_now(self, offsets: Mapping[Any, int]) -> bool:
        consumer = self._thread._ensure_consumer()
        ours = {tp: at for tp, at in offsets.items() if tp in self._thread.assignment()}
        if ours:
            await consumer.commit({TopicPartition(*tp): OffsetAndMetadata(at, "") for tp, at in ours.items()})
        return bool(ours)

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Stalls are detected by the worker."""

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Offsets within a batch are not gaps."""

    def _new_offset(self, tp: Any) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        top = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return int(top) + 1


class BatchTransport(driver.Transport):
    """The transport that makes such consumers."""

    Consumer = BatchConsumer
    driver_version = "batched aiokafka"


def _batch(records: Sequence[Any]) -> SimpleNamespace:
    last = records[-1]
    return SimpleNamespace(
        topic=last.topic,
        partition=last.partition,
        offset=last.offset,
        timestamp=last.timestamp,
        timestamp_type=last.timestamp_type,
        headers=(),
        key=None,
        value=records,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
    )
