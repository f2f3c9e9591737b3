"""What is rejected or put aside is listed, and fed back once it can be decided."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from benchmarks.poison import POISON
from correlator.brokers import BrokerProcess
from tests.stream.conftest import Make
from tests.stream.harness import LAUNCHER, alert, until


async def test_they_are_listed_and_fed_back(any_broker: BrokerProcess, install: Make) -> None:
    """Once the limit is raised a refused record is taken; of a list only the alert that was refused."""
    here = install(any_broker, intake={"max_record_bytes": 1_024})
    await here.create()
    worker = here.start()
    await here.ready()
    large = alert("web", annotations={"text": "x" * 2_000})
    await here.feed([orjson.dumps(large), orjson.dumps([alert("a"), {"service": "b"}, alert("c")]), b"{"])
    await here.drained()
    assert worker.total("rejected_total") == 3
    listed = await asyncio.to_thread(here.command_line, "rejected", "--format", "json")
    rows = [orjson.loads(line) for line in listed.stdout.splitlines()]
    assert [(row["reason"], row["source"].rpartition("/")[2]) for row in rows] == [
        ("too_large", "0"),
        ("missing_field", "1[1]"),
        ("not_json", "2"),
    ], rows
    await here.stop()
    here.configure({"intake": {"max_record_bytes": 100_000}})
    done = await asyncio.to_thread(here.command_line, "rejected", "--replay")
    assert "3 records sent back" in done.stderr
    here.ends = dict.fromkeys(here.ends, (await here.read(here.settings.topics.raw[0]))[-1].offset + 1)
    here.start()
    await here.ready()
    await here.drained()
    await here.stop()
    published, oracle = await here.check()
    assert oracle.inputs == 3  # a, c, and the large one: nothing twice
    assert len(published.rejected) == 5


async def test_an_alert_that_the_engine_raises_on(any_broker: BrokerProcess, install: Make) -> None:
    """It alone is put aside, with its place; once the bug is gone it is fed back."""
    here = install(any_broker)
    here.command = LAUNCHER
    await here.create()
    worker = here.start()
    await here.ready()
    await here.feed([orjson.dumps([alert("a"), alert("b", POISON, labels={"x": "y"}), alert("c")])])
    await here.drained()
    assert worker.total("quarantined_total") == 1
    await here.stop()
    (record,) = (await here.published()).rejected
    headers = {name: value.decode() for name, value in record.headers}
    assert (headers["reason"], headers["offset"], headers["index"]) == ("engine_error", headers["offset"], "1")
    assert headers["topic"] == here.settings.topics.raw[0]
    assert orjson.loads(record.value)["service"] == "b"
    here.command = ("-m", "correlator")
    done = await asyncio.to_thread(here.command_line, "rejected", "--replay", "--reason", "engine_error")
    assert "1 records sent back" in done.stderr
    here.ends = dict.fromkeys(here.ends, (await here.read(here.settings.topics.raw[0]))[-1].offset + 1)
    here.start()
    await here.ready()
    await here.drained()
    assert set(await here.incidents()) == {"a", "b", "c"}
    await here.stop()


async def test_a_source_that_poisons_and_a_window_that_does(any_broker: BrokerProcess, install: Make) -> None:
    """The source is put aside and others go on; all of it is listed with its place, and fed back in the end."""
    here = install(any_broker, engine={"breaker_errors": 3})
    here.command = LAUNCHER
    await here.create()
    worker = here.start()
    await here.ready()
    await here.feed([alert(f"p{n}", POISON, source="bad") for n in range(4)])
    await here.drained()
    await here.feed([alert("a", source="bad"), alert("b", source="good")])
    now = time.time()
    window: dict[str, Any] = {"type": "maintenance", "id": POISON, "match": {"service": "b"}}
    window |= {"author": "ana", "reason": "upgrade", "starts_at": now - 60, "ends_at": now + 3_600}
    done = await asyncio.to_thread(here.command_line, "control", orjson.dumps(window).decode())
    assert done.returncode == 0, done.stderr

    async def rows() -> list[dict[str, Any]]:
        listed = await asyncio.to_thread(here.command_line, "rejected", "--format", "json")
        found = [orjson.loads(line) for line in listed.stdout.splitlines()]
        return found if len(found) == 6 else []

    found = await until("all listed", rows)
    assert sorted(row["reason"] for row in found) == ["breaker_open"] * 2 + ["engine_error"] * 4
    (control,) = (row for row in found if row["source"].startswith(here.settings.topics.placed))
    assert control["message"] == "LookupError: the engine does not like this window"
    assert control["traceback"].endswith(" wrong")
    assert set(await here.incidents()) == {"b"}
    assert worker.total("breakers_open") == 1
    await here.stop()
    here.command = ("-m", "correlator")
    done = await asyncio.to_thread(here.command_line, "rejected", "--replay")
    assert "6 records sent back" in done.stderr
    here.ends = dict.fromkeys(here.ends, (await here.read(here.settings.topics.raw[0]))[-1].offset + 1)
    here.configure({"engine": {"breaker_retry": 1}})
    here.start()
    await here.ready()
    await here.drained()
    last = await here.incidents()
    assert last["b"]["members"][0]["verdict"] == "maintenance"
    await here.stop()
