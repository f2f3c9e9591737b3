"""Kills, restarts, rebalances, a broker restart, poison: the outcome is what the log implies, and nothing is lost.

Schedules are drawn from a seed. The pauses in them are the schedule, not synchronisation: after the last fault the test
waits until everything that was fed has been decided.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from benchmarks.chaos.traffic import BAD
from benchmarks.poison import POISON, poisoned
from correlator import brokers
from correlator.assemble import load_graph, placer_for, reader_for, rules_for
from correlator.brokers import BrokerProcess
from correlator.engine import dedup
from correlator.engine.partition import Partition
from correlator.engine.shard import Shard
from correlator.storms import storm, stream
from correlator.stream.intake import HEARTBEAT
from tests.stream.conftest import Make
from tests.stream.harness import LAUNCHER, Installation, Oracle, Published, says

pytestmark = [pytest.mark.broker, pytest.mark.kafka, pytest.mark.slow]

LARGE = orjson.dumps({"name": "HighLatency", "service": "large", "annotations": {"dump": "x" * 1_500_000}})


@pytest.fixture
def broker(kafka_broker: BrokerProcess) -> BrokerProcess:
    return kafka_broker


class Regions:
    """Storms side by side, one per region; their alerts take turns."""

    def __init__(self, count: int, services: int, alerts: int) -> None:
        self.names = [f"r{number:02}" for number in range(count)]
        self._storms = [storm("c", services=services, seed=number + 1) for number in range(count)]
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


async def with_bad_records(here: Installation, feeding: asyncio.Task[Any], rng: Random) -> Counter[str]:
    """Bad records among the good ones while those are fed: how many per reason."""
    fed: Counter[str] = Counter()
    async with here.producer() as made:
        while not feeding.done() or len(fed) < len(BAD) + 1:
            reason = rng.choice([*BAD, "large"])
            await here.feed([LARGE if reason == "large" else BAD[reason]], producer=made)
            fed[reason] += 1
            await asyncio.sleep(rng.uniform(0.05, 1.0))
    return fed


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


async def account(here: Installation, published: Published, oracle: Oracle, alerts: int, bad: Counter[str]) -> None:
    """Every input is somewhere: decided, or rejected with its reason; and the outcome is that of an undisturbed run."""
    raw = await here.read(here.settings.topics.raw[0])
    large = bad.pop("large", 0)
    assert oracle.inputs == alerts + large
    assert oracle.rows == oracle.inputs + oracle.replayed
    rejects = {
        tuple(value for name, value in record.headers if name in ("reason", "topic", "partition", "offset", "index"))
        for record in published.rejected
    }
    reasons = Counter(reject[0].decode() for reject in rejects)
    assert reasons.pop("engine_error", 0) == oracle.quarantined
    assert reasons == bad
    beats = sum(bool(record.headers) and record.headers[0][0] == HEARTBEAT for record in raw)
    assert beats + sum(bad.values()) + large + packed(raw) == len(raw)
    for shard in oracle.shards.values():
        assert sum(shard.store.transitions.values()) == shard.store.inputs
    alone = undisturbed(here, raw)
    assert alone.keys() == oracle.shards.keys()
    for name, shard in alone.items():
        assert members(shard) == members(oracle.shards[name]), name
        assert shard.store.inputs == oracle.shards[name].store.inputs
        assert shard.store.active == oracle.shards[name].store.active


def packed(raw: list[Any]) -> int:
    """Records that hold a list of alerts."""
    return sum(record.value is not None and record.value[:1] == b"[" for record in raw)


async def faults(here: Installation, rng: Random, broker: BrokerProcess, kills: int, workers: int) -> None:
    """Kill and replace workers at random moments; in between add one, remove one, and restart the broker."""
    extra = {kills // 4: "add", kills // 2: "broker", 3 * kills // 4: "remove"}
    for number in range(kills):
        await asyncio.sleep(rng.uniform(0.5, 5.0))
        running = [worker for worker in here.workers if worker.process.poll() is None]
        while len(running) < workers:
            running.append(here.start())
        at_work = [worker for worker in running if worker.get("/readyz")[0] == 200]
        rng.choice(at_work or running).kill()
        if len(running) <= workers or rng.random() < 0.5:
            here.start()
        match extra.get(number):
            case "add":
                here.start()
            case "remove":
                leaving = rng.choice([worker for worker in here.workers if worker.process.poll() is None])
                await says(leaving, "Starting...")  # from then on it heeds the signal
                leaving.process.terminate()
            case "broker":
                await asyncio.to_thread(broker.restart)
                for _ in [worker for worker in here.workers if worker.process.poll() == 3]:
                    here.start()  # it was about to start while the broker was away, and refused
    ended = [worker for worker in here.workers if worker.process.poll() not in (None, -9, 0, 3)]
    assert not ended, "\n".join(f"{w.name}: {w.process.returncode}: {w.text[-2000:]}" for w in ended)


@pytest.mark.parametrize(
    ("regions", "services", "alerts", "workers", "kills"),
    [pytest.param(16, 60, 307_200, 3, 10, id="16-shards"), pytest.param(1, 300, 300_000, 2, 6, id="one-shard")],
)
async def test_nothing_is_lost_and_nothing_counted_twice(
    install: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    regions: int,
    services: int,
    alerts: int,
    workers: int,
    kills: int,
) -> None:
    """At least 300,000 alerts under kills, rebalances, a broker restart, bad records and an engine that raises.

    What alerts prove is judged at moments of the log, which faults move, and among a few noisy services it matters
    when. So in the small regions the graph alone decides, as in the undisturbed run; the large one is judged.
    """
    monkeypatch.setattr(dedup, "fire", poisoned())
    rng, drawn = Random(regions), Regions(regions, services, alerts)
    with brokers.kafka() as broker:
        shards = {"labels": ["region"]} if regions > 1 else {}
        engine = {"judge_interval": 3_600} if regions > 1 else {}
        here = install(broker, topics={"partitions": 8, "raw_partitions": 8}, shards=shards, engine=engine)
        here.command = LAUNCHER
        here.use_graph(drawn.graph)
        await here.create()
        for _ in range(workers):
            here.start()

        def partition(alert: dict[str, Any]) -> int:
            by = alert["labels"]["region"] if regions > 1 else alert["service"]
            return zlib.crc32(by.encode()) % 8

        feeding = asyncio.create_task(here.feed(drawn.alerts(), partition=partition, pack=25, pace=0.003))
        spoiling = asyncio.create_task(with_bad_records(here, feeding, Random(7)))
        await here.ready()
        await faults(here, rng, broker, kills, workers)
        await feeding
        bad = await spoiling
        await here.drained(180)
        await here.stop()
        published, oracle = await here.check(POISON.encode())
        assert oracle.quarantined > 0
        await account(here, published, oracle, sum(1 for _ in drawn.alerts()), bad)
