"""State of the schema before this one, in everything that has changed since, goes on as if it had been ours."""

from __future__ import annotations

from typing import Any

import orjson

from correlator.engine.entries import MARKER, window_of
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from tests.engine.timeline import RAW, SHARD, START, depends, row
from tests.older import older

GRAPH = depends("web -> api -> db", "jobs -> db", "lone")
WINDOW: dict[str, Any] = {"type": "maintenance", "id": "CHG-7", "match": {"service": "db"}, "author": "ana"}
WINDOW |= {"reason": "upgrade", "starts_at": START, "ends_at": START + 900}
CHANGE = {"type": "change", "id": "r", "kind": "other", "service": "db", "summary": "s", "at": START, "author": ""}
CHANGE |= {"link": ""}
WINDOWS = {"CHG-7": WINDOW}


def fires(number: int, service: str, time: float) -> bytes:
    return orjson.dumps({"source": RAW, "rows": [row(number, time, service, "Down", known=True)]})


def settled(incident: dict[str, Any]) -> dict[str, Any]:
    """An incident without what numbers its revision: what was judged before is judged once more."""
    return {name: value for name, value in incident.items() if name not in ("revision", "updated_at")}


def test_a_state_of_schema_1_goes_on_as_if_it_had_been_ours() -> None:
    """Hidden alerts stay hidden, later shards hear of its windows, incidents keep their pages."""
    first = Partition(GRAPH, Rules())
    first.apply(0, START, "", orjson.dumps(WINDOW))
    for number, service in enumerate(("db", "web", "lone")):
        first.apply(number + 1, START + 60, SHARD, fires(number, service, START + 60))
    first.apply(4, START + 300, "", b"")
    out = first.take()
    first.saved(out)
    entries, shown = {key: value for key, value in out.entries.items() if value is not None}, out.incidents

    again = Partition(GRAPH, Rules())
    again.load(older(entries, WINDOWS))
    after = [
        (5, START + 360, "late", fires(3, "db", START + 360)),
        (6, START + 400, SHARD, orjson.dumps(CHANGE)),
        (7, START + 420, SHARD, fires(4, "jobs", START + 420)),
        (8, START + 950, "", b""),
    ]
    told = []
    for partition, saved in ((first, dict(entries)), (again, older(entries, WINDOWS))):
        incidents: list[Any] = list(shown)
        for record in after:
            partition.apply(*record)
            out = partition.take()
            partition.saved(out)
            incidents += out.incidents
            for key, value in out.entries.items():
                saved.pop(key, None)
                if value is not None:
                    saved[key] = value
        told.append(({id: settled(value) for id, value in incidents}, orjson.loads(saved[MARKER])))
        third = Partition(GRAPH, Rules())
        third.load(saved)
        assert third.figures() == partition.figures()
    assert told[0] == told[1]
    values = told[1][0].values()
    db = next(value for value in values if value["root"]["service"] == "db" and value["shard"] == SHARD)
    assert (db["page"]["wanted"], db["maintenance"], db["page"]["shadow"]) == (True, [], [])
    assert [change["id"] for change in db["changes"]] == ["r"]


def test_windows_of_all_shards_move_out_of_the_marker_at_the_next_checkpoint() -> None:
    """In which it held them before; nothing of them is lost, whatever comes next."""
    first = Partition(GRAPH, Rules())
    first.apply(0, START, "", orjson.dumps(WINDOW))
    out = first.take()
    entries = {key: value for key, value in out.entries.items() if value is not None}
    again = Partition(GRAPH, Rules())
    again.load(older(entries, WINDOWS))
    assert dict(again.windows) == {"CHG-7": WINDOW}
    again.apply(1, START + 1, "", b"")
    saved = again.take().entries
    assert [window_of(key) for key in saved if window_of(key)] == ["CHG-7"]
    marker = saved[MARKER]
    assert marker is not None
    assert "windows" not in orjson.loads(marker)
