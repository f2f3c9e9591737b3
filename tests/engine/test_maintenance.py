"""Maintenance windows and silences: what they hide, how that is said, and what comes out when they end."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given

from correlator.engine.entries import MARKER, window_key, window_of
from correlator.engine.maintenance import Window, suffering
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from tests.engine.strategies import LAW, Log, logs
from tests.engine.timeline import RAW, SHARD, START, Timeline, depends, seconds
from topology import Edge, Node, ServiceGraph

CHAIN = depends("web -> api -> db -> disk", "jobs -> db", "lone")
ABOUT: dict[str, Any] = {"author": "ana", "reason": "upgrade to 17"}


def window(story: Timeline, id: str = "CHG-7", lasts: str = "30m", begins: str = "0s", **covers: Any) -> Timeline:
    """A window that begins after ``begins`` and lasts so long."""
    starts = story.now + seconds(begins)
    return story.control(
        type="maintenance", id=id, starts_at=starts, ends_at=starts + seconds(lasts), **ABOUT, **covers
    )


def silence(*matchers: tuple[str, str, bool, bool]) -> list[dict[str, Any]]:
    """Matchers as Alertmanager has them: name, value, isRegex, isEqual."""
    return [{"name": n, "value": v, "isRegex": regex, "isEqual": equal} for n, v, regex, equal in matchers]


# -- what is covered ------------------------------------------------------------------------------------------


def test_the_subtree_of_a_service_is_what_suffers_when_it_fails() -> None:
    """The service and its dependents, to the top; not what it depends on, and no neighbour."""
    story = window(Timeline(CHAIN).at("0s"), subtree="db").at("1m")
    story.together("db", "api", "web", "jobs", "disk", "lone").passes("5m")
    assert [story.verdicts(s)[0] for s in ("db", "api", "web", "jobs")] == ["maintenance"] * 4
    assert [story.verdicts(s)[0] for s in ("disk", "lone")] == ["root", "root"]


def test_a_subtree_may_be_named_by_an_alias_and_takes_instances_along() -> None:
    """As senders and operators call it."""
    nodes = {"db": Node(aliases=("pg-main",)), "db-1": Node(service="db"), "web": Node(), "other": Node()}
    edges = {("web", "db-1"): Edge(), ("other", "web"): Edge()}
    graph = ServiceGraph.build(nodes, edges)
    assert suffering(graph, "pg-main") == {"db", "db-1", "web", "other"}
    assert suffering(graph, "unheard-of") == {"unheard-of"}


def test_a_subtree_ends_where_enough_replicas_are_left() -> None:
    """One of two is maintained: the application need not suffer, so its alert is no consequence and comes through."""
    graph = depends("app -> r1", "app -> r2", "front -> app", groups={"app": 1})
    assert suffering(graph, "r1") == {"r1"}
    story = window(Timeline(graph).at("0s"), subtree="r1").at("1m").together("r1", "app").passes("2m")
    story.expect("app", paged=1).expect("r1", paged=0)
    both = depends("app -> r1 -> host", "app -> r2 -> host", "front -> app", groups={"app": 1})
    assert suffering(both, "host") == {"host", "r1", "r2", "app", "front"}


def test_a_circle_suffers_as_a_whole() -> None:
    """The walk ends."""
    assert suffering(depends("a -> b -> c -> a", "top -> a"), "b") == {"a", "b", "c", "top"}


def test_subtree_and_matchers_must_both_hold() -> None:
    """A window may be about one kind of alert of a part of the graph."""
    story = window(Timeline(CHAIN).at("0s"), subtree="db", match={"name": "Slow.*"}).at("1m")
    story.fires("web", "SlowAnswers").fires("web", "Down").fires("lone", "SlowAnswers")
    assert story.verdicts("web", "SlowAnswers") == ["maintenance"]
    assert story.verdicts("web") != ["maintenance"] != story.verdicts("lone", "SlowAnswers")


@pytest.mark.parametrize(
    ("matcher", "labels", "hidden"),
    [
        (("env", "prod", False, True), {"env": "prod"}, True),
        (("env", "pro.", False, True), {"env": "prod"}, False),
        (("env", "pro.", True, True), {"env": "prod"}, True),
        (("env", "pro", True, True), {"env": "prod"}, False),
        (("env", "prod", False, False), {"env": "prod"}, False),
        (("env", "prod", False, False), {}, True),
        (("env", "p.*", True, False), {"env": "test"}, True),
        (("alertname", "Down", False, True), {}, True),
        (("severity", "critical", False, False), {}, False),
    ],
)
def test_matchers_mean_what_they_mean_in_alertmanager(
    matcher: tuple[str, str, bool, bool], labels: dict[str, str], hidden: bool
) -> None:
    """Plain or a regular expression over the whole value, equal or not; an absent label is like an empty one."""
    covers = silence(matcher, ("service", "db", False, True))
    story = window(Timeline(CHAIN).at("0s"), matchers=covers).fires("db", labels=labels)
    assert (story.verdicts("db") == ["maintenance"]) == hidden


def test_the_subtree_follows_the_graph() -> None:
    """A dependency that the graph learns of, or forgets, counts at once."""
    apart, joined = depends("web -> api", "db"), depends("web -> api -> db")
    story = window(Timeline(apart, [joined]).at("0s"), subtree="db", lasts="2h").at("1m").fires("web").passes("2m")
    story.expect("web", paged=1)
    story.uses(joined).expect("web", flagged="maintenance").uses(apart).expect("web", flags=[])


# -- what is said ---------------------------------------------------------------------------------------------


def test_a_window_that_hides_the_root_says_so() -> None:
    """A flag, the window with its reason and author, and both in words; symptoms that it does not cover page."""
    story = window(Timeline(CHAIN).at("0s"), match={"service": "db"}).at("1m").fires("db").fires("web").passes("2m")
    story.expect("db", paged=1, flags=["maintenance", "root_in_maintenance"])
    value = story.the("db")
    assert value["maintenance"] == [
        {
            "id": "CHG-7",
            "covers": "service=~db",
            "reason": "upgrade to 17",
            "author": "ana",
            "starts_at": "2025-06-15T15:06:40.000Z",
            "ends_at": "2025-06-15T15:36:40.000Z",
            "alerts": 1,
            "root": True,
        }
    ]
    said = "maintenance window CHG-7 hides it until 2025-06-15T15:36:40.000Z: upgrade to 17 (ana)"
    assert f"the root fires, and {said}" in value["reasons"]
    (receipt,) = (r for r in story.receipts if r["service"] == "db")
    assert (receipt["verdict"], receipt["reasons"][-1]) == ("maintenance", said)


def test_a_window_that_hides_a_symptom_leaves_the_root_alone() -> None:
    """No flag of the root's, and the page is as ever."""
    story = window(Timeline(CHAIN).at("0s"), match={"service": "web"}).at("1m").together("db", "web").passes("2m")
    story.expect("db", paged=1, flags=["maintenance"])
    assert [w["root"] for w in story.the("db")["maintenance"]] == [False]


def test_every_window_that_hides_an_alert_is_named() -> None:
    """Not only the first one; the second still hides when the first is over."""
    story = window(Timeline(CHAIN).at("0s"), "A", "10m", subtree="db")
    story = window(story, "B", "20m", match={"service": "db"}).at("1m").fires("db")
    (receipt,) = story.receipts
    assert [words.split()[2] for words in receipt["reasons"][-2:]] == ["A", "B"]
    assert [w["id"] for w in story.the("db")["maintenance"]] == ["A", "B"]
    story.at("11m").tick().expect("db", paged=0)
    assert [w["id"] for w in story.the("db")["maintenance"]] == ["B"]
    story.at("21m").tick().expect("db", paged=1, maintenance=[], flags=[])


def test_a_window_that_is_put_differently_is_shown_differently() -> None:
    """The same id again replaces it: its end, its words, what it covers."""
    story = window(Timeline(CHAIN).at("0s"), match={"service": "db"}).at("1m").fires("db")
    window(story, lasts="2h", match={"service": "db"}).at("40m").tick().expect("db", paged=0)
    assert story.the("db")["maintenance"][0]["ends_at"] == "2025-06-15T17:07:40.000Z"
    window(story, lasts="2h", match={"service": "web"}).expect("db", paged=1, maintenance=[])


# -- what comes out -------------------------------------------------------------------------------------------


def test_what_still_fires_when_the_window_ends_comes_out_and_pages() -> None:
    """At once, because its time to settle passed long ago; the receipt says why."""
    story = window(Timeline(CHAIN).at("0s"), subtree="db").at("1m").together("db", "web").passes("10m")
    story.expect("db", paged=0, severity_max="info").restarts().at("30m").tick().expect("db", paged=1, maintenance=[])
    assert story.verdicts("db") == ["maintenance", "root"]
    assert story.verdicts("web") == ["maintenance", "symptom"]
    assert [r["rule"] for r in story.receipts if r["service"] == "web"][1] == "maintenance_over"


def test_what_begins_shortly_before_the_end_pages_at_most_settle_later() -> None:
    """Half a minute before the end, so half a minute after it."""
    story = window(Timeline(CHAIN).at("0s"), subtree="db").at("29m30s").fires("db").at("30m").tick()
    story.expect("db", paged=0).at("30m30s").tick().expect("db", paged=1)


def test_what_paged_before_the_window_rests_in_it_and_pages_again_after_it() -> None:
    """Nobody should be at it while everything is hidden; what still fires afterwards names the window."""
    story = Timeline(CHAIN).at("0s").fires("db").passes("2m").expect("db", paged=1)
    assert story.the("db")["page"]["wanted"]
    window(story, subtree="db").passes("1m").expect("db", paged=1)
    assert not story.the("db")["page"]["wanted"]
    story.restarts().passes("30m").expect("db", paged=2)
    assert story.the("db")["page"]["reason"] == "maintenance window CHG-7 is over and it still fires"
    assert story.the("db")["page"]["wanted"]


def test_what_recovers_in_the_window_wakes_nobody() -> None:
    """The work went as planned."""
    story = window(Timeline(CHAIN).at("0s"), subtree="db").at("1m").together("db", "web").at("9m").resolves("db")
    story.resolves("web").passes("2h")
    assert story.all_pages() == 0


def test_an_early_end_lets_out_what_still_fires() -> None:
    """The work was done before its time."""
    story = window(Timeline(CHAIN).at("0s"), subtree="db").at("1m").fires("db").passes("5m")
    story.control(type="maintenance_end", id="CHG-7", author="ana").expect("db", paged=1, maintenance=[])
    story.passes("1h").expect("db", paged=1)


def test_a_window_that_is_ended_before_it_begins_never_hides() -> None:
    """It was called off."""
    story = window(Timeline(CHAIN).at("0s"), begins="10m", subtree="db").control(type="maintenance_end", id="CHG-7")
    story.at("11m").fires("db").passes("2m").expect("db", paged=1, maintenance=[])
    assert len(story.partition.shards[SHARD].store.windows) == 0


def test_a_severity_that_rises_in_the_window_pages_after_it() -> None:
    """A warning before, critical during the work: once it is over somebody must know."""
    story = Timeline(CHAIN).at("0s").fires("db", severity="warning").passes("2m")
    window(story, subtree="db").at("5m").fires("db", severity="critical").passes("5m").expect("db", paged=0)
    story.at("33m").tick().expect("db", paged=1)


def test_a_part_that_is_not_hidden_pages_as_ever() -> None:
    """A window over the half of an incident does not hold up the other half."""
    story = window(Timeline(CHAIN).at("0s"), match={"service": "web"}).at("1m").fires("web").fires("jobs")
    story.passes("61s").expect("jobs", paged=1)


# -- bounds ---------------------------------------------------------------------------------------------------


def test_more_windows_than_are_allowed_are_refused_and_counted() -> None:
    """What is not hidden pages; one that is known may still be changed, and one that ends makes room."""
    story = Timeline(CHAIN, max_windows=2).at("0s")
    for number in range(5):
        window(story, f"w{number}", match={"service": "lone"})
    store = story.partition.shards[SHARD].store
    assert (sorted(store.windows), store.limits["max_windows"]) == (["w0", "w1"], 3)
    window(story, "w1", match={"service": "db"}).at("1m").fires("db").expect("db", flagged="maintenance")
    window(story.control(type="maintenance_end", id="w0"), "w9", match={"service": "jobs"})
    assert sorted(store.windows) == ["w1", "w9"]


def test_windows_of_all_shards_are_bounded_saved_one_by_one_and_told_to_later_shards() -> None:
    """A checkpoint holds those that changed and not all of them."""
    partition = Partition(CHAIN, Rules(max_windows=3))
    about: dict[str, Any] = {"type": "maintenance", "match": {"service": "db"}, "starts_at": START, **ABOUT}
    entries: dict[bytes, bytes | None] = {}
    for number in range(6):
        control = {**about, "id": f"w{number}", "ends_at": START + 100 - number}
        partition.apply(number, START, "", orjson.dumps(control if number != 1 else {**control, "match": 5}))
        out = partition.take()
        partition.saved(out)
        entries |= out.entries
        assert {window_of(key) for key in out.entries} <= {None, f"w{number}"}
    assert sorted(partition.windows) == ["w0", "w2", "w3"]
    again = Partition(CHAIN, Rules(max_windows=3))
    again.load({key: value for key, value in entries.items() if value is not None})
    assert again.windows == partition.windows
    again.apply(9, START + 97.5, "late", b'{"source": "r/0", "rows": []}')
    assert sorted(again.shards["late"].store.windows) == ["w0", "w2"]
    again.apply(10, START + 99, "", orjson.dumps({"type": "maintenance_end", "id": "w0"}))
    assert list(again.windows) == []
    assert again.take().entries[window_key("w2")] is None


def test_a_window_put_again_and_again_leaves_no_deadlines_behind() -> None:
    """Whoever repeats a window every few minutes asks for nothing new."""
    story = window(Timeline(CHAIN).at("0s"), begins="1h", match={"service": "db"})
    store = story.partition.shards[SHARD].store
    before = {time: list(deadlines) for time, deadlines in store.buckets.items()}
    for _ in range(9):
        window(story, begins="1h", match={"service": "db"})
    assert store.buckets == before


# -- order ----------------------------------------------------------------------------------------------------


def test_the_end_of_a_window_that_is_noticed_late_lets_nothing_out_that_another_one_hides() -> None:
    """A raw partition is behind, so ends wait; meanwhile somebody opens the next window over the same service."""
    story = Timeline(CHAIN).at("0s").tick(partitions=1, watermarks={RAW: START})
    window(story, "A", "10m", match={"service": "db"}).at("1m").fires("db").tick(watermarks={RAW: START + 60})
    window(story.at("11m"), "B", match={"service": "db"})
    paged = story.the("db")["page"]["seq"]
    story.restarts().at("12m").tick(watermarks={RAW: START + 720})
    story.expect("db", flagged="maintenance")
    assert [w["id"] for w in story.the("db")["maintenance"]] == ["B"]
    assert (story.the("db")["page"]["seq"], story.verdicts("db")[-1]) == (paged, "maintenance")


def test_a_window_whose_begin_waits_still_begins_after_a_restart() -> None:
    """What was not yet done is part of the state."""
    story = Timeline(CHAIN).at("0s").tick(partitions=1, watermarks={RAW: START}).fires("db")
    window(story, begins="5m", match={"service": "db"}).at("6m").tick()
    story.restarts().at("7m").tick(watermarks={RAW: START + 420}).expect("db", flagged="maintenance")


@LAW
@given(logs())
def test_an_alert_is_hidden_by_exactly_the_open_windows_that_cover_it(log: Log) -> None:
    """After every record, whatever opened, ended, was replaced, moved or restarted before."""
    partition = log.partition()
    for record in log.records:
        partition.apply(*record)
        for store in (shard.store for shard in partition.shards.values()):
            # a shard that a record did not concern has not heard of its time
            firing = [alert for alert in store.alerts.values() if alert.firing]
            assert [alert.window for alert in firing] == [store.masks(alert) for alert in firing]


# -- state ----------------------------------------------------------------------------------------------------


def test_windows_of_the_first_schema_are_read_as_they_were_meant() -> None:
    """A label -> regular expression, and one window an alert."""
    story = window(Timeline(CHAIN).at("0s"), match={"service": "db"}).at("1m").fires("db")
    key, alert = f"{SHARD}\x1fw\x1fCHG-7".encode(), f"{SHARD}\x1fa\x1fdb:Down".encode()
    story.entries[key] = orjson.dumps(["CHG-7", {"service": "db"}, START, START + 1_800, "ana", "upgrade to 17"])
    story.entries[alert] = story.entries[alert].replace(b'["CHG-7"]', b'"CHG-7"')
    story.entries[MARKER] = story.entries[MARKER].replace(b'"schema":2', b'"schema":1')
    story.restarts().passes("10m").expect("db", paged=0).fires("web").passes("20m").expect("db", paged=1)


def test_a_window_is_the_same_after_it_was_saved() -> None:
    """In every field."""
    made = Window.restored(["w", [["env", "p.*", True, False]], "db", 1.0, 2.0, "ana", "why", True], 1.5)
    assert Window.restored(orjson.loads(orjson.dumps(made.row())), 1.5).row() == made.row()
    assert str(made) == "subtree=db, env!~p.*"


@pytest.mark.parametrize(
    "wrong",
    [
        {"match": None},
        {"match": []},
        {"match": {"a": 3}},
        {"matchers": {}},
        {"matchers": ["a"]},
        {"matchers": [{"name": "a"}]},
        {"matchers": [{"name": "a", "value": "(", "isRegex": True}]},
        {"matchers": [{"name": "a", "value": "b", "isEqual": "no"}]},
        {"subtree": 5},
        {"id": ""},
        {"ends_at": None},
        {"author": 7},
        {"reason": "x" * 16_000},
        {"matchers": [{"name": "a", "value": "b"}] * 101},
    ],
)
def test_a_window_that_makes_no_sense_is_counted_and_hides_nothing(wrong: dict[str, Any]) -> None:
    """The log is final: raising would only stop the shard."""
    good: dict[str, Any] = {"id": "x", "match": {"service": "db"}, "starts_at": START, "ends_at": START + 999, **ABOUT}
    if set(wrong) & {"matchers", "subtree"}:
        del good["match"]
    story = Timeline(CHAIN).at("0s").control(type="maintenance", **{**good, **wrong}).fires("db")
    assert story.the("db")["maintenance"] == []
    assert story.partition.shards[SHARD].store.limits["control_refused"] == 1
