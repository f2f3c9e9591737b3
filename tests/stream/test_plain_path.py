"""The plain path: alerts in, incidents and receipts out, on both brokers."""

from __future__ import annotations

import asyncio
import zlib

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from correlator.brokers import BrokerProcess
from correlator.storms import storm
from correlator.stream.outlet import event_headers
from correlator.stream.topics import create, inspect, plan
from tests.stream.conftest import Make
from tests.stream.harness import Published
from tests.stream.undisturbed import Regions
from tests.validation import problems


def check_records(published: Published, application: str) -> None:
    """Incidents and receipts follow their schemas, and have CloudEvents attributes, with an id of their own."""
    for record in published.incidents:
        if record.value is not None:
            value = orjson.loads(record.value)
            assert problems("incident", value) == []
            assert list(record.headers) == event_headers(application, value)
            assert record.key.decode() == value["id"]
    for record in published.decisions:
        value, headers = orjson.loads(record.value), dict(record.headers)
        assert problems("decisions", value) == []
        assert headers.keys() >= {"ce_specversion", "ce_id", "ce_source", "ce_type", "content-type"}
        assert (headers["ce_subject"], headers["ce_time"]) == (record.key, value["at"].encode())
        assert headers["ce_source"] == f"/{application}/{value['shard']}".encode()
    assert len({dict(record.headers)["ce_id"] for record in published.decisions}) == len(published.decisions)


@pytest.mark.parametrize("variant", ["a", "c"])
async def test_a_storm_comes_out_as_the_engine_decides(any_broker: BrokerProcess, install: Make, variant: str) -> None:
    """One shard, one worker: nothing is placed twice, one receipt per alert at least, every revision in the history."""
    drawn = storm(variant, services=300, seed=3)
    here = install(any_broker)
    here.use_graph(drawn)
    await here.create()
    worker = here.start()
    await here.ready()
    await here.feed(drawn.alerts)
    await here.drained()
    assert worker.total("conservation_difference") == 0
    await here.stop()
    published, oracle = await here.check()
    check_records(published, here.name)
    assert oracle.inputs == oracle.rows == len(drawn.alerts)
    assert len(published.receipts) >= len(drawn.alerts)
    fingerprints = {alert.fingerprint for shard in oracle.shards.values() for alert in shard.store.alerts.values()}
    assert {receipt["fingerprint"] for receipt in published.receipts} >= fingerprints
    roots = {orjson.loads(value)["root"]["service"] for value in published.last.values() if value}
    assert roots >= set(drawn.truth["roots"])


async def test_what_a_sender_left_out_is_counted(embedded_broker: BrokerProcess, install: Make) -> None:
    """A group of which Alertmanager left alerts out, and an alert without severity: each note once an alert."""
    labels = {"alertname": "Down", "service": "db", "severity": "critical"}
    member = {"status": "firing", "labels": labels, "annotations": {}, "startsAt": "2026-11-30T12:00:00Z"}
    group = {"version": "4", "groupKey": "{}", "truncatedAlerts": 3, "status": "firing", "groupLabels": {}}
    here = install(embedded_broker)
    await here.create()
    worker = here.start()
    await here.ready()
    await here.feed([group | {"alerts": [member, member | {"labels": labels | {"alertname": "Slow"}}]}])
    await here.feed([{"name": "Down", "service": "web"}])
    await here.drained()
    noted = {dict(at)["note"]: count for at, count in worker.metrics("alerts_noted_total").items() if count}
    assert noted == {"truncated_group": 2, "no_severity": 1, "no_starts_at": 1}


async def test_sixteen_shards_on_eight_partitions(any_broker: BrokerProcess, install: Make) -> None:
    """Shards by a label of the alerts: each has its own incidents, in one partition."""
    drawn = Regions(16, 50, 4_000)
    here = install(any_broker, topics={"partitions": 8, "raw_partitions": 3}, shards={"labels": ["region"]})
    here.use_graph(drawn.graph)
    await here.create()
    here.start()
    await here.ready()
    fed = await here.feed(drawn.alerts(), partition=lambda a: zlib.crc32(a["labels"]["region"].encode()) % 3)
    await here.drained()
    await here.stop()
    published, oracle = await here.check()
    check_records(published, here.name)
    assert oracle.inputs == fed
    assert set(oracle.shards) == {f"region={name}" for name in drawn.names}


async def test_two_applications_in_one_broker_do_not_disturb_each_other(
    any_broker: BrokerProcess, install: Make
) -> None:
    """Different names, groups and transactions: each decides its own alerts."""
    drawn = [storm("a", services=60, seed=seed) for seed in (1, 2)]
    both = [install(any_broker), install(any_broker)]
    for here, its in zip(both, drawn, strict=True):
        here.use_graph(its)
        await here.create()
        here.start()
    for here, its in zip(both, drawn, strict=True):
        await here.ready()
        await here.feed(its.alerts)
    for here, its in zip(both, drawn, strict=True):
        await here.drained()
        await here.stop()
        _, oracle = await here.check()
        assert oracle.inputs == len(its.alerts)


class TestTopics:
    async def test_they_are_created_as_planned(self, any_broker: BrokerProcess, install: Make) -> None:
        """After creation there is nothing left to create and no difference; a second creation does nothing."""
        here = install(any_broker, topics={"partitions": 4, "raw_partitions": 2})
        assert {state.partitions for state in await inspect(here.settings)} == {None}
        done = await asyncio.to_thread(here.command_line, "topics", "--create")
        assert (done.returncode, done.stderr.count("created ")) == (0, len(plan(here.settings))), done.stderr
        states = await inspect(here.settings)
        assert {state.plan.name: state.partitions for state in states} == {
            p.name: p.partitions for p in plan(here.settings)
        }
        assert not [state.differences for state in states if state.differences]
        assert await create(here.settings) == []

    async def test_a_difference_is_said_and_refused(self, any_broker: BrokerProcess, install: Make) -> None:
        """Partitions of the deciding log that are not those of the settings: exit code 1, with both numbers."""
        here = install(any_broker, topics={"partitions": 3})
        await here.create()
        here.configure({"topics": {"partitions": 2}})
        done = await asyncio.to_thread(here.command_line, "topics")
        assert done.returncode == 1
        assert f"{here.name}.placed" in done.stdout
        assert "partitions: wanted 2, found 3" in done.stdout

    @pytest.mark.broker
    @pytest.mark.kafka
    async def test_a_log_on_the_producers_time_is_refused(self, kafka_broker: BrokerProcess, install: Make) -> None:
        """The deciding log must carry the broker's time where the broker can."""
        here = install(kafka_broker)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.address)
        await admin.start()
        await admin.create_topics([NewTopic(here.settings.topics.placed, 1, 1)])
        await admin.close()
        await here.create()
        done = await asyncio.to_thread(here.command_line, "topics")
        assert done.returncode == 1
        assert "message.timestamp.type: wanted LogAppendTime, found CreateTime" in done.stdout
