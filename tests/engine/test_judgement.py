"""Stories in which alerts say more than that there is one: who broke, who suffers from whom, what is only noise."""

from __future__ import annotations

from typing import Any

from tests.engine.timeline import Timeline, depends

SHOP = depends("web -> shop -> db", "web -> cart -> db", "shop -> mail", "lone")
BROKEN = ("PodCrashLooping", "OutOfMemory", "ThreadsHigh", "HighErrorRate")


def story(**rules: Any) -> Timeline:
    """A shop; nothing has happened yet."""
    return Timeline(SHOP, **rules)


def breaks(told: Timeline, service: str, *names: str) -> Timeline:
    """Everything that a broken service shows."""
    for name in names or BROKEN:
        told.fires(service, name)
    return told


def resolved(told: Timeline, **alerts: tuple[str, ...]) -> Timeline:
    """These alerts end, and enough time passes that their incident closes."""
    for service, names in alerts.items():
        for name in names:
            told.resolves(service, name)
    return told.passes("30m")


def test_a_broken_service_is_the_root_although_something_below_it_deviates() -> None:
    """The database merely uses more memory. By the graph alone it would be the root; a second later it is not."""
    told = story().at("0s").fires("web", "HighErrorRate").fires("cart", "HighLatency").fires("db", "MemoryHigh")
    breaks(told, "shop").expect("db")
    told.passes("2s").expect("shop", members={"web", "cart", "shop", "db"})
    (db,) = [m for m in told.the("shop")["members"] if m["service"] == "db"]
    assert (db["verdict"], db["path"]) == ("symptom", ["db", "shop"])


def test_the_receipts_say_what_the_judgement_was() -> None:
    """The incident got another root; the deviation below it is its effect; the worst alert of the root stands out."""
    told = story().at("0s").fires("web", "HighErrorRate").fires("cart", "HighLatency").fires("db", "MemoryHigh")
    breaks(told, "shop", *BROKEN[1:]).passes("2s")
    assert [r["service"] for r in told.receipts if r["rule"] == "re_rooted"][-1] == "shop"
    told.fires("db", "ConnectionsHigh").resolves("shop", BROKEN[1]).fires("shop", "A", starts_at=-60.0)
    db, _, shop = told.receipts[-3:]
    assert (db["rule"], db["path"]) == ("effect", ["db", "shop"])
    assert (shop["rule"], shop["verdict"]) == ("stands_out", "root")


def test_a_clean_cascade_is_left_as_the_graph_has_it() -> None:
    """Everybody shows the same: the deepest service is the root, now and later."""
    told = story().at("0s").together("web", "shop", "cart", "db", name="HighErrorRate")
    told.expect("db", members={"web", "shop", "cart", "db"}).passes("5m")
    told.expect("db", members={"web", "shop", "cart", "db"}, root_history=[])
    assert told.the("db")["confidence"] > 0.5


def test_services_that_nobody_calls_any_more_follow_the_one_that_broke() -> None:
    """A dead service starves what it calls; that it is quiet there is an effect, and no root."""
    told = story().at("0s").fires("web", "HighErrorRate").fires("db", "NoRequests").fires("mail", "NoRequests")
    breaks(told, "shop", "PodCrashLooping", "HighErrorRate").passes("2s")
    told.expect("shop", members={"web", "shop", "db", "mail"})


def test_two_faults_at_once_are_two_incidents() -> None:
    """That stand beside each other, each a candidate of the other."""
    graph = depends("web -> shop -> db", "web -> cart -> cache", "web -> a", "web -> b")
    told = Timeline(graph).at("0s").fires("web", "HighErrorRate").fires("a", "HighLatency").fires("b", "HighLatency")
    told.fires("db", "MemoryHigh").fires("cache", "MemoryHigh")
    for service in ("shop", "cart"):
        breaks(told, service)
    told.passes("2s")
    assert {"shop", "cart"} <= set(told.roots())
    assert "cart" in {c["service"] for c in told.the("shop")["candidates"]}


def test_the_candidates_are_ranked_and_have_their_reasons() -> None:
    """The root first; confidences add up to less than one: there may be a cause that nobody sees."""
    told = story().at("0s").fires("web", "HighErrorRate").fires("cart", "HighLatency").fires("db", "MemoryHigh")
    breaks(told, "shop").passes("2s")
    found = told.the("shop")["candidates"]
    confidences = [candidate["confidence"] for candidate in found]
    assert found[0]["service"] == "shop"
    assert confidences == sorted(confidences, reverse=True)
    assert 0.5 < sum(confidences) < 1.0
    assert any("stands out" in reason for reason in told.the("shop")["reasons"])


def test_a_judgement_waits_for_its_interval() -> None:
    """Until then the graph alone answers."""
    told = story(judge_interval=20.0).at("0s").fires("web", "HighErrorRate").fires("cart", "HighLatency")
    breaks(told.fires("db", "MemoryHigh"), "shop").passes("19s").expect("db")
    told.passes("1s").expect("shop")


def test_a_recovery_changes_no_judgement() -> None:
    """While alerts end one by one the incident keeps its root, until nothing is left of it."""
    told = story().at("0s").fires("web", "HighErrorRate").fires("cart", "HighLatency").fires("db", "MemoryHigh")
    breaks(told, "shop").passes("2s")
    for name in BROKEN:
        told.resolves("shop", name).passes("1s").expect("shop")
    told.passes("4m").expect("shop", members={"web", "cart", "db"})


def test_a_restart_between_alert_and_judgement_is_none() -> None:
    """What waits to be judged is judged."""
    told = story().at("0s").fires("web", "HighErrorRate").fires("cart", "HighLatency").fires("db", "MemoryHigh")
    breaks(told, "shop").restarts().passes("2s").expect("shop")
    told.restarts().passes("1m").expect("shop", members={"web", "cart", "shop", "db"})


def test_noise_that_is_there_every_time_is_learned_to_be_noise() -> None:
    """A database that restarts in every outage, whatever broke, is an incident of its own the first time."""
    failed = ("HighErrorRate", "PodCrashLooping", "OutOfMemory")

    def alerts(broken: str) -> dict[str, tuple[str, ...]]:
        noise = dict.fromkeys(("web", "cart", "shop"), ("HighErrorRate",)) | {"db": ("HighErrorRate", "PodRestarts")}
        return noise | {broken: failed}

    def outage(told: Timeline, broken: str = "shop") -> Timeline:
        told.at((told.now - 1_750_000_000.0) + 1.0)
        for service, names in alerts(broken).items():
            for name in names:
                told.fires(service, name, again=True)
        return told.passes("1m")

    def share(told: Timeline) -> float:
        found = {c["service"]: c["confidence"] for c in told.the("shop")["candidates"]}
        return float(found["shop"] / found["db"])

    told = outage(story())
    first = share(told)
    assert told.roots() == ["db", "shop"]
    broken = "shop"
    for number in range(12):
        resolved(told, **alerts(broken))
        assert told.shown() == []
        broken = ("web", "cart", "shop")[number % 3]
        outage(told, broken)
    assert told.roots() == ["shop"]
    assert share(told) > 2 * first
    again = share(told.restarts().passes("1m"))
    assert again > 2 * first


def test_what_was_learned_can_be_forgotten() -> None:
    """About one service, or about all; and a control without sense changes nothing."""
    told = breaks(story().at("0s"), "lone", "HighLatency").passes("1m")
    resolved(told, lone=("HighLatency",))
    breaks(told, "mail", "HighLatency").passes("1m")
    resolved(told, mail=("HighLatency",))
    known = told.partition.history
    assert known("lone")
    assert known("mail")
    assert known("nobody") == {}
    told.control(type="history_reset", service="lone", by="ann")
    assert (known("lone"), bool(known("mail"))) == ({}, True)
    told.control(type="history_reset", service=7, by="ann")
    assert known("mail")
    told.control(type="history_reset", by="ann")
    assert known("mail") == {}
    assert not any(b"\x1fh\x1f" in key for key in told.entries)


def test_kinds_of_the_user_decide() -> None:
    """A name that says nothing to us may say everything to them."""
    rows = [{"kind": "harmless", "match": "zork|quux|frobnication"}]
    for rules, root in (({}, "shop"), ({"kinds": rows}, "db")):
        told = story(**rules).at("0s").fires("web", "HighErrorRate").fires("cart", "HighLatency").fires("db", "CpuHigh")
        assert breaks(told, "shop", "Zork", "Quux", "Frobnication", "Slow").passes("2s").roots() == [root]


def test_a_change_of_the_graph_is_judged_anew() -> None:
    """On the new graph the database hangs on nobody: it is an incident of its own."""
    apart = depends("web -> shop -> mail", "web -> cart", "db", "lone")
    told = Timeline(SHOP, [apart]).at("0s").fires("web", "HighErrorRate").fires("cart", "HighLatency")
    breaks(told.fires("db", "MemoryHigh"), "shop").passes("2s").expect("shop")
    told.uses(apart).passes("2s").expect("db", members={"db"})
    assert "db" not in told.the("shop")["services"]


def test_a_storm_is_judged_when_most_of_it_has_come() -> None:
    """After a hundredth of a second for each service that alerts by then. The graph answers at once."""
    users = [f"web{number}" for number in range(300)]
    told = Timeline(depends(*(f"{user} -> shop" for user in users), "shop -> db")).at("0s").fires("db", "CpuLow")
    breaks(told, "shop").at("0.5s").together(*users, name="HighErrorRate").expect("db")
    told.at("2.9s").tick().expect("db")
    told.restarts().at("3.1s").tick().expect("shop")
    assert told.the("shop")["counts"]["services"] == 302
