"""Verdicts on their way from the command line into the log, and back out as incidents, metrics and samples."""

from __future__ import annotations

import asyncio
from subprocess import CompletedProcess

import orjson
import pytest

from correlator.brokers import BrokerProcess
from tests.stream.conftest import Make
from tests.stream.harness import GRAPH, alert, says, until


@pytest.mark.broker
async def test_a_verdict_changes_the_published_incident(embedded_broker: BrokerProcess, install: Make) -> None:
    """Another root at once, an alert of its own, a review that counts; and what is refused, with what is allowed."""
    here = install(embedded_broker)
    here.use_graph(GRAPH)
    await here.create()
    worker = here.start()
    await here.ready()
    await here.feed([alert("db"), alert("web"), alert("web", "Slow")])
    await here.drained()
    id = (await here.incidents())["db"]["id"]

    async def command(*words: str) -> CompletedProcess[str]:
        return await asyncio.to_thread(here.command_line, *words)

    drawn = await command("sample", "--format", "json", "--n", "9")
    rows = [orjson.loads(line) for line in drawn.stdout.splitlines()]
    assert {(row["service"], row["name"], row["incident"]) for row in rows} == {
        ("web", "ServiceDown", id),
        ("web", "Slow", id),
    }
    done = await command(*rows[0]["right"].split()[1:], "--by", "bob")
    assert done.returncode == 0, done.stderr
    refused = await command("verdict", id, "--root", "mail")
    assert (refused.returncode, refused.stderr) == (1, "correlator: 'mail' cannot be the root; allowed: db, web\n")
    unknown = await command("verdict", "f" * 16, "--root", "web")
    assert "has no incident ffffffffffffffff" in unknown.stderr
    assert [control["by"] for control in await here.in_log("verdict")] in ([], ["bob"])

    done = await command("verdict", id, "--root", "web", "--by", "ana", "--note", "bad release")
    assert done.returncode == 0, done.stderr

    async def moved() -> bool:
        found = await here.incidents()
        return "web" in found and found["web"]["id"] == id

    await until("another root", moved)
    one = (await here.incidents())["web"]
    assert (one["verdict"]["by"], one["verdict"]["note"], one["confidence"]) == ("ana", "bad release", 1.0)
    control = {"type": "verdict", "incident": id, "root": "mail", "by": "ana"}
    await command("control", orjson.dumps(control).decode())
    await says(worker, "'mail' cannot be the root; allowed: db, web")

    async def counted() -> bool:
        reviews = worker.total("suppression_reviewed"), worker.total("suppression_precision_upper")
        return (*reviews, worker.total("operator_verdicts_total")) == (1, 1, 2)

    await until("counted", counted)
    await here.stop()
    await here.check()
