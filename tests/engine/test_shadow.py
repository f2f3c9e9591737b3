"""Suppression that is enabled for some teams only: the others are paged as without us, and correlated all the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from correlator.engine.partition import Partition
from tests.engine.strategies import LAW, RULES, SERVICES, Log, Run, logs
from tests.engine.timeline import START, Timeline, depends
from topology import ServiceGraph

TEAMS: dict[str, Any] = {
    "web": {"team": "shop", "on_call": "shop-primary"},
    "api": {"team": "shop"},
    "db": {"team": "data", "on_call": "data-primary"},
    "jobs": {"team": "batch"},
}
GRAPH = depends("web -> api -> db", "jobs -> db", **TEAMS)


def story(*teams: str, **rules: Any) -> Timeline:
    return Timeline(GRAPH, suppress_teams=list(teams), **rules)


def alone(one: dict[str, Any]) -> list[tuple[int, str, str | None]]:
    return [(page["seq"], page["service"], page["team"]) for page in one["page"]["shadow"]]


def test_every_team_is_enabled_by_default() -> None:
    """Nobody pages on their own, nothing says shadow."""
    told = Timeline(GRAPH).at("0s").together("db", "web", "jobs").passes("5m").expect("db", paged=1)
    assert alone(told.the("db")) == []
    assert "shadow" not in told.the("db")["flags"]


def test_a_symptom_of_a_team_without_suppression_pages_its_own_team_at_once() -> None:
    """It is in the incident of its root, which says so; the root pages for itself as ever."""
    told = story("data").at("0s").fires("db").at("1s").fires("web").expect("db", members={"db", "web"}, paged=1)
    one = told.expect("db", flagged="shadow").the("db")
    assert (alone(one), one["page"]["reason"]) == ([(1, "web", "shop")], "shadow: Down on web")
    assert one["page"]["shadow"][0]["on_call"] == "shop-primary"
    told.passes("2m").expect("db", paged=2)
    assert told.the("db")["page"]["reason"] == "critical at db"


def test_a_lone_alert_of_such_a_team_is_one_page() -> None:
    """Not one for the alert and one for its incident."""
    told = story("data").at("0s").fires("web").expect("web", paged=1).passes("10m").expect("web", paged=1)
    assert alone(told.the("web")) == [(1, "web", "shop")]


def test_an_incident_pages_for_itself_only_for_alerts_of_enabled_teams() -> None:
    """A warning at the root is no page; the symptom pages its own team, and the team of the root sleeps."""
    told = story("data").at("0s").fires("db", severity="warning").fires("web").passes("10m").expect("db", paged=1)
    assert alone(told.the("db")) == [(1, "web", "shop")]
    told.fires("db", severity="critical").passes("2m").expect("db", paged=2)


def test_each_alert_is_a_page_of_its_own_even_in_one_record() -> None:
    """seq counts them all, and each entry says which one it is."""
    told = story().at("0s").together("web", "api", "jobs", "db")
    pages = alone(told.the("db"))
    assert [seq for seq, _, _ in pages] == [1, 2, 3, 4]
    assert {(service, team) for _, service, team in pages} == {(s, a["team"]) for s, a in TEAMS.items()}
    told.passes("1h").expect("db", paged=4)


def test_repeats_and_moves_are_no_news_and_firing_again_is() -> None:
    """As a pager without us would have it."""
    told = story("data").at("0s").fires("web").fires("web").expect("web", paged=1)
    told.at("10s").fires("db").expect("db", members={"db", "web"})  # its incident is re-rooted
    assert told.passes("2m").pages("db") == 2
    told.resolves("web").passes("1m").fires("web", again=True).expect("db", paged=3)
    assert [page[1] for page in alone(told.the("db"))] == ["web", "web"]


def test_a_milder_alert_pages_when_it_becomes_worth_it() -> None:
    """On escalation."""
    told = story("data").at("0s").fires("web", severity="warning").passes("5m").expect("web", paged=0)
    told.fires("web", severity="critical").expect("web", paged=1, flagged="shadow")


def test_maintenance_holds_for_these_alerts_too() -> None:
    """It pages when the window ends and it still fires."""
    told = story("data").at("0s").maintenance("m", "10m", service="web").fires("web").expect("web", paged=0)
    told.passes("11m").expect("web", paged=1)
    assert alone(told.the("web")) == [(1, "web", "shop")]


def test_a_merge_does_not_lose_the_page_of_an_enabled_team() -> None:
    """The incident that stays has paged for others only; the one that it takes in was waiting to page for itself."""
    told = story("batch").at("0s").fires("web").at("1s").fires("jobs").at("2s").fires("db", severity="warning")
    one = told.passes("2m").the("db")
    assert {m["service"] for m in one["members"]} == {"web", "jobs", "db"}
    assert told.all_pages() == 2
    assert one["page"]["reason"] == "critical at db"


def test_a_lost_source_and_unknown_services_page_as_ever() -> None:
    """Nothing hides them, so there is nothing to switch off."""
    told = story(heartbeat=[{"match": {"name": "Watchdog"}, "interval": 60.0}])
    told.at("0s").fires("db", "Watchdog").passes("5m").expect("prometheus", kind="source_lost", paged=1)
    told.fires("ghost").passes("5m").expect("ghost", paged=1)
    assert alone(told.the("ghost")) == []


def test_the_receipt_says_shadow() -> None:
    """And that it pages; that of an enabled team does not."""
    told = story("data").at("0s").fires("db").fires("web")
    said = {r["service"]: (r["reasons"][-1], r["would_page_if"]) for r in told.receipts}
    assert said["web"] == ("shadow: suppression is not enabled for team shop", "it pages on its own")
    assert "shadow" not in said["db"][0]


def test_never_suppress_and_shadow_are_one_page() -> None:
    """For the alert's own team."""
    told = story("data", never_suppress=[{"match": {"name": "DataLoss"}}]).at("0s").fires("web", "DataLoss")
    assert alone(told.expect("web", paged=1).the("web")) == [(1, "web", "shop")]


# -- laws -----------------------------------------------------------------------------------------------------


def _teamed(graph: ServiceGraph) -> ServiceGraph:
    """The same services; those before d are of one team, the others of another, the last of none."""
    nodes = {n: replace(graph.node(n), team=None if n == SERVICES[-1] else "x" if n < "d" else "y") for n in graph}
    edges = {(u, v): graph.edge(u, v) for u in graph for v in graph.dependencies(u)}
    return ServiceGraph.build(nodes, edges)


def played(log: Log, teams: tuple[str, ...]) -> tuple[Run, Partition]:
    """The log on graphs with teams; versions in graph records are those of the teamed graphs."""
    graphs = {log.graph.version: _teamed(log.graph), log.other.version: _teamed(log.other)}
    known = {g.version: g for g in graphs.values()}
    partition = Partition(graphs[log.graph.version], replace(RULES, suppress_teams=teams), known.__getitem__)
    result = Run()
    for offset, time, shard, value in log.records:
        for old, new in graphs.items():
            value = value.replace(old.encode(), new.version.encode())
        partition.apply(offset, time, shard, value)
        result.take(partition)
    return result, partition


_ENABLED = st.sampled_from([("*",), (), ("x",), ("x", "y"), ("nobody",)])
#: What a page changes, and words that are as of the last revision: a page is one, so they may be newer.
_PAGING = ("page", "flags", "revision", "updated_at", "reasons", "candidates")


@LAW
@given(logs(), _ENABLED)
def test_who_is_paged_changes_nothing_about_what_belongs_together(log: Log, teams: tuple[str, ...]) -> None:
    """Incidents, roots and members are the same for any list of teams; only pages differ."""
    all_, some = played(log, ("*",))[0], played(log, teams)[0]

    def bare(result: Run) -> dict[str, Any]:
        kept = {k: v for k, v in result.values.items() if v is not None and v["kind"] != "summary"}  # a page, too
        for incident in kept.values():
            del incident["counts"]["duplicates"]  # as of the last revision too
        return {k: {f: x for f, x in v.items() if f not in _PAGING} for k, v in kept.items()}

    assert bare(all_) == bare(some)


@LAW
@given(logs(), _ENABLED)
def test_every_episode_of_a_team_without_suppression_is_paged(log: Log, teams: tuple[str, ...]) -> None:
    """Whenever such an alert is found firing and worth a page, it has been a page of its own since it began."""
    result, partition = played(log, teams)
    paged: Counter[str] = Counter()
    seen: set[tuple[str, int]] = set()
    for key, value in result.revisions:
        for page in value["page"]["shadow"] if value is not None else ():
            if (key, page["seq"]) not in seen:
                seen.add((key, page["seq"]))
                paged[page["fingerprint"]] += 1
    for shard in partition.shards.values():
        store = shard.store
        for alert in store.alerts.values():
            team = store.graph.node(alert.service).team
            if "*" in teams or team in teams:
                continue
            worth = alert.kind in ("", "ticket") and alert.rank >= store.rules.page_rank and alert.window is None
            if alert.firing and worth and not _relocated(log):
                assert paged[alert.fingerprint] >= 1


def _relocated(log: Log) -> bool:
    """Whether the graph changed: an alert may then be of another team than when it began."""
    return any(b'"graph"' in value for _, _, _, value in log.records)


@LAW
@given(logs(), st.sets(st.integers(0, 49), min_size=1, max_size=3))
def test_a_restart_pages_nobody_twice(log: Log, restarts: set[int]) -> None:
    """The same pages as without it."""
    through, _ = played(log, ("x",))
    graphs = {g.version: _teamed(g) for g in (log.graph, log.other)}
    known = {g.version: g for g in graphs.values()}

    def fresh() -> Partition:
        return Partition(graphs[log.graph.version], replace(RULES, suppress_teams=("x",)), known.__getitem__)

    partition, result = fresh(), Run()
    for number, (offset, time, shard, value) in enumerate(log.records):
        for old, new in graphs.items():
            value = value.replace(old.encode(), new.version.encode())
        partition.apply(offset, time, shard, value)
        result.take(partition)
        if number in restarts:
            partition = fresh()
            partition.load(result.entries)
    assert result.last == through.last


def test_no_team_is_a_team_that_is_not_enabled() -> None:
    """A service of nobody pages as without us, unless suppression is for all."""
    graph = depends("web -> db", db={"team": "data"})
    told = Timeline(graph, suppress_teams=["data"]).at("0s").fires("db").fires("web")
    (page,) = told.the("db")["page"]["shadow"]
    assert (page["service"], page["team"]) == ("web", None)
    assert told.now == START
