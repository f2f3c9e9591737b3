"""When somebody is woken, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.timeline import RAW, START, Timeline, depends, row

CHAIN = depends("web -> api -> db", "jobs -> db")


def test_the_page_comes_within_settle_although_the_root_churns() -> None:
    """A new root every few seconds does not put the page off: it comes a minute after the first alert."""
    story = Timeline(depends("a -> b -> c -> d")).at("0s").fires("a").at("25s").fires("b").at("50s").fires("c")
    story.at("59s").tick().expect("c", paged=0)
    story.at("60s").tick().expect("c", paged=1)
    assert story.the("c")["page"]["first_wanted_at"] == "2025-06-15T15:07:40.000Z"


def test_the_top_tier_pages_at_once() -> None:
    """No settling where every second counts."""
    graph = depends("web -> db", web={"tier": 1}, db={"tier": 3})
    Timeline(graph).at("0s").fires("web").expect("web", paged=1, state="forming")


def test_a_top_tier_symptom_pages_at_once_as_well() -> None:
    """The root's tier is not what matters: the most important service that suffers does."""
    graph = depends("web -> db", web={"tier": 1}, db={"tier": 3})
    Timeline(graph).at("0s").fires("db").expect("db", paged=0).at("1s").fires("web").expect("db", paged=1)


@pytest.mark.parametrize("acknowledged", [False, True])
@pytest.mark.parametrize(
    ("worse", "reason"),
    [
        (["a2"], "services rose"),
        (["other_tier"], "new tier 0, more important than those before"),
        (["other_tenant"], "new tenant blue"),
        (["below"], "root changed"),
    ],
)
def test_it_pages_again_when_it_gets_worse_acknowledged_or_not(
    worse: list[str], reason: str, acknowledged: bool
) -> None:
    """More services, a new tier or tenant, another root: somebody must know, a minute later at the latest."""
    lines = ["a1 -> root", "a2 -> root", "a3 -> root", "other_tier -> root", "other_tenant -> root", "root -> below"]
    attributes: dict[str, Any] = {name: {"tier": 3} for name in ("root", "a1", "a2", "below")}
    attributes["other_tier"] = {"tier": 0}
    attributes["other_tenant"] = {"tier": 3, "labels": {"tenant": "blue"}}
    services = ["root"] if worse == ["a2"] else ["root", "a1", "a3"]
    story = Timeline(depends(*lines, **attributes), settle_top_tier=60.0).at("0s").together(*services).passes("2m")
    first = story.the("root")
    assert first["page"]["seq"] == 1
    if acknowledged:
        story.control(type="acknowledge", incident=first["id"], by="ann")
    story.together(*worse).passes("61s")
    again = story.value(first["id"])
    assert again["page"]["seq"] == 2
    assert reason in again["page"]["reason"]
    assert bool(again["acknowledged"]) == acknowledged


def test_a_warning_that_turns_critical_is_one_alert_and_pages() -> None:
    """Severity is an attribute: no second alert, one page."""
    story = Timeline(CHAIN).at("0s").fires("db", severity="warning").passes("5m").expect("db", paged=0)
    story.fires("db", severity="critical").passes("1s").expect("db", paged=1, severity="critical")
    assert story.the("db")["counts"] == {"alerts": 1, "symptoms": 0, "duplicates": 1, "services": 1}


def test_a_higher_severity_pages_again_at_once() -> None:
    """Error paged, critical pages again without waiting."""
    story = Timeline(CHAIN, page_severity="error").at("0s").fires("db", severity="error").passes("2m")
    story.expect("db", paged=1).fires("db", severity="critical").expect("db", paged=2)
    assert "severity rose to critical" in story.the("db")["page"]["reason"]


def test_what_must_never_be_suppressed_pages_at_once() -> None:
    """Whatever its severity, however well it is explained."""
    story = Timeline(CHAIN, never_suppress=[{"match": {"name": "DataLoss"}}])
    story.at("0s").fires("db").fires("web", "DataLoss", "warning").expect("db", paged=1)
    assert story.the("db")["page"]["reason"] == "never_suppress: DataLoss"


def test_what_must_never_be_suppressed_pages_even_when_it_is_over_in_the_same_record() -> None:
    """An alert of a moment is an alert."""
    story = Timeline(CHAIN, never_suppress=[{"match": {"name": "DataLoss"}}]).at("0s")
    rows = [
        row(0, START, "db", "DataLoss", severity="warning"),
        row(1, START, "db", "DataLoss", "resolved", ends_at=START + 1),
    ]
    story.record({"source": RAW, "rows": rows}).expect("db", state="resolved", paged=1)


def test_an_alert_that_recovers_before_the_page_wakes_nobody() -> None:
    """Half a minute of trouble is shown and resolved."""
    story = Timeline(CHAIN).at("0s").fires("db").at("30s").resolves("db").passes("5m").expect("db", state="resolved")
    assert story.all_pages() == 0


def test_a_flapping_alert_is_held_says_so_and_pages_once() -> None:
    """Up and down and up again: one incident, one page, resolved only when it has been quiet for a while."""
    story = Timeline(CHAIN).at("0s")
    for n in range(6):
        story.at(f"{n * 40}s").fires("db", again=True).at(f"{n * 40 + 30}s").resolves("db")
    story.expect("db", state="open", flagged="flapping")
    story.passes("10m").expect("db", state="open")
    story.passes("10m").expect("db", state="resolved")
    assert story.all_pages() == 1
    assert len(story.shown("forming", "open", "resolved", "merged", "closed")) == 1


def test_a_scrape_gap_pages_nothing_anew() -> None:
    """Everything resolves and fires again within the gap window: same ids, no further page."""
    story = Timeline(CHAIN).at("0s").together("db", "web").passes("2m").expect("db", paged=1)
    known = story.the("db")["id"]
    story.resolves("db").resolves("web").expect("db", state="resolved")
    story.passes("2m").fires("web", again=True).fires("db", again=True).passes("5m")
    story.expect("db", id=known, state="open", paged=1)


def test_what_comes_back_after_the_gap_pages_again_under_its_id() -> None:
    """Ten minutes of peace, then the same again: the incident is reopened and somebody is woken."""
    story = Timeline(CHAIN).at("0s").fires("db").passes("2m").expect("db", paged=1)
    known = story.the("db")["id"]
    story.resolves("db").passes("10m").fires("db", again=True).expect("db", id=known, state="open", paged=2)
    assert "reopened" in story.the("db")["page"]["reason"]


def test_what_comes_back_after_the_reopen_window_is_new() -> None:
    """The old incident is closed and never used again."""
    story = Timeline(CHAIN).at("0s").fires("db").passes("2m")
    known = story.the("db")["id"]
    story.resolves("db").passes("16m").fires("db", again=True).passes("2m").expect("db", state="open", paged=1)
    assert story.the("db")["id"] != known
    assert story.value(known)["state"] == "closed"


def test_backlog_does_not_page_before_the_sources_are_read() -> None:
    """An hour of backlog: the page waits until the raw topic has been read a minute further, then comes at once."""
    story = Timeline(CHAIN).at("1h").tick(partitions=1, watermarks={RAW: START})
    story.fires("db", received_at=START, starts_at="0s").tick(watermarks={RAW: START + 59}).expect("db", paged=0)
    story.tick(watermarks={RAW: START + 60}).expect("db", paged=1)


def test_test_alerts_never_page() -> None:
    """They are shown as what they are."""
    story = Timeline(CHAIN, test=[{"match": {"name": "TestAlert"}}]).at("0s").fires("db", "TestAlert").passes("1h")
    story.expect("db", kind="test", flagged="test", paged=0)
    assert story.verdicts("db", "TestAlert") == ["test"]


def test_many_unknown_services_make_one_page_per_source() -> None:
    """Above the burst the rest is bundled: one page says how many."""
    story = Timeline(CHAIN, unplaced_burst=3).at("0s")
    for n in range(10):
        story.fires(f"ghost{n}")
    story.passes("2m")
    (bundle,) = story.shown("forming", "open", kind="bundle")
    assert (bundle["counts"]["alerts"], bundle["page"]["seq"]) == (7, 1)
    assert bundle["severity"] == bundle["severity_max"] == "critical"
    assert story.all_pages() == 4
    assert len(story.roots("open")) == 11
