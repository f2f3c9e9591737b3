"""The same engine without Kafka: alerts from files on the files' own time, or a dump of the deciding log.

There is no clock and no network here, and offsets come from the input, so the same input gives the same bytes.

* **Alerts from files.** What the intake would do is done here: alerts are placed and packed into records of at most
  ``MAX_ROWS`` rows and ``MAX_SPAN`` seconds, one per shard. Time is the latest arrival so far. After the last alert
  one tick lets time pass, so that what is due gets decided.
* **A dump.** The records of ``alerts.placed`` are applied as they are, at their offsets and times, each partition by
  itself. Graphs come from the dump's records of ``alerts.topology``, or are passed in. The outcome is what the workers
  should have published: the last value of every incident, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from correlator.clocks import Clocks
from correlator.config_sections import Topics
from correlator.engine.likeness import Part
from correlator.engine.partition import Output, Partition
from correlator.engine.rules import Rules
from correlator.errors import StateError
from correlator.model import PLACED_COLUMNS
from correlator.place import Placer
from correlator.recordings import Arrival, Entry, Unread, read_dump
from topology import ServiceGraph, TopologyError

__all__ = ["MAX_ROWS", "MAX_SPAN", "Placed", "Replay", "file_rules", "final", "placed_alerts", "replay_placed"]

MAX_ROWS: Final = 500
MAX_SPAN: Final = 1.0
#: Records between two checkpoints in memory: a poison alert makes the engine apply at most these again.
_CHECKPOINT: Final = 64
#: Longer than any file lasts, in seconds.
_LONG: Final = 1e11
_KNOWN, _SERVICE = PLACED_COLUMNS.index("known"), PLACED_COLUMNS.index("service")


class Placed(NamedTuple):
    """One record of the deciding log; ``time`` is epoch seconds."""

    partition: int
    offset: int
    time: float
    shard: str
    value: bytes


def file_rules(rules: Rules) -> Rules:
    """The rules for files' own time: bounds that protect a live log would only distort it.

    A gap in a file is a gap in time and no broken clock; nothing has to be spread over later ticks; and closed
    incidents stay in the result.
    """
    return replace(rules, max_time_jump=_LONG, incident_retention=_LONG, max_deadlines_per_step=2**53)


def placed_alerts(arrivals: Iterable[Arrival], placer: Placer, *, after: float) -> Iterator[Placed]:
    """Records as the intake would write them, in partition 0, and a tick ``after`` seconds after the last alert."""
    offset, now, start, file = 0, 0.0, 0.0, 0
    rows: dict[str, list[list[Any]]] = {}
    size, clocks = 0, Clocks()
    for arrival in arrivals:
        time = max(now, arrival.at)
        if size and (size >= MAX_ROWS or time - start > MAX_SPAN or arrival.file != file):
            yield from _packed(rows, offset, now, file, clocks)
            offset, rows, size = offset + len(rows), {}, 0
        if not size:
            start, file = time, arrival.file
        now, alert = time, arrival.alert
        clocks.note(alert.source, alert.starts_at - now, now)
        shard, row = placer.row(alert, arrival.line, arrival.place, now)
        rows.setdefault(shard, []).append(row)
        size += 1
    if size:
        yield from _packed(rows, offset, now, file, clocks)
        yield Placed(0, offset + len(rows), now + after, "", orjson.dumps({"type": "tick"}))


def _packed(rows: dict[str, list[list[Any]]], offset: int, time: float, file: int, clocks: Clocks) -> Iterator[Placed]:
    for number, (shard, found) in enumerate(rows.items()):
        record: dict[str, Any] = {"type": "alerts", "source": f"file/{file}", "rows": found}
        if ahead := clocks.of_rows(found):
            record["ahead"] = ahead
        yield Placed(0, offset + number, time, shard, orjson.dumps(record))


class Replay:
    """The partitions of a log, each with its own state; ``graphs`` are those that the log may refer to."""

    def __init__(self, graph: ServiceGraph, rules: Rules, graphs: Iterable[ServiceGraph] = ()) -> None:
        self._graph, self._rules = graph, rules
        self._graphs = {known.version: known for known in (graph, *graphs)}
        self._partitions: dict[int, Partition] = {}

    @property
    def alerts(self) -> int:
        """How many alerts were decided."""
        return sum(n["inputs"] for partition in self._partitions.values() for n in partition.figures().values())

    def history(self, service: str) -> dict[str, tuple[list[Any], Part]]:
        """What each shard has learned about a service: see :meth:`Partition.history`."""
        found: dict[str, tuple[list[Any], Part]] = {}
        for partition in self._partitions.values():
            found |= partition.history(service)
        return found

    def run(self, records: Iterable[Placed]) -> Iterator[Output]:
        """Apply the records in order; what each of them makes the engine say, in order.

        Raises :class:`EngineError` for a record that the engine cannot get past, :class:`StateError` for a graph
        that is not known.
        """
        for number, record in enumerate(records, 1):
            partition = self._partitions.get(record.partition)
            if partition is None:
                partition = Partition(self._graph, self._rules, self._known)
                self._partitions[record.partition] = partition
            partition.apply(record.offset, record.time, record.shard, record.value)
            save = not number % _CHECKPOINT
            output = partition.take(entries=save)
            if save:
                partition.saved(output)
            yield output

    def _known(self, version: str) -> ServiceGraph:
        found = self._graphs.get(version)
        if found is None:
            known = ", ".join(sorted(self._graphs))
            raise StateError(f"the log refers to graph {version}, which is not at hand; known: {known}")
        return found


def final(outputs: Iterable[Output]) -> dict[str, dict[str, Any]]:
    """The last value of every incident by id, in order of first appearance; without those that were deleted."""
    last: dict[str, dict[str, Any] | None] = {}
    for output in outputs:
        last.update(output.incidents)
    return {key: incident for key, incident in last.items() if incident is not None}


def placed_records(
    path: Path, unread: Unread, topics: Topics | None = None
) -> tuple[list[ServiceGraph], Iterator[Placed]]:
    """The graphs of a dump, and its placed records in order. Reads the file twice."""
    topics = topics or Topics()
    graphs = []
    for entry in read_dump(path, lambda _: None):
        if entry.topic == topics.topology and type(entry.value) is dict and "services" in entry.value:
            try:
                graphs.append(ServiceGraph.from_native(entry.value))
            except TopologyError as error:
                unread(f"{entry.place}: {error.problems[0]}")
    return graphs, _placed(read_dump(path, unread), topics, unread)


def _placed(entries: Iterable[Entry], topics: Topics, unread: Unread) -> Iterator[Placed]:
    last: dict[int, int] = {}
    for entry in entries:
        if entry.topic == topics.topology:
            continue
        if entry.topic != topics.placed:
            unread(f"{entry.place}: topic {entry.topic} has no part in a replay")
        elif entry.offset <= last.get(entry.partition, -1):
            before = last.get(entry.partition, -1)
            unread(f"{entry.place}: offset {entry.offset} of partition {entry.partition} comes after {before}")
        else:
            last[entry.partition] = entry.offset
            value = b"" if entry.value is None else orjson.dumps(entry.value)
            yield Placed(entry.partition, entry.offset, entry.time, entry.key, value)


def _instead(records: Iterable[Placed], graph: ServiceGraph | None, rules: Rules | None) -> Iterator[Placed]:
    """The records without what they say about the graph or the rules, where another one is given to hold throughout.

    Alerts are placed anew on the graph. Their shards stay as they were.
    """
    left_out = {kind for kind, given in (("graph", graph), ("rules", rules)) if given is not None}
    for record in records:
        try:
            value = orjson.loads(record.value or b"{}")
        except orjson.JSONDecodeError:
            value = {}
        kind = value.get("type", "alerts") if type(value) is dict else ""
        if kind in left_out:
            record = record._replace(value=orjson.dumps({"type": "tick"}))
        elif kind == "alerts" and graph is not None and "rows" in value:
            rows = [_replaced(row, graph) for row in value["rows"]]
            record = record._replace(value=orjson.dumps({**value, "rows": rows}))
        yield record


def _replaced(row: Any, graph: ServiceGraph) -> Any:
    if type(row) is not list or len(row) != len(PLACED_COLUMNS) or type(row[_SERVICE]) is not str:
        return row  # the engine will put it aside
    node = graph.place(row[_SERVICE])
    return [*row[:_KNOWN], node is not None, *row[_KNOWN + 1 : _SERVICE], node or row[_SERVICE], *row[_SERVICE + 1 :]]


def replay_placed(
    path: Path,
    *,
    graph: ServiceGraph | None = None,
    rules: Rules | None = None,
    graphs: Sequence[ServiceGraph] = (),
    topics: Topics | None = None,
    unread: Unread = lambda _: None,
    instead_graph: ServiceGraph | None = None,
    instead_rules: Rules | None = None,
) -> tuple[Replay, Iterator[Output]]:
    """Replay a dump of ``alerts.placed``; the replay and what it says, record by record.

    ``graph`` and ``rules`` hold until the dump's own do: for a dump whose beginning is gone. ``instead_graph`` and
    ``instead_rules`` hold throughout, in place of the dump's own. Reads the file twice. Raises :class:`FileError`,
    :class:`EngineError` and :class:`StateError`.
    """
    found, records = placed_records(path, unread, topics)
    if instead_graph is not None or instead_rules is not None:
        records = _instead(records, instead_graph, instead_rules)
        graph, rules = instead_graph or graph, instead_rules or rules
    replay = Replay(graph or ServiceGraph.empty(), rules or Rules(), [*graphs, *found])
    return replay, replay.run(records)
