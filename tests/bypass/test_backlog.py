"""What waits, what is news, and what there is no room for."""

from __future__ import annotations

from correlator.bypass.backlog import Backlog, key_of
from correlator.engine.rules import Heartbeat, Matcher, Rules
from tests.bypass.conftest import Make

RAW = "alerts.raw/0"
RULES = Rules(
    heartbeat=(Heartbeat({"name": "Watchdog"}),),
    test=(Matcher({"name": "Drill"}),),
    never_suppress=(Matcher({"service": "till"}),),
)


def backlog(limit: int = 100) -> Backlog:
    return Backlog(RULES, limit, "team", None)


def test_only_what_would_page_waits(alert: Make) -> None:
    """Severe enough or never suppressed; neither a heartbeat nor a test."""
    kept = backlog()
    found = [alert(), alert("web", severity="error"), alert("till", severity="info")]
    found += [alert("x", "Watchdog"), alert("x", "Drill")]
    kept.take(RAW, 5, enumerate(found), 100.0)
    assert [w.alert.service for w in kept.waiting.values()] == ["db", "till"]
    assert [(w.source, w.offset, w.number) for w in kept.waiting.values()] == [(RAW, 5, 0), (RAW, 5, 2)]


def test_what_has_ended_waits_no_longer(alert: Make) -> None:
    """A resolve takes it away; one of an older episode does not."""
    kept = backlog()
    kept.take(RAW, 0, [(0, alert(starts_at=100.0))], 100.0)
    assert kept.take(RAW, 1, [(0, alert(status="resolved", ends_at=50.0))], 101.0) == ([], 0)
    assert len(kept.waiting) == 1
    ended, _ = kept.take(RAW, 2, [(0, alert(status="resolved", ends_at=150.0))], 150.0)
    assert [a.service for a in ended] == ["db"]
    assert kept.waiting == {}


def test_a_repeat_of_what_the_correlator_has_is_no_news(alert: Make) -> None:
    """It would page twice for one alert; after a resolve, or a time to live, it is news again."""
    kept = backlog()
    kept.take(RAW, 0, [(0, alert())], 100.0)
    kept.decided({RAW: 1})
    kept.take(RAW, 1, [(0, alert(starts_at=200.0))], 200.0)
    assert kept.waiting == {}
    kept.take(RAW, 2, [(0, alert(starts_at=99_999.0))], 200.0 + RULES.ttl + 1)
    assert len(kept.waiting) == 1
    kept.decided({RAW: 3})
    kept.take(RAW, 3, [(0, alert(status="resolved", ends_at=100_000.0))], 100_000.0)
    kept.take(RAW, 4, [(0, alert(starts_at=100_001.0))], 100_001.0)
    assert len(kept.waiting) == 1


def test_what_has_no_room_is_counted_by_team_or_source(alert: Make) -> None:
    """Memory is bounded; the count is kept until all of it is decided."""
    kept = backlog(limit=2)
    found = [alert(f"s{n}", labels={"team": "db"} if n % 2 else {}) for n in range(6)]
    _, dropped = kept.take(RAW, 7, enumerate(found), 100.0)
    assert (dropped, len(kept.waiting)) == (4, 2)
    assert {key: excess.count for key, excess in kept.excess.items()} == {
        ("", "team db"): 2,
        ("", "source prometheus"): 2,
    }
    kept.decided({RAW: 7})
    assert kept.excess
    kept.decided({RAW: 8})
    assert not kept.excess
    assert not kept.waiting


def test_tenants_are_kept_apart(alert: Make) -> None:
    """The key has the tenant where there are tenants."""
    one = alert(labels={"tenant": "acme", "team": "db"})
    assert key_of(one, "team", "tenant") == ("acme", "team db")
    assert key_of(one, "team", None) == ("", "team db")
    assert key_of(one, "squad", None) == ("", "source prometheus")
