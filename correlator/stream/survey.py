"""What the state holds, as ``correlator shards`` finds it: every partition, with the log applied up to its end.

It changes nothing. Partitions are engines in memory, so what is asked of them are plans and rehearsals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from correlator.assemble import placer_for, placer_of, rules_for
from correlator.config import Settings
from correlator.config_sections import Shards
from correlator.engine.entries import marker_of
from correlator.engine.layout import Moved, written
from correlator.engine.parting import Old, Routes
from correlator.engine.partition import Partition
from correlator.engine.rehome import Rehoming, rehome
from correlator.engine.rules import Rules
from correlator.engine.state import AlertState
from correlator.engine.store import Store
from correlator.errors import BrokerError, StateError
from correlator.stream import clients, topics
from correlator.stream.bulletin import Bulletin
from correlator.stream.changelog import last_values
from correlator.stream.intake import partition_of
from correlator.stream.layouts import layout_of, number_of, refusal
from correlator.stream.refusals import refusal as unfit
from correlator.stream.rejected import records
from correlator.stream.repair import alive, bounds_of
from correlator.stream.topics import TopicState
from topology import ServiceGraph

__all__ = ["Survey", "survey", "wanted"]

_SHOWN: Final = 5


@dataclass
class Survey:
    """An installation and the layout that ``settings`` and ``graph`` ask for.

    ``states`` are the topics, ``unplaced`` has the raw partitions that are placed only in part, in words; ``number`` is
    that of the next layout, ``transactions`` whether the broker has them.
    """

    settings: Settings
    graph: ServiceGraph
    states: list[TopicState]
    partitions: dict[int, Partition]
    bulletin: Bulletin
    members: int
    unplaced: list[str]
    transactions: bool

    @property
    def number(self) -> int:
        """The number of the layout that a move would bring."""
        return number_of(self.current) + 1

    @property
    def current(self) -> dict[str, Any]:
        """The graph, rules and layout in force."""
        assert self.bulletin.current is not None
        return self.bulletin.current

    @property
    def grows(self) -> dict[str, tuple[int, int]]:
        """Topics that need more partitions: how many they have, and how many they need."""
        return {
            s.plan.name: (s.partitions, s.plan.partitions)
            for s in self.states
            if s.plan.fixed and s.partitions is not None and s.partitions != s.plan.partitions
        }

    @property
    def begun(self) -> bool:
        """Whether a move has begun in the log."""
        return any(p.layout.moving or p.layout.number >= self.number for p in self.partitions.values())

    @property
    def ended(self) -> bool:
        """Whether it has ended in some partition, so that all that arrives has been written."""
        return any(p.layout.number >= self.number for p in self.partitions.values())

    def plan(self) -> Rehoming:
        """What goes where. O(state)."""
        placer, partitions = placer_for(self.settings, self.graph), self.settings.topics.partitions
        layout = self.current.get("layout")
        before = None
        if layout is not None:
            known = Shards.model_validate(layout["shards"])
            before = placer_of(known, self.bulletin.graph(self.current["version"]))
        routes = Routes(
            lambda service, labels: placer.spot(service, labels)[0],
            placer.shard_of_service,
            lambda service: None if before is None else before.shard_of_service(service),
            placer.possible,
            lambda shard: partition_of(shard, partitions),
        )
        olds, marks = [], dict[str, list[int]]()
        for number, partition in sorted(self.partitions.items()):
            olds += [Old(number, shard, partition.applied, routes) for shard in partition.shards.values()]
            for source, mark in partition.layout.floor.items():
                marks[source] = max(mark, marks.get(source, [-1, -1]))
        return rehome(olds, routes, marks)

    def needed(self, found: Rehoming) -> bool:
        """Whether there is anything to do: something moves, topics grow, or workers would be refused."""
        current = {**self.current, "move": None}
        laid_out = current.get("layout") is not None
        why = refusal(current, self.bulletin.graph, self.settings, self.graph)
        return bool(found.legs or self.grows or why is not None or not laid_out)

    def parts(self, found: Rehoming) -> dict[int, list[dict[str, Any]]]:
        """The parts of the move by partition."""
        watermarks: dict[str, float] = {}
        raw = 0
        for partition in self.partitions.values():
            raw = max(raw, partition.watermarks.partitions)
            for source, at in partition.watermarks.read.items():
                watermarks[source] = max(at, watermarks.get(source, at))
        tick = {"watermarks": watermarks, "partitions": raw}
        return {
            number: written(
                self.number,
                Moved(found.leave.get(number, []), found.arrive.get(number, {}), found.marks, tick),
            )
            for number in range(self.settings.topics.partitions)
        }

    def opening(self, number: int) -> list[dict[str, Any]]:
        """What is written into a partition before the move begins there: what every other one has been told."""
        current = self.current
        known = self.partitions.get(number)
        controls: list[dict[str, Any]] = [{"type": "graph", "version": current["version"]}]
        controls.append({"type": "rules", "rules": current["rules"]})
        for id, window in sorted(self.partitions[0].windows.items()):
            if known is None or id not in known.windows:
                controls.append(window)
        return [*controls, {"type": "move_begin", "layout": self.number}]

    def closing(self) -> list[dict[str, Any]]:
        """What ends the move in a partition."""
        return [{"type": "move_end", "layout": self.number}]

    def rehearse(self, found: Rehoming) -> dict[str, dict[str, Any]]:
        """Do it in memory; last value of every incident that would be published, by id.

        The survey is used up by it. Raises :class:`StateError` where it would go wrong, in words.
        """
        firing = {alert.fingerprint for alert in self._alerts() if alert.firing}
        self.bulletin.keep(self.graph)
        last: dict[str, dict[str, Any]] = {}
        parts = self.parts(found)
        after: list[dict[str, Any]] = [{"type": "graph", "version": self.graph.version}]
        after.append({"type": "rules", "rules": rules_for(self.settings).plain()})
        for number in range(self.settings.topics.partitions):
            partition = self.partitions.setdefault(number, _engine(self.bulletin))
            for control in (*self.opening(number), *parts[number], *self.closing(), *after):
                partition.apply(partition.applied + 1, 0.0, "", orjson.dumps(control))  # no time passes
            for id, value in partition.take(entries=False).incidents:
                if value is not None and value["revision"] >= last.get(id, value)["revision"]:
                    last[id] = value
        lost = firing - {alert.fingerprint for alert in self._alerts()}
        if lost:
            named = ", ".join(sorted(lost)[:_SHOWN])
            raise StateError(f"{len(lost)} alerts that fire would be lost in the move ({named}): nothing was changed")
        for name, figures in [found for p in self.partitions.values() for found in p.figures().items()]:
            if figures["inputs"] != figures["transitions"] or figures["active"] != figures["counted"]:
                raise StateError(f"shard {name} would not add up after the move ({figures}): nothing was changed")
        return last

    def stores(self) -> Iterator[tuple[int, Store]]:
        """Every shard's store, with its partition."""
        for number, partition in sorted(self.partitions.items()):
            for _, shard in sorted(partition.shards.items()):
                yield number, shard.store

    def _alerts(self) -> Iterator[AlertState]:
        for _, store in self.stores():
            yield from store.alerts.values()


def _engine(bulletin: Bulletin) -> Partition:
    """An empty partition that knows the graphs that were announced."""
    return Partition(ServiceGraph.empty(), Rules(), bulletin.graph)


async def survey(settings: Settings, graph: ServiceGraph, bulletin: Bulletin, before: Survey | None = None) -> Survey:
    """Look at the installation; ``bulletin`` is started. Reads the whole state. After a look ``before`` it
    is not asked again what the broker can do and who is alive.

    Raises :class:`BrokerError` and :class:`StateError`, where state and log do not fit together or no worker has ever
    run.
    """
    if bulletin.current is None:
        raise StateError("no worker has run here yet: there is nothing to move")
    states = await topics.inspect(settings)
    counts = _counts(states)
    if before is None:
        exact = await clients.has_transactions(settings, settings.worker.application)
        members = await alive(settings, counts, exact)
    else:
        exact, members = before.transactions, before.members
    entries = await last_values(settings, counts[settings.topics.placed])
    bounds = await bounds_of(settings, counts[settings.topics.placed], exact)
    partitions = {}
    for number, known in entries.items():
        marker = marker_of(known)
        wrong = unfit(settings.topics.placed, number, marker, len(known), bounds[number][0])
        if wrong is not None:
            raise wrong.error(number)
        partition = partitions[number] = _engine(bulletin)
        partition.load(known)
        if not known:
            partition.applied = bounds[number][0].first - 1
        await _catch_up(settings, number, partition)
    unplaced = await _unplaced(settings, counts, partitions)
    return Survey(settings, graph, states, partitions, bulletin, members, unplaced, exact)


async def _catch_up(settings: Settings, number: int, partition: Partition) -> None:
    """Apply the log of a partition up to its end. Raises :class:`BrokerError`."""
    async for record in records(settings, settings.topics.placed, partition=number, start=partition.applied + 1):
        key = record.key.decode() if record.key else ""
        partition.apply(record.offset, record.timestamp / 1000, key, record.value)


def _counts(states: list[TopicState]) -> dict[str, int]:
    """Partitions by topic, after refusing what adding partitions does not mend."""
    problems = []
    for state in states:
        plan, has = state.plan, state.partitions
        if has is None:
            problems.append(f"{plan.name} is missing")
        elif plan.fixed and has > plan.partitions:
            problems.append(f"{plan.name} has {has} partitions, wanted {plan.partitions}: partitions can only be added")
        problems += [f"{plan.name}: {what}" for what in state.differences if not what.startswith("partitions")]
    if problems:
        raise BrokerError("topics: " + "; ".join(problems))
    return {state.plan.name: state.partitions or 0 for state in states}


async def _unplaced(settings: Settings, counts: Mapping[str, int], partitions: Mapping[int, Partition]) -> list[str]:
    """Raw partitions of which alerts are placed that the group has not committed: others with them may not be."""
    highest: dict[str, int] = {}
    for partition in partitions.values():
        for source, offset in partition.marks().items():
            highest[source] = max(offset, highest.get(source, -1))
    tps = [TopicPartition(topic, number) for topic in settings.topics.raw for number in range(counts[topic])]
    admin = clients.admin(settings)
    try:
        await admin.start()
        read = await admin.list_consumer_group_offsets(settings.worker.application, partitions=tps)
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await admin.close()
    found = []
    for tp in tps:
        placed, committed = highest.get(f"{tp.topic}/{tp.partition}", -1), read[tp].offset
        if placed >= max(0, committed):
            found.append(
                f"{tp.topic}/{tp.partition} is placed up to offset {placed}, but committed up to {committed - 1}"
            )
    return found[:_SHOWN]


def wanted(seen: Survey) -> dict[str, Any]:
    """What is noted while the move is under way: the layout, and the graph that it is for."""
    return {**layout_of(seen.settings, seen.number), "version": seen.graph.version}
