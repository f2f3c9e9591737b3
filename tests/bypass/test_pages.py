"""Bypass incidents: one per alert up to a cap, a summary beyond it, the same after a restart, closed in the end."""

from __future__ import annotations

from typing import Any

import orjson

from correlator.bypass.backlog import Backlog, Waiting
from correlator.bypass.pages import Limits, Page, Pages
from correlator.engine.rules import Rules
from tests.bypass.conftest import Make
from tests.validation import problems

RAW = "alerts.raw/0"


def waiting(alert: Make, count: int, limit: int = 1_000, **values: Any) -> Backlog:
    kept = Backlog(Rules(), limit, "team", "tenant")
    for offset in range(count):
        kept.take(RAW, offset, [(0, alert(f"s{offset}", **values))], 100.0)
    return kept


def why(_: str) -> str:
    return "no heartbeat has come through"


def published(pages: Pages, now: float) -> list[dict[str, Any]]:
    """What is due, as the broker gets it; all of it by the schema."""
    due: list[Page] = pages.due(now)
    values: list[dict[str, Any]] = [orjson.loads(orjson.dumps(page.value)) for page in due]
    pages.told(due, now)
    assert [problems("incident", value) for value in values] == [[] for _ in values]
    return values


def restarted(pages: Pages, limits: Limits) -> Pages:
    """As a new process finds it on the incidents topic."""
    again = Pages(limits)
    for page in pages.open.values():
        again.restore(orjson.loads(orjson.dumps(page.value)), orjson.loads(orjson.dumps(page.note())))
    return again


def test_a_cap_by_key_and_one_summary_beyond_it(alert: Make) -> None:
    """A storm does not wake a team ten thousand times."""
    pages = Pages(Limits(3, 100))
    pages.cover(waiting(alert, 10).waiting.values(), why, 0.0)
    pages.cover(waiting(alert, 2, labels={"team": "db"}).waiting.values(), why, 0.0)
    found = published(pages, 0.0)
    assert [v["kind"] for v in found].count("bundle") == 1
    assert len(found) == 4
    (summary,) = (v for v in found if v["kind"] == "bundle")
    assert (summary["counts"]["alerts"], summary["counts"]["services"]) == (7, 7)
    assert "7 more critical alerts of source prometheus" in summary["title"]
    assert all(v["page"]["wanted"] and v["page"]["seq"] == 1 and v["flags"] == ["bypass"] for v in found)


def test_a_cap_over_all(alert: Make) -> None:
    """Many teams at once are no way around it, and tenants stay apart."""
    pages = Pages(Limits(10, 4))
    for number in range(20):
        labels = {"team": f"t{number}", "tenant": f"x{number % 2}"}
        pages.cover(waiting(alert, number + 1, labels=labels).waiting.values(), why, 0.0)
    found = published(pages, 0.0)
    assert len(found) <= 4 + 4 + 2
    for value in found:
        assert len(value["impact"]["tenants"]) == 1


def test_a_summary_that_grows_is_told_now_and_then(alert: Make) -> None:
    """And at once when it begins or ends."""
    pages = Pages(Limits(1, 100))
    pages.cover(waiting(alert, 3).waiting.values(), why, 0.0)
    assert len(published(pages, 0.0)) == 2
    pages.cover(waiting(alert, 5).waiting.values(), why, 1.0)
    assert published(pages, 1.0) == []
    (grown,) = published(pages, 11.0)
    assert grown["counts"]["alerts"] == 4
    pages.close({RAW: 5}, lambda _: True, 12.0)
    assert {v["state"] for v in published(pages, 12.0)} == {"closed"}


def test_a_restart_tells_nothing_twice(alert: Make) -> None:
    """The same alerts are read again: the same ids, no new revision, no alert counted twice."""
    limits = Limits(2, 100)
    pages = Pages(limits)
    pages.cover(waiting(alert, 6).waiting.values(), why, 0.0)
    before = {v["id"]: v for v in published(pages, 0.0)}
    again = restarted(pages, limits)
    again.cover(waiting(alert, 6).waiting.values(), why, 50.0)
    assert published(again, 50.0) == []
    fresh = Pages(limits)
    fresh.cover(waiting(alert, 6).waiting.values(), why, 50.0)
    assert {v["id"] for v in published(fresh, 50.0)} == before.keys()
    again.cover(waiting(alert, 7).waiting.values(), why, 60.0)
    (summary,) = published(again, 60.0)
    assert (summary["counts"]["alerts"], summary["revision"] > before[summary["id"]]["revision"]) == (5, True)


def test_an_incident_closes_when_all_of_it_is_decided_and_the_valve_is_shut(alert: Make) -> None:
    """Neither is enough alone."""
    pages = Pages(Limits(1, 100))
    pages.cover(waiting(alert, 3).waiting.values(), why, 0.0)
    published(pages, 0.0)
    pages.close({RAW: 3}, lambda _: False, 1.0)
    pages.close({}, lambda _: True, 1.0)
    assert published(pages, 1.0) == []
    pages.close({RAW: 1}, lambda _: True, 2.0)
    (closed,) = published(pages, 2.0)
    assert (closed["state"], closed["resolution"], closed["page"]["wanted"]) == ("closed", "unknown", False)
    assert closed["reasons"][-1].startswith("closed: the correlator is back")
    pages.close({RAW: 3}, lambda _: True, 3.0)
    assert [v["kind"] for v in published(pages, 3.0)] == ["bundle"]
    assert pages.open == {}


def test_a_resolution_passes_and_a_refire_pages_again(alert: Make) -> None:
    """Read twice, each has its effect once."""
    pages = Pages(Limits(5, 100))
    ((fingerprint, first),) = waiting(alert, 1).waiting.items()
    end = first.alert._replace(status="resolved", ends_at=200.0)
    states = []
    for _ in range(2):
        pages.cover([first], why, 0.0)
        states += [(v["state"], v["page"]["seq"]) for v in published(pages, 0.0)]
        pages.ended(end, RAW, 4, 200.0)
        states += [(v["state"], v["page"]["seq"]) for v in published(pages, 1.0)]
    assert states == [("open", 1), ("resolved", 1)]
    again = Waiting(first.alert, first.key, RAW, 6, 0, 300.0)
    pages.cover([again], why, 300.0)
    (value,) = published(pages, 300.0)
    assert (value["state"], value["page"]["seq"], value["page"]["wanted"]) == ("open", 2, True)
    assert value["root"]["fingerprint"] == fingerprint


def test_what_had_no_room_is_in_the_summary(alert: Make) -> None:
    """Counted, though not one of them is known any more."""
    kept = waiting(alert, 8, limit=3)
    pages = Pages(Limits(2, 100))
    pages.cover(kept.waiting.values(), why, 0.0)
    pages.overflow(kept.excess.values(), why, 0.0)
    (summary,) = (v for v in published(pages, 0.0) if v["kind"] == "bundle")
    assert summary["counts"]["alerts"] == 6
    pages.close({RAW: 7}, lambda _: True, 1.0)
    assert summary["id"] in pages.open
    pages.close({RAW: 8}, lambda _: True, 2.0)
    assert pages.open == {}
