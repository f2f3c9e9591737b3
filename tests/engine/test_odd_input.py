"""What the rule makes of input that nobody meant: names without end, services by the thousand, a root that goes."""

from __future__ import annotations

import orjson
import pytest

from correlator.engine.history import MOST_KEYS
from tests.engine.timeline import RAW, Timeline, depends, row

CHAIN = depends("web -> api -> db")
ERRORS = "HighErrorRate"


def flood(told: Timeline, alerts: list[tuple[str, str]], status: str = "firing") -> Timeline:
    """Many alerts in one record."""
    rows = []
    for service, name in alerts:
        rows.append(row(told.raw, told.now, service, name, status, known=service in told.graph, ends_at=None))
        told.raw += 1
    return told.record({"source": RAW, "rows": rows})


def test_ten_thousand_names_of_one_service_are_one_incident_and_a_bounded_memory() -> None:
    """What is learned of them is bounded, and an alert of another service is judged beside them."""
    names = [("api", f"Check{number}Failed") for number in range(10_000)]
    told = flood(Timeline(CHAIN).at("0s"), names).fires("web", ERRORS).passes("2m")
    told.expect("api", paged=1)
    assert told.the("api")["counts"]["services"] == 2
    flood(told, names, "resolved").resolves("web", ERRORS).passes("2h")
    assert told.shown() == []
    (learned,) = [value for key, value in told.entries.items() if key.endswith(b"\x1fh\x1fapi")]
    assert len(orjson.loads(learned)[2]) <= MOST_KEYS


def test_thousands_of_services_that_alert_once_each_leave_nothing_behind() -> None:
    """They are incidents of their own while they fire. Nobody remembers services that the graph does not know."""
    names = [(f"pod-{number}", "Down") for number in range(3_000)]
    told = flood(Timeline(CHAIN).at("0s"), names).passes("2m")
    assert len(told.shown()) > 2_900
    flood(told, names, "resolved").passes("2h").passes("49h").tick()
    assert told.shown() == []
    assert not [key for key in told.entries if b"pod-" in key]


@pytest.mark.parametrize("when", ["1s", "2m"])
def test_a_graph_that_loses_the_root_in_the_middle_of_an_incident(when: str) -> None:
    """Before and after it was judged: its alert is that of an unknown service, and the rest has the next root."""
    without = depends("web -> api")
    told = Timeline(CHAIN, [without]).at("0s").together("web", "api", "db", name=ERRORS).passes(when).expect("db")
    told.uses(without).passes("2m")
    told.expect("api", members={"web", "api"}).expect("db", members={"db"}, flagged="unplaced")
    told.uses(CHAIN).passes("2m").expect("db", members={"web", "api", "db"})


def test_times_from_the_future_and_hours_late_change_no_root() -> None:
    """Order and direction decide; an onset that is off by hours only moves when the incident began."""
    for starts in (-7_200.0, 0.0, 280.0):
        told = Timeline(CHAIN).at("0s").fires("web", ERRORS).fires("db", ERRORS, starts_at=starts).fires("api", ERRORS)
        told.passes("2m").expect("db", members={"web", "api", "db"}, paged=1)
