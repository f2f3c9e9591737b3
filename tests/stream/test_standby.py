"""Workers that are killed: a standby takes over and reads the tail; a static member comes back and moves nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from correlator.brokers import BrokerProcess
from correlator.storms import storm
from correlator.stream.intake import partition_of
from correlator.stream.topics import state_topic
from tests.stream.conftest import Make
from tests.stream.harness import Installation, Worker, until

pytestmark = [pytest.mark.broker, pytest.mark.kafka]

PARTITIONS = 4
#: The partition of the only shard.
NUMBER = partition_of("all", PARTITIONS)
OPENED = re.compile(r"partition (\d+): (\d+) changelog records read from offset (\d+) on, (\d+) keys")


def opened(worker: Worker) -> list[tuple[int, int, int]]:
    """Every opening of a partition by a worker: number, changelog records read, keys of the state."""
    return [(int(n), int(read), int(keys)) for n, read, _, keys in OPENED.findall(worker.text)]


async def pair(here: Installation) -> list[dict[str, Any]]:
    """Two workers that are ready and have decided the first half of a storm; its second half."""
    drawn = storm("c", services=600, seed=4)
    here.configure({"topics": {"partitions": PARTITIONS, "raw_partitions": 2}})
    here.use_graph(drawn)
    await here.create()
    for _ in range(2):
        here.start()
        await here.ready()
    await here.feed(drawn.alerts[: len(drawn.alerts) // 2], partition=lambda a: len(a["service"]) % 2)
    await here.drained()
    return drawn.alerts[len(drawn.alerts) // 2 :]


def owner_and_other(here: Installation) -> tuple[Worker, Worker]:
    owner, other = sorted(here.workers[:2], key=lambda worker: worker.total("alerts_active") == 0)
    assert owner.total("alerts_active") > 0
    return owner, other


async def test_a_promotion_reads_the_tail_only(kafka_broker: BrokerProcess, install: Make) -> None:
    """At most 5 % of the changelog; then it is the worker that it would have been, byte for byte."""
    here = install(kafka_broker)
    rest = await pair(here)
    owner, other = owner_and_other(here)

    async def in_step() -> bool:
        keys, lag = (other.metrics(f"standby_{name}") for name in ("keys", "lag_records"))
        key = (("partition", str(NUMBER)),)
        return keys.get(key, 0) > 1_000 and lag.get(key) == 0

    await until("the standby is in step", in_step)
    before = len(opened(other))
    owner.kill()
    records = [r for r in await here.read(state_topic(here.settings)) if r.partition == NUMBER]

    async def promoted() -> list[tuple[int, int, int]]:
        return [line for line in opened(other)[before:] if line[0] == NUMBER]

    (_, read, keys), *_ = await until("promotion", promoted)
    assert keys > 1_000
    assert read <= len(records) / 20
    await here.feed(rest, partition=lambda a: len(a["service"]) % 2)
    await here.drained()
    assert other.total("conservation_difference") == 0
    await here.stop()
    _, oracle = await here.check()
    assert oracle.inputs == 3_000


async def test_a_static_member_comes_back_and_nothing_moves(kafka_broker: BrokerProcess, install: Make) -> None:
    """Killed, and started again with the same id within its session: the other worker notices nothing."""
    here = install(kafka_broker, broker={"session_timeout": 20})
    here.configure({"worker": {"static_membership": True}})
    rest = await pair(here)
    owner, other = owner_and_other(here)
    mine = {int(number) for ((_, number),) in owner.metrics("checkpoint_age_seconds")}
    before, rebalances = opened(other), other.total("rebalances_total")
    assert rebalances > 0
    owner.kill()
    again = here.start(CORRELATOR_WORKER__ID=owner.name)
    await here.ready(again)
    await here.feed(rest, partition=lambda a: len(a["service"]) % 2)
    await here.drained()
    assert {number for number, _, _ in opened(again)} == mine
    assert opened(other) == before
    assert other.total("rebalances_total") == rebalances
    await here.stop()
    _, oracle = await here.check()
    assert oracle.inputs == 3_000
