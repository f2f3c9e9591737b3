"""Stories as an operator would tell them: a second fault in the shadow of the first, an old warning, many at once."""

from __future__ import annotations

from tests.engine.timeline import Timeline, depends

SHOP = depends("web -> shop -> db", "web -> cart -> db", "shop -> mail", "lone")
ERRORS = "HighErrorRate"


def test_a_fault_that_was_there_before_a_larger_one_stays_an_incident() -> None:
    """The shop ran out of memory ten minutes before the database failed: whoever mends that has mended half."""
    told = Timeline(SHOP).at("0s").fires("shop", "OutOfMemory").fires("web", ERRORS).passes("2m")
    told.expect("shop", members={"shop", "web"}, paged=1)
    told.at("10m").fires("db", "DiskFull").fires("cart", ERRORS).passes("2m")
    told.expect("db", members={"db", "cart"}, paged=1)
    value = told.expect("shop", members={"shop", "web"}, paged=1).the("shop")
    assert {"id": told.the("db")["id"], "relation": "apart"} in value["related"]
    assert "it broke 10 min before what it depends on alerted" in value["reasons"]


def test_a_crash_that_follows_from_the_larger_fault_is_a_symptom() -> None:
    """So is one that began within the uncertainty of onsets, and errors of any age: those come from elsewhere."""
    for ago, name in (("0s", "OutOfMemory"), ("70s", ERRORS), ("40s", "OutOfMemory")):
        told = Timeline(SHOP).at("0s").fires("shop", name).fires("web", ERRORS).at(ago).fires("db", "DiskFull")
        told.fires("cart", ERRORS).passes("2m").expect("db", members={"db", "cart", "shop", "web"})


def test_by_a_clock_that_is_ahead_nothing_broke_first() -> None:
    """What tells of the database has a clock that is ahead: it may have failed before the shop ran out of memory.

    Not so where the shop broke earlier than clocks and polls together can err; and the clock of the shop is no matter.
    """

    def told(ahead: dict[str, str], ago: str) -> Timeline:
        story = Timeline(SHOP)
        for source, much in ahead.items():
            story.clock(source, much)
        story.at("0s").fires("shop", "OutOfMemory", source="nagios").fires("web", ERRORS, source="nagios")
        return story.at(ago).fires("db", "DiskFull").fires("cart", ERRORS).passes("2m")

    told({}, "70s").expect("shop", members={"shop", "web"})
    told({"nagios": "2m"}, "70s").expect("shop", members={"shop", "web"})
    story = told({"prometheus": "20s"}, "70s").expect("db", members={"db", "cart", "shop", "web"})
    (shop,) = [found["reasons"] for found in story.the("db")["candidates"] if found["service"] == "shop"]
    assert "broke 1 min before what it depends on alerted, by a clock that is up to 20 s ahead" in shop
    story = told({"prometheus": "20s"}, "200s").expect("shop", members={"shop", "web"}).expect("db")
    assert "it broke 3 min before what it depends on alerted" in story.the("shop")["reasons"]


def test_that_a_clock_is_ahead_may_turn_out_later() -> None:
    """A repeat of the same alert is enough, and what was known before the restart is known after it."""
    story = Timeline(SHOP).at("0s").fires("shop", "OutOfMemory", source="nagios").fires("web", ERRORS)
    story.at("70s").fires("db", "DiskFull").clock("prometheus", "20s").fires("db", "DiskFull")
    story.clock("prometheus", "0s").restarts().fires("cart", ERRORS).passes("2m")
    story.expect("db", members={"db", "cart", "shop", "web"})


def test_when_the_second_fault_is_mended_what_is_left_follows_from_the_first() -> None:
    """The shop is well again but for its errors, which the database explains."""
    told = Timeline(SHOP).at("0s").fires("shop", "OutOfMemory").fires("shop", ERRORS).fires("web", ERRORS)
    told.at("10m").fires("db", "DiskFull").fires("cart", ERRORS).passes("2m").expect("shop")
    told.resolves("shop", "OutOfMemory").passes("10m").fires("cart", "Slow").passes("2s")
    told.expect("db", members={"db", "cart", "shop", "web"})


def test_an_old_harmless_warning_on_the_root_of_tonights_outage() -> None:
    """The disk of the database is rather full since yesterday, which pages nobody. Tonight it fails, and that does."""
    told = Timeline(SHOP).at("0s")
    for _ in range(7):
        told.fires("db", "DiskUsageHigh", severity="warning").passes("3h")
    told.expect("db", paged=0).together("db", "shop", "cart", "web", name=ERRORS).passes("2m")
    told.expect("db", members={"db", "shop", "cart", "web"}, paged=1)
    assert told.the("db")["root"]["name"] == ERRORS
    assert told.all_pages() == 1


def test_ten_faults_at_once_are_ten_incidents() -> None:
    """On one graph, with a cascade each; they have the frontend in common, which belongs to one and names others."""
    names = [f"s{number}" for number in range(10)]
    graph = depends(*(f"front -> {name} -> {name}-api -> {name}-db" for name in names))
    told = Timeline(graph).at("0s")
    for name in names:
        told.together(name, f"{name}-api", f"{name}-db", name=ERRORS)
    told.fires("front", ERRORS).passes("2m")
    assert told.roots() == [f"{name}-db" for name in names]
    assert told.all_pages() == 10
    sizes = sorted(value["counts"]["services"] for value in map(told.the, told.roots()))
    assert sizes == [3] * 9 + [4]
    (front,) = [r for r in told.receipts if r["service"] == "front" and r["rule"] != "re_rooted"][-1:]
    assert any("also explained by" in reason for reason in front["reasons"])


def test_a_calm_recovery_says_nothing_new() -> None:
    """The root recovers first, its symptoms one by one: one page, one incident, the same root to the end."""
    told = Timeline(SHOP).at("0s").together("web", "shop", "cart", "db", name=ERRORS).passes("5m")
    for service in ("db", "cart", "shop", "web"):
        told.resolves(service, ERRORS).passes("20s")
    value = told.passes("2m").the("db", "resolved")
    assert (value["resolution"], value["page"]["seq"], value["counts"]["services"]) == ("recovered", 1, 4)
    assert {(v["id"], v["root"]["service"]) for _, v in told.revisions if v is not None} == {(value["id"], "db")}
