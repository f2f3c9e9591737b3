"""``correlator repair``, the looking: state and log of every partition, and whether they fit together.

It changes nothing and may be done at any time; :mod:`correlator.stream.mend` does the rest.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from correlator.config import Settings
from correlator.engine.entries import by_shard, marker_of
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from correlator.errors import BrokerError, StateError
from correlator.stream import clients, rejected, topics
from correlator.stream.changelog import last_values
from correlator.stream.intake import HEARTBEAT
from correlator.stream.refusals import Bounds, Refusal, command, raw_anew, refusal, unreadable
from topology import ServiceGraph

__all__ = ["Found", "Look", "Raw", "alive", "bounds_of", "lines", "look", "metas"]

_EMPTY: Final = ("Empty", "Dead")


class Found(NamedTuple):
    """One partition as it is. ``applied``, ``schema`` and ``graph`` are None without a marker."""

    number: int
    entries: dict[bytes, bytes]
    applied: int | None
    schema: int | None
    graph: str | None
    graph_known: bool
    bounds: Bounds
    began_at: float | None  # time of the first record of the log
    refusal: Refusal | None

    def row(self) -> dict[str, Any]:
        """As plain data."""
        wrong = self.refusal
        return {
            "partition": self.number,
            "entries": len(self.entries),
            "marker": self.applied is not None,
            "applied": self.applied,
            "schema": self.schema,
            "graph": self.graph,
            "graph_known": self.graph_known,
            "log_start": self.bounds.first,
            "log_end": self.bounds.end,
            "problem": None if wrong is None else wrong.reason,
            "text": None if wrong is None else wrong.text,
            "advice": None if wrong is None else wrong.advice,
            "choices": {} if wrong is None else wrong.choices,
        }


class Raw(NamedTuple):
    """A raw partition that was made anew below what the group has read."""

    tp: TopicPartition
    refusal: Refusal
    first: int


class Look(NamedTuple):
    """Everything that was seen. ``members`` are the living workers; ``current`` is the graph and the rules in force."""

    partitions: list[Found]
    raw: list[Raw]
    members: int
    current: dict[str, Any] | None


async def look(settings: Settings) -> Look:
    """Look at the installation. Reads the whole state. Raises :class:`BrokerError`."""
    counts = await topics.require(settings)
    exact = await clients.has_transactions(settings, settings.worker.application)
    state = await last_values(settings, settings.topics.partitions)
    graphs, current = await _graphs(settings)
    bounds = await bounds_of(settings, settings.topics.partitions, exact)
    found = []
    for number, entries in state.items():
        at, began = bounds[number]
        found.append(_found(settings, number, entries, at, began, graphs))
    raw = await _raw(settings, counts, found) if exact else []
    return Look(found, raw, await alive(settings, counts, exact), current)


def _found(
    settings: Settings,
    number: int,
    entries: dict[bytes, bytes],
    at: Bounds,
    began: float | None,
    graphs: dict[str, bytes],
) -> Found:
    topic, marker = settings.topics.placed, None
    try:
        marker = marker_of(entries)
        wrong = refusal(topic, number, marker, len(entries), at, set(graphs))
        if wrong is None:
            _rebuild(entries, graphs)
        elif wrong.reason != "newer_schema":
            by_shard(entries.items())
    except StateError as error:
        wrong = unreadable(topic, number, error, at.first)
    if marker is None:
        return Found(number, entries, None, None, None, False, at, began, wrong)
    graph = marker.get("graph")
    return Found(number, entries, marker.get("applied"), marker.get("schema"), graph, graph in graphs, at, began, wrong)


def metas(found: Found) -> dict[bytes, dict[str, Any]]:
    """What belongs to each shard as a whole, by the key of its entry."""
    if found.refusal is not None and found.refusal.reason in ("newer_schema", "unreadable"):
        return {}  # its form is not known here
    return {key: orjson.loads(value) for key, value in found.entries.items() if key.split(b"\x1f")[1:2] == [b"m"]}


def _rebuild(entries: dict[bytes, bytes], graphs: dict[str, bytes]) -> None:
    """Try whether the engine can go on from the entries. Raises :class:`StateError` where it cannot."""

    def graph(version: str) -> ServiceGraph:
        return ServiceGraph.from_native(orjson.loads(zlib.decompress(graphs[version])))

    Partition(ServiceGraph.empty(), Rules(), graph).load(entries)


async def _graphs(settings: Settings) -> tuple[dict[str, bytes], dict[str, Any] | None]:
    known: dict[str, bytes] = {}
    current: dict[str, Any] | None = None
    async for record in rejected.records(settings, settings.topics.topology):
        key = (record.key or b"").decode(errors="replace")
        if key == "current":
            current = orjson.loads(record.value) if record.value else None
        elif record.value is None:
            known.pop(key, None)
        else:
            known[key] = record.value
    return known, current


async def bounds_of(settings: Settings, partitions: int, exact: bool) -> dict[int, tuple[Bounds, float | None]]:
    """Start, end and time of the first record of the first ``partitions`` placed partitions."""
    consumer = clients.reader(settings)
    tps = [TopicPartition(settings.topics.placed, number) for number in range(partitions)]
    found = {}
    try:
        await consumer.start()
        first, end = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        for tp in tps:
            began = None
            if end[tp] > first[tp]:
                consumer.assign([tp])
                await consumer.seek_to_beginning(tp)
                batch = await consumer.getmany(timeout_ms=5_000, max_records=1)
                began = next((records[0].timestamp / 1000 for records in batch.values()), None)
            found[tp.partition] = Bounds(first[tp], end[tp], exact), began
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await consumer.stop()
    return found


async def _raw(settings: Settings, counts: dict[str, int], partitions: list[Found]) -> list[Raw]:
    counted: dict[str, int] = {}
    for partition in partitions:
        for meta in metas(partition).values():
            for source, (offset, _) in meta["marks"].items():
                counted[source] = max(offset + 1, counted.get(source, 0))
    tps = [TopicPartition(topic, number) for topic in settings.topics.raw for number in range(counts[topic])]
    admin, consumer, found = clients.admin(settings), clients.reader(settings), []
    try:
        await admin.start()
        await consumer.start()
        read = await admin.list_consumer_group_offsets(settings.worker.application, partitions=tps)
        first, end = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        for tp in tps:
            name = f"{tp.topic}/{tp.partition}"
            at = max(read[tp].offset, counted.get(name, 0))
            if at > end[tp]:
                found.append(Raw(tp, raw_anew(name, at, end[tp]), first[tp]))
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await consumer.stop()
        await admin.close()
    return found


def lines(seen: Look) -> Iterator[str]:
    """What was seen, for people."""
    for found in seen.partitions:
        row = found.row()
        marker = f"applied {found.applied}, schema {found.schema}" if found.applied is not None else "no marker"
        graph = f", graph {found.graph}{'' if found.graph_known else ' (not known)'}" if found.graph else ""
        state = f"{len(found.entries)} entries, {marker}{graph}" if found.entries else "no state"
        yield f"partition {found.number:<4} log {row['log_start']}..{row['log_end']}   state {state}"
        yield from _explained(found.number, found.refusal)
    for raw in seen.raw:
        yield f"{raw.tp.topic}/{raw.tp.partition}"
        yield from _explained(None, raw.refusal)
    yield f"{seen.members} workers alive"


def _explained(number: int | None, wrong: Refusal | None) -> Iterator[str]:
    if wrong is not None:
        yield f"    wrong: {wrong.text}"
        yield f"    better: {wrong.advice}"
        for choice, consequence in wrong.choices.items():
            yield f"    {command(number, choice)}"
            yield f"        {consequence}"


async def alive(settings: Settings, counts: dict[str, int], exact: bool) -> int:
    """How many workers are alive; ``counts`` has the partitions by topic. Raises :class:`BrokerError`."""
    members = await _members(settings)
    return members if exact or not members or await _heard(settings, counts) else 0


async def _members(settings: Settings) -> int:
    """How many workers the group counts."""
    admin = clients.admin(settings)
    try:
        await admin.start()
        (answer,) = await admin.describe_consumer_groups([settings.worker.application])
        _, _, state, _, _, members, *_ = answer.groups[0]
        return len(members) or (0 if state in _EMPTY else 1)
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await admin.close()


async def _heard(settings: Settings, counts: dict[str, int]) -> bool:
    """Whether a worker sends heartbeats. The embedded broker counts members that have left until another one joins."""
    consumer = clients.reader(settings)
    tps = [TopicPartition(topic, number) for topic in settings.topics.raw for number in range(counts[topic])]
    try:
        await consumer.start()
        consumer.assign(tps)
        await consumer.seek_to_end(*tps)
        patience = 3 * settings.checkpoint.tick_interval + 1
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            for records in (await consumer.getmany(timeout_ms=round(left * 1000))).values():
                if any(
                    r.headers and r.headers[0][0] == HEARTBEAT and time.time() - r.timestamp / 1000 < patience
                    for r in records
                ):
                    return True
        return False
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await consumer.stop()
