"""What is remembered of incidents, and how usual alerts become by that."""

from __future__ import annotations

import json

import pytest

from correlator.engine.history import HALF_LIFE, MOST_KEYS, UNKNOWN, History


def past(times: int, alerts: dict[str, list[str]], exposed: str = "", blamed: str | None = None) -> History:
    history = History()
    for _ in range(times):
        history.observe(alerts, exposed.split(), blamed)
    return history


def test_nothing_is_known_at_first() -> None:
    assert History().usual("db", "CpuHigh") == UNKNOWN


def test_what_fires_every_time_is_usual_and_what_never_does_is_not() -> None:
    history = past(50, {"db": ["CpuHigh"]})
    assert history.usual("db", "CpuHigh") > 0.9
    assert history.usual("db", "Crash") < 0.05


def test_silence_counts_only_where_there_was_reason_to_alert() -> None:
    """A service far from every incident stays unknown; a neighbour of them that never alerted is known for that."""
    history = past(20, {"db": ["Slow"]}, exposed="web")
    assert history.usual("web", "Slow") < 0.1
    assert history.usual("far", "Slow") == UNKNOWN


def test_the_alerts_of_a_blamed_service_do_not_become_usual() -> None:
    history = past(30, {"db": ["CpuHigh"], "web": ["Slow"]}, blamed="db")
    assert history.usual("db", "CpuHigh") == pytest.approx(UNKNOWN)
    assert history.usual("web", "Slow") > 0.9


def test_a_doubtful_blame_counts_in_part() -> None:
    sure, unsure = History(), History()
    for _ in range(30):
        sure.observe({"db": ["CpuHigh"]}, (), "db")
        unsure.observe({"db": ["CpuHigh"]}, (), "db", certainty=0.5)
    assert sure.usual("db", "CpuHigh") < unsure.usual("db", "CpuHigh") <= 1.0


def test_the_root_of_a_small_part_is_hardly_to_blame() -> None:
    """A stray alert beside every large incident becomes usual, although it is the root of its own small one."""
    history = History()
    for _ in range(30):
        history.observe({"db": ["Crash"], "web": ["Slow"]}, ["node"], "db", share=0.9)
        history.observe({"node": ["MemoryLow"]}, ["db"], "node", share=0.1)
    assert history.usual("node", "MemoryLow") > 0.8


def test_parts_of_one_fault_count_once_together() -> None:
    whole, parts = History(), History()
    for _ in range(40):
        whole.observe({"db": ["Slow"]}, ["web"])
        parts.observe({"db": ["Slow"]}, ["web"], share=0.5)
        parts.observe({"db": ["Other"]}, ["web"], share=0.5)
    assert parts.usual("web", "Any") == pytest.approx(whole.usual("web", "Any"), rel=0.05)


def test_old_incidents_fade() -> None:
    """By half over HALF_LIFE exposures of the service itself; what happens elsewhere changes nothing."""
    history = past(50, {"db": ["CpuHigh"]})
    before = history.usual("db", "CpuHigh")
    for _ in range(50):
        history.observe({"elsewhere": ["Slow"]}, ())
    assert history.usual("db", "CpuHigh") == before
    for _ in range(round(3 * HALF_LIFE)):
        history.observe({"db": []}, ["db"])
    assert before > 0.9
    assert history.usual("db", "CpuHigh") < 0.05


def test_rows_survive_json() -> None:
    history = past(7, {"db": ["CpuHigh", "Slow"], "web": ["Slow"]}, exposed="far", blamed="web")
    rows = {service: json.loads(json.dumps(history.row(service))) for service in history}
    restored = History()
    restored.restore(dict(reversed(rows.items())))
    assert {service: restored.row(service) for service in restored} == {s: history.row(s) for s in history}
    assert history.row("nowhere") is None


def test_only_rows_that_changed_are_named() -> None:
    history = past(3, {"db": ["Slow"]}, exposed="web")
    assert history.observe({"web": ["Slow"]}, ["api"]) == {"web", "api"}


def test_the_alerts_of_a_service_are_bounded_and_the_frequent_ones_stay() -> None:
    history = History()
    for number in range(5 * MOST_KEYS):
        history.observe({"db": ["Steady", f"Once{number}"]}, ())
    row = history.row("db")
    assert row is not None
    assert len(row[2]) <= MOST_KEYS
    assert history.usual("db", "Steady") > 0.9


def test_the_services_are_bounded_and_the_exposed_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("correlator.engine.history.MOST_SERVICES", 100)
    history = past(5, {"steady": ["Slow"]})
    gone: set[str] = set()
    for number in range(300):
        gone |= {name for name in history.observe({f"s{number}": ["Slow"]}, ()) if history.row(name) is None}
    assert len(history) <= 100
    assert history.usual("steady", "Slow") > 0.8
    assert len(gone) == 301 - len(history)


def test_one_service_or_everything_can_be_forgotten() -> None:
    history = past(5, {"db": ["Slow"], "web": ["Slow"]})
    assert history.forget("db") == ["db"]
    assert history.usual("db", "Slow") == UNKNOWN
    assert history.forget("db") == []
    assert history.forget() == ["web"]
    assert len(history) == 0
