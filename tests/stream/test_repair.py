"""State and log that do not fit together: the worker refuses, ``correlator repair`` explains and mends."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from correlator.brokers import BrokerProcess
from correlator.engine.partition import MARKER
from correlator.stream.topics import state_topic
from tests.stream.conftest import Make
from tests.stream.harness import Installation, alert, until

FORGET = "correlator repair --partition 0 --forget-state --apply"
ACCEPT = "correlator repair --partition 0 --accept-loss --apply"


async def worked(install: Make, broker: BrokerProcess) -> Installation:
    """A worker decided two alerts and has stopped."""
    here = install(broker)
    await here.create()
    here.start()
    await here.ready()
    await here.feed([alert("web"), alert("db")])
    await here.drained()
    await here.stop()
    return here


async def refused(here: Installation, *words: str) -> None:
    """A worker does not start, and says why and what to do."""
    worker = here.start()
    assert await worker.ended() == 4
    line = next(line for line in worker.text.splitlines() if line.startswith("correlator: "))
    for word in words:
        assert word in line, line
    assert "Traceback" not in worker.text


async def repair(here: Installation, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(here.command_line, "repair", *words)


async def mended(here: Installation, choice: str, problem: str) -> None:
    """Looking changes nothing and says what is wrong; mending is said line by line; then all is well."""
    for _ in range(2):
        looked = await repair(here, "--format", "json")
        assert looked.returncode == 1, looked.stderr
        (row,) = map(orjson.loads, looked.stdout.splitlines())
        assert (row["problem"], choice in row["choices"]) == (problem, True)
    told = await repair(here)
    assert f"correlator repair --partition 0 --{choice} --apply" in told.stdout
    done = await repair(here, f"--{choice}", "--apply")
    assert done.returncode == 0, done.stderr
    assert "partition 0: state " in done.stderr
    after = await repair(here)
    assert after.returncode == 0, after.stdout


async def write_state(here: Installation, key: bytes, value: bytes | None) -> None:
    async with here.producer() as made:
        await made.send_and_wait(state_topic(here.settings), value, key=key, partition=0)


async def marker(here: Installation) -> dict[str, Any]:
    values = [r.value for r in await here.read(state_topic(here.settings)) if r.key == MARKER and r.value]
    found: dict[str, Any] = orjson.loads(values[-1])
    return found


async def works_again(here: Installation) -> dict[str, Any]:
    """Start a worker, resolve one alert, fire another: the incidents after that."""
    worker = here.start()
    await here.ready(worker)
    await here.feed([alert("web", status="resolved"), alert("late")])
    await here.drained()
    await here.stop()
    return await here.incidents()


async def made_anew(here: Installation, topic: str) -> None:
    """Delete a topic and create it again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=here.broker.address)
    await admin.start()
    await admin.delete_topics([topic])

    async def gone() -> bool:
        return topic not in await admin.list_topics()

    await until("the topic gone", gone)
    configs = {"cleanup.policy": "delete", "max.message.bytes": "9000000"}
    if topic == here.settings.topics.placed:
        configs["message.timestamp.type"] = "LogAppendTime"
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=configs)])
    await admin.close()


async def test_a_state_with_a_damaged_marker(any_broker: BrokerProcess, install: Make) -> None:
    """Refused in a line that says what is wrong with it, and mended like one that is gone."""
    here = await worked(install, any_broker)
    await write_state(here, MARKER, b'{"schema": 2')
    await refused(here, "is not JSON", FORGET)
    await mended(here, "forget-state", "unreadable")
    await works_again(here)


async def test_a_state_without_its_marker(any_broker: BrokerProcess, install: Make) -> None:
    """No guess; the state is made again from the log, and says the same incidents."""
    here = await worked(install, any_broker)
    before = await here.incidents()
    await write_state(here, MARKER, None)
    await refused(here, "no marker", FORGET)
    await mended(here, "forget-state", "no_marker")
    after = await works_again(here)
    assert {service: found["id"] for service, found in before.items()}.items() <= {
        service: found["id"] for service, found in after.items()
    }.items()
    assert {service: found["state"] for service, found in after.items()} == {
        "web": "resolved",
        "db": "forming",
        "late": "forming",
    }


@pytest.mark.broker
async def test_a_state_of_entries_that_do_not_fit(embedded_broker: BrokerProcess, install: Make) -> None:
    """As a worker that was frozen on its way may leave it, without transactions: an incident without its alert."""
    here = await worked(install, embedded_broker)
    before = await here.incidents()
    lost = next(record.key for record in await here.read(state_topic(here.settings)) if b"\x1fa\x1f" in record.key)
    await write_state(here, lost, None)
    await refused(here, "the state cannot be read", "has no service", FORGET)
    await mended(here, "forget-state", "unreadable")
    after = await works_again(here)
    assert {found["id"] for found in before.values()} <= {found["id"] for found in after.values()}


async def test_a_state_of_a_newer_version(any_broker: BrokerProcess, install: Make) -> None:
    """Run the newer version, or make the state again from the log."""
    here = await worked(install, any_broker)
    await write_state(here, MARKER, orjson.dumps({**await marker(here), "schema": 99}))
    await refused(here, "schema version 99", "Run a newer version", FORGET)
    await mended(here, "forget-state", "newer_schema")
    after = await works_again(here)
    assert (after["web"]["state"], after["db"]["state"]) == ("resolved", "forming")


async def test_a_graph_that_nobody_knows(embedded_broker: BrokerProcess, install: Make) -> None:
    """Looking finds it, without the minute for which a worker waits."""
    here = await worked(install, embedded_broker)
    await write_state(here, MARKER, orjson.dumps({**await marker(here), "graph": "0123456789abcdef"}))
    await mended(here, "forget-state", "no_graph")
    assert (await works_again(here))["late"]["graph_version"] == (await marker(here))["graph"]


@pytest.mark.broker
@pytest.mark.kafka
async def test_a_log_that_was_made_anew(kafka_broker: BrokerProcess, install: Make) -> None:
    """The state is ahead of the log: what it knew is closed as unknown, and the new log decides."""
    here = await worked(install, kafka_broker)
    await made_anew(here, here.settings.topics.placed)
    await refused(here, "the log ends at -1: the topic was made anew", FORGET)
    await mended(here, "forget-state", "ahead")
    over = await here.incidents()
    assert {(i["state"], i["resolution"], i["page"]["wanted"]) for i in over.values()} == {("closed", "unknown", False)}
    after = await works_again(here)
    assert after["late"]["state"] == "forming"
    assert after["db"]["reasons"][-1] == "closed by correlator repair: the state that knew it was given up"


@pytest.mark.broker
@pytest.mark.kafka
@pytest.mark.parametrize("choice", ["accept-loss", "forget-state"])
async def test_a_log_of_which_retention_ate_too_much(kafka_broker: BrokerProcess, install: Make, choice: str) -> None:
    """With the loss accepted the incidents live on; without the state those that are older than the log are closed."""
    here = await worked(install, kafka_broker)
    topic, applied = here.settings.topics.placed, (await marker(here))["applied"]
    async with here.producer() as made:
        for _ in range(5):
            await made.send_and_wait(topic, orjson.dumps({"type": "tick"}), key=b"", partition=0)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.address)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=applied + 4)})
    await admin.close()
    await refused(here, f"3 records from offset {applied + 1} on are gone", ACCEPT, FORGET)
    await mended(here, choice, "eaten")
    assert (await marker(here))["applied"] == applied + 3
    after = await works_again(here)
    states = {service: found["state"] for service, found in after.items()}
    if choice == "accept-loss":
        assert states == {"web": "resolved", "db": "forming", "late": "forming"}
    else:
        assert states == {"web": "closed", "db": "closed", "late": "forming"}


@pytest.mark.broker
@pytest.mark.kafka
async def test_a_raw_topic_that_was_made_anew(kafka_broker: BrokerProcess, install: Make) -> None:
    """The group had read further: reading begins again, and the engine counts what the new topic holds."""
    here = await worked(install, kafka_broker)
    await made_anew(here, here.settings.topics.raw[0])
    await refused(here, "it was made anew", "correlator repair --accept-loss --apply")
    looked = await repair(here)
    assert (looked.returncode, "it was made anew" in looked.stdout) == (1, True)
    done = await repair(here, "--accept-loss", "--apply")
    assert done.returncode == 0, done.stderr
    here.ends.clear()
    after = await works_again(here)
    assert {service: found["state"] for service, found in after.items()} == {
        "web": "resolved",
        "db": "forming",
        "late": "forming",
    }


async def test_nothing_is_mended_under_a_living_worker(any_broker: BrokerProcess, install: Make) -> None:
    """Looking is allowed; mending is refused, and so is a repair that nothing needs."""
    here = install(any_broker)
    await here.create()
    here.start()
    await here.ready()
    looked = await repair(here)
    assert (looked.returncode, "1 workers alive" in looked.stdout) == (0, True), looked
    done = await repair(here, "--forget-state", "--apply")
    assert (done.returncode, "1 workers of the group" in done.stderr) == (1, True), done
    await here.stop()
    done = await repair(here, "--forget-state", "--apply")
    assert (done.returncode, "nothing here can be mended by --forget-state" in done.stderr) == (1, True), done
    assert (await repair(here, "--apply")).returncode == 2
