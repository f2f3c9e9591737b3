"""Maintenance on its way from calendars and from the command line into the log, and back out to a list."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from correlator.brokers import BrokerProcess
from tests.stream.conftest import Make
from tests.stream.harness import GRAPH, Installation, alert, says, until

HOUR = 3_600.0


def calendar(*events: tuple[str, float, float, str]) -> str:
    """A calendar of events: UID, begin and end in epoch seconds, summary."""

    def text(at: float) -> str:
        return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"

    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//tests//EN"]
    for uid, begin, end, summary in events:
        lines += ["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", f"DTSTART:{text(begin)}"]
        lines += [f"DTEND:{text(end)}", f"SUMMARY:{summary}", "ORGANIZER:mailto:ana@example.org", "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


async def told(here: Installation, kind: str, count: int) -> list[dict[str, Any]]:
    """The controls of a kind in the log, once there are so many."""

    async def enough() -> list[dict[str, Any]]:
        found = await here.in_log(kind)
        return found if len(found) >= count else []

    found: list[dict[str, Any]] = await until(f"{count} {kind} in the log", enough)
    return found


@pytest.mark.broker
async def test_a_calendar_opens_changes_and_ends_windows(embedded_broker: BrokerProcess, install: Make) -> None:
    """The leading worker announces them; a change of the file is noticed; a restart announces nothing twice."""
    here = install(embedded_broker)
    here.use_graph(GRAPH)
    path = here.folder / "patches.ics"
    now = float(int(time.time()))
    patch = ("patch", now - 60, now + HOUR, "upgrade to 17 [subtree=db]")
    path.write_text(calendar(patch, ("later", now + HOUR, now + 2 * HOUR, "later [service=web]")))
    here.configure({"maintenance": {"calendars": [str(path)], "refresh": 2}})
    await here.create()
    worker = here.start()
    await here.ready()
    _, later = first = await told(here, "maintenance", 2)
    assert [(c["id"].split("/")[2], c["author"], c["reason"]) for c in first] == [
        ("patch", "ana@example.org", "upgrade to 17"),
        ("later", "ana@example.org", "later"),
    ]
    await here.feed([alert("db"), alert("web")])
    await here.drained()
    found = (await here.incidents())["db"]
    assert [(w["covers"], w["alerts"], w["root"]) for w in found["maintenance"]] == [("subtree=db", 2, True)]
    assert found["flags"] == ["maintenance", "root_in_maintenance"]

    async def counted() -> bool:
        return (worker.total("alerts_hidden"), worker.total("maintenance_windows_open")) == (2, 1)

    await until("counted", counted)

    path.write_text("BEGIN:VCALENDAR")
    await says(worker, "not a calendar")
    await here.stop()
    path.write_text(calendar(patch))
    here.start()
    await here.ready()
    (ended,) = await told(here, "maintenance_end", 1)
    assert (ended["id"], ended["author"]) == (later["id"], "patches.ics")
    path.write_text(calendar(("patch", now - 60, now + 1, "done early [subtree=db]")))

    async def out() -> bool:
        return not (await here.incidents())["db"]["maintenance"]

    await until("what fires came out", out)
    assert len(await here.in_log("maintenance")) <= 3
    await here.stop()
    await here.check()


@pytest.mark.broker
async def test_windows_are_opened_listed_and_ended_by_hand(embedded_broker: BrokerProcess, install: Make) -> None:
    """A subtree and a silence of Alertmanager; the list is that of the last checkpoint."""
    here = install(embedded_broker)
    here.use_graph(GRAPH)
    await here.create()
    here.start()
    await here.ready()

    async def command(*words: str) -> str:
        done = await asyncio.to_thread(here.command_line, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    window = ("subtree=db", "--for", "2h", "--reason", "upgrade", "--id", "CHG-7")
    assert await command("maintenance add", *window) == "CHG-7\n"
    silence = {
        "type": "silence",
        "id": "3b5e",
        "matchers": [{"name": "alertname", "value": "Slow.*", "isRegex": True, "isEqual": True}],
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "bob",
        "comment": "known",
    }
    await command("control", orjson.dumps(silence).decode())
    await told(here, "maintenance", 2)
    await here.feed([alert("web"), alert("db", "SlowDisk")])
    await here.drained()
    await here.stop()
    rows = [orjson.loads(line) for line in (await command("maintenance list", "--format", "json")).splitlines()]
    assert [(row["id"], row["reason"]) for row in rows] == [("3b5e", "known"), ("CHG-7", "upgrade")]
    table = await command("maintenance list")
    assert [line.split()[0] for line in table.splitlines()] == ["state", "open", "open"]
    assert "alertname=~Slow.*" in table
    here.start()
    await here.ready()
    await command("maintenance end", "CHG-7")
    await told(here, "maintenance_end", 1)

    async def left() -> bool:
        return [w["id"] for w in (await here.incidents())["db"]["maintenance"]] == ["3b5e"]

    await until("one window left", left)
    await here.stop()
    assert "CHG-7" not in await command("maintenance list")
    await here.check()
