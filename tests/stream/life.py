"""A partition's life in memory: workers that come, go, die and freeze, around the real owner, outlet and changelog.

A :class:`Process` is what a worker is to its one partition: it takes over and is revoked as the group says, reads the
placed log from where it is told, and stops when something in it fails, or when nothing moves. Its clients are tapped
(:mod:`tests.stream.points`): killed, it never gets an answer again; frozen, it gets none until it is thawed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import orjson
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from correlator.config import Settings
from correlator.engine.partition import MARKER, Partition
from correlator.engine.rules import Rules
from correlator.errors import CorrelatorError
from correlator.metrics import Metrics
from correlator.stream.clients import Clients
from correlator.stream.owner import Owner, Surroundings
from correlator.stream.owners import Owners
from correlator.stream.standby import Standbys
from correlator.stream.topics import state_topic
from tests.engine.timeline import START, depends, row
from tests.stream.memory import Broker, MemoryClients, Record
from tests.stream.points import Point, Tapped

__all__ = [
    *("GRAPH", "PLACED", "SETTINGS", "STATE", "STORY"),
    *("Outcome", "Process", "alerts", "applied", "follows_nothing", "partition"),
]

SETTINGS: Final = Settings.model_validate({"broker": {"session_timeout": 6, "request_timeout": 20}})
PLACED: Final = TopicPartition(SETTINGS.topics.placed, 0)
STATE: Final = TopicPartition(state_topic(SETTINGS), 0)
GRAPH: Final = depends("web -> api -> db", "mail -> queue")
#: Records in one fetch.
_FETCH: Final = 4


def partition() -> Partition:
    """What a worker has before it has read any state."""
    return Partition(depends(), Rules(), lambda _: GRAPH)


def follows_nothing(settings: Settings, clients: Clients, metrics: Metrics) -> Standbys:
    """No standbys: who takes a partition over reads its whole changelog."""

    async def build(_: Mapping[bytes, bytes]) -> Partition:
        raise AssertionError("nothing is followed")

    return Standbys(settings, clients, metrics, build)


def alerts(offset: int, second: float, *services: str, status: str = "firing", shard: str = "shop") -> Any:
    """A record of the placed log with an alert of each service."""
    rows = [row(offset, START + second, name, "Down", status, index=n) for n, name in enumerate(services)]
    value = orjson.dumps({"type": "alerts", "source": "alerts.raw/0", "rows": rows})
    return SimpleNamespace(timestamp=round((START + second) * 1_000), key=shard.encode(), value=value, headers=())


def _control(second: float, **values: Any) -> Any:
    at = round((START + second) * 1_000)
    return SimpleNamespace(timestamp=at, key=b"", value=orjson.dumps(values), headers=())


def _tick(second: float) -> Any:
    return _control(second, type="tick", watermarks={"alerts.raw/0": START + second}, partitions=1)


#: Two shards; symptoms before their root, a record that cannot be read, ends, and a second outage.
STORY: Final = [
    _control(0, type="graph", version=GRAPH.version),
    alerts(0, 0, "web"),
    alerts(1, 2, "api"),
    alerts(2, 4, "mail", shard="lab"),
    SimpleNamespace(timestamp=round((START + 5) * 1_000), key=b"", value=b"{", headers=()),
    _tick(6),
    alerts(3, 8, "db", "queue"),
    alerts(4, 90, "queue", shard="lab"),
    _tick(100),
    alerts(5, 200, "db", "api", "web", status="resolved"),
    _tick(900),
    alerts(6, 1_000, "queue", "mail", status="resolved", shard="lab"),
    _tick(4_000),
    alerts(7, 4_010, "api"),
    alerts(8, 4_020, "db"),
    _tick(4_030),
]


def applied(broker: Broker) -> int:
    """The applied offset of the last checkpoint that the broker has taken."""
    markers = [record.value for record in broker.decided(STATE) if record.key == MARKER]
    return int(orjson.loads(markers[-1] or b"")["applied"]) if markers else -1


def figures(state: Mapping[bytes | None, bytes]) -> Mapping[str, Mapping[str, int]] | None:
    """How the engine had counted; None for a state that it cannot read, because its entries do not fit together."""
    partition = Partition(GRAPH, Rules(), lambda _: GRAPH)
    try:
        partition.load({key: value for key, value in state.items() if key is not None})
    except AssertionError:
        return None
    return partition.figures()


@dataclass(frozen=True)
class Outcome:
    """What the broker has in the end, and how the engine had counted."""

    last: Mapping[bytes | None, bytes | None]
    receipts: Counter[bytes]
    revisions: Counter[tuple[bytes | None, bytes | None]]
    rejected: Counter[bytes | None]
    state: Mapping[bytes | None, bytes]
    figures: Mapping[str, Mapping[str, int]] | None

    @classmethod
    def of(cls, broker: Broker) -> Outcome:
        """Read everything."""
        topics = SETTINGS.topics
        state = {record.key: record.value for record in broker.records(STATE.topic)}
        kept = {key: value for key, value in state.items() if value is not None}
        return cls(
            last={record.key: record.value for record in broker.records(topics.incidents)},
            receipts=Counter(
                orjson.dumps(receipt)
                for record in broker.records(topics.decisions)
                for receipt in orjson.loads(record.value or b"")["decisions"]
            ),
            revisions=Counter((record.key, record.value) for record in broker.records(topics.history)),
            rejected=Counter(record.value for record in broker.records(topics.rejected)),
            state=kept,
            figures=figures(kept),
        )


Do = Callable[["Process", Point, str, "asyncio.Task[Any]"], Awaitable[None]]


async def nothing(process: Process, point: Point, when: str, waits: asyncio.Task[Any]) -> None:
    """No fault."""


class Process:
    """One worker, as far as its partition 0 sees it. ``do`` is called at every point."""

    def __init__(self, broker: Broker, do: Do = nothing) -> None:
        self.broker = broker
        self.assigned = self.rebalancing = False
        self.lease = True
        self.sent_without_lease: list[Point] = []
        self.errors: list[CorrelatorError] = []
        self.over = asyncio.Event()
        self._do = do
        self._flow = asyncio.Event()  # cleared while nothing gets through: frozen, or killed
        self._flow.set()
        self._clients = Tapped(SETTINGS, MemoryClients(SETTINGS, broker), self._pass)
        self._at: int | None = None
        self._metrics = Metrics(CollectorRegistry(), clock=lambda: 0.0)
        self._turn = asyncio.Lock()
        self.dismissed = self.killed = self.frozen = self.buried = False
        self.owners = Owners(self._owner)
        self._reading = asyncio.create_task(self._read())

    # -- the world -------------------------------------------------------------------------------------------

    async def _pass(self, point: Point, when: str, waits: asyncio.Task[Any]) -> None:
        if point.name.startswith("send ") and when == "before" and not self.lease:
            self.sent_without_lease.append(point)
        await self._flow.wait()
        await self._do(self, point, when, waits)
        await self._flow.wait()
        if self.buried:
            raise asyncio.CancelledError

    def freeze(self) -> None:
        """SIGSTOP: nothing of it gets through, and its lease runs out."""
        self._flow.clear()
        self.frozen, self.lease = True, False

    def thaw(self) -> None:
        """SIGCONT."""
        self._flow.set()

    def kill(self) -> None:
        """SIGKILL: nothing of it ever gets through again."""
        self._flow = asyncio.Event()
        self.killed = True
        self.over.set()

    def bury(self) -> None:
        """Let what is left of a killed one end."""
        self.buried = True
        self._flow.set()

    def _fail(self, error: CorrelatorError) -> None:
        self.errors.append(error)
        self.over.set()

    def _owner(self, number: int) -> Owner:
        async def seek(_: int, offset: int) -> None:
            async def go() -> None:
                self._at = offset

            if self.assigned and not self.rebalancing:
                await self._clients.call("seek", go)

        async def graph_known(_: str) -> None:
            async def known() -> None: ...

            await self._clients.call("graph_known", known)

        around = Surroundings(
            clients=self._clients,
            make=partition,
            state=follows_nothing(SETTINGS, self._clients, self._metrics).read,
            graph_known=graph_known,
            seek=seek,
            mine=lambda _: self.assigned and not self.rebalancing,
            is_member=lambda: self.lease,
            failed=self._fail,
        )
        transactions = self.broker.transactions
        return Owner(SETTINGS, number, around, transactions=transactions, rejected_partitions=1, metrics=self._metrics)

    async def act(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what the group or an operator asks for; give up when the process is over."""
        task, over = asyncio.create_task(work), asyncio.create_task(self.over.wait())
        await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if task.done() and task.cancelled():
            self.over.set()  # as when a worker is told to stop meanwhile
        elif task.done() and (error := task.exception()) is not None:
            assert isinstance(error, CorrelatorError), error
            self._fail(error)

    @property
    def position(self) -> int | None:
        """From where it reads; None while it does not."""
        return self._at

    # -- what a worker does ----------------------------------------------------------------------------------

    async def obtain(self) -> None:
        """The group gives it the partition."""
        async with self._turn:
            if self.dismissed:
                return
            self.assigned, self.rebalancing, self.lease = True, False, True
            await self.owners.take_over({0}, lambda: self.dismissed, self._lead)
            owner = self.owners.get(0)
            if owner is not None and not self.dismissed:
                self._at = owner.position

    async def _lead(self) -> None:
        """Graphs are known to all of them."""

    async def revoke(self) -> None:
        """A rebalance begins."""
        async with self._turn:
            self.rebalancing, self._at = True, None
            await self.owners.suspend()

    async def lose(self) -> None:
        """The group gives the partition to another."""
        self.dismissed = True
        async with self._turn:
            self.assigned = self.rebalancing = False
            await self.owners.take_over(set(), lambda: False, self._lead)

    async def stop(self) -> None:
        """The end of the process, in order; it takes no partition any more."""
        self.dismissed, self._at = True, None
        self._reading.cancel()
        await self.owners.suspend()
        await self.owners.close()

    async def _read(self) -> None:
        while True:
            owner, at = self.owners.get(0), self._at
            records, after = self.broker.read(PLACED, at or 0, _FETCH)
            if owner is None or at is None or not records or not owner.running:
                await asyncio.sleep(0.1)
                continue
            self._at = after
            await owner.feed(_Event(self, records[-1]), records)
            await asyncio.sleep(0.02)


class _Event:
    """A fetch, to be acknowledged once the state covers it."""

    def __init__(self, process: Process, last: Record) -> None:
        self.message, self._process = last, process

    def ack(self) -> None:
        saved = applied(self._process.broker)
        assert saved >= self.message.offset, f"{self.message.offset} acknowledged, {saved} saved"
