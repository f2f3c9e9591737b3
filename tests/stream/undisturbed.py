"""Storms side by side, and what the engine makes of them in one process, to which nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from benchmarks.poison import POISON
from correlator.assemble import load_graph, placer_for, reader_for, rules_for
from correlator.engine.partition import Partition
from correlator.engine.shard import Shard
from correlator.storms import storm, stream
from correlator.stream.intake import HEARTBEAT
from tests.stream.harness import Installation

__all__ = ["Regions", "members", "undisturbed"]


class Regions:
    """Storms side by side, one per region; their alerts take turns."""

    def __init__(self, count: int, services: int, alerts: int, variant: str = "c") -> None:
        self.names = [f"r{number:02}" for number in range(count)]
        self._storms = [storm(variant, services=services, seed=number + 1) for number in range(count)]
        self._each = alerts // count

    @property
    def graph(self) -> dict[str, Any]:
        """Node-link data of all regions."""
        nodes, edges = [], []
        for region, drawn in zip(self.names, self._storms, strict=True):
            graph = drawn.graph
            nodes += [{**values, "id": f"{region}.{name}"} for name, values in graph["nodes"].items()]
            edges += [{"source": f"{region}.{u}", "target": f"{region}.{v}"} for u, v in graph["edges"]]
        attributes = {"direction": "depends_on"}
        return {"directed": True, "multigraph": False, "graph": attributes, "nodes": nodes, "edges": edges}

    def alerts(self) -> Iterator[dict[str, Any]]:
        """All alerts, a region at a time in turn, and now and then one that the engine raises on."""
        streams = [self._of(region, drawn) for region, drawn in zip(self.names, self._storms, strict=True)]
        for number, turn in enumerate(zip(*streams, strict=True)):
            yield from turn
            if number % (self._each // 20) == 500:
                region = self.names[number % len(self.names)]
                labels = {"region": region, "n": str(number)}
                yield {"name": POISON, "service": f"{region}.poison", "severity": "critical", "labels": labels}

    def _of(self, region: str, drawn: Any) -> Iterator[dict[str, Any]]:
        for alert in stream(drawn, self._each):
            service, labels = f"{region}.{alert['service']}", {**alert["labels"], "region": region}
            yield {**alert, "service": service, "key": f"{region}/{alert['key']}", "labels": labels}


def members(shard: Shard) -> dict[str, tuple[bool, str, str]]:
    """Fingerprint -> whether it fires, root service and state of its incident; when one opens is a matter of time."""
    found = {}
    for fingerprint, alert in shard.store.alerts.items():
        incident = shard.store.incident_of(alert)
        where = ("", "") if incident is None else (incident.root_service, incident.state.replace("forming", "open"))
        found[fingerprint] = (alert.firing, *where)
    return found


def undisturbed(here: Installation, raw: list[Any]) -> dict[str, Shard]:
    """The same alerts through intake's parts and the engine, raw partition by raw partition, in one process."""
    settings = here.settings
    graph = load_graph(settings).graph_or_raise()
    reader, placer = reader_for(settings, settings.topics.raw[0]), placer_for(settings, graph)
    partition, offset, now = Partition(graph, rules_for(settings)), 0, 0.0
    latest: dict[int, int] = {}
    turns = []
    for record in raw:  # producers' times: within a partition the offsets decide
        latest[record.partition] = max(record.timestamp, latest.get(record.partition, 0))
        turns.append((latest[record.partition], record.partition, record.offset, record))
    for _, _, _, record in sorted(turns, key=lambda turn: turn[:3]):
        if record.headers and record.headers[0][0] == HEARTBEAT:
            continue
        received = record.timestamp / 1000
        now = max(now, received)
        reading = reader.read(record.value, received_at=received, topic=record.topic)
        rows: dict[str, list[Any]] = {}
        for index, alert in zip(reading.indices, reading.alerts, strict=True):
            shard, row = placer.row(alert, record.offset, index, received)
            rows.setdefault(shard, []).append(row)
        for shard, found in rows.items():
            value = orjson.dumps({"type": "alerts", "source": f"{record.topic}/{record.partition}", "rows": found})
            partition.apply(offset, now, shard, value)
            offset += 1
        if not offset % 50:
            partition.saved(partition.take())
    return partition.shards
