"""Standbys: this worker follows the changelog of partitions that others own, to take them over quickly.

The group says which partitions these are (``worker.standby_replicas`` workers for each), and prefers a standby when
the owner is gone. What is kept of a partition is the last value of every key (:mod:`correlator.stream.changelog`).
When it is promoted, its owner fences the last one, and :meth:`Standbys.read` reads what the changelog has got since. A
worker that loses a partition keeps what it knows of it in the same way.

An owner that is alive writes at every tick. A changelog that has been silent for two of them has probably lost its
owner, and the group will say so when the session has timed out. Until then there is time to build the engine's state
from the values; if no record comes any more, the promotion finds it done. If one comes, the alarm was false, and the
next one takes twice the silence.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from correlator.config import Settings
from correlator.engine.partition import Partition
from correlator.errors import CorrelatorError
from correlator.metrics import Metrics
from correlator.stream import changelog
from correlator.stream.changelog import Reading, Replica
from correlator.stream.clients import Clients, Consumer, close
from correlator.stream.topics import state_topic

__all__ = ["Promotion", "Standbys"]

log = logging.getLogger(__name__)

#: Ticks without a record after which an owner is taken for dead.
_SILENT: Final = 2
#: Seconds from a false alarm to the collection of what it left.
_COLLECT: Final = 1.0
#: Most records applied without a break for other tasks.
_FETCH: Final = 10_000


class Promotion(NamedTuple):
    """What an owner starts with: the values, and the engine's state that was built from them if it was in time."""

    reading: Reading
    partition: Partition | None


class _Standby:
    """One partition that is followed; a ``silence`` of so many seconds is taken for the end of its owner."""

    def __init__(self, replica: Replica, silence: float) -> None:
        self.replica = replica
        self.silence = silence
        self.in_step = False
        self.moved: float | None = None  # when its owner was last seen to write; None: not since the group distributed
        self.building: asyncio.Task[Partition | None] | None = None

    def silent(self) -> bool:
        """Whether nothing has come for too long from an owner that did write."""
        return self.moved is not None and time.monotonic() - self.moved > self.silence

    def drop(self) -> None:
        """Throw the built state away: a record has come since."""
        if self.building is not None:
            self.building, self.silence = None, 2 * self.silence
            # it is full of cycles, and the collector walks what is old every ten minutes only
            asyncio.get_running_loop().call_later(_COLLECT, gc.collect)


class Standbys:
    """The partitions that this worker follows. ``build`` makes the engine's state of saved entries."""

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        metrics: Metrics,
        build: Callable[[Mapping[bytes, bytes]], Awaitable[Partition]],
    ) -> None:
        self._settings, self._clients, self._metrics, self._build = settings, clients, metrics, build
        self._silence = _SILENT * settings.checkpoint.tick_interval
        self._followed: dict[int, _Standby] = {}
        self._builds: set[asyncio.Task[Partition | None]] = set()
        self._one = asyncio.Lock()
        self._held = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Start following; of what, :meth:`follow` says. The task that does it."""
        self._task = asyncio.create_task(self._run(), name="standbys")
        return self._task

    async def stop(self) -> None:
        """Stop following."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self.follow(set())

    def follow(self, numbers: set[int]) -> None:
        """Follow exactly these partitions from now on: from the start of the changelog where nothing is kept."""
        self._held = False
        for standby in self._followed.values():
            standby.moved = None
        for number in set(self._followed) - numbers:
            left = self._forget(number)
            if left is not None:
                left.drop()
        for number in numbers - set(self._followed):
            self.keep(number, Replica(time.time()))

    def hold(self) -> None:
        """The group distributes anew, and all owners are silent: that alarms nobody before the next :meth:`follow`."""
        self._held = True

    def keep(self, number: int, replica: Replica) -> None:
        """Go on following a partition from what is known of it."""
        self._followed[number] = _Standby(replica, self._silence)
        self._changed.set()

    async def read(self, number: int) -> Promotion:
        """The state up to the end of the changelog; O(records that the standby has not read).

        Raises :class:`BrokerError`; what is kept is kept then.
        """
        standby, topic = self._forget(number), state_topic(self._settings)
        try:
            reading = await changelog.read(self._clients, topic, number, None if standby is None else standby.replica)
        except CorrelatorError:
            if standby is not None:
                standby.drop()
                self.keep(number, standby.replica)
            raise
        if reading.anew is not None:
            self._say_anew(number, reading.anew)
        if standby is None or standby.building is None:
            return Promotion(reading, None)
        if reading.records or reading.anew is not None:
            standby.drop()
            return Promotion(reading, None)
        return Promotion(reading, await standby.building)

    def _forget(self, number: int) -> _Standby | None:
        self._changed.set()
        self._metrics.forget_standby(number)
        return self._followed.pop(number, None)

    # -- following -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            consumer = self._clients.reader()
            try:
                await self._clients.start(consumer)
                await self._follow(consumer)
            except (KafkaError, TimeoutError) as error:
                log.info("standbys: cannot read the changelog: %r", error)
                self._changed.set()
                await asyncio.sleep(1)
            finally:
                await close(consumer)

    async def _follow(self, consumer: Consumer) -> None:
        """Follow until there is nothing to follow. A change of what is followed begins with a new assignment."""
        while self._followed:
            if self._changed.is_set():
                self._changed.clear()
                self._assign(consumer)
            for tp, records in (await consumer.getmany(timeout_ms=500, max_records=_FETCH)).items():
                standby = self._followed.get(tp.partition)
                if standby is None or self._changed.is_set():
                    continue  # these records will be read again, by whoever needs them
                new = standby.replica.take(records)
                if new is None:
                    self._anew(tp.partition, "other records are in the log than before: it is another one")
                elif new:
                    if standby.in_step:
                        standby.moved = time.monotonic()
                    standby.drop()
            for number in list(self._followed):
                if not self._changed.is_set():
                    await self._look(consumer, number)
        self._changed.clear()

    def _assign(self, consumer: Consumer) -> None:
        tps = {self._tp(number): standby.replica.start for number, standby in self._followed.items()}
        consumer.assign(list(tps))
        for tp, start in tps.items():
            consumer.seek(tp, start)

    def _tp(self, number: int) -> TopicPartition:
        return TopicPartition(state_topic(self._settings), number)

    async def _look(self, consumer: Consumer, number: int) -> None:
        """How far a standby is, as of the last answer of the broker; and whether its owner is silent."""
        tp, standby = self._tp(number), self._followed[number]
        replica = standby.replica
        async with asyncio.timeout(self._settings.broker.request_timeout):
            at = await consumer.position(tp)
        if self._changed.is_set():
            return
        if at < replica.start:
            self._anew(number, f"the log goes on at offset {at}, and {replica.position} was next: it is another one")
            return
        answered = consumer.last_poll_timestamp(tp)
        if answered is None:
            return
        stable = consumer.last_stable_offset(tp)  # a broker without transactions knows none
        end = stable if stable is not None and stable >= 0 else consumer.highwater(tp)
        replica.position = max(replica.position, at)
        if at >= end:
            late = replica.late(answered / 1000)
            if late is not None:
                self._anew(number, late)
                return
            replica.as_of, standby.in_step = answered / 1000, True
            if standby.building is None and replica.entries and standby.silent() and not self._held:
                log.info("partition %d: its owner is silent, getting ready", number)
                standby.building = asyncio.create_task(self._built(standby), name=f"standby {number}")
                self._builds.add(standby.building)
                standby.building.add_done_callback(self._builds.discard)
        self._metrics.standby(number, lag=max(0, end - at), keys=len(replica.entries))

    async def _built(self, standby: _Standby) -> Partition | None:
        """The engine's state, one at a time; None when it is no longer wanted, or cannot be made."""
        try:
            async with self._one:
                if standby.building is not asyncio.current_task():
                    return None
                return await self._build(dict(standby.replica.entries))
        except CorrelatorError as error:  # its owner will meet the same one, and stop with it
            log.warning("a standby cannot get ready: %s", error)
            return None

    def _anew(self, number: int, why: str) -> None:
        self._say_anew(number, why)
        self._followed[number].drop()
        self.keep(number, Replica(time.time()))

    def _say_anew(self, number: int, why: str) -> None:
        log.warning("partition %d: the standby starts anew: %s", number, why)
        self._metrics.standby_anew()
