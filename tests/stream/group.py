"""The group of a partition's life: it has one worker at a time do the work, and replaces those that cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaConnectionError

from tests.stream.life import PLACED, SETTINGS, STATE, STORY, Process, applied
from tests.stream.memory import Broker
from tests.stream.points import Point

__all__ = ["Fault", "Group", "Passage"]

#: Seconds without progress after which a worker is stopped, as by ``worker.stall_timeout``.
_STALL: Final = 30.0
#: Seconds after which whoever drives the life is at fault.
_LIFE: Final = 2_000.0


class Passage(NamedTuple):
    """A point of a life: of which worker, by number, and whether before or after the call."""

    worker: int
    point: Point
    when: str


Fault = Callable[["Group", Process, Point, "asyncio.Task[Any]"], Awaitable[None]]


class Group:
    """Lives a whole life, and notes every point that it passes. ``fault`` happens once, at ``passage``.

    What follows a fault is what a group and a supervisor do: a worker that ended is replaced, one that does not move
    is stopped and replaced.
    """

    def __init__(self, broker: Broker, passage: Passage | None = None, fault: Fault | None = None) -> None:
        self.broker, self._passage, self._fault = broker, passage, fault
        self.passed: list[Passage] = []
        self.workers: list[Process] = []
        self.stalled = 0
        self._refuse = False
        self._aside: set[asyncio.Task[None]] = set()
        self.process = self.start()

    @property
    def happened(self) -> bool:
        """Whether the fault has happened."""
        return self._fault is None

    async def _do(self, process: Process, point: Point, when: str, waits: asyncio.Task[Any]) -> None:
        passage = Passage(self.workers.index(process), point, when)
        self.passed.append(passage)
        if passage == self._passage and self._fault is not None:
            fault, self._fault = self._fault, None
            await fault(self, process, point, waits)
        elif self._refuse and point.name == f"acknowledge {STATE.topic}":
            self._refuse = False
            raise KafkaConnectionError

    def meanwhile(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something while the life goes on; it ends after that."""
        self._aside.add(asyncio.create_task(work))

    # -- the life --------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """One worker opens an empty partition, is rebalanced, fails to checkpoint, and stops; the next one goes on."""
        third = len(STORY) // 3
        async with asyncio.timeout(_LIFE):
            await self.process.act(self.process.obtain())
            await self._feed(STORY[:third])
            await self.process.act(self.process.revoke())
            await self.process.act(self.process.obtain())
            self._refuse = True
            await self._feed(STORY[third : 2 * third])
            await self.process.act(self.process.stop())
            await self.replace()
            await self._feed(STORY[2 * third :])
            await self.process.act(self.process.stop())
            if self._aside:
                await asyncio.gather(*self._aside)
            if self.process.over.is_set():
                await self.replace()
                await self._feed([])
                await self.process.stop()
            for worker in self.workers:
                worker.bury()

    async def _feed(self, records: Sequence[Any]) -> None:
        """Append to the placed log, and wait until the state covers it."""
        self.broker.append(PLACED, records)
        clock = asyncio.get_running_loop().time
        moved, at = clock(), applied(self.broker)
        while at < self.broker.end_of(PLACED) - 1:
            await asyncio.sleep(0.2)
            if applied(self.broker) > at:
                moved, at = clock(), applied(self.broker)
            if clock() - moved > _STALL:
                self.stalled += 1
                self.process.over.set()
            if self.process.over.is_set():
                await self.replace()
                moved = clock()

    async def replace(self) -> None:
        """Another worker instead of this one, which is told to stop if it hears anything."""
        old = self.process
        self.start()
        if not old.killed:
            await old.stop()
        await self.process.act(self.process.obtain())

    def start(self) -> Process:
        """One more worker, which is now the one that is given the partition."""
        self.process = Process(self.broker, self._do)
        self.workers.append(self.process)
        return self.process

    def freeze(self, process: Process) -> None:
        """The worker is frozen for as long as another needs to take over and to catch up, and is told of it later."""
        process.freeze()
        self.meanwhile(self._thaw(process, self.start()))

    async def _thaw(self, old: Process, successor: Process) -> None:
        await asyncio.sleep(SETTINGS.broker.session_timeout)
        await successor.act(successor.obtain())
        await asyncio.sleep(3)
        old.thaw()
        await asyncio.sleep(1)
        await old.act(old.revoke())
        await old.act(old.lose())
