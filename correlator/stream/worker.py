"""One worker: the composition root of the stream. What its agents do, owners, and the order of start and stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
from faust.types import TP

from correlator.assemble import change_reader_for, reader_for, rules_for
from correlator.config import Settings
from correlator.engine.entries import marker_of
from correlator.engine.partition import Partition
from correlator.errors import BrokerError, ControlError, CorrelatorError, StateError
from correlator.metrics import Metrics
from correlator.stream import controls
from correlator.stream.app import Agent, app_of
from correlator.stream.bulletin import Bulletin
from correlator.stream.calendars import Calendars
from correlator.stream.changes import ChangeIntake
from correlator.stream.clients import Clients
from correlator.stream.intake import Intake
from correlator.stream.layouts import elsewhere, refusal
from correlator.stream.owner import Owner, Surroundings
from correlator.stream.owners import Owners
from correlator.stream.recovery import Duties
from correlator.stream.refusals import raw_anew
from correlator.stream.standby import Standbys
from correlator.stream.topics import state_topic
from correlator.stream.windows import saved_windows
from topology import ServiceGraph

__all__ = ["Worker"]

log = logging.getLogger(__name__)

#: Seconds from a rebalance to the collection of what it left, so that the take-over does not wait for it.
_COLLECT: Final = 5.0


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
        connect: Clients,
    ) -> None:
        self.settings, self.graph, self.metrics, self._clients = settings, graph, metrics, connect
        self.rules = rules_for(settings)
        self.transactions = transactions
        self.partitions = partitions
        self.failure: asyncio.Future[CorrelatorError] = asyncio.get_running_loop().create_future()
        self.bulletin = Bulletin(settings, connect, partitions[settings.topics.placed])
        readers = {topic: reader_for(settings, topic) for topic in settings.topics.raw}
        follow = self.bulletin
        self.intake = Intake(
            settings, connect, readers, follow.placer, follow.layout, partitions, metrics, self.fail, self._seek
        )
        self.changes = ChangeIntake(settings, connect, change_reader_for(settings), follow.placer, partitions, metrics)
        self.calendars = Calendars(
            settings.maintenance,
            self.rules.max_windows,
            lambda: self.leader and self.ready,
            self._windows,
            self.bulletin.control,
        )
        self._aside: asyncio.Task[None] | None = None
        self.standbys = Standbys(settings, connect, metrics, self._built)
        self.owners = Owners(self._owner)
        self.leader = False
        self.ready = False
        self._revoking: float | None = None
        agents = {
            "intake": Agent(settings.topics.raw, self._each(self._intake)),
            "correlate": Agent((settings.topics.placed,), self._each(self._correlate)),
            "changes": Agent(settings.topics.changes, self._each(self._change)),
            "controls": Agent((settings.topics.controls,), self._each(self._control)),
        }
        duties = Duties(self._take_over, self._begin, self.fail)
        self.app = app_of(settings, name, partitions[settings.topics.placed], agents, duties)
        self.app.timer(settings.checkpoint.tick_interval)(self._tick)
        self.app.on_partitions_revoked.connect(self._revoked, weak=False)

    # -- events ----------------------------------------------------------------------------------------------

    def _each(self, work: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """Does ``work`` on every event. Faust would acknowledge one that raises, and go on: here the worker stops."""

        async def agent(stream: Any) -> None:
            async for event in stream.noack().events():
                try:
                    await work(event)
                except CorrelatorError as error:
                    self.fail(error)
                except Exception as error:
                    place = f"{event.message.topic}/{event.message.partition}/{event.message.offset}"
                    log.exception("cannot process the fetch that ends at %s", place)
                    self.fail(CorrelatorError(f"{place}: {error!r}", reason="crashed"))

        return agent

    async def _intake(self, event: Any) -> None:
        await self.bulletin.wait_current()
        await self.intake.take(event, event.value)

    async def _correlate(self, event: Any) -> None:
        owner = self.owners.get(event.message.partition)
        if owner is None:
            return
        for record in event.value:
            if record.value is not None and record.value.startswith(b'{"type":"graph"'):
                await self.bulletin.wait_for(orjson.loads(record.value)["version"])
        await owner.feed(event, event.value)

    async def _change(self, event: Any) -> None:
        await self.bulletin.wait_current()
        await self.changes.take(event.value)
        event.ack()

    async def _control(self, event: Any) -> None:
        good = []
        for record in event.value:
            try:
                good.append(controls.read(record.value))
            except ControlError as error:
                log.warning("%s/%d: %s", record.topic, record.offset, error)
                self.metrics.rejected("wrong_type")
        while good:
            try:
                await self.bulletin.control(good)
                break
            except BrokerError as error:
                log.warning("%s", error)
                await asyncio.sleep(1)
        event.ack()

    async def _windows(self) -> Mapping[str, Any]:
        """The maintenance windows in force: of a partition of ours, else as they were saved."""
        owner = next((owner for owner in self.owners if owner.running), None)
        return dict(owner.partition.windows) if owner is not None else await saved_windows(self.settings)

    # -- partitions ------------------------------------------------------------------------------------------

    async def _take_over(self, wanted: set[int], standby: set[int], superseded: Callable[[], bool]) -> None:
        """Own exactly the partitions ``wanted``; follow those in ``standby``, from what we know of them as owners."""
        self._check_layout()
        self.metrics.rebalanced()
        left = [owner for owner in self.owners if owner.number not in wanted]
        for owner in left:
            replica = owner.replica() if owner.number in standby else None
            if replica is not None:
                self.standbys.keep(owner.number, replica)
        if await self.owners.take_over(wanted, superseded, self._lead):
            self.standbys.follow(standby)
            if left:  # what they leave is full of cycles, and the collector walks what is old every ten minutes only
                asyncio.get_running_loop().call_later(_COLLECT, gc.collect)

    async def _lead(self) -> None:
        """Announce graph and rules, if the group chose us for that."""
        self.leader = TP(self.settings.topics.controls, 0) in self.app.consumer.assignment()
        if self.leader and not self.bulletin.in_force(self.graph, self.rules):
            await self.bulletin.announce(self.graph, self.rules)

    def _check_layout(self) -> None:
        """Raises :class:`StateError` where alerts would be placed in other shards than those that know them."""
        why = refusal(self.bulletin.current, self.bulletin.graph, self.settings, self.graph)
        if why is not None:
            raise StateError(why)

    async def _begin(self, assigned: set[Any]) -> dict[Any, int]:
        """From where to read: the decided log after what was applied, raw topics after what was placed."""
        consumer, placed = self.app.consumer, self.settings.topics.placed
        raw = [tp for tp in assigned if tp.topic in self.settings.topics.raw]
        at = {tp: consumer._read_offset.get(tp) for tp in raw}
        unread = [tp for tp, offset in at.items() if offset is None]
        first = await consumer.earliest_offsets(*unread) if unread else {}
        starts = {tp: int(first[tp] if offset is None else offset) for tp, offset in at.items()}
        if self.transactions:
            await self._check_raw(starts)
        await self.intake.begin(starts)
        self.ready = True
        found = {TP(placed, owner.number): owner.position for owner in self.owners}
        return {tp: offset for tp, offset in (found | starts).items() if tp in assigned}

    async def _check_raw(self, starts: dict[Any, int]) -> None:
        """Refuse raw topics with fewer records than were read: what is new in them would be taken for a repeat."""
        counted = dict(starts)
        for owner in self.owners:
            for source, offset in owner.partition.marks().items():
                topic, _, number = source.rpartition("/")
                tp = TP(topic, int(number))
                if topic in self.settings.topics.raw and tp.partition < self.partitions[topic]:
                    counted[tp] = max(offset + 1, counted.get(tp, 0))
        for tp, end in (await self.app.consumer.highwaters(*counted) if counted else {}).items():
            if counted[TP(*tp)] > end:
                raise raw_anew(f"{tp.topic}/{tp.partition}", counted[TP(*tp)], end).error(None)

    def _partition(self) -> Partition:
        return Partition(ServiceGraph.empty(), type(self.rules)(), self.bulletin.graph)

    async def _built(self, entries: Mapping[bytes, bytes]) -> Partition:
        """The engine's state of saved entries, built in a thread. Raises what :meth:`Partition.load` does."""
        marker = marker_of(entries)
        if marker is not None:
            await self.bulletin.wait_for(marker["graph"])
        partition = self._partition()
        await asyncio.to_thread(partition.load, entries)
        return partition

    def _owner(self, number: int) -> Owner:
        async def seek(number: int, offset: int) -> None:
            await self._seek(TP(self.settings.topics.placed, number), offset)

        def mine(number: int) -> bool:
            tp = TP(self.settings.topics.placed, number)
            return not self.app.rebalancing and tp in self.app.consumer.assignment()

        return Owner(
            self.settings,
            number,
            Surroundings(
                clients=self._clients,
                make=self._partition,
                state=self.standbys.read,
                graph_known=self.bulletin.wait_for,
                seek=seek,
                mine=mine,
                is_member=lambda: self.app.consumer.is_member(),
                failed=self.fail,
            ),
            transactions=self.transactions,
            rejected_partitions=self.partitions[self.settings.topics.rejected],
            metrics=self.metrics,
        )

    async def _seek(self, tp: Any, offset: int) -> None:
        if not self.app.rebalancing and tp in self.app.consumer.assignment():
            log.info("%s/%d: reading goes on at offset %d", tp.topic, tp.partition, offset)
            await self.app.consumer.seek_wait({tp: offset})

    async def _revoked(self, _: Any, revoked: set[Any], **__: Any) -> None:
        self.ready = False
        self._revoking = time.monotonic()
        self.standbys.hold()
        await self.intake.release({tp for tp in revoked if tp.topic in self.settings.topics.raw})
        await self.owners.suspend(tp.partition for tp in revoked if tp.topic == self.settings.topics.placed)
        await self._commit()
        self._revoking = None  # and not when it raises: Faust would never come back to the group

    async def _commit(self) -> None:
        """Commit while the group still lets us; what is not committed is read again, and ignored."""
        with suppress(Exception):
            async with asyncio.timeout(self.settings.broker.session_timeout / 2):
                await self.app.consumer.commit()

    # -- time ------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        self._watch()
        if self.ready and not self.app.rebalancing:
            assigned = self.app.consumer.assignment()
            self.intake.beat(assigned)
            self._measure(assigned)

    def _watch(self) -> None:
        """Stop when work waits and nothing has moved for too long: another worker, or a new process, may do better."""
        limit = self.settings.worker.stall_timeout
        if self.intake.stuck() > limit:
            self.fail(StateError(f"intake: nothing acknowledged by the broker for {limit:g} s", reason="stalled"))
        if self._revoking is not None and time.monotonic() - self._revoking > limit:
            self.fail(StateError(f"partitions not given up for {limit:g} s after the group asked", reason="stalled"))
        if self.app.rebalancing:
            return
        for owner in self.owners:
            if owner.stuck() > limit:
                self.fail(StateError(f"partition {owner.number}: no checkpoint for {limit:g} s", reason="stalled"))

    def _measure(self, assigned: set[Any]) -> None:
        consumer, placed = self.app.consumer, self.settings.topics.placed
        for tp in assigned:
            end = consumer.highwater(tp)
            if end is None or tp.topic == state_topic(self.settings):
                continue
            read = consumer._read_offset.get(tp)
            owner = self.owners.get(tp.partition) if tp.topic == placed else None
            at = 0 if read is None else read + 1
            if owner is not None:
                at = owner.position
            self.metrics.consumer_lag(tp.topic, tp.partition, max(0, end - at))
        for name, mark in self.intake.watermarks.items():
            self.metrics.watermark(int(name.rpartition("/")[2]), mark)

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
        self._check_layout()
        self.standbys.start().add_done_callback(self._ended)
        await self.intake.start()
        await self.changes.start()
        self._aside = asyncio.create_task(self.calendars.run(), name="calendars")
        self._aside.add_done_callback(self._ended)
        await self.app.start()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.fail(CorrelatorError(f"{task.get_name()}: {task.exception()!r}", reason="crashed"))

    async def stop(self) -> None:
        """Checkpoint, commit and leave the group."""
        self.ready = False
        if self._aside is not None:
            self._aside.cancel()
        await self.intake.stop()
        await self.owners.suspend()
        await self._commit()
        await self.app.stop()
        await self.standbys.stop()
        await self.changes.stop()
        await self.owners.close()
        await self.bulletin.stop()

    async def reload(self, settings: Settings, graph: ServiceGraph) -> None:
        """Put a changed graph and changed rules in force. Raises :class:`ControlError` when it would move services."""
        from correlator.assemble import placer_for

        moved = placer_for(self.settings, self.graph).moved(placer_for(settings, graph))
        if moved:
            raise ControlError(f"refused: {elsewhere(moved)}")
        self.graph, self.rules = graph, rules_for(settings)
        self.calendars.settings, self.calendars.room = settings.maintenance, self.rules.max_windows
        if self.leader and not self.bulletin.in_force(graph, self.rules):
            await self.bulletin.announce(graph, self.rules)
            self.metrics.graph(graph.version, time.time(), len(graph), graph.edge_count)
