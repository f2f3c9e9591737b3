"""Stories of one night each: what fires, what passes, and what the person on call sees."""

from __future__ import annotations

import pytest

from tests.engine.timeline import Timeline, depends
from topology import Edge, Node, ServiceGraph

SHOP = depends("web -> api -> db", "jobs -> db", "web ~> search")
ERRORS = "HighErrorRate"


# -- roots ----------------------------------------------------------------------------------------------------


def test_a_late_root_takes_over_the_incident_that_people_know() -> None:
    """Symptoms first, root last: the oldest incident keeps its id and gets the root; the other says where it went."""
    story = Timeline(SHOP).at("0s").fires("web").at("5s").fires("jobs")
    web, jobs = story.the("web")["id"], story.the("jobs")["id"]
    story.at("20s").fires("db").expect("db", id=web, members={"web", "jobs", "db"})
    assert story.roots() == ["db"]
    assert story.value(web)["root_history"][0]["service"] == "web"
    gone = story.value(jobs)
    assert (gone["state"], gone["merged_into"], gone["page"]["wanted"]) == ("merged", web, False)
    assert [r["rule"] for r in story.receipts if r.get("merged_into") == web] == ["merged"]


def test_after_the_root_recovers_its_symptoms_get_a_grace_and_then_split() -> None:
    """While the grace runs nothing changes; afterwards what still fires is on its own and names where it came from."""
    story = Timeline(SHOP).at("0s").together("db", "web", "jobs").at("2m").resolves("db")
    kept = story.the("db")["id"]
    story.passes("4m").expect("db", id=kept, state="open")
    story.passes("2m")
    assert story.roots() == ["jobs", "web"]
    heir = story.value(kept)
    (other,) = (v for v in story.shown() if v["id"] != kept)
    assert {"id": kept, "relation": "split_from"} in other["related"]
    assert {"id": other["id"], "relation": "split_to"} in heir["related"]
    assert other["page"]["wanted"]


def test_a_merge_can_be_undone() -> None:
    """What db explained for a while is an incident of its own again when db has recovered, and pages as one."""
    story = Timeline(SHOP).at("0s").fires("jobs").at("1s").fires("web").at("2s").fires("db").passes("2m").resolves("db")
    story.passes("6m")
    assert story.roots("open") == ["jobs", "web"]
    assert story.pages("web") == 1 or story.pages("jobs") == 1


def test_two_faults_are_two_incidents_and_a_shared_victim_names_the_other() -> None:
    """A service that two roots explain belongs to one of them; its receipt names the rival."""
    story = Timeline(depends("shop -> cache", "shop -> queue")).at("0s").fires("cache").at("1s").fires("queue")
    story.at("2s").fires("shop")
    assert story.roots() == ["cache", "queue"]
    (receipt,) = (r for r in story.receipts if r["service"] == "shop")
    assert receipt["verdict"] == "symptom"
    rival = {"cache", "queue"} - {receipt["root"]}
    assert receipt["reasons"][1] == f"also explained by {rival.pop()}"


def test_neighbours_are_not_chained_together() -> None:
    """A and C stay apart although B depends on both: neither explains the other."""
    story = Timeline(depends("b -> a", "b -> c")).at("0s").together("a", "b", "c")
    assert story.roots() == ["a", "c"]


def test_a_circle_keeps_one_service_and_says_so() -> None:
    """Services that depend on each other do not mute each other into silence."""
    story = Timeline(depends("a -> b -> c -> a")).at("0s").together("a", "b", "c")
    (value,) = story.shown()
    assert "circle" in value["reasons"][0]
    assert value["counts"]["services"] == 3
    assert "cycle" in {r["rule"] for r in story.receipts}


def test_a_circle_is_explained_by_what_it_depends_on() -> None:
    """An alerting service outside of the circle is the root, however late it comes."""
    story = Timeline(depends("a -> b -> a", "b -> db")).at("0s").together("a", "b").at("9s").fires("db")
    assert story.roots() == ["db"]


@pytest.mark.parametrize(("delays", "root"), [({"ledger": 300.0}, "ledger"), ({"rates": 120.0}, "rates")])
def test_how_long_trouble_takes_decides_between_two_explanations(delays: dict[str, float], root: str) -> None:
    """The report is wrong since what it is made of was, plus the time that takes: at once, and when all is weighed."""
    edges = {("report", name): Edge(delay=delays.get(name)) for name in ("ledger", "rates")}
    edges["web", "report"] = Edge()
    graph = ServiceGraph.build({name: Node() for name in ("ledger", "rates", "report", "web")}, edges)
    told = Timeline(graph).at("0s").fires("ledger", ERRORS).at("3m").fires("rates", ERRORS)
    told.at("5m").together("report", "web", name=ERRORS).expect(root, members={root, "report", "web"})
    told.passes("2m").expect(root, members={root, "report", "web"})


def test_a_hard_dependency_is_preferred_to_a_soft_one() -> None:
    """Both fail: the service is a symptom of the one that it cannot do without; alone the soft one explains it too."""
    story = Timeline(SHOP).at("0s").together("search", "web")
    assert story.roots() == ["search"]
    story.at("1s").fires("api")
    assert story.the("api")["counts"]["services"] == 2
    assert story.the("search")["counts"]["services"] == 1


def test_one_of_two_replicas_explains_nothing_both_do() -> None:
    """One of two is enough: the service above has a fault of its own until the second replica fails as well."""
    graph = depends("app -> replica1", "app -> replica2", groups={"app": 1})
    story = Timeline(graph).at("0s").together("app", "replica1")
    assert story.roots() == ["app", "replica1"]
    story.at("5s").fires("replica2")
    assert story.roots() == ["replica1", "replica2"]
    assert {v["counts"]["services"] for v in story.shown()} == {1, 2}


@pytest.mark.parametrize(("silent", "roots"), [(1, ["db"]), (2, ["db"]), (3, ["db", "web"])])
def test_at_most_two_silent_services_are_bridged(silent: int, roots: list[str]) -> None:
    """Silence may be missing monitoring, but not for ever: two services in between are bridged, three are not."""
    middle = " -> ".join(f"m{n}" for n in range(silent))
    story = Timeline(depends(f"web -> {middle} -> db")).at("0s").fires("web").at("1s").fires("db")
    assert story.roots() == roots
    if roots == ["db"]:
        (member,) = (m for m in story.the("db")["members"] if m["service"] == "web")
        assert member["path"] == ["web", *(f"m{n}" for n in range(silent)), "db"]


def test_in_a_storm_silence_is_bridged_further() -> None:
    """With enough services alerting, three silent ones in a row are bridged as well."""
    graph = depends("web -> m1 -> m2 -> m3 -> db", *(f"user{n} -> db" for n in range(5)))
    story = Timeline(graph, storm_min_services=5).at("0s").together("db", "web")
    assert story.roots() == ["db", "web"]
    story.at("1s").together(*(f"user{n}" for n in range(5)))
    assert story.roots() == ["db"]


# -- what cannot be a cause -----------------------------------------------------------------------------------


def test_an_old_certificate_warning_does_not_swallow_the_outage() -> None:
    """An alert that cannot cause anything is an incident of its own, below it nothing is hidden."""
    story = Timeline(SHOP).at("0s").fires("db", "CertificateExpiresSoon", "warning").at("1h").fires("api")
    assert story.roots() == ["api", "db"]
    story.passes("2m").expect("api", paged=1).expect("db", kind="ticket", paged=0)


def test_a_warning_root_does_not_keep_a_critical_symptom_quiet() -> None:
    """The incident pages for its worst member, whoever is its root."""
    story = Timeline(SHOP).at("0s").fires("db", severity="warning").passes("5m").expect("db", paged=0)
    story.fires("api", severity="critical").passes("90s").expect("db", paged=1, severity="critical")


def test_nothing_pages_below_the_page_severity() -> None:
    """Warnings are shown, not paged."""
    story = Timeline(SHOP).at("0s").fires("db", severity="warning").fires("api", severity="error").passes("1h")
    story.expect("db", paged=0, state="open")


# -- the graph ------------------------------------------------------------------------------------------------


def test_without_a_graph_every_alert_is_its_own_incident() -> None:
    """An empty graph is a normal state: nothing is suppressed, nothing fails."""
    story = Timeline(depends()).at("0s").fires("db").fires("web").passes("2m")
    assert story.roots() == ["db", "web"]
    assert all("unplaced" in v["flags"] and v["page"]["seq"] == 1 for v in story.shown())


def test_a_new_edge_merges_and_its_removal_splits() -> None:
    """The graph may change in the middle of an incident: the incidents follow it and say what became of them."""
    apart, joined = depends("web -> api", "db"), depends("web -> api -> db")
    story = Timeline(apart, [joined]).at("0s").fires("api").at("1s").fires("db")
    api, db = story.the("api")["id"], story.the("db")["id"]
    story.at("10s").uses(joined).expect("db", id=api, members={"api", "db"}, graph_version=joined.version)
    assert story.value(db)["merged_into"] == api
    story.at("20s").uses(apart)
    assert story.roots() == ["api", "db"]
    story.expect("db", id=api)
    assert {"id": api, "relation": "split_from"} in story.the("api")["related"]


def test_an_unplaced_alert_finds_its_place_when_the_graph_learns_of_it() -> None:
    """The flag goes, and the alert joins what explains it."""
    before, after = depends("web -> api"), depends("web -> api -> db")
    story = Timeline(before, [after]).at("0s").fires("api").at("1s").fires("db").expect("db", flagged="unplaced")
    story.at("5s").uses(after).expect("db", members={"api", "db"}, flags=[])


def test_an_alias_that_the_graph_learns_of_places_the_alert() -> None:
    """Alerts under a name that turns out to be an alias move to the service and merge with what is there."""
    before, after = depends("web -> db"), depends("web -> db", db={"aliases": ("pg-main",)})
    story = Timeline(before, [after]).at("0s").fires("pg-main").at("1s").fires("web")
    assert story.roots() == ["pg-main", "web"]
    story.at("5s").uses(after).expect("db", members={"db", "web"})


def test_an_alert_that_names_another_service_later_moves_there() -> None:
    """The same fingerprint about another service counts for that one, without a second alert."""
    graph = depends("web -> db")
    story = Timeline(graph).at("0s").fires("web").fires("pg", fingerprint="x", starts_at="0s")
    assert story.roots() == ["pg", "web"]
    story.at("9s").fires("db", fingerprint="x", starts_at="0s")
    assert story.roots() == ["db"]


def test_a_restart_in_the_middle_of_it_is_not_seen() -> None:
    """The one who takes over goes on from the saved entries, with a graph change before and after."""
    apart, joined = depends("web -> api", "db"), depends("web -> api -> db")
    story = Timeline(apart, [joined]).at("0s").fires("api").fires("db").uses(joined).restarts()
    story.at("70s").passes("1s").expect("db", paged=1).restarts().at("80s").fires("web")
    story.expect("db", members={"web", "api", "db"}, paged=1)
