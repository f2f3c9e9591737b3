"""What operators do and meet: stop, reload, controls, refusals, rejected records, HTTP, slow and absent brokers."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from correlator.brokers import BrokerProcess, free_port, kafka
from correlator.storms import storm
from tests.stream.conftest import Make
from tests.stream.harness import GRAPH, Worker, alert, says, until


class TestStop:
    async def test_a_restart_after_a_stop_reads_nothing_twice(self, any_broker: BrokerProcess, install: Make) -> None:
        """SIGTERM saves, commits and leaves the group, so that the next worker need not wait for a session to end."""
        drawn = storm("a", services=100, seed=5)
        session = 30 if any_broker.kind == "kafka" else 6  # the embedded broker keeps every join waiting
        here = install(any_broker, broker={"session_timeout": session, "request_timeout": 40})
        here.use_graph(drawn)
        await here.create()
        first = here.start()
        await here.ready()
        await here.feed(drawn.alerts[:300])
        await here.drained()
        assert await first.stop() == 0
        assert "stopped: checkpoints written, offsets committed, group left" in first.text
        second = here.start()
        await here.ready(second, timeout=25)
        await here.feed(drawn.alerts[300:])
        await here.drained()
        assert second.total("replayed_total") == 0
        assert second.total("conservation_difference") == 0
        await here.stop()
        _, oracle = await here.check()
        assert (oracle.inputs, oracle.replayed) == (len(drawn.alerts), 0)

    async def test_a_stop_in_the_middle_of_a_storm_loses_nothing(
        self, any_broker: BrokerProcess, install: Make
    ) -> None:
        """Two workers, of which one leaves while alerts come."""
        drawn = storm("c", services=200, seed=6)
        here = install(any_broker, topics={"partitions": 2, "raw_partitions": 4})
        here.use_graph(drawn)
        await here.create()
        leaving = here.start()
        here.start()
        await here.ready()
        feeding = asyncio.create_task(here.feed(drawn.alerts, partition=lambda a: len(a["service"]) % 4, pace=0.002))
        await here.ready()
        assert await leaving.stop() == 0
        await feeding
        await here.drained()
        await here.stop()
        _, oracle = await here.check()
        assert oracle.inputs == len(drawn.alerts)


async def test_a_spare_worker_is_ready(any_broker: BrokerProcess, install: Make) -> None:
    """There are fewer partitions than workers: the one that gets none has all that the group gave it."""
    here = install(any_broker, topics={"partitions": 2, "raw_partitions": 2})
    await here.create()
    for _ in range(3):
        await here.ready(here.start())
    await here.stop()


class TestReload:
    async def test_a_changed_graph_and_changed_rules_enter_the_log(
        self, any_broker: BrokerProcess, install: Make
    ) -> None:
        """By SIGHUP, and because a file changed; a graph that would move a service to another shard is refused."""
        here = install(any_broker, shards={"attribute": ["team"]})
        here.use_graph(GRAPH)
        await here.create()
        worker = here.start()
        await here.ready()
        await here.feed([alert("web")])
        await here.drained()
        old = (await here.incidents())["web"]["graph_version"]
        assert old == (await here.in_log("graph"))[0]["version"]

        moved = {**GRAPH, "nodes": [{"id": "web", "team": "front"}, {"id": "db", "team": "front"}]}
        here.use_graph(moved)
        worker.signal(signal.SIGHUP)
        await says(worker, "refused: 1 services would move to another shard: db (team=back -> team=front)")
        assert len(await here.in_log("graph")) == 1

        here.use_graph({**GRAPH, "nodes": [*GRAPH["nodes"], {"id": "cache", "team": "front"}]})
        worker.signal(signal.SIGHUP)

        async def versions() -> list[str]:
            found = [control["version"] for control in await here.in_log("graph")]
            return found if len(found) == 2 else []

        new = (await until("the new graph in the log", versions))[1]
        await here.feed([alert("cache")])
        await here.drained()
        assert (await here.incidents())["cache"]["graph_version"] == new != old

        here.configure({"engine": {"settle": 7}})  # noticed without a signal

        async def rules() -> list[Any]:
            return [c for c in await here.in_log("rules") if c["rules"]["settle"] == 7]

        await until("the new rules in the log", rules)
        await here.stop()
        await here.check()

    async def test_what_cannot_be_read_changes_nothing(self, embedded_broker: BrokerProcess, install: Make) -> None:
        """A broken file is one line; the worker goes on."""
        here = install(embedded_broker)
        here.use_graph(GRAPH)
        await here.create()
        worker = here.start()
        await here.ready()
        here.graph_file.write_text("{")
        worker.signal(signal.SIGHUP)
        await says(worker, "not reloaded: ")
        here.config.write_text("[engine]\nsettle = -1\n")
        worker.signal(signal.SIGHUP)
        await says(worker, "engine.settle")
        await here.feed([alert("web")])
        await here.drained()
        assert len(await here.in_log("graph")) == 1


async def test_controls_reach_the_incidents(any_broker: BrokerProcess, install: Make) -> None:
    """A maintenance window and an acknowledgement through the controls topic; a bad control is said and left out."""
    here = install(any_broker)
    here.use_graph(GRAPH)
    await here.create()
    worker = here.start()
    await here.ready()
    async with here.producer() as made:
        await made.send_and_wait(here.settings.topics.controls, b'{"type": "reboot"}', partition=0)
    await says(worker, "type is 'reboot'")
    now = time.time()
    await here.feed([alert("web", "HighLatency", starts_at=now - 900)])
    await here.drained()
    window = {"id": "CHG-7", "match": {"service": "db"}, "starts_at": now - 60, "ends_at": now + 3_600}
    window |= {"type": "maintenance", "author": "ana", "reason": "upgrade"}
    done = await asyncio.to_thread(here.command_line, "control", orjson.dumps(window).decode())
    assert done.returncode == 0, done.stderr

    async def entered(kind: str) -> Any:
        return await here.in_log(kind)

    await until("the window in the log", lambda: entered("maintenance"))
    await here.feed([alert("db"), alert("web", starts_at=now - 600)])
    await here.drained()
    found = await here.incidents()
    assert found["db"]["members"][0]["verdict"] == "maintenance"
    acknowledge = {"type": "acknowledge", "incident": next(iter(found.values()))["id"], "by": "ana"}
    done = await asyncio.to_thread(here.command_line, "control", orjson.dumps(acknowledge).decode())
    assert done.returncode == 0, done.stderr

    async def acknowledged() -> bool:
        return any(i["acknowledged"] and i["acknowledged"]["by"] == "ana" for i in (await here.incidents()).values())

    await until("acknowledged", acknowledged)
    await here.stop()
    await here.check()


async def test_what_was_learned_can_be_looked_at(any_broker: BrokerProcess, install: Make) -> None:
    """When an incident has closed: from the saved state, and the same as a replay of the log says."""
    here = install(any_broker, engine={"grace": "1s", "reopen_window": "1s"})
    here.use_graph(GRAPH)
    await here.create()
    here.start()
    await here.ready()
    now = time.time()
    outage = [alert("db", starts_at=now), alert("web", "HighErrorRate", starts_at=now)]
    await here.feed(outage)
    await here.drained()
    asked = ("explain", "--history", "db")
    nothing = await asyncio.to_thread(here.command_line, *asked)
    assert "nothing was learned about db yet" in nothing.stdout, nothing.stderr
    await here.feed([{**one, "status": "resolved", "ends_at": time.time()} for one in outage])

    async def closed() -> bool:
        return {one["state"] for one in (await here.incidents()).values()} == {"closed"}

    await until("the incident has closed", closed)
    told = await asyncio.to_thread(here.command_line, *asked)
    lines = told.stdout.splitlines()
    assert lines[0].startswith("db in shard all: had reason to alert in 1.0 incidents"), told.stderr
    assert lines[1].strip() == "in 1 of the last 1 incidents there, root of 1"
    assert any("ServiceDown" in line for line in lines)
    await here.stop()
    dump = here.folder / "placed.ndjson"
    dumped = await asyncio.to_thread(here.command_line, "dump", here.settings.topics.placed)
    dump.write_text(dumped.stdout)
    replayed = await asyncio.to_thread(here.command_line, *asked, "--replay", str(dump), "--placed")
    assert replayed.stdout == told.stdout, replayed.stderr


class TestRefusals:
    async def test_missing_and_differing_topics(self, any_broker: BrokerProcess, install: Make) -> None:
        """Exit code 3, with what is missing or differs and the command that helps."""
        here = install(any_broker)
        worker = here.start()
        assert await worker.ended() == 3
        assert f"{here.name}.placed is missing" in worker.text
        assert "correlator topics --create" in worker.text
        await here.create()
        here.configure({"topics": {"partitions": 4}})
        worker = here.start()
        assert await worker.ended() == 3
        assert f"{here.name}.placed: partitions: wanted 4, found 1" in worker.text
        assert "Traceback" not in worker.text

    @pytest.mark.broker
    async def test_an_unreachable_broker(self, embedded_broker: BrokerProcess, install: Make) -> None:
        """Exit code 3 and one line with the address, within the request timeout."""
        port = free_port()
        here = install(embedded_broker, broker={"bootstrap": [f"127.0.0.1:{port}"], "request_timeout": 10})
        worker = here.start()
        assert await worker.ended(30) == 3
        assert sum(line.startswith("correlator: ") for line in worker.text.splitlines()) == 1
        assert str(port) in worker.text
        assert "Traceback" not in worker.text


@pytest.mark.broker
async def test_http(embedded_broker: BrokerProcess, install: Make) -> None:
    """Metrics in both formats, health, readiness, and nothing else."""
    here = install(embedded_broker)
    await here.create()
    worker = here.start()
    await here.ready()
    status, kind, text = worker.get("/metrics")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert "correlator_build_info" in text
    status, kind, text = worker.get("/metrics", "application/openmetrics-text; version=1.0.0")
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert worker.get("/healthz")[0] == 200
    assert worker.get("/readyz")[0] == 200
    assert worker.get("/")[0] == 404


async def test_a_heartbeat_ages_while_an_intake_stands_still(any_broker: BrokerProcess, install: Make) -> None:
    """Small while all is well; it grows on every worker when one that reads a raw partition is frozen."""
    here = install(any_broker, topics={"raw_partitions": 2, "partitions": 2}, shards={"labels": ["region"]})
    await here.create()
    frozen, other = here.start(), here.start()
    await here.ready()
    await here.feed([alert("web", labels={"region": f"r{n}"}) for n in range(8)])
    await here.drained()

    def age() -> float:
        return max(other.metrics("heartbeat_age_seconds").values(), default=-1.0)

    async def young() -> bool:
        return 0 <= age() < 3

    async def old() -> bool:
        return age() > 4

    await until("a small age", young)
    frozen.signal(signal.SIGSTOP)
    try:
        await until("a growing age", old, 20)
        await until("a small age after the take-over", young, 40)
    finally:
        frozen.signal(signal.SIGCONT)
    await here.ready()
    await here.feed([alert("web", "Other", labels={"region": f"r{n}"}) for n in range(8)])
    await here.drained()
    await here.stop()
    _, oracle = await here.check()
    assert oracle.inputs == 16


def resident(worker: Worker) -> float:
    """Resident memory in MB."""
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1_024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.broker
@pytest.mark.kafka
@pytest.mark.slow
async def test_a_broker_that_pauses_and_one_that_is_gone(install: Make) -> None:
    """A pause holds everything up and loses nothing; one beyond ``worker.stall_timeout`` ends it with a line."""
    drawn = storm("a", services=200, alerts=20_000, seed=8)
    with kafka() as broker:
        here = install(broker, topics={"raw_partitions": 2}, worker={"stall_timeout": 20})
        here.use_graph(drawn)
        await here.create()
        worker = here.start()
        await here.ready()
        before = resident(worker)
        feeding = asyncio.create_task(here.feed(drawn.alerts, partition=lambda a: len(a["service"]) % 2, pack=10))

        async def fed() -> bool:
            return worker.total("alerts_received_total") > 1_000

        await until("a part fed", fed)
        broker.pause()
        await asyncio.sleep(8)  # the length of the pause
        assert resident(worker) < before + 200
        broker.resume()
        await feeding
        await here.all_decided(worker, len(drawn.alerts))

        here.configure({"worker": {"stall_timeout": 5, "stop_timeout": 3}})
        worker = here.start()
        await here.ready(worker)
        broker.pause()
        assert await worker.ended(40) == 6
        lines = [line for line in worker.text.splitlines() if line.startswith("correlator: ")]
        assert len(lines) == 1
        assert "for 5 s" in lines[0]
        broker.resume()
