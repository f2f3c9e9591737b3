"""Stories in which somebody knows better: another root, an alert that is not explained, hiding that is not trusted."""

from __future__ import annotations

from typing import Any

import pytest

from correlator.engine.trust import MOST_REVIEWS
from tests.engine.timeline import SHARD, START, Timeline, depends

TEAMS: dict[str, Any] = {
    "web": {"team": "shop", "on_call": "shop-primary"},
    "api": {"team": "shop"},
    "db": {"team": "data"},
    "jobs": {"team": "batch"},
    "mail": {"team": "batch"},
}
SHOP = depends("web -> api -> db", "jobs -> db", "mail", "lone", **TEAMS)


def outage(graph: Any = SHOP, **rules: Any) -> Timeline:
    """Everything that hangs on the database fires, the database too."""
    return Timeline(graph, **rules).at("0s").together("web", "api", "db", "jobs")


def says(told: Timeline, about: str, /, *states: str, **said: Any) -> Timeline:
    """Ana gives a verdict on the incident of a root."""
    return told.control(type="verdict", incident=told.the(about, *states)["id"], by="ana", **said)


def refused(told: Timeline) -> int:
    return told.partition.shards[SHARD].store.limits["control_refused"]


# -- another root ------------------------------------------------------------------------------------------------


def test_the_named_service_is_the_root_at_once() -> None:
    """The same incident, with every alert in it; it says who said so, and is as sure as that."""
    told = outage()
    before = told.the("db")["id"]
    one = (
        says(told, "db", root="web", note="bad release").expect("web", members={"web", "api", "db", "jobs"}).the("web")
    )
    assert (one["id"], one["confidence"], one["team"]) == (before, 1.0, "shop")
    assert one["verdict"] == {"root": "web", "by": "ana", "at": one["updated_at"], "note": "bad release"}
    assert one["reasons"][0] == "ana named it as the root: bad release"
    assert [entry["service"] for entry in one["root_history"]] == ["db"]
    assert {m["service"]: m["path"] for m in one["members"]}["jobs"] == ["jobs", "db", "api", "web"]
    assert outage().the("db")["verdict"] is None


def test_the_receipts_say_who_said_so() -> None:
    """Of the change, and of what comes later."""
    told = says(outage(), "db", root="web").fires("db", "Slow").fires("web", "Slow", severity="warning")
    moved = next(r for r in told.receipts if r["rule"] == "re_rooted")
    assert (moved["root"], moved["reasons"]) == ("web", ["ana named it as the root"])
    db = next(r for r in told.receipts if r["name"] == "Slow" and r["service"] == "db")
    assert (db["verdict"], db["rule"], db["path"]) == ("symptom", "verdict", ["db", "api", "web"])


def test_the_team_of_the_new_root_is_woken() -> None:
    """The incident had paged for another root: that is materially different."""
    told = says(outage().passes("2m").expect("db", paged=1), "db", root="web").passes("2m").expect("web", paged=2)
    assert told.the("web")["page"]["reason"] == "root changed from db to web"


def test_a_later_judgement_does_not_change_it() -> None:
    """Nor do alerts that come later, which hang on the tree as it is now."""
    told = says(Timeline(SHOP).at("0s").fires("web").fires("api"), "api", root="web").passes("2s")
    for name in ("PodCrashLooping", "OutOfMemory", "ThreadsHigh", "HighErrorRate"):
        told.fires("api", name)
    told.passes("1m").expect("web", members={"web", "api"})
    told.fires("jobs").passes("1m")
    assert told.roots() == ["jobs", "web"]


def test_what_depends_on_a_pinned_service_joins_it() -> None:
    """A service that nobody had heard of when the verdict was given."""
    told = says(Timeline(SHOP).at("0s").fires("api").fires("db"), "db", root="api").fires("web").passes("1m")
    told.expect("api", members={"api", "db", "web"})


def test_one_of_another_incident_takes_its_own_along() -> None:
    """A candidate that is the root beside it: the two are one incident, the older one, and it has the verdict."""
    graph = depends("web -> shop -> db", "web -> cart -> cache", "web -> a", "web -> b")
    told = Timeline(graph).at("0s").fires("web", "HighErrorRate").fires("a", "HighLatency").fires("b", "HighLatency")
    told.fires("db", "MemoryHigh").fires("cache", "MemoryHigh")
    for service in ("shop", "cart"):
        for name in ("PodCrashLooping", "OutOfMemory", "ThreadsHigh", "HighErrorRate"):
            told.fires(service, name)
    told.passes("2s")
    assert {"shop", "cart"} <= set(told.roots())
    services = {root: set(told.the(root)["services"]) for root in ("shop", "cart")}
    one = says(told, "shop", root="cart").the("cart")
    assert set(one["services"]) == services["shop"] | services["cart"]
    assert one["verdict"]["root"] == "cart"
    assert [v["merged_into"] for v in told.shown("merged")][-1] == one["id"]
    told.passes("5m").expect("cart", members=services["shop"] | services["cart"])


@pytest.mark.parametrize("root", ["mail", "nobody", ""])
def test_a_service_that_is_no_part_of_it_is_refused(root: str) -> None:
    """With a word on what is allowed; nothing changes."""
    told = outage()
    id = told.the("db")["id"]
    told.partition.apply(
        99, told.now, SHARD, b'{"type":"verdict","incident":"%s","root":"%s"}' % (id.encode(), root.encode())
    )
    (line,) = told.partition.take().refused
    assert line == f"{SHARD}: verdict on incident {id}: {root!r} cannot be the root; allowed: api, db, jobs, web"
    told.expect("db", verdict=None)
    assert refused(told) == 1


def test_a_verdict_on_another_shards_incident_is_none_of_ours() -> None:
    """It is not refused, because nobody here can say that it is wrong; one without sense is."""
    told = outage().control(type="verdict", incident="f" * 16, root="web", by="ana")
    assert refused(told) == 0
    told.control(type="verdict", incident="f" * 16, by="ana").control(type="verdict", root="web", by="ana")
    told.control(type="verdict", incident=told.the("db")["id"], root="web", not_explained="x", by="ana")
    assert refused(told) == 3
    told.fires("mail", "CertificateExpiry")
    says(told, "mail", root="mail")
    assert refused(told) == 4


def test_saying_it_twice_changes_nothing() -> None:
    """A control may be delivered again; another word of another person counts."""
    told = says(outage(), "db", root="web")
    shown = len(told.revisions)
    says(told.passes("1s"), "web", root="web")
    assert len(told.revisions) == shown
    assert (
        told.control(type="verdict", incident=told.the("web")["id"], root="web", by="bob").the("web")["verdict"]["by"]
        == "bob"
    )
    says(told, "web", root="db").expect("db")
    assert told.partition.shards[SHARD].store.said == {"root": 3}


def test_a_restart_forgets_no_verdict() -> None:
    """Root, paths and words are those of before; and so after a judgement."""
    told = says(outage(), "db", root="web", note="n")
    before = told.the("web")
    told.restarts().fires("api", "OutOfMemory").passes("1m")
    after = told.expect("web", verdict=before["verdict"]).the("web")
    assert [m["path"] for m in after["members"]][:4] == [m["path"] for m in before["members"]][:4]


def test_a_graph_that_changes_keeps_the_verdict() -> None:
    """What still hangs together stays; what the graph has cut off is on its own."""
    other = depends("web -> api -> db", "jobs -> mail", "lone", **TEAMS)
    told = says(outage().passes("1m"), "db", root="web")
    told.graphs[other.version] = other
    told.uses(other).passes("1m").expect("web", members={"web", "api", "db"})
    told.expect("jobs", members={"jobs"})
    assert told.the("web")["verdict"]["root"] == "web"


def test_one_in_the_middle_that_recovers_breaks_nothing() -> None:
    """What hung on it hangs on what it hung on."""
    told = says(outage(), "db", root="web").resolves("api").passes("10m").expect("web", members={"web", "db", "jobs"})
    assert {m["service"]: m["path"] for m in told.the("web")["members"]}["db"] == ["db", "api", "web"]
    assert told.roots() == ["web"]


def test_when_the_named_root_goes_the_rest_chooses_again() -> None:
    """The verdict stays on record, and says that its root is one no longer."""
    told = says(outage(), "db", root="web").resolves("web").passes("10m")
    one = told.expect("db", members={"api", "db", "jobs"}).the("db")
    assert one["verdict"]["root"] == "web"
    assert one["reasons"][0] == "ana named web, which is the root no longer"


def test_history_hears_of_the_operators_root() -> None:
    """With certainty, even where another service was the root in the end, and nobody else is to blame."""
    blamed = {}
    for root in (None, "web"):
        told = outage()
        if root:
            says(told, "db", root=root)
        for service in ("web", "api", "jobs", "db"):
            told.passes("10m").resolves(service)
        told.passes("1h")
        assert len(told.shown("closed")) == 1
        blamed[root] = {s: told.partition.history(s)[SHARD][0][1] for s in ("web", "db")}
    assert blamed["web"] == {"web": 1.0, "db": 0.0}
    assert blamed[None]["web"] == 0.0
    assert 0.0 < blamed[None]["db"] <= 1.0


def test_an_incident_that_is_quiet_but_not_closed_can_get_its_root() -> None:
    """In the quarter of an hour in which somebody still remembers; a closed one keeps its root."""
    told = outage()
    for service in ("web", "api", "jobs", "db"):
        told.resolves(service)
    told.passes("10m")
    one = says(told, "db", root="web").expect("web", state="resolved").the("web")
    assert (one["verdict"]["by"], one["root"]["name"]) == ("ana", "Down")
    told.passes("1h")
    assert told.partition.history("web")[SHARD][0][1] == 1.0
    says(told, "web", "closed", root="db")
    assert refused(told) == 1


# -- not explained -----------------------------------------------------------------------------------------------


def test_an_alert_that_is_not_explained_is_an_incident_of_its_own() -> None:
    """At once, with what hangs on it; it pages like a new one; both name the other."""
    told = says(outage().passes("2m"), "db", not_explained="api:Down", note="bad release")
    told.expect("db", members={"db", "jobs"}, paged=1).expect("api", members={"api", "web"}, paged=1)
    one = told.the("api")
    assert one["reasons"][0] == f"ana said that incident {told.the('db')['id']} does not explain it: bad release"
    assert one["related"] == [{"id": told.the("db")["id"], "relation": "split_from"}]
    assert (one["verdict"]["by"], one["confidence"]) == ("ana", 1.0)
    rules = {r["service"]: r["rule"] for r in told.receipts if r["at"] == one["updated_at"] and r["fingerprint"] != ""}
    assert rules["api"] == "not_explained"
    told.fires("db", "OutOfMemory").passes("1m").restarts().passes("1m")
    told.expect("api", members={"api", "web"}).expect("db", members={"db", "jobs"})


def test_another_alert_of_the_root_pages_with_it() -> None:
    """There is nothing to separate, but somebody should have heard of it; once."""
    told = outage().fires("db", "Slow").passes("2m").expect("db", paged=1)
    says(told, "db", not_explained="db:Slow").expect("db", paged=2)
    assert told.the("db")["page"]["reason"] == "not explained: Slow on db"
    says(told, "db", not_explained="db:Slow").expect("db", paged=2)


def test_what_is_over_or_elsewhere_is_only_counted() -> None:
    """An alert that has ended, one of another incident, an incident that has closed."""
    told = outage().fires("lone").resolves("web").passes("1m")
    says(says(told, "db", not_explained="web:Down"), "db", not_explained="lone:Down").expect("db")
    for service in ("api", "db", "jobs"):
        told.resolves(service)
    says(told.passes("1h"), "db", "closed", not_explained="jobs:Down", sampled=True)
    assert told.roots() == ["lone"]
    figures = told.partition.figures()[SHARD]
    assert (figures["complaints"], figures["reviewed"], figures["right"]) == (2, 1, 0)


# -- trust -------------------------------------------------------------------------------------------------------

DOUBT: dict[str, Any] = {"trust_min_verdicts": 4, "trust_window": 600.0, "trust_memory": 7_200.0, "settle": 30.0}


def reviewed(told: Timeline, right: int, wrong: int, sampled: bool = True) -> Timeline:
    """Reviews of alerts of the incident of the database, which are over."""
    for number in range(right + wrong):
        said = "rightly_hidden" if number < right else "not_explained"
        says(told, "db", **{said: f"{said}{number}"}, **({"sampled": True} if sampled else {}))
    return told


def summaries(told: Timeline, *states: str) -> dict[str, dict[str, Any]]:
    return {str(v["team"]): v for v in told.shown(*states, kind="summary")}


def test_complaints_alone_say_nothing_about_precision() -> None:
    """A hundred of them are counted, and the shard is as unproven as before."""
    told = reviewed(outage(**DOUBT).passes("2m"), 0, 100, sampled=False)
    figures = told.partition.figures()[SHARD]
    assert (figures["complaints"], figures["reviewed"], figures["failing"]) == (100, 0, 0)
    says(told, "db", rightly_hidden="not_explained7")
    assert told.partition.figures()[SHARD]["complaints"] == 99


def test_below_so_many_reviews_a_shard_is_unproven() -> None:
    """One review short of failing, nothing happens; nor ever where the floor is zero."""
    assert summaries(reviewed(outage(**DOUBT), 0, 3).passes("5m")) == {}
    assert summaries(reviewed(outage(**DOUBT, trust_floor=0.0), 0, 50).passes("5m")) == {}
    assert summaries(reviewed(outage(**DOUBT), 30, 3).passes("5m")) == {}


def test_where_hiding_fails_what_is_hidden_pages_by_team() -> None:
    """What is hidden already, at once and within the time to settle: one page a team, naming each alert and why."""
    told = reviewed(outage(**DOUBT).fires("jobs", "Slow", severity="warning").passes("2m"), 0, 4)
    found = summaries(told.passes("30s"))
    assert {team: v["page"]["seq"] for team, v in found.items()} == {"shop": 1, "batch": 1}
    shop = found["shop"]
    assert [m["service"] for m in shop["members"]] == ["api", "web"]
    assert shop["title"] == "2 hidden alerts of team shop"
    assert (shop["counts"]["alerts"], shop["counts"]["services"], shop["severity"]) == (2, 2, "critical")
    assert shop["page"]["reason"] == "hidden, but hiding is not trusted: 2 alerts"
    why = "0 of 4 sampled alerts were rightly hidden (0% to 49%), which is below 90%"
    assert shop["reasons"] == [f"{why}: what is hidden pages until that is better"]
    assert shop["related"] == [{"id": told.the("db")["id"], "relation": "hidden_by"}]
    assert found["batch"]["counts"]["alerts"] == 1  # a warning is worth no page
    told.expect("db", members={"db", "web", "api", "jobs"}, paged=1)


def test_a_summary_pages_once_in_its_window() -> None:
    """What is hidden later in it is listed; after it, what is new opens the next, and nothing is told twice."""
    told = reviewed(outage(**DOUBT), 0, 4).passes("1m").fires("web", "Slow").passes("1m")
    first = summaries(told)["shop"]
    assert (first["page"]["seq"], first["counts"]["alerts"]) == (1, 3)
    told.passes("10m")
    assert summaries(told) == {}
    told.fires("web", "Slow").resolves("api").passes("1s").fires("api", again=True).passes("1m")
    second = summaries(told)["shop"]
    assert [m["service"] for m in second["members"]] == ["api"]
    assert second["id"] != first["id"]
    assert told.restarts().passes("20m").all_pages() == 4  # the outage, shop twice, batch


def test_a_summary_is_capped() -> None:
    """The first alerts are listed, all are counted."""
    told = reviewed(outage(**DOUBT, members_listed=2), 0, 4)
    for number in range(5):
        told.fires("web", f"Slow{number}")
    shop = summaries(told.passes("1m"))["shop"]
    assert (len(shop["members"]), shop["counts"]["alerts"], shop["counts"]["services"]) == (2, 7, 2)


def test_it_recovers_when_reviews_get_better_or_fade() -> None:
    """From then on nothing more is told."""
    told = reviewed(reviewed(outage(**DOUBT), 0, 4).passes("15m"), 40, 0)
    assert told.partition.figures()[SHARD]["failing"] == 0
    told.fires("web", "Slow").passes("1m")
    assert summaries(told) == {}
    told = reviewed(outage(**DOUBT, ttl=90_000.0), 0, 4)
    assert told.partition.figures()[SHARD]["failing"] == 1
    told.passes("2h")
    assert told.partition.figures()[SHARD] | {"reviewed": 0, "failing": 0} == told.partition.figures()[SHARD]
    assert not any(b"\x1fv\x1f" in key for key in told.entries)


def test_what_pages_anyway_is_in_no_summary() -> None:
    """Roots, alerts under maintenance, those that match never_suppress, and those of teams without suppression."""
    rules = {**DOUBT, "never_suppress": [{"match": {"name": "Never.*"}}], "suppress_teams": ["shop", "data"]}
    told = Timeline(SHOP, **rules).at("0s").maintenance("m", "10m", service="web")
    told.together("web", "api", "db", "jobs").fires("api", "NeverQuiet")
    found = summaries(reviewed(told, 0, 4).passes("2m"))
    assert {team: [(m["service"], m["name"]) for m in v["members"]] for team, v in found.items()} == {
        "shop": [("api", "Down")]
    }
    told.passes("10m")  # the window is over: what it hid is hidden by the incident now
    assert [m["service"] for m in summaries(told)["shop"]["members"]] == ["web"]


def test_a_restart_in_between_changes_no_summary() -> None:
    """The summary goes on, pages at its time, and ends with its window."""
    told = reviewed(outage(**DOUBT), 0, 4).restarts().passes("10s").fires("web", "Slow").restarts().passes("1m")
    assert {team: v["counts"]["alerts"] for team, v in summaries(told).items()} == {"shop": 3, "batch": 1}
    assert summaries(told.restarts().passes("10m")) == {}


def test_the_memory_of_reviews_is_bounded() -> None:
    """The oldest are forgotten."""
    told = outage()
    for number in range(MOST_REVIEWS + 5):
        told.partition.apply(
            told.offset + number,
            START + number,
            SHARD,
            b'{"type":"verdict","incident":"%s","rightly_hidden":"%d","sampled":true}'
            % (told.the("db")["id"].encode(), number),
        )
    store = told.partition.shards[SHARD].store
    assert (len(store.trust), store.limits["reviews"]) == (MOST_REVIEWS, 5)
    assert store.trust.sampled == MOST_REVIEWS
