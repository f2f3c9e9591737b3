"""The changelog: a tail over what is known gives the last values, compacted or not; another log is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from correlator.brokers import BrokerProcess
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from correlator.metrics import Metrics
from correlator.stream import changelog
from correlator.stream.changelog import Replica
from correlator.stream.clients import Clients
from correlator.stream.standby import Standbys
from correlator.stream.topics import STATE_DELETE_RETENTION, create, state_topic
from tests.stream.conftest import Make
from tests.stream.harness import Installation, until
from topology import ServiceGraph

Record = SimpleNamespace
KEYS = [b"a", b"b", b"c", b"d"]
OTHERS: list[dict[str, Any]] = [{"timestamp": 7}, {"key": b"z"}]
WRITES = st.lists(st.tuples(st.sampled_from(KEYS), st.none() | st.binary(max_size=2)), max_size=30)


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """Records in order, with gaps where control records are."""
    offset, found = 0, []
    for key, value in draw(WRITES):
        offset += draw(st.integers(1, 3))
        found.append(Record(offset=offset, timestamp=1_000 + offset, key=key, value=value))
    return found


def compacted(draw: st.DataObject, log: Sequence[Record]) -> list[Record]:
    """What a log cleaner may have left: any record of which the key was written later can be gone."""
    last = {record.key: record.offset for record in log}
    return [r for r in log if r.offset == last[r.key] or not draw.draw(st.booleans(), label=f"cleaned {r.offset}")]


def values(log: Sequence[Record]) -> dict[bytes, bytes]:
    """The last value of every key that has one."""
    last = {record.key: record.value for record in log}
    return {key: value for key, value in last.items() if value is not None}


def tail(log: Sequence[Record], replica: Replica) -> Iterator[Record]:
    return (record for record in log if record.offset >= replica.start)


class TestReplica:
    @given(logs(), st.data())
    def test_a_tail_over_what_is_known_gives_the_last_values(self, log: list[Record], data: st.DataObject) -> None:
        """Read up to somewhere, then, after any compaction, the rest: as if all had been read at once."""
        cut = data.draw(st.integers(0, len(log)), label="cut")
        replica = Replica(0.0)
        assert replica.take(log[:cut]) == cut
        rest = compacted(data, log)
        known = replica.position
        assert replica.take(tail(rest, replica)) == sum(r.offset >= known for r in rest)
        assert replica.entries == values(log)

    @given(logs(), st.data())
    def test_values_may_be_newer_than_the_offset(self, log: list[Record], data: st.DataObject) -> None:
        """An owner that lost its partition knows the values of the end, and an offset from before or at it."""
        cut = data.draw(st.integers(0, len(log)), label="cut")
        position = log[cut].offset if cut < len(log) else log[-1].offset + 1 if log else 0
        replica = Replica(0.0, values(log), position)
        assert replica.take(tail(compacted(data, log), replica)) is not None
        assert replica.entries == values(log)

    @given(logs(), st.data())
    def test_another_record_in_the_place_of_the_last_one_is_noticed(
        self, log: list[Record], data: st.DataObject
    ) -> None:
        """A log that was made anew, or cut and written again."""
        replica = Replica(0.0)
        if not replica.take(log):
            return
        change = data.draw(st.sampled_from(OTHERS), label="changed")
        other = Record(**(vars(log[-1]) | change))
        assert replica.take([other]) is None

    @pytest.mark.parametrize(
        ("first", "end", "now", "word"),
        [
            (0, 100, 1_000.0, None),
            (50, 50, 1_000.0, None),
            (0, 49, 1_000.0, "offsets 0 to 49, and 50 was next"),
            (51, 100, 1_000.0, "offsets 51 to 100, and 50 was next"),
            (0, 100, 1_000.0 + STATE_DELETE_RETENTION, "not in step for 600 s, and tombstones are kept for 600 s"),
        ],
    )
    def test_when_it_must_start_anew(self, first: int, end: int, now: float, word: str | None) -> None:
        """The log does not hold the offset, or tombstones may have gone."""
        refused = Replica(1_000.0, {b"a": b"1"}, 50).refused(first, end, now)
        assert refused is None if word is None else word in str(refused)

    def test_nothing_known_can_always_go_on(self) -> None:
        """An empty replica reads whatever there is."""
        assert Replica(0.0).refused(7, 9, 1e9) is None


# -- on a broker ----------------------------------------------------------------------------------------------


@pytest.fixture
async def here(kafka_broker: BrokerProcess, install: Make) -> Installation:
    made = install(kafka_broker)
    await made.create()
    return made


async def write(here: Installation, **entries: str | None) -> None:
    async with here.producer() as made:
        for key, value in entries.items():
            await made.send(state_topic(here.settings), value and value.encode(), key=key.encode(), partition=0)


async def made_anew(here: Installation) -> None:
    """Delete the changelog and create it again, empty."""
    admin = AIOKafkaAdminClient(bootstrap_servers=here.broker.address)
    await admin.start()
    try:
        await admin.delete_topics([state_topic(here.settings)])

        async def gone() -> bool:
            return state_topic(here.settings) not in await admin.list_topics()

        await until("the changelog is gone", gone)
    finally:
        await admin.close()
    await create(here.settings)


async def build(entries: Any) -> Partition:
    return Partition(ServiceGraph.empty(), Rules())


@pytest.mark.broker
@pytest.mark.kafka
class TestOnKafka:
    async def test_only_the_tail_is_read(self, here: Installation) -> None:
        """What is known is not read again; keys that went are gone."""
        await write(here, a="1", b="2", c="3")
        first = await changelog.read(Clients(here.settings), state_topic(here.settings), 0)
        assert (first.records, first.anew) == (3, None)
        await write(here, a=None, d="4")
        second = await changelog.read(Clients(here.settings), state_topic(here.settings), 0, first.replica)
        assert (second.records, second.anew) == (2, None)
        assert second.replica.entries == {b"b": b"2", b"c": b"3", b"d": b"4"}
        third = await changelog.read(Clients(here.settings), state_topic(here.settings), 0, second.replica)
        assert (third.records, third.anew) == (0, None)

    @pytest.mark.parametrize(
        ("after", "why"),
        [({"x": "9"}, "the log has offsets 0 to 1, and 3 was next"), (dict.fromkeys("vwxyz", "9"), "another record")],
        ids=["shorter", "longer"],
    )
    async def test_a_log_that_was_made_anew_is_read_anew(
        self, here: Installation, after: dict[str, str], why: str
    ) -> None:
        """Nothing of the old log is left, however long the new one is."""
        await write(here, a="1", b="2", c="3")
        replica = (await changelog.read(Clients(here.settings), state_topic(here.settings), 0)).replica
        await made_anew(here)
        await write(here, **after)
        reading = await changelog.read(Clients(here.settings), state_topic(here.settings), 0, replica)
        assert why in str(reading.anew)
        assert reading.replica.entries == {key.encode(): value.encode() for key, value in after.items()}

    async def test_a_standby_is_rebuilt_when_the_log_is_made_anew(self, here: Installation) -> None:
        """Dropped while it follows, counted, and right at its promotion."""
        metrics = Metrics(CollectorRegistry(), clock=lambda: 0.0, version="0", dialects=())

        def figures() -> dict[str, float]:
            families = text_string_to_metric_families(metrics.exposition()[0].decode())
            return {s.name.removeprefix("correlator_standby_"): s.value for family in families for s in family.samples}

        async def shows(keys: int, anew: int) -> bool:
            found = figures()
            return (found.get("keys"), found.get("lag_records"), found["anew_total"]) == (keys, 0, anew)

        standbys = Standbys(here.settings, Clients(here.settings), metrics, build)
        standbys.start()
        try:
            await write(here, a="1", b="2", c="3")
            standbys.follow({0})
            await until("it has followed", lambda: shows(3, 0))
            await made_anew(here)
            await write(here, x="9")
            await until("it has followed the other log", lambda: shows(1, 1))
            await write(here, y="8")
            reading, _ = await standbys.read(0)
            assert reading.replica.entries == {b"x": b"9", b"y": b"8"}
            assert reading.records <= 1
            assert "keys" not in figures()
        finally:
            await asyncio.wait_for(standbys.stop(), 10)
