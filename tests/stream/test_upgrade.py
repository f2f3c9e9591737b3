"""Workers of the schema before ours are replaced one by one while alerts arrive: nothing is lost or starts anew."""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from correlator.brokers import BrokerProcess
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from correlator.engine.shard import Shard
from correlator.stream.changelog import last_values
from tests.stream.conftest import Make
from tests.stream.harness import Installation, Published, until
from tests.stream.undisturbed import Regions, members, undisturbed

pytestmark = [pytest.mark.slow]

OLDER = ("-m", "tests.older")
#: More than are fed while the workers are upgraded.
ALERTS = 400_000


def partition(alert: dict[str, Any]) -> int:
    return zlib.crc32(alert["labels"]["region"].encode()) % 4


async def schemas(here: Installation) -> set[int]:
    """The schemas in which the partitions are saved now."""
    published = await here.published()
    return {marker["schema"] for marker in published.marks.values()}


async def saved_shards(here: Installation, published: Published) -> dict[str, Shard]:
    """The shards of all partitions as the changelog has them."""
    shards: dict[str, Shard] = {}
    for entries in (await last_values(here.settings, here.settings.topics.partitions)).values():
        if entries:
            loaded = Partition(next(iter(published.graphs.values())), Rules(), published.graphs.__getitem__)
            loaded.load(entries)
            shards |= loaded.shards
    return shards


async def goes_on(here: Installation) -> None:
    """Wait until more alerts are decided than now."""

    def decided() -> float:
        return sum(worker.total("verdicts_total") for worker in here.workers if worker.process.poll() is None)

    before = decided()

    async def more() -> bool:
        return decided() > before

    await until("more verdicts", more)


async def test_workers_are_upgraded_one_by_one_under_load(install: Make, any_broker: BrokerProcess) -> None:
    """The three older workers leave one after the other; every alert ends where it would have ended by itself.

    Storms in which graph and evidence agree: a program of schema 1 did not judge what alerts prove.
    """
    topics, drawn = {"partitions": 4, "raw_partitions": 4}, Regions(8, 60, ALERTS, "a")
    here = install(any_broker, topics=topics, shards={"labels": ["region"]})
    here.use_graph(drawn.graph)
    await here.create()
    here.command = OLDER
    older = [here.start() for _ in range(3)]
    await here.ready()
    upgraded, fed = asyncio.Event(), Counter[str]()

    def alerts() -> Iterator[dict[str, Any]]:
        for alert in itertools.takewhile(lambda _: not upgraded.is_set(), drawn.alerts()):
            fed[alert["labels"]["region"]] += 1
            yield alert

    feeding = asyncio.create_task(here.feed(alerts(), partition=partition, pack=20, pace=0.02))
    await goes_on(here)
    assert await schemas(here) == {1}
    here.command = ("-m", "correlator")
    for worker in older:
        assert await worker.stop() == 0, worker.text[-3000:]
        await here.ready(here.start())
        await goes_on(here)
    assert not feeding.done()
    upgraded.set()
    await feeding
    await here.drained(180)
    await here.stop()
    published = await here.published()
    assert {marker["schema"] for marker in published.marks.values()} == {2}
    shards = await saved_shards(here, published)
    alone = undisturbed(here, await here.read(here.settings.topics.raw[0]))
    assert alone.keys() == shards.keys()
    for name, shard in alone.items():
        assert members(shard) == members(shards[name]), name
        assert sum(shards[name].store.transitions.values()) == shard.store.inputs == shards[name].store.inputs
        assert shard.store.inputs == fed[name.removeprefix("region=")]
    known = {receipt["fingerprint"] for receipt in published.receipts}
    assert known == {fingerprint for shard in alone.values() for fingerprint in shard.store.alerts}
