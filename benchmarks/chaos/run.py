"""One run: load and faults side by side, then everything healed, drained and stopped."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from benchmarks.chaos.feed import Feed, Follow
from benchmarks.chaos.schedule import Fault
from benchmarks.chaos.stage import Net, Place, Stage
from benchmarks.chaos.traffic import Regions, garbage, poison
from benchmarks.fleet import Fleet
from benchmarks.outcome import Outcome
from benchmarks.poison import POISON

__all__ = ["Run", "Struck"]

_TEND: Final = 0.2
_STOP: Final = 40.0  # seconds that a worker has to stop at the end
_BAD_RECORDS: Final = 8  # of a fault with garbage
_POISONED: Final = 6  # alerts of a fault with poison


@dataclass(frozen=True)
class Struck:
    """A fault as it happened. Seconds of the monotonic clock."""

    fault: Fault
    began: float
    ended: float


@dataclass
class Run:
    """Strikes, feeds, waits. What came of it is in the fields afterwards."""

    fleet: Fleet
    stage: Stage
    regions: Regions
    workers: int
    seconds: float
    seed: int
    say: Callable[[str], None] = print
    struck: list[Struck] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    started: float = 0.0
    fed: float = 0.0
    drained: float = 0.0
    stops: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        links = self.stage.links
        self.net = Net(links)
        self.places = [Place(n, self.fleet, links[n % len(links)].address) for n in range(self.workers)]
        self.outcome = Outcome(self.fleet.settings, self.stage.direct, exact=self.stage.exact)
        self.follow = Follow(self.fleet.settings, self.stage.direct)
        self.feed = Feed(self.fleet.settings, self.stage.direct, self.follow, self.seed, idempotent=self.stage.exact)
        self._broker = asyncio.Lock()

    @property
    def codes(self) -> Counter[int]:
        """How workers ended, the last stop left aside."""
        return sum((place.codes for place in self.places), Counter())

    async def all(self, faults: Sequence[Fault], drain: float) -> None:
        """The whole run; ``drain`` is the longest wait for the rest at the end. Problems go to ``broken``."""
        async with self.follow, self.feed, self._tended():
            await self._ready()
            self.started, self.feed.begun = time.monotonic(), time.time()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.feed.items(self.regions.items(self.seconds)))
                for fault in faults:
                    group.create_task(self._strike(fault))
            self.net.heal()
            await self.feed.flushed()
            self.fed = time.monotonic()
            self.say(f"{self._clock()} the load has ended; waiting until all of it is decided")
            await self._drained(drain)
            self.drained = time.monotonic()
        await self._stop()

    # -- workers ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _tended(self) -> AsyncIterator[None]:
        async def tend() -> None:
            while True:
                for place in self.places:
                    place.tend()
                await asyncio.sleep(_TEND)

        for place in self.places:
            place.start()
        task = asyncio.create_task(tend(), name="tend")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _ready(self) -> None:
        """Until every worker owns what the group gave it. Raises RuntimeError."""
        for place in self.places:
            assert place.worker is not None
            await asyncio.to_thread(place.worker.wait, self.fleet.deadline)

    async def _stop(self) -> None:
        """Stop the workers in order."""
        going = [place.worker for place in self.places if place.worker is not None]
        for worker in going:
            worker.process.terminate()
        for worker in going:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(worker.process.wait, _STOP)
            worker.kill()
            self.stops.append(int(worker.process.returncode))
        for place in self.places:
            place.worker = None

    def close(self) -> None:
        """Kill what is left."""
        self.net.heal()
        for place in self.places:
            place.close()

    # -- the end ---------------------------------------------------------------------------------------------

    async def _drained(self, patience: float) -> None:
        """Until everything fed has been placed and, after that, decided and saved."""
        deadline = time.monotonic() + patience
        if await self._reached("placed", self.feed.ends, deadline):
            ends = await self._asked(self.outcome.placed_ends, deadline)
            if ends is None:
                self.broken.append("drained: the broker does not say where the log ends")
            await self._reached("decided", ends or {}, deadline)

    async def _reached(self, what: str, wanted: Mapping[TopicPartition, int], deadline: float) -> bool:
        behind: list[str] = ["everything"]
        while behind:
            done = await self._asked(self.outcome.committed, deadline)
            if done is not None:
                behind = [
                    f"{tp.topic}/{tp.partition} at {done.get(tp, 0)} of {end}"
                    for tp, end in sorted(wanted.items())
                    if done.get(tp, 0) < end
                ]
            if behind and time.monotonic() > deadline:
                self.broken.append(f"drained: not all {what} in time: {', '.join(behind)}")
                return False
            if behind:
                await asyncio.sleep(0.5)
        return True

    @staticmethod
    async def _asked(
        ask: Callable[[], Awaitable[dict[TopicPartition, int]]], deadline: float
    ) -> dict[TopicPartition, int] | None:
        try:
            async with asyncio.timeout(max(5.0, deadline - time.monotonic())):
                return await ask()
        except (KafkaError, AssertionError, TimeoutError):  # a broker that is not back yet; aiokafka asserts that it is
            return None

    # -- faults ----------------------------------------------------------------------------------------------

    async def _strike(self, fault: Fault) -> None:
        await asyncio.sleep(self.started + fault.at - time.monotonic())
        self.say(f"{self._clock()} {fault}" + (f", {fault.lasts:.1f} s" if fault.lasts else ""))
        began = time.monotonic()
        match fault.kind:
            case "kill":
                self.places[fault.worker].signal(signal.SIGKILL)
            case "restart":
                self.places[fault.worker].signal(signal.SIGTERM)
            case "freeze":
                await self._freeze(fault)
            case "broker":
                await self._restart_broker(fault)
            case "cut" | "cut-all":
                self.net.begin(fault.number, fault.worker, "refuse" if fault.how == "refuse" else "swallow")
                await asyncio.sleep(fault.lasts)
                self.net.end(fault.number)
            case "slow":
                self.net.begin(fault.number, fault.worker, delay=fault.size)
                await asyncio.sleep(fault.lasts)
                self.net.end(fault.number)
            case "clock":
                self.feed.jump = fault.size
                await asyncio.sleep(fault.lasts)
                self.feed.jump = 0.0
            case "poison":
                await self._poison(fault)
            case _:
                await self._garbage(fault)
        self.struck.append(Struck(fault, began, time.monotonic()))

    async def _freeze(self, fault: Fault) -> None:
        worker = self.places[fault.worker].signal(signal.SIGSTOP)
        await asyncio.sleep(fault.lasts)
        if worker is not None and worker.process.poll() is None:
            worker.process.send_signal(signal.SIGCONT)

    async def _restart_broker(self, fault: Fault) -> None:
        async with self._broker:
            broker = self.stage.broker
            await asyncio.to_thread(broker.stop if fault.how == "stop" else broker.kill)
            await asyncio.sleep(fault.lasts)
            await asyncio.to_thread(broker.start, 120.0)

    async def _poison(self, fault: Fault) -> None:
        rng = Random(f"{self.seed}/{fault.number}")
        for number in range(_POISONED):
            region = rng.choice(self.regions.names)
            await self.feed.alert(poison(rng, region, fault.number))
            if number == _POISONED // 2:
                window = {"type": "maintenance", "id": POISON, "match": {"service": "x"}, "reason": "chaos"}
                await self.feed.control(
                    {**window, "author": "ana", "starts_at": time.time(), "ends_at": time.time() + 60}, region
                )
            await asyncio.sleep(fault.lasts / _POISONED)

    async def _garbage(self, fault: Fault) -> None:
        rng = Random(f"{self.seed}/{fault.number}")
        for _ in range(_BAD_RECORDS):
            value = garbage(rng, rng.choice(self.regions.names))
            await self.feed.raw(value, rng.randrange(self.fleet.settings.topics.raw_partitions))
            await asyncio.sleep(fault.lasts / _BAD_RECORDS)

    def _clock(self) -> str:
        return f"{time.monotonic() - self.started:7.1f} s"
