"""Faust's Kafka transport, fed one event per fetch and partition instead of one per record.

Faust spends some hundred microseconds of asyncio work on each event; a batch as one event makes that negligible, and groups,
rebalancing, commits and sensors stay Faust's. The value of such an event is the list of the fetched records; its
offset is that of the last one, so acknowledging the event commits all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from faust.transport.drivers import aiokafka as driver

__all__ = ["BatchConsumer", "BatchTransport"]


class BatchConsumer(driver.Consumer):
    """A consumer whose records come in batches, for every topic that it reads."""

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        records, active = await super()._wait_next_records(timeout)
        if records:
            records = {tp: [_batch(found)] for tp, found in records.items() if found}
        return records, active

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
