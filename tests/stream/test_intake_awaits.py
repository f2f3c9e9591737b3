"""Every await of the intake, from a raw record to a placed one: what happens when it fails there.

As in ``test_awaits.py`` the points are found by running the path. What must hold is what the engine relies on: all
that was read is placed, what a raw partition contributes is in order and without a gap, and a fetch is acknowledged
only when all of it is placed. Being placed twice is no harm: the engine counts an alert once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, RequestTimedOutError
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from correlator.assemble import placer_for, reader_for
from correlator.errors import BrokerError, CorrelatorError
from correlator.metrics import Metrics
from correlator.stream.intake import HEARTBEAT, Intake
from tests.stream.life import GRAPH, PLACED, SETTINGS
from tests.stream.memory import Broker, MemoryClients
from tests.stream.points import Point, Tapped
from tests.stream.virtual import run

RAW: Final = TopicPartition(SETTINGS.topics.raw[0], 0)
#: Raw records: one alert, lists of alerts, one that cannot be read.
SERVICES: Final = (["web"], ["api", "db"], None, ["mail"], ["queue", "web", "api"], ["db"], ["mail", "queue"])
#: Seconds without an acknowledgement after which a worker is stopped.
_STALL: Final = 30.0

Fault = Callable[["Worker"], Awaitable[None]]


def raw() -> list[Any]:
    """The raw log."""
    values = [b"{" if some is None else orjson.dumps([_alert(name) for name in some]) for some in SERVICES]
    return [SimpleNamespace(timestamp=1_000_000 + n, key=b"", value=v, headers=()) for n, v in enumerate(values)]


def _alert(service: str) -> dict[str, Any]:
    return {"name": "Down", "service": service, "severity": "critical"}


class Worker:
    """A worker that has the raw partition. Its group gives it the offset after what was acknowledged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.over = asyncio.Event()
        self.errors: list[CorrelatorError] = []
        self._flow = asyncio.Event()
        self._flow.set()
        self._buried = False
        self._at: int | None = None
        self._clients = Tapped(SETTINGS, MemoryClients(SETTINGS, path.broker), self._pass)
        placer = placer_for(SETTINGS, GRAPH)
        readers = {RAW.topic: reader_for(SETTINGS, RAW.topic)}
        partitions = dict.fromkeys((PLACED.topic, SETTINGS.topics.rejected, RAW.topic), 1)
        metrics = Metrics(CollectorRegistry(), clock=lambda: 0.0, dialects=["native"])
        self.intake = Intake(
            *(SETTINGS, self._clients, readers, lambda: placer, lambda: 0),
            *(partitions, metrics, self._fail, self._seek),
        )
        self._task = asyncio.create_task(self._read())

    async def _pass(self, point: Point, when: str, waits: asyncio.Task[Any]) -> None:
        await self._flow.wait()
        await self.path.reached(self, point, when, waits)
        await self._flow.wait()
        if self._buried:
            raise asyncio.CancelledError

    def _fail(self, error: CorrelatorError) -> None:
        self.errors.append(error)
        self.over.set()

    async def _seek(self, _: Any, offset: int) -> None:
        self._at = offset

    def hold(self) -> None:
        """Nothing of it gets through any more."""
        self._flow.clear()

    def release(self) -> None:
        """It does again."""
        self._flow.set()

    def bury(self) -> None:
        """Let what is left of it end."""
        self._buried = True
        self._flow.set()
        self._task.cancel()

    async def start(self) -> None:
        """Start, and get the partition."""
        await self.intake.start()
        await self.assign()

    async def assign(self) -> None:
        """The group gives it the partition, from what it has committed on."""
        self._at = self.path.committed + 1
        await self.intake.begin({RAW: self._at})

    async def revoke(self) -> None:
        """The group takes it away."""
        self._at = None
        await self.intake.release({RAW})

    async def stop(self) -> None:
        """The end, in order."""
        self._at = None
        self._task.cancel()
        await self.intake.stop()

    async def _read(self) -> None:
        for turn in itertools.count():
            await asyncio.sleep(0.1)
            if self._at is None:
                continue
            if not turn % 10:
                self.intake.beat({RAW})
            at = self._at
            records, after = self.path.broker.read(RAW, at, 2)
            if records:
                self._at = after
                await self.intake.take(self._event(after - 1), records)

    def _event(self, offset: int) -> Any:
        message = SimpleNamespace(tp=RAW, offset=offset)
        return SimpleNamespace(message=message, ack=lambda: self.path.ack(offset))


class Path:
    """The way of the raw log into the placed one, with a fault at one point of the first worker."""

    def __init__(self, at: tuple[Point, str] | None = None, fault: Fault | None = None) -> None:
        self.broker = Broker(transactions=False)
        self.committed = -1
        self.passed: list[tuple[Point, str]] = []
        self._where, self._fault = at, fault
        self._aside: set[asyncio.Task[None]] = set()
        self.waits: asyncio.Task[Any] | None = None
        self.workers = [Worker(self)]

    @property
    def happened(self) -> bool:
        """Whether the fault has happened."""
        return self._fault is None

    async def reached(self, worker: Worker, point: Point, when: str, waits: asyncio.Task[Any]) -> None:
        """A point is passed."""
        if worker is self.workers[0]:
            self.passed.append((point, when))
            if self._fault is not None and (point, when) == self._where:
                fault, self._fault, self.waits = self._fault, None, waits
                await fault(worker)

    def ack(self, offset: int) -> None:
        """A fetch is acknowledged: all of it must be placed."""
        placed = {row[0] for row in self.rows()}
        wanted = {n for n in range(offset + 1) if self.is_alerts(n)}
        assert wanted <= placed, f"offset {offset} acknowledged, placed is {placed}"
        self.committed = max(self.committed, offset)

    def is_alerts(self, offset: int) -> bool:
        """Whether the raw record at an offset has alerts."""
        record = self.broker.read(RAW, offset, 1)[0][0]
        return record.value != b"{" and not any(name == HEARTBEAT for name, _ in record.headers)

    def rows(self) -> list[tuple[int, int]]:
        """Raw offset and index of every placed alert, in order."""
        values = [orjson.loads(record.value or b"") for record in self.broker.records(PLACED.topic)]
        return [(row[0], row[1]) for value in values if value["type"] == "alerts" for row in value["rows"]]

    def meanwhile(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something while the rest goes on."""
        self._aside.add(asyncio.create_task(work))

    async def walk(self) -> None:
        """Until everything is placed and acknowledged, by one worker after the other if need be."""
        records = raw()
        async with asyncio.timeout(1_000):
            self.broker.append(RAW, records[:4])
            await self._act(self.workers[-1].start())
            await self._placed(3)
            await self._act(self.workers[-1].revoke())
            await self._act(self.workers[-1].assign())
            self.broker.append(RAW, records[4:])
            await self._placed(self.broker.end_of(RAW) - 1)
            await self._act(self.workers[-1].stop())
            await asyncio.gather(*self._aside)
            for worker in self.workers:
                worker.bury()

    async def _placed(self, offset: int) -> None:
        clock = asyncio.get_running_loop().time
        moved, at = clock(), self.committed
        while self.committed < offset:
            await asyncio.sleep(0.1)
            if self.committed > at:
                moved, at = clock(), self.committed
            if self.workers[-1].over.is_set() or clock() - moved > _STALL:
                await self.replace()
                moved = clock()

    async def _act(self, work: Coroutine[Any, Any, None]) -> None:
        worker = self.workers[-1]
        task, over = asyncio.create_task(work), asyncio.create_task(worker.over.wait())
        await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if task.done() and (task.cancelled() or task.exception() is not None):
            assert task.cancelled() or isinstance(task.exception(), BrokerError)
            worker.over.set()

    async def replace(self) -> None:
        """Stop a worker as far as it hears it, and start another."""
        old = self.workers[-1]
        self.meanwhile(old.stop())
        self.workers.append(Worker(self))
        await self._act(self.workers[-1].start())


# -- faults -------------------------------------------------------------------------------------------------------


async def refused(worker: Worker) -> None:
    """The call raises, and nothing was done."""
    raise KafkaConnectionError


async def unanswered(worker: Worker) -> None:
    """The broker has done it, and the answer is lost."""
    raise RequestTimedOutError


async def silent(worker: Worker) -> None:
    """The broker does not answer for as long as the client asks."""
    await asyncio.sleep(SETTINGS.broker.request_timeout)
    raise KafkaTimeoutError


async def cancelled(worker: Worker) -> None:
    """The task that waits is cancelled."""
    assert worker.path.waits is not None
    worker.path.waits.cancel()
    await asyncio.sleep(0)


async def killed(worker: Worker) -> None:
    """The process ends here."""
    worker.hold()
    worker.over.set()


async def frozen(worker: Worker) -> None:
    """It stands still until another has gone on, and then finishes what it was about."""
    worker.hold()
    worker.over.set()

    async def thaw() -> None:
        await asyncio.sleep(10)
        worker.release()
        await worker.revoke()

    worker.path.meanwhile(thaw())


async def rebalanced(worker: Worker) -> None:
    """A rebalance begins here, after which the partition is where it was."""

    async def rebalance() -> None:
        await worker.revoke()
        await worker.assign()

    worker.path.meanwhile(rebalance())
    await asyncio.sleep(0.5)


async def late(worker: Worker) -> None:
    """A rebalance begins here, and waits in vain for what is under way: that arrives after it."""

    async def rebalance() -> None:
        await worker.revoke()
        await worker.assign()

    worker.path.meanwhile(rebalance())
    await asyncio.sleep(SETTINGS.broker.session_timeout)


FAULTS: Final[list[tuple[Fault, str]]] = [
    *((fault, "before") for fault in (refused, silent, cancelled, killed, frozen, rebalanced, late)),
    *((fault, "after") for fault in (unanswered, killed)),
]


def walked(at: tuple[Point, str] | None = None, fault: Fault | None = None) -> Path:
    """The whole way."""

    async def main() -> Path:
        path = Path(at, fault)
        await path.walk()
        return path

    return run(main())


@cache
def undisturbed() -> Path:
    """The way without a fault."""
    return walked()


def cases() -> Iterator[Any]:
    """Every point with every fault."""
    for point, at in undisturbed().passed:
        for fault, when in FAULTS:
            if when == at and not (point.name == "writer.start" and fault in (rebalanced, late)):
                yield pytest.param((point, when), fault, id=f"{point}: {fault.__name__} {when}".replace(" ", "_"))


@pytest.mark.parametrize(("at", "fault"), list(cases()))
def test_all_is_placed_in_order(at: tuple[Point, str], fault: Fault) -> None:
    """Whatever happens at one point: every alert is placed, and none for the first time behind a later one."""
    path = walked(at, fault)
    assert path.happened
    rows, end = path.rows(), path.broker.end_of(RAW)
    wanted = [(n, i) for n in range(end) if path.is_alerts(n) for i in range(_count(path, n))]
    assert sorted(set(rows)) == wanted
    assert list(dict.fromkeys(rows)) == wanted
    rejects = {dict(record.headers)["offset"] for record in path.broker.records(SETTINGS.topics.rejected)}
    assert rejects == {b"%d" % n for n in range(end) if path.broker.read(RAW, n, 1)[0][0].value == b"{"}


def _count(path: Path, offset: int) -> int:
    return len(orjson.loads(path.broker.read(RAW, offset, 1)[0][0].value or b""))
