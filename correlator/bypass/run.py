"""The process: read, look how far the workers are, publish what has to go past them; twice a second."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import orjson
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from correlator import program
from correlator.assemble import reader_for, rules_for
from correlator.bypass.backlog import Backlog
from correlator.bypass.feed import Feed, partitions, stored
from correlator.bypass.pages import Limits, Pages
from correlator.bypass.path import Offsets, Path, Valve
from correlator.bypass.sink import Sink, Webhook
from correlator.config import Settings
from correlator.errors import BrokerError
from correlator.metrics import Metrics
from correlator.stream.http import Http
from correlator.stream.intake import HEARTBEAT, only_index

__all__ = ["Bypass", "run"]

log = logging.getLogger("correlator.bypass")

#: Seconds between two looks at the workers: a proof takes two of their commits, a second apart, and is seen by the look
#: after each.
_LOOK: Final = 0.5
#: Seconds before what the broker refused is tried again.
_AGAIN: Final = 1.0
#: Seconds after the start in which heartbeats that are under way may come through, before anything is judged.
_WATCH: Final = 10.0
#: Seconds between two looks for new raw partitions.
_EXTEND: Final = 60.0


async def run(settings: Settings, *, say: Callable[[str], None] = print) -> None:
    """Run until SIGTERM or SIGINT. Raises :class:`CorrelatorError` with the one line that says why not."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(CollectorRegistry(), clock=time.time, version=program.version(), compiled=program.compiled())
    bypass = Bypass(settings, metrics, say)
    http = Http(metrics, lambda: bypass.ready)
    if settings.http.enabled:
        port = http.start(settings.http.host, settings.bypass.http_port)
        say(f"metrics on http://{settings.http.host}:{port}/metrics")
    try:
        await bypass.start()
        say(f"watching {settings.worker.application}: bypass opens after {settings.bypass.failopen_after:g} s")
        await bypass.serve(stop, http.pulse)
        say("stopped")
    finally:
        await bypass.stop()
        http.stop()


class Bypass:
    """The parts of the bypass, and the order in which they work."""

    def __init__(self, settings: Settings, metrics: Metrics, say: Callable[[str], None]) -> None:
        own, rules = settings.bypass, rules_for(settings)
        self._settings, self._metrics, self._say = settings, metrics, say
        self._readers = {topic: reader_for(settings, topic) for topic in settings.topics.raw}
        self._backlog = Backlog(rules, own.buffer, own.team_label, settings.shards.tenant_label)
        self._pages = Pages(Limits(own.cap, own.cap_total))
        self._paths: dict[str, Path] = {}
        self._valves: dict[str, Valve] = {}
        self._over: dict[str, float] = {}
        self._retention = rules.incident_retention
        self._started = self._looked = self._extended = time.monotonic()
        self._watching = True
        self._feed: Feed | None = None
        self._sink: Sink | None = None
        self._webhook: Webhook | None = None
        self._lag: dict[str, int] = {}
        self.ready = False

    # -- life ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what an earlier bypass has left open, and begin to read. Raises :class:`BrokerError`."""
        settings, counts = self._settings, await partitions(self._settings)
        for key, found in (await stored(settings)).items():
            if found.value["state"] == "closed":
                self._over[key] = datetime.fromisoformat(found.value["updated_at"]).timestamp()
            else:
                self._pages.restore(found.value, found.note)
        self._feed, self._sink = Feed(settings, counts), Sink(settings, counts)
        await self._sink.start()
        await self._feed.start(counts)
        if settings.bypass.webhook is not None:
            address, told = settings.bypass.webhook.get_secret_value(), self._metrics.bypass_posted
            self._webhook = Webhook(address, settings.bypass.webhook_timeout, settings.worker.application, told)
        self._started = time.monotonic()
        self.ready = True

    async def stop(self) -> None:
        """Stop; never raises. What is open stays open for the next bypass."""
        self.ready = False
        if self._webhook is not None:
            await self._webhook.stop(self._settings.bypass.webhook_timeout)
        for part in (self._feed, self._sink):
            if part is not None:
                await part.stop()

    async def serve(self, stop: asyncio.Event, pulse: Callable[[], None]) -> None:
        """Work until ``stop``. What the broker refuses is tried again: silence would be the worse failure."""
        assert self._feed is not None
        while not stop.is_set():
            pulse()
            try:
                for source, records in (await self._feed.read(_LOOK / 2)).items():
                    await self._take(source, records)
                if time.monotonic() - self._looked >= _LOOK:
                    self._looked = time.monotonic()
                    await self._look()
                self.ready = True
            except (KafkaError, BrokerError) as error:
                self.ready = False
                log.warning("the broker: %r", error)
                await asyncio.sleep(_AGAIN)

    # -- reading ---------------------------------------------------------------------------------------------

    def _path(self, source: str) -> Path:
        path = self._paths.get(source)
        if path is None:
            own = self._settings.bypass
            path = self._paths[source] = Path(time.monotonic())
            self._valves[source] = Valve(own.failopen_after, own.max_lag)
        return path

    async def _take(self, source: str, records: list[Any]) -> None:
        assert self._feed is not None
        path, began = self._path(source), self._feed.began[source]
        reader, topic = self._readers[records[0].topic], records[0].topic
        for number, record in enumerate(records):
            if not number & 255:
                await asyncio.sleep(0)
            moment = self._feed.moment(record, began)
            if record.offset < began:
                path.waits_since(moment)
            if record.headers and record.headers[0][0] == HEARTBEAT:
                path.beat(record.offset, moment)
                continue
            received, only = record.timestamp / 1000, only_index(record)
            reading = reader.read(record.value, received_at=received, topic=topic)
            found = zip(reading.indices, reading.alerts, strict=True)
            self._accept(source, record.offset, [pair for pair in found if only in (None, pair[0])], received)

    def _accept(self, source: str, offset: int, found: list[Any], received: float) -> None:
        ended, dropped = self._backlog.take(source, offset, found, received)
        self._metrics.bypass_read(len(found), dropped)
        for alert in ended:
            self._pages.ended(alert, source, offset, time.time())

    # -- judging ---------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        assert self._feed is not None
        try:
            seen: Offsets | None = await self._feed.offsets()
        except KafkaError as error:  # then nothing is proven, and age does the rest
            log.warning("cannot see how far the workers are: %r", error)
            seen = None
        for source in self._feed.raw.values():
            self._path(source)
        if seen is not None:
            self._lag = seen.lag()
            for source, path in self._paths.items():
                path.look(source, seen)
        decided = {source: path.decided for source, path in self._paths.items() if path.decided is not None}
        self._backlog.decided(decided)
        self._turn()
        self._decide(decided)
        await self._publish()
        await self._feed.commit(decided)
        await self._keep_house()
        self._measure()

    def _turn(self) -> None:
        assert self._feed is not None
        now, patience = time.monotonic(), min(_WATCH, self._settings.bypass.failopen_after)
        self._watching = self._watching and (now - self._started < patience or not self._feed.caught_up())
        if self._watching:
            return
        before = any(valve.open for valve in self._valves.values())
        for source, valve in self._valves.items():
            valve.turn(self._paths[source].age(now), self._lag)
        after = next((valve for valve in self._valves.values() if valve.open), None)
        if (after is not None) != before:
            self._say(f"bypass open: {after.reason}" if after else "bypass shut: the correlator is back")

    def _decide(self, decided: dict[str, int]) -> None:
        valves, pages, now = self._valves, self._pages, time.time()

        def reason(source: str) -> str:
            return valves[source].reason

        def shut(source: str) -> bool:
            return not self._watching and (source not in valves or not valves[source].open)

        pages.cover([w for w in self._backlog.waiting.values() if valves[w.source].open], reason, now)
        late = [found for found in self._backlog.excess.values() if valves[found.first.source].open]
        pages.overflow(late, reason, now)
        pages.close(decided, shut, now)

    async def _publish(self) -> None:
        assert self._sink is not None
        now = time.monotonic()
        pages = self._pages.due(now)
        if not pages:
            return
        await self._sink.publish(pages)
        self._pages.told(pages, now)
        for page in pages:
            self._metrics.bypass_published(page.value["state"])
            if page.value["state"] == "closed":
                self._over[page.id] = time.time()
            if self._webhook is not None:
                self._webhook.put(orjson.loads(orjson.dumps(page.value)))

    async def _keep_house(self) -> None:
        """Forget incidents that were over long ago, and see whether raw topics have grown."""
        assert self._sink is not None
        assert self._feed is not None
        long_ago = [key for key, at in self._over.items() if time.time() - at > self._retention]
        if long_ago:
            await self._sink.forget(long_ago)
            for key in long_ago:
                del self._over[key]
        if time.monotonic() - self._extended >= _EXTEND:
            self._extended = time.monotonic()
            await self._feed.extend(await partitions(self._settings))

    def _measure(self) -> None:
        now = time.monotonic()
        self._metrics.bypass_state(
            is_open=any(valve.open for valve in self._valves.values()),
            age=max((path.age(now) for path in self._paths.values()), default=0.0),
            lag=self._lag,
            waiting=len(self._backlog.waiting),
            incidents=len(self._pages.open),
        )
