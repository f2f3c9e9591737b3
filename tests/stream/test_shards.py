"""Another shard key and more partitions, while alerts fire: ``correlator shards plan`` and ``move``."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from correlator.assemble import load_graph
from correlator.brokers import BrokerProcess
from correlator.stream.move import move
from tests.stream.conftest import Make
from tests.stream.harness import Installation, alert, until

#: web and shop depend on db; everything of a team is kept apart once the team is the key.
GRAPH: dict[str, Any] = {
    "directed": True,
    "multigraph": False,
    "graph": {"direction": "depends_on"},
    "nodes": [
        {"id": "web", "team": "front"},
        {"id": "shop", "team": "front"},
        {"id": "db", "team": "back"},
        {"id": "lone", "team": "back"},
        {"id": "mail", "team": "office"},
    ],
    "links": [{"source": "web", "target": "db"}, {"source": "shop", "target": "db"}],
}


async def incidents(here: Installation) -> dict[str, Any]:
    """Last value of each incident by id; a revision never goes back, and an id stays in one partition."""
    last: dict[str, Any] = {}
    where: dict[str, set[int]] = {}
    for record in await here.read(here.settings.topics.incidents):
        value, id = orjson.loads(record.value), record.key.decode()
        assert value["revision"] >= last.get(id, value)["revision"]
        last[id] = value
        where.setdefault(id, set()).add(record.partition)
    assert {len(found) for found in where.values()} == {1}
    return last


async def shards(here: Installation, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(here.command_line, *words)


async def cut_off(here: Installation, at: str) -> None:
    """Begin a move, and end it after the step that says ``at``."""
    async with aclosing(move(here.settings, load_graph(here.settings).graph_or_raise())) as steps:
        async for line in steps:
            if at in line:
                return
    raise AssertionError(f"no step says {at!r}")


async def refused(here: Installation, *words: str) -> None:
    """A worker does not start, and says why."""
    worker = here.start()
    assert await worker.ended() == 4
    for word in words:
        assert word in worker.text, worker.text[-2000:]


async def pages(here: Installation) -> int:
    return sum(incident["page"]["seq"] for incident in (await incidents(here)).values())


@pytest.mark.broker
@pytest.mark.kafka
async def test_alerts_fire_and_resolve_across_a_move(kafka_broker: BrokerProcess, install: Make) -> None:
    """The key changes, and 4 partitions become 8, by a move that is cut off after each of its steps.

    Everything resolves where it is then, nothing stays open or pages again, and the log still explains every byte.
    """
    rules = {"settle": 1, "grace": 1, "reopen_window": 60, "judge_interval": 1}
    here = install(kafka_broker, topics={"partitions": 4, "raw_partitions": 2}, engine=rules)
    here.use_graph(GRAPH)
    await here.create()
    here.start()
    await here.ready()
    everything = ("db", "web", "shop", "lone", "mail", "ghost")
    await here.feed([alert(service) for service in everything], partition=lambda a: len(a["service"]) % 2)
    await here.drained()

    async def all_paged() -> bool:
        found = await incidents(here)
        return [i["page"]["seq"] for i in found.values()] == [1] * 4 and {i["state"] for i in found.values()} == {
            "open"
        }

    await until("every incident paged", all_paged)
    for worker in here.workers:
        assert await worker.stop() == 0
    before = await incidents(here)
    root = next(id for id, incident in before.items() if incident["root"]["service"] == "db")
    assert before[root]["counts"]["alerts"] == 3

    here.configure({"shards": {"attribute": ["team"]}})
    await refused(here, "services would move to another shard", "correlator shards plan")
    here.configure({"topics": {"partitions": 8}})
    told = await shards(here, "shards plan", "--format", "json")
    assert told.returncode == 1, told.stderr
    plan = orjson.loads(told.stdout)
    assert {leg["to_shard"]: leg["firing"] for leg in plan["legs"]} == {
        "team=back": 2,
        "team=front": 2,
        "team=office": 1,
        "team=-": 1,
    }
    assert (plan["topics"][here.settings.topics.incidents], plan["pages"], plan["obstacles"]) == ([4, 8], [], [])
    assert [cut["id"] for cut in plan["cut"]] == [root]

    steps = ("noted", "has 8 partitions", "begun", "before it is published", "partition 3: ", "partition 2: ended")
    for step in (*steps, "what has moved is published"):
        await cut_off(here, step)
        if step == "partition 2: ended":
            await refused(here, "a move to layout 1 is under way", "correlator shards move")
    done = await shards(here, "shards move")
    assert (done.returncode, "layout 1 is in force" in done.stderr) == (0, True), done.stderr
    again = await shards(here, "shards plan")
    assert (again.returncode, "nothing to move" in again.stdout) == (0, True), again
    moved = await incidents(here)
    assert moved[root]["shard"] == "team=back"
    (part,) = [r["id"] for r in moved[root]["related"] if r["relation"] == "split_to"]
    assert (moved[part]["shard"], moved[part]["page"]["seq"], moved[part]["state"]) == ("team=front", 0, "open")
    assert await pages(here) == 4

    await refused_old(here)
    here.start()
    await here.ready(here.workers[-1])
    await here.feed(
        [alert(service, status="resolved") for service in everything], partition=lambda a: len(a["service"]) % 2
    )
    await here.drained()
    assert {i["state"] for i in (await incidents(here)).values()} == {"resolved"}
    assert await pages(here) == 4
    await here.feed([alert("web", starts_at="2031-01-01T00:00:00Z")])
    await here.drained()
    worker = here.workers[-1]
    assert worker.total("conservation_difference") == 0
    assert await worker.stop() == 0
    after = await incidents(here)
    assert [i["root"]["service"] for i in after.values() if i["state"] in ("open", "forming")] == ["web"]
    published, oracle = await here.check()
    assert (oracle.inputs, oracle.replayed) == (len(everything) * 2 + 1, 0)
    assert {mark["layout"]["number"] for mark in published.marks.values()} == {1}


async def refused_old(here: Installation) -> None:
    """The settings of before the move are refused after it."""
    key = here.sections["shards"].pop("attribute")
    here.configure({})
    await refused(here, "services would move to another shard")
    here.configure({"shards": {"attribute": key}})


@pytest.mark.broker
async def test_a_move_needs_that_nobody_works(embedded_broker: BrokerProcess, install: Make) -> None:
    """While a worker is alive it changes nothing; then it moves, without transactions too, and back."""
    here = install(embedded_broker)
    here.use_graph(GRAPH)
    await here.create()
    nothing = await shards(here, "shards move")
    assert (nothing.returncode, "no worker has run here yet" in nothing.stderr) == (4, True), nothing.stderr
    here.start()
    await here.ready()
    await here.feed([alert("db"), alert("mail")])
    await here.drained()
    other = here.folder / "other.toml"
    other.write_text(here.config.read_text() + '\n[shards]\nattribute = ["team"]\n')
    told = await shards(here, "shards plan", "--to", str(other))
    assert (told.returncode, "not now: 1 workers of the group" in told.stdout) == (1, True), told
    assert "all (0)" in told.stdout
    assert "no page follows from it" in told.stdout
    done = await shards(here, "shards move", "--to", str(other))
    assert (done.returncode, "stop them with SIGTERM first" in done.stderr) == (1, True), done
    assert await here.workers[-1].stop() == 0
    here.configure({"topics": {"partitions": 4}})
    done = await shards(here, "shards move")
    assert (done.returncode, "cannot add partitions" in done.stderr) == (3, True), done.stderr
    here.configure({"topics": {"partitions": 1}})
    for to, names in ((other, {"team=back", "team=office"}), (here.config, {"all"})):
        done = await shards(here, "shards move", "--to", str(to))
        assert done.returncode == 0, done.stderr
        assert {i["shard"] for i in (await incidents(here)).values()} == names
    here.start()
    await here.ready(here.workers[-1])
    await here.feed([alert("db", status="resolved"), alert("mail", status="resolved")])
    await here.drained()
    assert await here.workers[-1].stop() == 0
    assert {i["state"] for i in (await incidents(here)).values()} == {"resolved"}
    await here.check()


@pytest.mark.broker
async def test_what_was_not_read_to_its_end_is_drained_first(embedded_broker: BrokerProcess, install: Make) -> None:
    """Partitions only grow; and where a raw record may be placed in part, a move would count the rest nowhere."""
    here = install(embedded_broker)
    await here.create()
    here.start()
    await here.ready()
    await here.feed([alert("db")])
    await here.drained()
    await here.stop()
    placed = orjson.dumps(
        {"type": "alerts", "source": f"{here.settings.topics.raw[0]}/0", "rows": [placed_row(here, 1_000_000)]}
    )
    async with here.producer() as made:
        await made.send_and_wait(here.settings.topics.placed, placed, key=b"all", partition=0)
    here.configure({"shards": {"labels": ["env"]}})
    told = await shards(here, "shards move")
    assert (told.returncode, "the raw topics are not drained" in told.stderr) == (1, True), told.stderr


def placed_row(here: Installation, offset: int) -> list[Any]:
    return [offset, 0, 1e9, True, "f" * 16, "web", "Down", "critical", "firing", 1e9, None, {}, {}, "", []]
