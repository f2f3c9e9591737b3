"""Deployments and other changes: what an incident suspects, and what a change never does."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.engine.partition import Partition
from correlator.engine.suspicion import above, concerned
from tests.engine.strategies import ALERTS, LAW, RULES, SERVICES, Log, graphs, logs, run
from tests.engine.timeline import RAW, SHARD, START, Timeline, depends, row
from topology import ServiceGraph

CHAIN = depends("web -> api -> db", "jobs -> db", "lone")


def test_a_deployment_shortly_before_the_fault_is_the_first_suspect() -> None:
    """With who did it, how long before the first alert, and where to read more."""
    story = Timeline(CHAIN).at("0s").changes("db", "deployed v2.3.1", link="https://ci/7").at("4m").fires("db")
    story.at("5m").fires("web")
    value = story.the("db")
    assert value["changes"] == [
        {
            "id": "db:deployed v2.3.1",
            "kind": "deployment",
            "service": "db",
            "relation": "root",
            "summary": "deployed v2.3.1",
            "at": "2025-06-15T15:06:40.000Z",
            "age_seconds": 240.0,
            "author": "ana",
            "link": "https://ci/7",
        }
    ]
    assert "first suspect: db: deployed v2.3.1 4 min before the first alert, by ana" in value["reasons"]
    assert value["candidates"][0]["reasons"] == value["reasons"]


def test_a_change_never_makes_an_incident() -> None:
    """Nothing fires, nothing is said."""
    story = Timeline(CHAIN).at("0s").changes("db").passes("1h")
    assert (story.revisions, story.receipts) == ([], [])


def test_what_was_changed_too_long_before_or_after_is_no_suspect() -> None:
    """The window is an hour; a rollback ten minutes into the fault did not cause it."""
    story = Timeline(CHAIN).at("0s").changes("db", "old").at("61m").fires("db").at("71m").changes("db", "rollback")
    assert story.suspects("db") == []


def test_a_rollout_reported_when_it_was_done_is_a_suspect() -> None:
    """The alerts began half a minute before it was finished: clocks and rollouts are not exact to the minute."""
    story = Timeline(CHAIN).at("0s").fires("db").at("30s").changes("db")
    assert story.the("db")["changes"][0]["age_seconds"] == -30.0
    assert "first suspect: db: deployed v2 30 s after the first alert, by ana" in story.the("db")["reasons"]


def test_suspects_are_ranked_by_what_they_have_to_do_with_the_fault_and_by_their_age() -> None:
    """The root, what it depends on, what lies on the way to it, what suffers; strangers are left out."""
    graph = depends("web -> api -> db -> disk", "jobs -> db", "lone", "web -> search")
    story = Timeline(graph).at("0s").changes("lone").changes("db", "early").changes("search")
    story.at("1m").changes("web").at("2m").changes("api").at("3m").changes("disk").at("4m").changes("db", "late")
    story.at("5m").fires("web").fires("jobs").fires("db")
    found = story.the("db")["changes"]
    assert [(c["service"], c["summary"], c["relation"]) for c in found] == [
        ("db", "late", "root"),
        ("db", "early", "root"),
        ("disk", "deployed v2", "dependency"),
        ("api", "deployed v2", "path"),
        ("web", "deployed v2", "member"),
    ]


def test_what_many_depend_on_is_a_suspect_for_each_of_them() -> None:
    """A hub is silent, or an incident of its own whose trouble need not be theirs."""
    users = [f"web{number}" for number in range(120)]
    story = Timeline(depends(*(f"{user} -> hub" for user in users))).at("0s").changes("hub").at("1m").fires("web119")
    assert story.suspects("web119") == ["hub"]
    story.at("2m").fires("web60").changes("hub", "again", ago="90s")
    assert story.suspects("web119") == ["hub", "hub"]


def test_a_silent_service_is_a_suspect_where_trouble_passed_through_it() -> None:
    """api does not alert, and web is explained through it; search does not lie on that way."""
    story = Timeline(depends("web -> api -> cache -> db", "web -> search")).at("0s").changes("cache").changes("search")
    story.at("1m").fires("web").fires("db")
    assert story.suspects("db") == ["cache"]


def test_a_change_that_is_heard_of_late_joins_the_incident() -> None:
    """The pipeline reports ten minutes after the alerts: the incident that people look at gets its suspect."""
    story = Timeline(CHAIN).at("5m").fires("db").at("15m").changes("db", ago="12m")
    assert story.the("db")["changes"][0]["age_seconds"] == 120.0


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_order_in_which_changes_and_alerts_arrive_does_not_matter(order: tuple[int, ...]) -> None:
    """The same messages at one time end in the same suspects."""
    story = Timeline(CHAIN).at("10m")
    tell = [
        lambda: story.fires("web", starts_at="9m"),
        lambda: story.fires("db", starts_at="8m"),
        lambda: story.changes("db", ago="5m"),
        lambda: story.changes("api", ago="4m"),
    ]
    for number in order:
        tell[number]()
    assert [(c["service"], c["age_seconds"]) for c in story.the("db")["changes"]] == [("db", 180.0), ("api", 120.0)]


FORK = depends("web -> ads", "web -> mail", "shop -> ads", "app -> mail")


def fork(*changed: str) -> Timeline:
    """Two services that fail alike, one user each and one in common; some were changed before."""
    story = Timeline(FORK).at("0s")
    for service in changed:
        story.changes(service)
    return story.at("4m").together("ads", "mail", "web", "shop", "app", name="HighErrorRate")


def test_of_two_that_explain_the_same_the_one_that_was_changed_does() -> None:
    """By the graph alone the first by name would."""
    assert {m["service"] for m in fork().passes("2s").the("ads")["members"]} == {"ads", "web", "shop"}
    story = fork("mail").passes("2s")
    story.expect("mail", members={"mail", "web", "app"}).expect("ads", members={"ads", "shop"})


def test_a_change_that_is_heard_of_after_the_judgement_is_weighed_too() -> None:
    """It may still be told by a restarted worker."""
    story = fork().passes("10s").changes("mail", ago="4m").restarts().passes("2s")
    story.expect("mail", members={"mail", "web", "app"})


def test_a_changed_service_that_fails_like_all_others_is_no_root() -> None:
    """A victim that was deployed before is raised among the candidates, and stays a victim."""
    places = []
    for changed in ((), ("web",)):
        story = Timeline(depends("web -> api -> db", "jobs -> db")).at("0s")
        for service in changed:
            story.changes(service)
        story.at("4m").together("web", "api", "db", "jobs", name="HighErrorRate").passes("2s")
        story.expect("db", members={"web", "api", "db", "jobs"})
        candidates = story.the("db")["candidates"]
        (web,) = [c for c in candidates if c["service"] == "web"]
        places.append(candidates.index(web))
    assert places == [3, 1]
    assert "changed shortly before: deployed v2 4 min before the first alert, by ana" in web["reasons"]


def test_a_silent_service_that_was_changed_is_a_better_candidate() -> None:
    """It is still not the root: nobody knows that it fails."""
    shares = []
    for changed in ((), ("db",)):
        story = Timeline(CHAIN).at("0s")
        for service in changed:
            story.changes(service)
        story.at("4m").fires("api", "HighErrorRate").fires("web", "HighErrorRate").passes("2s").expect("api")
        shares += [c["confidence"] for c in story.the("api")["candidates"] if c["service"] == "db"]
    assert shares[0] < shares[1]


def test_suspects_stay_with_the_incident_when_the_memory_of_changes_ends() -> None:
    """Three hours later a further alert joins: the cause is still named."""
    story = Timeline(CHAIN).at("0s").changes("db").at("4m").fires("db").passes("3h").restarts().fires("web")
    assert story.suspects("db") == ["db"]
    assert len(story.partition.shards[SHARD].store.changes) == 0


def test_a_late_root_brings_its_suspect_along() -> None:
    """web and jobs are incidents of their own until db alerts; the deployment of db is then the first suspect."""
    story = Timeline(depends("web -> db", "jobs -> db")).at("0s").changes("db").changes("web", ago="10m")
    story.at("1m").fires("web").at("2m").fires("jobs")
    assert story.suspects("web") == ["web", "db"] or story.suspects("web") == ["db", "web"]
    story.at("3m").fires("db")
    assert story.suspects("db") == ["db", "web"]


def test_two_faults_have_suspects_of_their_own() -> None:
    """A deployment is listed where it may have mattered, and nowhere else."""
    story = (
        Timeline(depends("a -> x", "b -> y")).at("0s").changes("x").changes("y").at("1m").together("a", "b", "x", "y")
    )
    assert (story.suspects("x"), story.suspects("y")) == (["x"], ["y"])


def test_a_change_told_again_changes_nothing_and_a_corrected_one_replaces_it() -> None:
    """By its id: senders repeat themselves, and a rollout that is under way may turn out to be something else."""
    story = Timeline(CHAIN).at("0s").changes("db", "deployed v2", id="r1").at("1m").fires("db")
    told = len(story.revisions)
    story.changes("db", "deployed v2", id="r1", ago="1m")
    assert len(story.revisions) == told
    story.changes("db", "rolled back to v1", id="r1", ago="30s")
    assert [c["summary"] for c in story.the("db")["changes"]] == ["rolled back to v1"]
    story.changes("web", "deployed v2", id="r1", ago="1m")
    assert story.the("db")["changes"] == []


def test_a_restart_forgets_no_change() -> None:
    """The memory is part of the state."""
    story = Timeline(CHAIN).at("0s").changes("db").restarts().at("4m").fires("db").restarts().at("5m").fires("web")
    assert story.suspects("db") == ["db"]


def test_a_change_of_an_unknown_service_is_found_when_the_graph_learns_of_it() -> None:
    """Under the sender's word until then."""
    after = depends("web -> db", db={"aliases": ("pg-main",)})
    story = Timeline(depends("web -> db"), [after]).at("0s").changes("pg-main").at("1m").fires("db")
    assert story.suspects("db") == []
    story.uses(after).at("2m").fires("web")
    assert story.suspects("db") == ["db"]


def test_a_change_that_was_placed_on_another_graph_is_placed_anew() -> None:
    """It was written just before the graph in force learnt the sender's word."""
    graph = depends("web -> db", db={"aliases": ("pg-main",)})
    assert Timeline(graph).at("0s").changes("pg-main").at("1m").fires("db").suspects("db") == ["db"]


def test_the_memory_of_changes_is_bounded_and_says_so() -> None:
    """The oldest go first, a tenth at a time."""
    story = Timeline(CHAIN, changes_kept=20).at("0s")
    for number in range(50):
        story.at(f"{number}s").changes("lone", f"n{number}")
    store = story.partition.shards[SHARD].store
    assert 18 <= len(store.changes) <= 20
    assert store.limits["changes_kept"] > 0
    assert store.changes.get("lone:n49") is not None
    assert store.changes.get("lone:n0") is None


def test_a_memory_of_one_change_holds_the_latest() -> None:
    """A tenth of one is none: what was told last stays."""
    story = Timeline(CHAIN, changes_kept=1).at("0s").changes("db", "a").at("1m").changes("db", "b")
    story.at("2m").fires("db")
    assert [c["summary"] for c in story.the("db")["changes"]] == ["b"]


def test_a_flood_of_changes_leaves_nothing_behind() -> None:
    """Neither changes nor deadlines grow with what was told, and all are gone when their time is over."""
    story = Timeline(CHAIN, changes_kept=20).at("0s")
    store = story.changes("lone").partition.shards[SHARD].store
    for number in range(400):
        story.at(f"{number}s").changes("lone", f"n{number}")
        assert len(store.changes) <= 20
        assert len(store.buckets) <= 20
    story.passes("3h")
    assert (len(store.changes), store.changes.above, store.changes.below, store.buckets) == (0, {}, {}, {})
    assert [key for key in story.entries if key.split(b"\x1f")[1:2] == [b"c"]] == []


def test_nobody_asks_what_caused_a_test() -> None:
    """A test alert lists no suspects."""
    story = Timeline(CHAIN, test=[{"match": {"name": "Probe"}}]).at("0s").changes("db").at("1m").fires("db", "Probe")
    assert story.at("2m").changes("db", "again").suspects("db") == []


def test_an_incident_lists_so_many_suspects_and_no_more() -> None:
    """The latest are the most suspicious."""
    story = Timeline(CHAIN, changes_listed=3).at("0s")
    for number in range(9):
        story.at(f"{number}s").changes("db", f"n{number}")
    assert [c["summary"] for c in story.fires("db").the("db")["changes"]] == ["n8", "n7", "n6"]


@pytest.mark.parametrize(
    "wrong", [{"at": "noon"}, {"at": True}, {"service": ""}, {"kind": "party"}, {"summary": None}, {"id": 5}]
)
def test_a_change_that_makes_no_sense_is_counted_and_ignored(wrong: dict[str, Any]) -> None:
    """The log is final: raising would only stop the shard."""
    good = {"id": "x", "kind": "other", "service": "db", "summary": "s", "at": START, "author": "", "link": ""}
    story = Timeline(CHAIN).at("0s").control(type="change", **{**good, **wrong}).fires("db")
    assert story.suspects("db") == []
    assert story.partition.shards[SHARD].store.limits["control_refused"] == 1


@LAW
@given(logs())
def test_the_services_that_may_be_suspected_are_found_from_either_end(log: Log) -> None:
    """From few services of an incident, or from few with a change: the same ones as when all pairs are tried."""
    _, partition = run(log)
    for store in (shard.store for shard in partition.shards.values()):
        changed = store.changes.services
        for group in store.forest.groups():
            members = set(group.members)
            direct = store.graph.dependencies(group.root.name)
            wanted = {s for s in changed if s in direct or members & {s, *above(store, s)}}
            assert set(concerned(store, group)) == wanted


_FIRING = st.lists(st.sampled_from([key for key in sorted(ALERTS) if key.endswith("1")]), min_size=1, max_size=5)
_CHANGED = st.lists(st.tuples(st.sampled_from([*SERVICES, "ghost"]), st.integers(0, 50)), min_size=1, max_size=6)


@LAW
@given(graphs(), _FIRING, _CHANGED, st.randoms(use_true_random=False))
def test_suspects_do_not_depend_on_the_order_of_arrival(
    graph: ServiceGraph, firing: list[str], changed: list[tuple[str, int]], random: Random
) -> None:
    """Alerts and changes at one moment, each in a record of its own, end in the same suspects however they come."""
    records: list[Any] = []
    for number, key in enumerate(dict.fromkeys(firing)):
        service, name, source = ALERTS[key]
        about = {"fingerprint": key, "source": source, "known": service in graph, "starts_at": START - number}
        records.append((service, name, about))
    for number, (service, lag) in enumerate(changed):
        about = {"id": f"c{number}", "kind": "other", "service": service, "summary": "s", "author": "", "link": ""}
        records.append({"type": "change", "at": START - lag, **about})
    found = []
    for order in (records, random.sample(records, len(records))):
        partition, raw, last = Partition(graph, RULES), 0, dict[str, Any]()
        for offset, what in enumerate(order):
            if isinstance(what, tuple):
                service, name, about = what
                what, raw = {"source": RAW, "rows": [row(raw, START, service, name, **about)]}, raw + 1
            partition.apply(offset, START, SHARD, orjson.dumps(what))
            last |= dict(partition.take().incidents)
        values = [value for value in last.values() if value is not None and value["state"] != "merged"]
        suspects = {v["root"]["service"]: {(c["id"], c["relation"]) for c in v["changes"]} for v in values}
        found.append(suspects)  # their age counts from the begin of the incident, which may have had others before
    assert found[0] == found[1]


def _by_the_graph(log: Log, *, changes: bool) -> Log:
    records = [r if changes or b'"change"' not in r[3] else (*r[:3], b"") for r in log.records]
    return Log(log.graph, log.other, records, replace(log.rules, judge_interval=1e6))


@LAW
@given(logs())
def test_where_the_graph_decides_changes_are_suspected_and_no_more(log: Log) -> None:
    """Without them the incidents have the same roots, members, states and pages, as long as nothing is judged."""
    found = []
    for told in (_by_the_graph(log, changes=True), _by_the_graph(log, changes=False)):
        result, _ = run(told)
        values = {id: value for id, value in result.values.items() if value is not None}
        fields = ("state", "root", "members", "counts", "page", "flags", "root_history")
        found.append({id: {name: value[name] for name in fields} for id, value in values.items()})
    assert found[0] == found[1]


@LAW
@given(logs())
def test_a_change_told_twice_is_told_once(log: Log) -> None:
    """Delivered at least once: the same bytes again end in the same last values."""
    places = [n for n, record in enumerate(log.records) if b'"change"' in record[3]]
    again = list(log.records)
    for place in places:
        offset, time, shard, value = log.records[place]
        again.append((offset + 1, time, shard, value))
    once, _ = run(log)
    twice, _ = run(Log(log.graph, log.other, sorted(again, key=lambda r: r[0])))
    assert twice.last == once.last
