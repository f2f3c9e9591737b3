"""Partitions that shards move between, and alerts that arrive meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import orjson
from hypothesis import strategies as st

from correlator.engine.layout import Moved, written
from correlator.engine.parting import Old, Routes
from correlator.engine.partition import Partition
from correlator.engine.rehome import Rehoming, rehome
from correlator.engine.rules import Rules
from correlator.engine.state import AlertState
from tests.engine.strategies import Log, Run
from tests.engine.timeline import RAW, START, row
from topology import ServiceGraph

__all__ = ["ONE", "ROUTES", "World", "by_service", "pages", "played", "replay", "totals"]


def by_service(shards: Mapping[str, str], partitions: int) -> Routes:
    """Routes by the service; ``*`` stands for those that are not named."""
    names = {*shards.values()}

    def shard(service: str) -> str:
        return shards.get(service, shards["*"])

    return Routes(
        lambda s, _: shard(s), shard, lambda _: None, names.__contains__, lambda name: sum(name.encode()) % partitions
    )


#: Everything in one shard.
ONE: Final = by_service({"*": "all"}, 1)


class World:
    """Partitions with a log each, on one time; outputs are taken after every record."""

    def __init__(self, graph: ServiceGraph, rules: Rules, routes: Routes, later: ServiceGraph | None = None) -> None:
        self.graphs = {g.version: g for g in (graph, later or graph)}
        self.graph, self.rules, self.routes = graph, rules, routes
        self.logs: dict[int, list[tuple[int, float, str, bytes]]] = {}
        self.partitions: dict[int, Partition] = {}
        self.runs: dict[int, Run] = {}
        self.homes: dict[int, dict[str, int]] = {}
        self.standing: list[bytes] = []  # what every partition has been told
        self.now, self.layout, self.raw = START, 0, 10_000

    def partition(self) -> Partition:
        return Partition(self.graph, self.rules, self.graphs.__getitem__)

    def write(self, number: int, shard: str, value: Any) -> None:
        if number not in self.logs:
            self.logs[number], self.partitions[number], self.runs[number] = [], self.partition(), Run()
            for control in self.standing:
                self.write(number, "", control)
        log = self.logs[number]
        log.append((len(log), self.now, shard, value if isinstance(value, bytes) else orjson.dumps(value)))
        self.partitions[number].apply(*log[-1])
        output = self.runs[number].take(self.partitions[number])
        self.homes.setdefault(number, {}).update(output.homes)

    def place(self, rows: list[list[Any]], layout: int | None = None, **more: Any) -> None:
        """Alerts, as an intake places them now, or placed them for another layout."""
        by_shard: dict[str, list[list[Any]]] = {}
        for one in rows:
            by_shard.setdefault(self.routes.alert(one[5], one[11]), []).append(one)
        for shard, found in by_shard.items():
            value = {"source": RAW, "rows": found, "layout": self.layout if layout is None else layout, **more}
            self.write(self.routes.partition(shard), shard, value)

    def send(self, service: str, status: str = "firing", name: str = "Down", **more: Any) -> None:
        self.raw += 1
        self.place([row(self.raw, self.now, service, name, status, known=service in self.graph, **more)])

    def tick(self, seconds: float) -> None:
        self.now += seconds
        for number in list(self.logs):
            self.write(number, "", {"type": "tick"})

    def plan(self, routes: Routes) -> Rehoming:
        olds = [
            Old(number, shard, partition.applied, routes)
            for number, partition in self.partitions.items()
            for shard in partition.shards.values()
        ]
        return rehome(olds, routes, {})

    def move(self, routes: Routes, size: int = 500) -> Rehoming:
        found = self.plan(routes)
        numbers = sorted({*self.logs, *found.arrive})
        for number in numbers:
            self.write(number, "", {"type": "move_begin", "layout": self.layout + 1})
        for number in numbers:
            moved = Moved(found.leave.get(number, []), found.arrive.get(number, {}), found.marks, {})
            for part in written(self.layout + 1, moved, size):
                self.write(number, "", part)
        for number in numbers:
            self.write(number, "", {"type": "move_end", "layout": self.layout + 1})
        self.routes, self.layout = routes, self.layout + 1
        return found

    # -- what is there ---------------------------------------------------------------------------------------

    def alerts(self) -> dict[str, list[AlertState]]:
        found: dict[str, list[AlertState]] = {}
        for partition in self.partitions.values():
            for shard in partition.shards.values():
                for key, alert in shard.store.alerts.items():
                    found.setdefault(key, []).append(alert)
        return found

    def last(self) -> dict[str, Any]:
        """Last value by incident id. No revision goes back, and an id is published in one partition."""
        where: dict[str, Any] = {}
        values: dict[str, list[Any]] = {}
        for number, run in self.runs.items():
            for id, value in run.revisions:
                values.setdefault(id, []).append(value)
                where.setdefault(id, set()).add(number)
        found = {}
        for id, revisions in values.items():
            told = [value for value in revisions if value is not None]
            found[id] = max(told, key=lambda value: value["revision"])
        return found

    def check(self) -> None:
        """Every alert is where it belongs, once, and counted; a restart and a replay know the same."""
        for number, partition in self.partitions.items():
            for name, shard in partition.shards.items():
                store = shard.store
                figures = partition.figures()[name]
                assert figures["inputs"] == figures["transitions"]
                assert figures["active"] == figures["counted"]
                for alert in store.alerts.values():
                    assert self.routes.alert(alert.service, alert.labels) == name
                    assert self.routes.partition(name) == number
                    if alert.firing:
                        assert store.incident_of(alert) is not None
                for incident in store.incidents.values():
                    fires = incident.group is not None and incident.group.firing
                    deadline = incident.closes_at is not None or incident.held_until is not None
                    alone = incident.kind in ("source_lost", "bundle", "summary")
                    assert fires or deadline or alone or incident.final(), incident.id
            again = self.partition()
            again.load(self.runs[number].entries)
            assert again.figures() == partition.figures()
            replayed, run = self.partition(), Run()
            for record in self.logs[number]:
                replayed.apply(*record)
            run.take(replayed)
            assert {k: v for k, v in run.last.items() if k in self.runs[number].last} == {
                k: self.runs[number].last[k] for k in run.last
            }
            assert run.entries == self.runs[number].entries


def played(log: Log, records: int, routes: Routes) -> World:
    """The first ``records`` of a log, each in the shard where the routes put it."""
    world = World(log.graph, log.rules, routes, log.other)
    replay(world, log, 0, records)
    return world


def replay(world: World, log: Log, start: int, end: int) -> None:
    for _, now, _, value in log.records[start:end]:
        world.now = now
        data = orjson.loads(value)
        if data.get("type", "alerts") == "alerts":
            world.place(data["rows"], ahead=data.get("ahead", {}))
        elif data["type"] == "change":
            name = world.routes.alert(data["service"], {})
            world.write(world.routes.partition(name), name, value)
        else:
            for number in list(world.logs):
                world.write(number, "", value)
            world.standing.append(value)


#: Two or three shards on up to three partitions.
ROUTES: Final = st.builds(
    by_service,
    st.fixed_dictionaries(
        {"*": st.sampled_from(["x", "y"])}, optional={name: st.sampled_from(["x", "y", "zz"]) for name in "abcdefg"}
    ),
    st.integers(1, 3),
)


def pages(world: World) -> int:
    return sum(incident["page"]["seq"] for incident in world.last().values())


def totals(world: World) -> Any:
    counts: Counter[str] = Counter()
    for partition in world.partitions.values():
        for shard in partition.shards.values():
            counts += shard.store.transitions
            counts["inputs"] += shard.store.inputs
    return dict(counts)
