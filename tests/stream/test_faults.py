"""Kills, restarts, rebalances, a broker restart, poison: the outcome is what the log implies, and nothing is lost.

Schedules are drawn from a seed. The pauses in them are the schedule, not synchronisation: after the last fault the test
waits until everything that was fed has been decided.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from benchmarks.chaos.traffic import BAD
from benchmarks.poison import POISON, poisoned
from correlator import brokers
from correlator.brokers import BrokerProcess
from correlator.engine import dedup
from correlator.stream.intake import HEARTBEAT
from tests.stream.conftest import Make
from tests.stream.harness import LAUNCHER, Installation, Oracle, Published, says
from tests.stream.undisturbed import Regions, members, undisturbed

pytestmark = [pytest.mark.broker, pytest.mark.kafka, pytest.mark.slow]

LARGE = orjson.dumps({"name": "HighLatency", "service": "large", "annotations": {"dump": "x" * 1_500_000}})


@pytest.fixture
def broker(kafka_broker: BrokerProcess) -> BrokerProcess:
    return kafka_broker


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
