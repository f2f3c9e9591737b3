"""What holds for everybody: the service graphs by version, and which graph and rules are in force.

The topic ``alerts.topology`` has a document per graph, keyed by its content hash, and the entry ``current``: the graph,
the rules and the layout of the shards. One worker, the one that the group gives the controls topic to, writes it. A
change goes out in this order: the document, then a control into every partition of the deciding log (from there on it
holds), then ``current``, which the intakes follow. While a move is under way ``current`` says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from correlator.assemble import placer_for
from correlator.config import Settings
from correlator.engine.rules import Rules
from correlator.errors import BrokerError, StateError
from correlator.place import Placer
from correlator.stream.clients import MAX_BATCH_BYTES, Clients, close
from correlator.stream.layouts import layout_of, number_of
from topology import ServiceGraph

__all__ = ["Bulletin"]

log = logging.getLogger(__name__)

_CURRENT: Final = b"current"
_KEPT: Final = 4


class Bulletin:
    """Reads, and on one worker writes, the topic of graphs."""

    def __init__(self, settings: Settings, clients: Clients, placed_partitions: int) -> None:
        self._settings, self._clients, self._placed_partitions = settings, clients, placed_partitions
        self._documents: dict[str, bytes] = {}
        self._graphs: dict[str, ServiceGraph] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._placer: tuple[str, Placer] | None = None
        self.current: dict[str, Any] | None = None

    async def start(self) -> None:
        """Read everything that was announced, then follow. Raises :class:`BrokerError`."""
        tp = TopicPartition(self._settings.topics.topology, 0)
        consumer = self._consumer = self._clients.reader()
        try:
            await self._clients.start(consumer)
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            await consumer.seek_to_beginning(tp)
            while await consumer.position(tp) < end:
                await self._read(1_000)
        except KafkaError as error:
            raise BrokerError(f"cannot read {tp.topic}: {error!r}") from error
        self._task = asyncio.create_task(self._follow(), name="graphs and rules in force")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._consumer is not None:
            await close(self._consumer)

    async def _follow(self) -> None:
        while True:
            try:
                await self._read(1_000)
            except KafkaError as error:
                log.warning("cannot read the graphs: %r", error)
                await asyncio.sleep(1)

    async def _read(self, timeout_ms: int) -> None:
        assert self._consumer is not None
        for records in (await self._consumer.getmany(timeout_ms=timeout_ms)).values():
            async with self._news:
                for record in records:
                    if record.key == _CURRENT:
                        self.current = orjson.loads(record.value)
                    elif record.value is not None:
                        self._documents[record.key.decode()] = record.value
                self._news.notify_all()

    # -- reading ---------------------------------------------------------------------------------------------

    def graph(self, version: str) -> ServiceGraph:
        """The graph of a version. Raises :class:`StateError` where it was never announced."""
        found = self._graphs.get(version)
        if found is None:
            document = self._documents.get(version)
            if document is None:
                raise StateError(f"{self._settings.topics.topology} has no graph {version}, which the log refers to")
            found = ServiceGraph.from_native(orjson.loads(zlib.decompress(document)))
            self.keep(found)
        return found

    def keep(self, graph: ServiceGraph) -> None:
        """Remember a graph that is at hand."""
        self._graphs[graph.version] = graph
        while len(self._graphs) > _KEPT:
            del self._graphs[next(iter(self._graphs))]

    async def wait_for(self, version: str) -> None:
        """Until the document of ``version`` has been read; at most a minute."""
        async with self._news:
            known = self._news.wait_for(lambda: version in self._documents or version in self._graphs)
            try:
                await asyncio.wait_for(known, 60)
            except TimeoutError:
                raise StateError(
                    f"{self._settings.topics.topology} has no graph {version} after a minute: put "
                    "the topology file of that version back; `correlator repair` explains"
                ) from None

    async def wait_current(self) -> None:
        """Until a graph and rules are in force."""
        async with self._news:
            await self._news.wait_for(lambda: self.current is not None)

    def layout(self) -> int:
        """The number of the layout in force."""
        return number_of(self.current)

    def placer(self) -> Placer:
        """Places alerts on the graph in force."""
        assert self.current is not None
        version = self.current["version"]
        if self._placer is None or self._placer[0] != version:
            self._placer = (version, placer_for(self._settings, self.graph(version)))
        return self._placer[1]

    # -- writing ---------------------------------------------------------------------------------------------

    def in_force(self, graph: ServiceGraph, rules: Rules) -> bool:
        """Whether exactly these are announced."""
        now = self.current
        known = now is not None and now.get("layout") is not None
        return known and now is not None and now["version"] == graph.version and now["rules"] == rules.plain()

    async def announce(self, graph: ServiceGraph, rules: Rules, layout: int | None = None) -> None:
        """Put a graph and rules in force, and the layout of the settings under the number of the one in force, or of
        ``layout``. To be called by the elected writer, or by a move, only. Raises :class:`BrokerError`.
        """
        topics, made = self._settings.topics, self._clients.producer()
        number = number_of(self.current) if layout is None else layout
        self.keep(graph)
        document = zlib.compress(orjson.dumps(graph.to_native()), 6)
        if len(document) > MAX_BATCH_BYTES - 4_096:
            raise BrokerError(f"the graph takes {len(document)} bytes compressed; at most {MAX_BATCH_BYTES - 4_096}")
        plain = rules.plain()
        try:
            await self._clients.start(made)
            if graph.version not in self._documents:
                await made.send_and_wait(topics.topology, document, key=graph.version.encode(), partition=0)
            graph_control: dict[str, Any] = {"type": "graph", "version": graph.version}
            controls = [graph_control, {"type": "rules", "rules": plain}]
            await self._control(made, controls)
            current = {"version": graph.version, "rules": plain, "at": time.time()}
            current["layout"] = layout_of(self._settings, number)
            await made.send_and_wait(topics.topology, orjson.dumps(current), key=_CURRENT, partition=0)
        except KafkaError as error:
            raise BrokerError(f"cannot announce the graph: {error!r}") from error
        finally:
            await close(made)
        async with self._news:
            self._documents[graph.version] = document
            self.current = current
            self._news.notify_all()

    async def note_move(self, move: dict[str, Any] | None) -> None:
        """Say that a move is under way, or that there is none. Raises :class:`BrokerError`."""
        assert self.current is not None
        current, made = {**self.current, "move": move}, self._clients.producer()
        try:
            await self._clients.start(made)
            await made.send_and_wait(self._settings.topics.topology, orjson.dumps(current), key=_CURRENT, partition=0)
        except KafkaError as error:
            raise BrokerError(f"cannot announce the move: {error!r}") from error
        finally:
            await close(made)
        self.current = current

    async def control(self, controls: list[dict[str, Any]]) -> None:
        """Write controls into every partition of the deciding log. Raises :class:`BrokerError`."""
        made = self._clients.producer()
        try:
            await self._clients.start(made)
            await self._control(made, controls)
        except KafkaError as error:
            raise BrokerError(f"cannot write controls: {error!r}") from error
        finally:
            await close(made)

    async def _control(self, made: Any, controls: list[dict[str, Any]]) -> None:
        for number in range(self._placed_partitions):
            batch = made.create_batch()
            for control in controls:
                batch.append(timestamp=round(time.time() * 1000), key=b"", value=orjson.dumps(control))
            await (await made.send_batch(batch, self._settings.topics.placed, partition=number))
