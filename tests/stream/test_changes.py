"""Changes on their way from a topic of their own to the incidents that suspect them."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from correlator.brokers import BrokerProcess
from correlator.stream.intake import REPLAY_INDEX, only_index
from tests.stream.conftest import Make
from tests.stream.harness import GRAPH, Installation, alert, until

ALIASED: dict[str, Any] = {**GRAPH, "nodes": [{"id": "web"}, {"id": "db", "aliases": ["pg-main"]}]}
DEPLOYED: dict[str, Any] = {"service": "pg-main", "summary": "deployed v2.3.1", "author": "ana", "id": "r-7"}
FLAG = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"org.example.flag.switched"),
    ("ce_source", b"/flags"),
    ("ce_id", b"17"),
    ("ce_subject", b"web"),
]


async def tell(here: Installation, value: Any, headers: Any = ()) -> None:
    """Send one record to the topic of changes."""
    async with here.producer() as made:
        body = value if isinstance(value, bytes) else orjson.dumps(value)
        await made.send_and_wait(here.settings.topics.changes[0], body, partition=0, headers=list(headers))


async def in_the_log(here: Installation, count: int) -> list[dict[str, Any]]:
    """The changes of the deciding log, once there are so many."""

    async def enough() -> list[dict[str, Any]]:
        found = await here.in_log("change")
        return found if len(found) >= count else []

    found: list[dict[str, Any]] = await until(f"{count} changes in the log", enough)
    return found


@pytest.mark.broker
async def test_a_deployment_is_the_first_suspect_of_the_incident_after_it(
    embedded_broker: BrokerProcess, install: Make
) -> None:
    """Placed like an alert, by its alias; by hand too; again after a restart; and the log replays to the same bytes."""
    here = install(embedded_broker)
    here.use_graph(ALIASED)
    await here.create()
    here.start()
    await here.ready()
    now = time.time()
    await tell(here, {**DEPLOYED, "at": now - 240})
    await tell(here, {**DEPLOYED, "at": now - 240})
    await tell(here, b'{"message": "new-basket on"}', FLAG)
    done = await asyncio.to_thread(
        here.command_line, "change", "db", "config: cache 2 GB", "--author", "bob", "--link", "https://git/1"
    )
    assert done.returncode == 0, done.stderr
    assert {control["service"] for control in await in_the_log(here, 4)} == {"db", "web"}
    await here.stop()
    worker = here.start()
    await here.ready()
    await here.feed([alert("db", starts_at=now), alert("web", starts_at=now)])
    await here.drained()
    found = (await here.incidents())["db"]
    assert [(c["service"], c["kind"], c["relation"], c["author"]) for c in found["changes"]] == [
        ("db", "deployment", "root", "ana"),
        ("db", "configuration", "root", "bob"),
        ("web", "feature_flag", "member", None),
    ]
    assert "first suspect: db: deployed v2.3.1 4 min before the first alert, by ana" in found["reasons"]
    assert worker.total("conservation_difference") == 0
    await here.stop()
    await here.check()


@pytest.mark.broker
async def test_a_change_that_cannot_be_read_is_rejected_and_fed_back(
    embedded_broker: BrokerProcess, install: Make
) -> None:
    """With its reason and, in binary mode, with the attributes that are not in its bytes; the others pass."""
    here = install(embedded_broker, intake={"max_record_bytes": 1_024})
    here.use_graph(ALIASED)
    await here.create()
    worker = here.start()
    await here.ready()
    await tell(here, b"{")
    await tell(here, {"message": "on", "text": "x" * 2_000}, FLAG)
    await tell(here, [{**DEPLOYED, "at": "noon"}, DEPLOYED])
    assert [control["service"] for control in await in_the_log(here, 1)] == ["db"]
    rejected = await here.read(here.settings.topics.rejected)
    headers = [{name: value.decode() for name, value in record.headers} for record in rejected]
    assert [h["reason"] for h in headers] == ["not_json", "too_large", "wrong_type"]
    assert (headers[1]["ce_subject"], headers[2]["index"], headers[2]["dialect"]) == ("web", "0", "native")
    assert worker.total("rejected_total") == 3
    kinds = {dict(labels)["kind"]: n for labels, n in worker.metrics("changes_received_total").items() if n}
    assert kinds == {"deployment": 1.0}
    await here.stop()
    here.configure({"intake": {"max_record_bytes": 100_000}})
    done = await asyncio.to_thread(here.command_line, "rejected", "--replay", "--reason", "too_large")
    assert "1 records sent back" in done.stderr
    here.start()
    await here.ready()
    assert [(control["service"], control["id"]) for control in (await in_the_log(here, 2))[1:]] == [
        ("web", "/flags#17")
    ]
    await here.stop()
    await here.check()


@pytest.mark.parametrize("value", [None, b"", b"x", b"-1", b"9" * 5_000])
def test_a_header_that_names_no_place_in_the_record_is_ignored(value: bytes | None) -> None:
    """Anybody may write headers; only a feed-back of a reject names the one event that is taken."""
    assert only_index(SimpleNamespace(headers=[(REPLAY_INDEX, value)])) is None
    assert only_index(SimpleNamespace(headers=[(REPLAY_INDEX, value), (REPLAY_INDEX, b"3")])) == 3
