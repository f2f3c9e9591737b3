"""Alerts from files, and dumps of the deciding log, through the engine without a broker."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from correlator.dialects import Reader
from correlator.engine.rules import Rules
from correlator.errors import StateError
from correlator.place import Placer
from correlator.recordings import Arrival, FileError, read_alerts
from correlator.replay import MAX_ROWS, Placed, Replay, file_rules, final, placed_alerts, replay_placed
from topology import ServiceGraph, load

DATA = Path(__file__).parent / "data"
SHOP = load(DATA / "shop.yaml").graph_or_raise()
T0 = 1_750_000_000.0


def fires(service: str, at: float, name: str = "Down", **more: Any) -> dict[str, Any]:
    return {"name": name, "service": service, "severity": "critical", "status": "firing", "ts": T0 + at, **more}


def written(path: Path, lines: Iterable[Any]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return path


def arrivals(*paths: Path) -> tuple[list[Arrival], list[str]]:
    unread: list[str] = []
    return list(read_alerts(paths, Reader(), unread.append)), unread


def records(found: Iterable[Arrival], placer: Placer | None = None, after: float = 120.0) -> list[Placed]:
    return list(placed_alerts(found, placer or Placer(SHOP), after=after))


def outcome(found: Iterable[Arrival], **options: Any) -> dict[str, dict[str, Any]]:
    return final(Replay(SHOP, file_rules(Rules())).run(records(found, **options)))


def dump_line(record: Placed, topic: str = "alerts.placed") -> dict[str, Any]:
    value = orjson.loads(record.value) if record.value else None
    time = round(record.time * 1000)
    place = {"topic": topic, "partition": record.partition, "offset": record.offset, "timestamp": time}
    return {**place, "key": record.shard, "value": value}


# -- reading --------------------------------------------------------------------------------------------------


def test_lines_that_cannot_be_read_are_named_and_passed_over() -> None:
    """The place is file and line, the reason is the stable word, and the neighbours are read."""
    found, unread = arrivals(DATA / "shop.ndjson")
    assert [arrival.line for arrival in found] == [1, 2, 4, 5, 6, 7, 9]
    assert [line.rpartition("/")[2].split(": ")[:2] for line in unread] == [
        ["shop.ndjson:3", "not_json"],
        ["shop.ndjson:8", "wrong_type"],
    ]


def test_arrays_gzip_and_lines_hold_the_same_alerts(tmp_path: Path) -> None:
    """How a file is written makes no difference to what is in it."""
    documents = [fires("db", 0.0), fires("web", 1.0), fires("jobs", 2.5)]
    lines = written(tmp_path / "lines.ndjson", documents)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    array = tmp_path / "array.json"
    array.write_text(json.dumps(documents, indent=2))
    short = tmp_path / "short.json"
    short.write_text(json.dumps(documents))
    marked = tmp_path / "marked.ndjson"
    marked.write_bytes(b"\xef\xbb\xbf\n\n" + lines.read_bytes())
    expected = [(arrival.alert, arrival.at) for arrival in arrivals(lines)[0]]
    assert len(expected) == 3
    for path in (packed, array, short, marked):
        found, unread = arrivals(path)
        assert ([(arrival.alert, arrival.at) for arrival in found], unread) == (expected, []), path.name


def test_one_foreign_body_over_many_lines_is_read_as_a_whole() -> None:
    """A webhook body as it was captured; alerts without a message time arrive when they start, or end."""
    found, unread = arrivals(DATA / "webhook.json")
    assert unread == []
    assert [(a.alert.service, a.alert.status, a.at, a.place) for a in found] == [
        ("db", "firing", T0, 0),
        ("cache", "resolved", T0 + 10, 1),
    ]


def test_an_unreadable_item_of_an_array_is_named_by_its_position(tmp_path: Path) -> None:
    """The others are read."""
    path = tmp_path / "array.json"
    path.write_text(json.dumps([fires("db", 0.0), {"name": ""}, 5, fires("web", 1.0)], indent=1))
    found, unread = arrivals(path)
    assert [arrival.alert.service for arrival in found] == ["db", "web"]
    assert [line.split(": ")[0] for line in unread] == [f"{path}:1 item 2", f"{path}:1 item 3"]


def test_received_at_goes_before_ts(tmp_path: Path) -> None:
    """The broker's time is the better one."""
    path = written(tmp_path / "a", [fires("db", 3.0, received_at=T0 + 5.0), {**fires("web", 6.0), "ts": None}])
    path.write_bytes(path.read_bytes() + orjson.dumps({"name": "x", "service": "api", "starts_at": T0 + 9.0}))
    found, unread = arrivals(path)
    assert [arrival.at - T0 for arrival in found] == [5.0, 9.0]
    assert len(unread) == 1
    assert "missing_field" in unread[0]


def test_a_file_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    """So is one that is not there: a replay of half of the alerts would look like a whole one."""
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(orjson.dumps(fires("db", 0.0)) * 100)[:-20])
    with pytest.raises(FileError, match="breaks off"):
        arrivals(broken)
    with pytest.raises(FileError, match="No such file"):
        arrivals(tmp_path / "absent")


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    """And its replay has no incidents."""
    path = tmp_path / "empty"
    path.write_bytes(b"\n \n")
    found, unread = arrivals(path)
    assert (found, unread, records(found), outcome(found)) == ([], [], [], {})


# -- records --------------------------------------------------------------------------------------------------


def test_records_are_bounded_in_rows_and_time(tmp_path: Path) -> None:
    """At most so many alerts and one second in a record; offsets without a gap; the tick is last."""
    many = [fires(f"s{n}", n / 1000) for n in range(MAX_ROWS + 100)] + [fires("late", 9.0)]
    found, _ = arrivals(written(tmp_path / "a", many))
    made = records(found, after=60.0)
    rows = [len(orjson.loads(record.value).get("rows", [])) for record in made]
    assert rows == [MAX_ROWS, 100, 1, 0]
    assert [record.offset for record in made] == [0, 1, 2, 3]
    assert [round(record.time - T0, 3) for record in made] == [0.499, 0.599, 9.0, 69.0]


def test_time_never_runs_backwards(tmp_path: Path) -> None:
    """An alert that arrives out of order is taken when it stands in the file."""
    found, _ = arrivals(written(tmp_path / "a", [fires("db", 50.0), fires("web", 3.0), fires("api", 60.0)]))
    made = records(found)
    assert [record.time - T0 for record in made] == [50.0, 60.0, 180.0]
    assert [row[2] - T0 for row in orjson.loads(made[0].value)["rows"]] == [50.0, 50.0]


def test_a_source_whose_clock_is_ahead_is_known_as_live(tmp_path: Path) -> None:
    """Where the file says when an alert arrived: its onset lies after that."""
    early = fires("db", 0.0, starts_at=T0 + 25.0, source="am")
    found, _ = arrivals(written(tmp_path / "a", [fires("web", 0.0), early, fires("web", 9.0), fires("db", 9.0)]))
    assert [orjson.loads(record.value).get("ahead") for record in records(found)] == [{"am": 25.0}, None, None]


def test_shards_have_records_of_their_own(tmp_path: Path) -> None:
    """Each record has one shard as its key, and each file is a raw partition."""
    first = written(tmp_path / "a", [fires("web", 0.0), fires("reports", 0.1), fires("db", 0.2)])
    second = written(tmp_path / "b", [fires("web", 0.3)])
    made = records(arrivals(first, second)[0], Placer(SHOP, shard_attributes=["region"]))
    told = [(r.offset, r.shard, orjson.loads(r.value).get("source")) for r in made]
    assert told == [(0, "region=eu", "file/0"), (1, "region=us", "file/0"), (2, "region=eu", "file/1"), (3, "", None)]


# -- outcomes -------------------------------------------------------------------------------------------------


def test_a_late_root_is_one_incident() -> None:
    """web and jobs alert before db, which they depend on through the silent api: one incident, its root is db."""
    found, _ = arrivals(DATA / "shop.ndjson")
    incidents = outcome(found).values()
    told = sorted(
        (i["root"]["service"], i["state"], i["counts"]["alerts"]) for i in incidents if i["state"] != "merged"
    )
    assert told == [("db", "open", 3), ("ghost", "open", 1), ("reports", "resolved", 1)]
    assert next(i for i in incidents if i["root"]["service"] == "db")["page"]["wanted"]


def test_the_same_file_gives_the_same_bytes() -> None:
    """Twice the same, revision by revision."""

    def told() -> bytes:
        found, _ = arrivals(DATA / "shop.ndjson")
        return orjson.dumps([o.incidents for o in Replay(SHOP, file_rules(Rules())).run(records(found))])

    assert told() == told()


def test_pages_are_decided_by_the_time_that_passes_after_the_last_alert(tmp_path: Path) -> None:
    """cache is of no top tier: its page waits for the settle time."""
    found, _ = arrivals(written(tmp_path / "a", [fires("cache", 0.0)]))
    assert [i["page"]["seq"] for i in outcome(found, after=0.0).values()] == [0]
    assert [i["page"]["seq"] for i in outcome(found, after=120.0).values()] == [1]


def test_a_gap_of_days_in_a_file_is_a_gap_of_days(tmp_path: Path) -> None:
    """The bound on jumps protects a live log from a broken clock; a file has whatever times it has."""
    day = 86_400.0
    lines = [fires("db", 0.0), fires("db", 60.0, status="resolved", starts_at=T0), fires("reports", 9 * day)]
    found, _ = arrivals(written(tmp_path / "a", lines))
    first, second = outcome(found).values()
    assert (first["state"], first["resolution"]) == ("closed", "recovered")
    assert second["opened_at"].startswith("2025-06-24")


def test_alerts_are_counted_once_for_each_that_was_read() -> None:
    """Duplicates included."""
    found, _ = arrivals(DATA / "shop.ndjson")
    replay = Replay(SHOP, file_rules(Rules()))
    final(replay.run(records(found)))
    assert replay.alerts == len(found) == 7


# -- dumps ----------------------------------------------------------------------------------------------------


def dumped(path: Path, graph: ServiceGraph = SHOP) -> Path:
    """What a worker would have written for the alerts of the shop, with graph and rules announced before."""
    found, _ = arrivals(DATA / "shop.ndjson")
    controls = [{"type": "graph", "version": graph.version}, {"type": "rules", "rules": file_rules(Rules()).plain()}]
    log = [Placed(0, n, T0 - 2 + n, "", orjson.dumps(control)) for n, control in enumerate(controls)]
    log += [record._replace(offset=record.offset + len(log)) for record in records(found)]
    document = Placed(0, 0, T0 - 3, graph.version, orjson.dumps(graph.to_native()))
    current = Placed(0, 1, T0 - 1, "current", orjson.dumps({"version": graph.version}))
    head = [dump_line(entry, "alerts.topology") for entry in (document, current)]
    return written(path, [*head, *(dump_line(record) for record in log)])


def test_a_dump_gives_what_its_alerts_gave(tmp_path: Path) -> None:
    """The log with its graphs is all that is needed; only offsets, and what follows from them, differ."""
    unread: list[str] = []
    replay, outputs = replay_placed(dumped(tmp_path / "dump"), unread=unread.append)
    incidents = final(outputs)
    assert unread == []
    assert replay.alerts == 7
    direct = outcome(arrivals(DATA / "shop.ndjson")[0])
    for one, other in zip(incidents.values(), direct.values(), strict=True):
        assert one["title"] == other["title"]
        assert one["revision"] == other["revision"] + 2
        assert (one["counts"], one["page"], one["services"]) == (other["counts"], other["page"], other["services"])


def test_a_dump_gives_the_same_bytes_again(tmp_path: Path) -> None:
    """Record by record."""
    path = dumped(tmp_path / "dump")
    first, second = ([o.incidents for o in replay_placed(path)[1]] for _ in range(2))
    assert orjson.dumps(first) == orjson.dumps(second)


def test_partitions_do_not_touch_each_other(tmp_path: Path) -> None:
    """The same log in two partitions: every incident twice as it is alone, whatever the order of the lines."""
    lines = [orjson.loads(line) for line in dumped(tmp_path / "one").read_bytes().splitlines()]
    graph = [line for line in lines if line["topic"] == "alerts.topology"]
    log = [line for line in lines if line["topic"] == "alerts.placed"]
    other = [{**line, "partition": 5, "key": line["key"] and "elsewhere"} for line in log]
    mixed = [line for pair in zip(log, other, strict=True) for line in pair]
    _, alone = replay_placed(tmp_path / "one")
    replay, both = replay_placed(written(tmp_path / "two", [*mixed, *graph]))
    alone_last, both_last = final(alone), final(both)
    assert replay.alerts == 14
    assert len(both_last) == 2 * len(alone_last)
    assert {key: both_last[key] for key in alone_last} == alone_last


def test_a_graph_that_is_not_in_the_dump_can_be_passed_in(tmp_path: Path) -> None:
    """Without it the replay refuses, and says which one is needed."""
    lines = [line for line in dumped(tmp_path / "dump").read_bytes().splitlines() if b"alerts.topology" not in line]
    path = tmp_path / "cut"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(StateError, match=SHOP.version):
        final(replay_placed(path)[1])
    assert final(replay_placed(path, graphs=[SHOP])[1]) == final(replay_placed(tmp_path / "dump")[1])


def test_lines_that_are_not_of_the_log_are_named(tmp_path: Path) -> None:
    """Other topics, repeated offsets, broken lines, broken graphs: reported, and the rest is replayed."""
    path = dumped(tmp_path / "dump")
    lines = path.read_bytes().splitlines()
    broken = {"topic": "alerts.topology", "partition": 0, "offset": 9, "timestamp": 0, "value": {"services": 5}}
    foreign = {"topic": "weather", "partition": 0, "offset": 0, "timestamp": 0, "key": None, "value": None}
    more = [b"{", orjson.dumps({"topic": "x"}), lines[-1], orjson.dumps(foreign), orjson.dumps(broken)]
    path.write_bytes(b"\n".join([*lines, *more]))
    unread: list[str] = []
    incidents = final(replay_placed(path, unread=unread.append)[1])
    assert len(unread) == len(more)
    assert incidents == final(replay_placed(dumped(tmp_path / "good"))[1])


def test_an_incident_that_was_deleted_is_not_in_the_result(tmp_path: Path) -> None:
    """After incident_retention a worker deletes it from the topic, and so does the replay of a log."""
    rules = Rules(incident_retention=3_600.0, max_time_jump=1e9)
    found, _ = arrivals(written(tmp_path / "a", [fires("db", 0.0), fires("db", 9.0, status="resolved", starts_at=T0)]))
    log = records(found, after=30_000.0)
    assert len(final(Replay(SHOP, rules).run(log[:-1]))) == 1
    assert final(Replay(SHOP, rules).run(log)) == {}
