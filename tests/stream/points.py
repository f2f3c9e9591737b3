"""Every awaited call of a worker's clients as a named point, where a test can make something happen.

:class:`Tapped` clients stand in front of others, in memory or real ones. A point is passed twice: ``before`` the call
is made and ``after`` it was answered. Sending a batch is two points, for its acknowledgement comes later: ``send_batch
TOPIC`` queues it, ``acknowledge TOPIC`` is its way to the broker and back. Nothing has to be listed: a method that is
called for the first time is a new point.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from aiokafka.errors import IllegalOperation
from aiokafka.structs import TopicPartition

from correlator.config import Settings
from correlator.stream.clients import Clients

__all__ = ["Hook", "Point", "Tapped"]


#: Seconds that a call takes.
_WAY: Final = 0.001


class Point(NamedTuple):
    """The ``turn``-th time (from 0) that a call of this name is made."""

    name: str
    turn: int

    def __str__(self) -> str:
        return f"{self.name} #{self.turn}"


#: Called with a point, whether it is before or after the call, and the task that waits for the answer.
Hook = Callable[[Point, str, "asyncio.Task[Any]"], Awaitable[None]]


class Tapped(Clients):
    """Clients whose every awaited call passes ``hook``."""

    def __init__(self, settings: Settings, inner: Clients, hook: Hook) -> None:
        super().__init__(settings)
        self._inner, self._hook = inner, hook
        self._turns: Counter[str] = Counter()

    def producer(self, transactional_id: str | None = None) -> Any:
        """A tapped producer."""
        return _Tap("writer", self._inner.producer(transactional_id), self.call)

    def reader(self) -> Any:
        """A tapped consumer."""
        return _Tap("reader", self._inner.reader(), self.call)

    async def call(self, name: str, call: Callable[[], Awaitable[Any]], waits: asyncio.Task[Any] | None = None) -> Any:
        """Make a call between the two passages of its point."""
        task = waits or asyncio.current_task()
        assert task is not None
        point = Point(name, self._turns[name])
        self._turns[name] += 1
        await self._hook(point, "before", task)
        await asyncio.sleep(_WAY)
        answer = await call()
        await self._hook(point, "after", task)
        return answer


class _Tap:
    """One client. What is not awaited passes through."""

    def __init__(self, kind: str, inner: Any, call: Callable[..., Awaitable[Any]]) -> None:
        self._kind, self._inner, self._call = kind, inner, call
        self._way: dict[TopicPartition, asyncio.Lock] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def call(*args: Any, **options: Any) -> Any:
            return await self._call(f"{self._kind}.{name}", lambda: attribute(*args, **options))

        return call

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        return await self._queue(topic, partition, lambda: self._inner.send_batch(batch, topic, partition=partition))

    async def send(self, topic: str, value: Any, **options: Any) -> asyncio.Future[Any]:
        return await self._queue(topic, options["partition"], lambda: self._inner.send(topic, value, **options))

    async def stop(self) -> None:
        """Like aiokafka's: what is queued goes out first."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._call(f"{self._kind}.stop", self._inner.stop)

    async def _queue(self, topic: str, partition: int, send: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
        waits = asyncio.current_task()
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        way = self._way.setdefault(TopicPartition(topic, partition), asyncio.Lock())

        async def deliver() -> None:
            async def acknowledged() -> Any:
                return await (await send())

            try:
                async with way:  # one batch of a partition at a time, so that they keep their order
                    answer = await self._call(f"acknowledge {topic}", acknowledged, waits)
            except Exception as error:
                if not done.done():
                    done.set_exception(error)
                    done.exception()  # whoever sent it may have failed already
            else:
                if not done.done():
                    done.set_result(answer)

        async def queue() -> None:
            manager = self._inner._txn_manager
            if manager is not None and manager.is_fatal_error():
                raise IllegalOperation("Can't send messages while not in transaction")
            task = asyncio.create_task(deliver())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

        await self._call(f"send {topic}", queue)
        return done
