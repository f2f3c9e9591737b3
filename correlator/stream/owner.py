"""The owner of one partition of ``alerts.placed``: feeds its engine, and checkpoints what comes out.

Theory of operation: records are stepped as they come; a task of its own takes the outputs every
``checkpoint.interval`` and writes them with the state (:mod:`correlator.stream.outlet`). Only what the broker
acknowledged counts: when a write fails, or is given up half-way, everything in memory is thrown away, the partition
is opened again from the changelog, and reading goes on at the applied offset + 1. Opening starts with the writer,
which fences the last owner, so that the changelog does not grow while it is read.

    open -> running -> suspend -> regain -> running      a rebalance that leaves the partition here
                                  close                  one that takes it away, or the end

``_ready`` says that the memory follows from the changelog and the records since; once it is False, nothing is
stepped and nothing is written before the partition is opened again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from correlator.config import Settings
from correlator.engine.entries import marker_of
from correlator.engine.partition import EngineError, Partition
from correlator.errors import CorrelatorError, FencedError, StateError
from correlator.metrics import Metrics
from correlator.stream.changelog import Replica, bounds
from correlator.stream.clients import Clients
from correlator.stream.cursor import Cursor
from correlator.stream.figures import Figures
from correlator.stream.outlet import Outlet
from correlator.stream.refusals import Bounds, hole, refusal, unreadable
from correlator.stream.standby import Promotion
from correlator.stream.topics import state_topic

__all__ = ["Owner", "Surroundings"]

log = logging.getLogger(__name__)

#: How often in a row a partition that the group says is ours is taken back from another writer.
_FENCES: Final = 3


@dataclass(frozen=True)
class Surroundings:
    """What an owner needs from the worker: clients, graphs, reading, and whom to tell."""

    clients: Clients
    make: Callable[[], Partition]
    state: Callable[[int], Awaitable[Promotion]]
    graph_known: Callable[[str], Awaitable[None]]
    seek: Callable[[int, int], Awaitable[None]]
    mine: Callable[[int], bool]
    is_member: Callable[[], bool]
    failed: Callable[[CorrelatorError], None]


class Owner:
    """One partition, from :meth:`open` to :meth:`close`."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        around: Surroundings,
        *,
        transactions: bool,
        rejected_partitions: int,
        metrics: Metrics,
    ) -> None:
        self.number = number
        self.partition = around.make()
        self._settings, self._around = settings, around
        self._figures = Figures(metrics, number)
        self._transactions = transactions
        self._outlet = Outlet(
            settings,
            around.clients,
            number,
            around.is_member,
            transactions=transactions,
            rejected_partitions=rejected_partitions,
        )
        self._cursor = Cursor(0)
        self._events: deque[Any] = deque()
        self._lock = asyncio.Lock()
        self._work, self._urgent, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None
        self._ready = self._suspended = False
        self._fences = 0
        self._clock = asyncio.get_running_loop().time
        self._written = self._clock()
        self._end: int | None = None
        self._as_of = 0.0

    # -- life ------------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Offset of the next record of ``alerts.placed`` to apply."""
        return self.partition.applied + 1

    async def open(self) -> None:
        """Fence the last owner, then read the state. Raises :class:`StateError` rather than guess."""
        await self._load()
        if not self._suspended:
            self._run()

    async def _load(self) -> None:
        """Become the writer and read the state."""
        started = self._clock()
        await self._outlet.stop()
        await self._outlet.start()
        reading, built = await self._around.state(self.number)
        entries = reading.replica.entries
        partition = built or self._around.make()
        try:
            marker = marker_of(entries)
        except StateError as error:
            raise unreadable(self._settings.topics.placed, self.number, error).error(self.number) from error
        first = await self._check_log(marker, len(entries))
        if marker is not None and marker["graph"] != partition.graph.version:
            await self._around.graph_known(marker["graph"])
        try:
            if built is None:
                partition.load(entries)
        except StateError as error:
            raise unreadable(self._settings.topics.placed, self.number, error, first).error(self.number) from error
        if not entries and first > 0:
            log.warning("partition %d has no state and its log starts at offset %d: starting there", self.number, first)
            partition.applied = first - 1
        self.partition = partition
        self._forget()
        self._ready = True
        self._say_again()
        self._figures.loaded(partition, self._clock() - started, reading.records, len(entries))
        log.info(
            "partition %d: %d changelog records read from offset %d on, %d keys%s, next offset %d",
            self.number,
            reading.records,
            reading.start,
            len(entries),
            "" if built is None else ", built before",
            self.position,
        )

    def _run(self) -> None:
        self._suspended = False
        self._written = self._clock()
        self._task = asyncio.create_task(self._write_forever(), name=f"checkpoints of partition {self.number}")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(CorrelatorError(f"{task.get_name()}: {error!r}", reason="crashed"))

    async def suspend(self) -> None:
        """Write what there is, and remember how the changelog ends: see :meth:`regain`."""
        self._suspended, self._end = True, None
        patience = self._settings.broker.session_timeout
        await self._stop_task(patience)
        if self._ready:
            try:
                async with asyncio.timeout(patience):
                    await self._checkpoint()
                    self._as_of = time.time()
                    end = await self._state_end()
                    if self._around.is_member():  # else another worker may have written in between
                        self._end = end
            except (CorrelatorError, TimeoutError) as error:
                log.info("partition %d: given up without a last checkpoint: %s", self.number, error)

    async def regain(self) -> bool:
        """Go on after :meth:`suspend`; False when the memory is not as good as the changelog: another has written."""
        if not self._ready or self._end is None:
            return False
        await self._outlet.stop()
        await self._outlet.start()  # whoever had it meanwhile is fenced off, and so were we
        if self._end != await self._state_end():
            return False
        self._forget()
        self._say_again()
        self._run()
        return True

    def _say_again(self) -> None:
        """Where nothing fences: whoever wrote before may have written late, and over a later word."""
        if not self._transactions and self.partition.say_again():
            self._work.set()

    async def close(self) -> None:
        """Give the partition up."""
        self._ready, self._suspended = False, True
        await self._stop_task(0)
        await self._outlet.stop()
        self._room.set()
        self._figures.closed(self.partition)

    async def _stop_task(self, patience: float) -> None:
        """End the writing task, after the checkpoint that it is in if that takes no longer than ``patience``."""
        task, self._task = self._task, None
        if task is None:
            return
        self._work.set()
        self._urgent.set()
        _, running = await asyncio.wait([task], timeout=patience)
        if running:
            task.cancel()
            await asyncio.wait([task], timeout=10)

    def _forget(self) -> None:
        self._cursor = Cursor(self.position)
        self._events.clear()
        self._figures.forget_arrivals()
        self._room.set()

    # -- records ---------------------------------------------------------------------------------------------

    async def feed(self, event: Any, records: Sequence[Any]) -> None:
        """Step the records of one fetch; wait while too much is unwritten."""
        await self._room.wait()
        if not self.running:
            return  # being opened again: reading will go on at the position
        cursor, partition = self._cursor, self.partition
        cursor.next = self.position
        due = cursor.admit(records)
        if due is None:
            await self._around.seek(self.number, self.position)
            return
        if due and due[0].offset > self.position:
            self._fail(hole(self._placed, self.position, due[0].offset).error(self.number))
            return
        for record in due:
            try:
                key = record.key.decode() if record.key else ""
                partition.apply(record.offset, record.timestamp / 1000, key, record.value)
            except CorrelatorError as error:
                self._fail(error)
                return
            except Exception as error:
                place = f"{record.topic}/{record.partition}/{record.offset}"
                self._fail(EngineError(f"{place} cannot be applied: {error!r}"))
                raise
            for name, value in record.headers:
                if name == "raw":
                    self._figures.arrived(record.offset, int(value) / 1000)
            if _pending(partition) * _ENTRY_BYTES > self._settings.checkpoint.max_bytes:
                self._urgent.set()
            await asyncio.sleep(0)
            if partition is not self.partition or not self.running:
                return
        self._events.append(event)
        self._work.set()
        if _pending(partition) > self._settings.checkpoint.max_pending:
            self._room.clear()

    @property
    def running(self) -> bool:
        """Whether records are stepped."""
        return self._ready and not self._suspended

    @property
    def _placed(self) -> str:
        return f"{self._settings.topics.placed}/{self.number}"

    def _fail(self, error: CorrelatorError) -> None:
        self._ready = False
        self._around.failed(error)

    # -- checkpoints -----------------------------------------------------------------------------------------

    async def _write_forever(self) -> None:
        interval = self._settings.checkpoint.interval
        while not self._suspended:
            await self._work.wait()
            left = self._written + interval - self._clock()
            if left > 0 and not self._urgent.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._urgent.wait(), left)
            self._work.clear()
            self._urgent.clear()
            if self._suspended:
                return  # type: ignore[unreachable]  # set while this waited
            if not self._ready:
                continue  # fenced off, with work that came meanwhile: the group takes the partition away
            try:
                await self._checkpoint()
                self._fences = 0
            except FencedError as error:
                await self._fenced(error)
            except CorrelatorError as error:
                log.warning("%s; opening the partition again", error)
                await self._reopen()

    async def _checkpoint(self) -> None:
        async with self._lock:
            started = self._clock()
            output = self.partition.take()
            try:
                size = await self._outlet.write(output, self.partition.graph.version)
            except BaseException:
                self._ready = False  # what was taken is lost to the memory
                raise
            self.partition.saved(output)
            self._written = self._clock()
            self._room.set()
            while self._events and self._events[0].message.offset <= output.applied:
                self._events.popleft().ack()
            self._figures.saved(self.partition, output, self._written - started, size)

    async def _fenced(self, error: FencedError) -> None:
        """Another writer has the partition: normally the group says so soon. If it does not, take it back."""
        log.info("%s; waiting for the group to say so", error)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5 * self._settings.broker.session_timeout):
                while self._around.mine(self.number) and not self._suspended:  # noqa: ASYNC110 - neither tells
                    await asyncio.sleep(0.1)
        if self._suspended or not self._around.mine(self.number):
            return
        self._fences += 1
        if self._fences > _FENCES:
            self._around.failed(error)
            return
        await self._reopen()

    async def _reopen(self) -> None:
        """Throw the memory away and start from what the broker has acknowledged."""
        self._ready = False
        delay = 0.5
        while not self._suspended and self._around.mine(self.number):
            try:
                await self._load()
                await self._around.seek(self.number, self.position)
                return
            except StateError as error:
                self._fail(error)
                return
            except CorrelatorError as error:
                log.warning("partition %d: cannot open it yet: %s", self.number, error)
                await asyncio.sleep(delay)
                delay = min(5.0, 2 * delay)

    # -- the changelog ---------------------------------------------------------------------------------------

    async def _state_end(self) -> int:
        return (await bounds(self._around.clients, state_topic(self._settings), self.number))[1]

    def replica(self) -> Replica | None:
        """What a standby can go on from, after :meth:`suspend`; None when the changelog may hold more."""
        if not self._ready or self._end is None:
            return None
        return Replica(self._as_of, dict(self.partition.entries), self._end)

    async def _check_log(self, marker: dict[str, Any] | None, entries: int) -> int:
        """Where the log starts. Raises :class:`StateError` when the state cannot be continued on it."""
        topic = self._settings.topics.placed
        found = await bounds(self._around.clients, topic, self.number)
        log_bounds = Bounds(*found, exact=self._transactions)  # the embedded broker's end may be low
        wrong = refusal(topic, self.number, marker, entries, log_bounds)
        if wrong is not None:
            raise wrong.error(self.number)
        return log_bounds.first

    def stuck(self) -> float:
        """Seconds for which work has waited without a checkpoint."""
        return self._clock() - self._written if self._events or not self._ready else 0.0


#: What an entry of the state takes in a checkpoint, in bytes; 100,000 active alerts took 320 each.
_ENTRY_BYTES: Final = 400


def _pending(partition: Partition) -> int:
    """Entities and receipts that wait to be written."""
    return sum(len(s.store.receipts) + len(s.store.dirty) for s in partition.shards.values())
