"""One worker: the composition root of the stream. Agents, owners, timers and the order of start and stop."""

from __future__ import annotations

import asyncio
import logging
import time
import types
from collections.abc import AsyncIterable
from typing import Any

import faust
import orjson
from faust.types import TP
from yarl import URL

from correlator.assemble import reader_for, rules_for
from correlator.config import Settings
from correlator.engine.partition import Partition
from correlator.errors import ControlError, CorrelatorError, FencedError, StateError
from correlator.metrics import Metrics
from correlator.stream import clients, controls
from correlator.stream.bulletin import Bulletin
from correlator.stream.intake import Intake
from correlator.stream.owner import Owner
from correlator.stream.recovery import Recovery, StateTable, TableManager
from correlator.stream.topics import state_topic
from correlator.stream.transport import BatchTransport
from topology import ServiceGraph

__all__ = ["Worker"]

log = logging.getLogger(__name__)


class Worker:
    """Everything that one process runs. Made by :func:`correlator.stream.run.run`."""

    def __init__(
        self,
        settings: Settings,
        graph: ServiceGraph,
        partitions: dict[str, int],
        *,
        transactions: bool,
        metrics: Metrics,
        name: str,
    ) -> None:
        self.settings, self.graph, self.metrics = settings, graph, metrics
        self.rules = rules_for(settings)
        self.transactions = transactions
        self.partitions = partitions
        self.failure: asyncio.Future[CorrelatorError] = asyncio.get_running_loop().create_future()
        self.bulletin = Bulletin(settings, partitions[settings.topics.placed])
        readers = {topic: reader_for(settings, topic) for topic in settings.topics.raw}
        self.intake = Intake(settings, readers, self.bulletin.placer, partitions, metrics, self.fail)
        self.owners: dict[int, Owner] = {}
        self.leader = False
        self.ready = False
        self.app = self._make_app(name)

    # -- Faust -----------------------------------------------------------------------------------------------

    def _make_app(self, name: str) -> Any:
        settings, worker = self.settings, self
        broker = settings.broker
        app = faust.App(
            settings.worker.application,
            broker=[URL(f"kafka://{address}") for address in broker.bootstrap],
            broker_credentials=clients.credentials(settings),
            broker_session_timeout=broker.session_timeout,
            broker_heartbeat_interval=broker.session_timeout / 3,
            broker_request_timeout=broker.request_timeout,
            broker_commit_interval=1.0,
            broker_max_poll_records=4_000,
            consumer_max_fetch_size=clients.MAX_BATCH_BYTES * 2,
            consumer_auto_offset_reset="earliest",
            store="memory://",
            topic_partitions=self.partitions[settings.topics.placed],
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=False,
            stream_buffer_maxsize=16,
            stream_recovery_delay=0.0,
            producer_max_request_size=clients.MAX_BATCH_BYTES,
            canonical_url=f"http://{name}",
            web_enabled=False,
            TableManager=TableManager,
            logging_config=None,
        )
        app._new_transport = types.MethodType(lambda self: BatchTransport(self.conf.broker_consumer, self), app)
        raw = {"key_type": bytes, "value_type": None, "key_serializer": "raw", "value_serializer": "raw"}
        topics = settings.topics
        app.tables.add(StateTable(app, name="state", partitions=self.partitions[topics.placed]))

        class OwnRecovery(Recovery):
            take_over = staticmethod(worker._take_over)

        app.tables._recovery = OwnRecovery(app, app.tables, beacon=app.tables.beacon)

        @app.agent(app.topic(*topics.raw, **raw), name="intake")
        async def intake(stream: Any) -> None:
            async for event in _events(stream):
                await worker.bulletin.wait_current()
                await worker.intake.take(event, event.value)

        @app.agent(app.topic(topics.placed, **raw), name="correlate")
        async def correlate(stream: Any) -> None:
            async for event in _events(stream):
                await worker._correlate(event)

        @app.agent(app.topic(topics.controls, **raw), name="controls")
        async def control(stream: Any) -> None:
            async for event in _events(stream):
                await worker._control(event)

        app.timer(settings.checkpoint.tick_interval)(self._tick)
        app.on_partitions_revoked.connect(self._revoked, weak=False)
        return app

    async def _correlate(self, event: Any) -> None:
        owner = self.owners.get(event.message.partition)
        if owner is None:
            return
        for record in event.value:
            if record.value is not None and record.value.startswith(b'{"type":"graph"'):
                await self.bulletin.wait_for(orjson.loads(record.value)["version"])
        await owner.feed(event, event.value)

    async def _control(self, event: Any) -> None:
        good = []
        for record in event.value:
            try:
                good.append(controls.read(record.value))
            except ControlError as error:
                log.warning("%s/%d: %s", record.topic, record.offset, error)
                self.metrics.rejected("wrong_type")
        if good:
            await self.bulletin.control(good)
        event.ack()

    # -- partitions ------------------------------------------------------------------------------------------

    async def _take_over(self, wanted: set[int]) -> dict[Any, int]:
        """Own exactly the partitions ``wanted``; the positions to read ``alerts.placed`` from."""
        for number in sorted(set(self.owners) - wanted):
            await self.owners.pop(number).close()
        fresh = []
        for number in sorted(wanted):
            owner = self.owners.get(number)
            if owner is not None and await owner.current():
                owner.resume()
                continue
            if owner is not None:
                await owner.close()
            self.owners[number] = self._owner(number)
            fresh.append(self.owners[number])
        await asyncio.gather(*(owner.open() for owner in fresh))
        assignment = self.app.consumer.assignment()
        self.leader = TP(self.settings.topics.controls, 0) in assignment
        if self.leader and not self.bulletin.in_force(self.graph, self.rules):
            await self.bulletin.announce(self.graph, self.rules)
        self.ready = True
        return {TP(self.settings.topics.placed, n): o.position for n, o in self.owners.items()}

    def _owner(self, number: int) -> Owner:
        def make() -> Partition:
            return Partition(ServiceGraph.empty(), type(self.rules)(), self.bulletin.graph)

        return Owner(
            self.settings,
            number,
            make,
            transactions=self.transactions,
            metrics=self.metrics,
            seek=self._seek,
            failed=self.fail,
        )

    async def _seek(self, number: int, offset: int) -> None:
        tp = TP(self.settings.topics.placed, number)
        if tp in self.app.consumer.assignment():
            await self.app.consumer.seek_wait({tp: offset})

    async def _revoked(self, _: Any, revoked: set[Any], **__: Any) -> None:
        self.ready = False
        await self.intake.release({tp for tp in revoked if tp.topic in self.settings.topics.raw})
        placed = self.settings.topics.placed
        owners = [self.owners[tp.partition] for tp in revoked if tp.topic == placed and tp.partition in self.owners]
        await asyncio.gather(*(owner.suspend() for owner in owners))

    # -- time ------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        if not self.ready or self.app.rebalancing:
            return
        assigned = self.app.consumer.assignment()
        await self.intake.beat(assigned)
        self._measure(assigned)
        stalled = self.settings.worker.stall_timeout
        for owner in self.owners.values():
            waiting = owner.waiting()
            if waiting and time.monotonic() - owner.progress > stalled:
                self.fail(StateError(f"partition {owner.number}: no checkpoint for {stalled:.0f} s", reason="stalled"))

    def _measure(self, assigned: set[Any]) -> None:
        consumer, placed = self.app.consumer, self.settings.topics.placed
        for tp in assigned:
            end = consumer.highwater(tp)
            if end is None or tp.topic == state_topic(self.settings):
                continue
            read = consumer._read_offset.get(tp)
            if tp.topic == placed and tp.partition in self.owners:
                at = self.owners[tp.partition].position
            else:
                at = 0 if read is None else read + 1
            self.metrics.consumer_lag(tp.topic, tp.partition, max(0, end - at))
        for name, at in self.intake.watermarks.items():
            self.metrics.watermark(int(name.rpartition("/")[2]), at)

    # -- life ------------------------------------------------------------------------------------------------

    def fail(self, error: CorrelatorError) -> None:
        """Something that this worker cannot mend: it stops with this error."""
        if not self.failure.done():
            self.failure.set_result(error)

    async def start(self) -> None:
        """Start everything; returns when Faust's services run."""
        self.metrics.graph(self.graph.version, time.time(), len(self.graph), self.graph.edge_count)
        await self.bulletin.start()
        self.bulletin.keep(self.graph)
        await self.intake.start()
        await self.app.start()

    async def stop(self) -> None:
        """Checkpoint, commit and leave the group."""
        self.ready = False
        await self.intake.stop()
        await asyncio.gather(*(owner.suspend() for owner in self.owners.values()))
        await self.app.stop()
        for owner in self.owners.values():
            await owner.close()
        await self.bulletin.stop()

    async def reload(self, settings: Settings, graph: ServiceGraph) -> None:
        """Put a changed graph and changed rules in force. Raises :class:`ControlError` when it would move services."""
        from correlator.assemble import placer_for

        moved = placer_for(self.settings, self.graph).moved(placer_for(settings, graph))
        if moved:
            listed = ", ".join(f"{service} ({old} -> {new})" for service, old, new in moved[:10])
            raise ControlError(f"refused: {len(moved)} services would move to another shard: {listed}")
        self.graph, self.rules = graph, rules_for(settings)
        if self.leader and not self.bulletin.in_force(graph, self.rules):
            await self.bulletin.announce(graph, self.rules)
            self.metrics.graph(graph.version, time.time(), len(graph), graph.edge_count)


async def _events(stream: Any) -> AsyncIterable[Any]:
    async for event in stream.noack().events():
        yield event


assert FencedError
