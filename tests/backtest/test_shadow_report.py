"""Our pages joined with those that were sent."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.backtest.ours import About, Life, Ours, Page, Watch
from correlator.backtest.paged import Paged
from correlator.backtest.shadow import Judged, judged, teams
from tests.engine.strategies import LAW, Log, logs, run
from tests.engine.timeline import START, Timeline, depends

GRAPH = depends("web -> api -> db", "jobs -> db", web={"team": "shop"}, db={"team": "data"}, jobs={"team": "batch"})


def sent(at: float, *services: str, fingerprints: tuple[str, ...] = (), team: str = "") -> Paged:
    return Paged(START + at, f"f:{at}", "1", "page", team, fingerprints, services)


def of_story(told: Timeline) -> Ours:
    watch = Watch()
    for receipt in told.receipts:
        watch.receipt(receipt)
    for _, value in told.revisions:
        if value is not None:
            watch.incident(value)
    return watch.ours()


def report(told: Timeline | Ours, *pages: Paged, **options: Any) -> list[tuple[str, str, float | None]]:
    return [(one.outcome, one.team, one.delay) for one in joined(told, *pages, **options)]


def joined(told: Timeline | Ours, *pages: Paged, **options: Any) -> list[Judged]:
    ours = of_story(told) if isinstance(told, Timeline) else told
    return judged(
        pages, ours, place=GRAPH.place, team_of=lambda s: GRAPH.node(s).team if s in GRAPH else None, **options
    )


def storm() -> Timeline:
    """db fails at 0 s, the rest within a minute; the incident pages at 60 s."""
    told = Timeline(GRAPH).at("0s").fires("web").at("10s").fires("jobs").at("20s").fires("db")
    return told.at("30s").fires("api").passes("10m")


def test_three_pages_of_one_storm_become_one() -> None:
    """The first one is compared, the others are avoided, each for its own team."""
    pages = sent(1.0, "web"), sent(11.0, "jobs"), sent(21.0, "db")
    assert report(storm(), *pages) == [("same", "shop", 59.0), ("avoided", "batch", 49.0), ("avoided", "data", 39.0)]


@pytest.mark.parametrize(("at", "outcome"), [(0.0, "same"), (-30.0, "later"), (125.0, "earlier")])
def test_the_first_page_is_the_same_earlier_or_later(at: float, outcome: str) -> None:
    """By the tolerance."""
    assert report(storm(), sent(at, "web")) == [(outcome, "shop", 60.0 - at)]


def test_a_page_about_a_quiet_incident_is_missed_with_its_reason() -> None:
    """It was hidden: the report says where."""
    told = Timeline(GRAPH).at("0s").fires("db", severity="warning").fires("web", severity="warning").passes("10m")
    (one,) = joined(told, sent(5.0, "web"))
    assert (one.outcome, one.team) == ("missed", "shop")
    assert "the alert on web is part of incident" in one.why
    assert one.why.endswith("which did not page")


def test_a_page_about_what_never_reached_us_is_missed() -> None:
    """The other reason."""
    (one, ours) = joined(storm(), sent(5.0, "mail", team="office"))
    assert (one.outcome, one.team, one.why) == ("missed", "office", "no alert of ours is about mail at that time")
    assert (ours.outcome, ours.team) == ("ours-only", "data")


def test_a_page_long_after_is_missed_and_says_by_how_much() -> None:
    """Outside of the window it does not count, however right it is."""
    late = Timeline(GRAPH, settle=1800.0).at("0s").fires("web").passes("1h")
    (one, ours) = joined(late, sent(5.0, "web"))
    assert (one.outcome, ours.outcome) == ("missed", "ours-only")
    assert one.why.endswith("which paged 29m55s later")


def test_an_incident_that_goes_on_covers_its_alerts_unless_strict() -> None:
    """Somebody is at it already; strict says that nobody can know."""
    told = storm()
    told.passes("2h").fires("api", "Slow").passes("10m")
    pages = sent(5.0, "db"), sent(7900.0, "api")
    assert [o for o, _, _ in report(told, *pages)] == ["same", "avoided"]
    assert [o for o, _, _ in report(told, *pages, strict=True)] == ["same", "missed"]


def test_an_incident_that_ended_covers_nothing_after_it() -> None:
    """What was sent about its service an hour later has no alert of ours."""
    told = Timeline(GRAPH).at("0s").fires("web").passes("2m").resolves("web").passes("2h")
    assert [o for o, _, _ in report(told, sent(5.0, "web"), sent(4000.0, "web"))] == ["same", "missed"]


def test_fingerprints_go_before_services() -> None:
    """A key names the alert; the name of a pager's service may be anything."""
    page = sent(5.0, "Business Service", fingerprints=("nobody's", "web:Down"))
    assert report(storm(), page) == [("same", "shop", 55.0)]


def test_pages_of_a_merged_incident_count_with_the_one_that_stays() -> None:
    """A late root."""
    told = Timeline(GRAPH).at("0s").fires("web").passes("2m").at("3m").fires("jobs").passes("2m")
    told.at("6m").fires("db").passes("5m")
    found = of_story(told)
    assert sum(1 for _ in found.pages()) == told.all_pages()
    assert [o for o, _, _ in report(found, sent(1.0, "web"), sent(181.0, "jobs"))][:2] == ["same", "same"]


def test_the_last_revision_alone_gives_the_first_page_its_time() -> None:
    """A replay's output will do, where there is no history."""
    watch = Watch()
    assert all(watch.take(value) for value in storm().last.values())
    assert [page.at - START for page in watch.ours().pages()] == [60.0]
    assert not watch.take({"x": 1})


# -- teams ----------------------------------------------------------------------------------------------------


def test_a_team_is_ready_when_nothing_of_it_was_missed() -> None:
    """Unproven without a page to go by, or when its alerts paged on their own in our run."""
    told = storm()
    found = joined(told, sent(1.0, "web"), sent(11.0, "jobs"), sent(5.0, "mail", team="office"))
    rows = {team.name: (team.ready, team.sent, team.ours) for team in teams(found, {"batch"})}
    assert rows == {
        "batch": ("unproven", 1, 0),
        "office": ("no", 1, 0),
        "shop": ("yes", 1, 1),
        "all": ("no", 3, 1),
    }


def test_a_run_without_suppression_proves_nothing_for_its_teams() -> None:
    """Their pages are those of the alerts themselves."""
    told = Timeline(GRAPH, suppress_teams=["data"]).at("0s").fires("db").fires("web").passes("2m")
    found = of_story(told)
    assert found.shadow == {"shop"}
    assert [(page.team, page.number) for page in found.pages()] == [("shop", 1), ("data", 2)]


# -- laws -----------------------------------------------------------------------------------------------------

_TIMES = st.integers(0, 40).map(lambda n: START + n * 60.0)


@st.composite
def joins(draw: st.DrawFn) -> tuple[list[Paged], Ours]:
    """A few incidents with pages, and pages that were sent about some of their services."""
    lives, held = {}, {}
    for number, services in enumerate(("ab", "c", "d")):
        key = f"i{number}"
        times = sorted(draw(st.lists(_TIMES, max_size=3)))
        until = draw(st.sampled_from([math.inf, START + 1200.0]))
        pages = tuple(Page(at, key, n, "t") for n, at in enumerate(times, 1))
        lives[key] = Life(key, key, services[0], "t", until, pages)
        for service in services:
            held[service] = [About(key, START, until, service)]
    where = st.sampled_from("abcde")
    found = draw(st.lists(st.tuples(_TIMES, where), max_size=8))
    return [Paged(at, str(n), "", "", "", (), (s,)) for n, (at, s) in enumerate(found)], Ours(
        lives, {}, held, frozenset()
    )


@given(joins(), st.booleans())
def test_every_page_of_both_sides_is_judged_once(drawn: tuple[list[Paged], Ours], strict: bool) -> None:
    """Nothing is dropped or counted twice."""
    pages, ours = drawn
    found = judged(pages, ours, strict=strict)
    assert Counter(one.paged for one in found if one.paged is not None) == Counter(pages)
    mine = [one.page for one in found if one.outcome in ("same", "earlier", "later", "ours-only")]
    assert Counter(mine) == Counter(ours.pages())
    everything = teams(found)[-1]
    assert (everything.sent, everything.ours) == (len(pages), sum(1 for _ in ours.pages()))


@given(joins())
def test_missed_means_that_nothing_paged_in_the_window(drawn: tuple[list[Paged], Ours]) -> None:
    """By its definition, with strict."""
    pages, ours = drawn
    missed = {one.paged for one in judged(pages, ours, strict=True) if one.outcome == "missed"}
    for paged in pages:
        keys = [a.incident for a in ours.by_service.get(paged.services[0], ()) if paged.at <= a.until + 900.0]
        near = [p for key in keys for p in ours.lives[key].pages if abs(p.at - paged.at) <= 900.0]
        assert (paged in missed) == (not near)


@LAW
@given(logs())
def test_nothing_is_missed_of_what_we_paged_ourselves(log: Log) -> None:
    """Our own pages, sent at their times about their roots, are the same pages."""
    result, _ = run(log)
    watch = Watch()
    for receipts in result.receipts.values():
        for receipt in receipts:
            watch.receipt(receipt)
    for _, value in result.revisions:
        if value is not None:
            watch.incident(value)
    ours = watch.ours()
    held: dict[str, str] = {}
    for fingerprint, abouts in ours.by_fingerprint.items():
        for about in abouts:
            held.setdefault(about.incident, fingerprint)
    pages = [
        Paged(p.at, str(n), "", "", "", (held[p.incident],), ())
        for n, p in enumerate(ours.pages())
        if p.incident in held
    ]
    assert {one.outcome for one in judged(pages, ours, window=math.inf)} <= {"same", "avoided", "ours-only"}
