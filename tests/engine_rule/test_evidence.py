"""What the alerts of a service prove, and what the history remembers."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from correlator.engine.evidence import History, Sign, key_of, weigh
from correlator.engine.kinds import Kinds

KINDS = Kinds()


def own(*signs: Sign, history: History | None = None) -> float:
    return weigh("db", signs, KINDS, history).own


def past(times: int, **services: list[str]) -> History:
    history = History()
    for _ in range(times):
        history.observe({service: [Sign(name, {}) for name in names] for service, names in services.items()})
    return history


def test_a_fault_proves_more_than_an_error_and_that_more_than_latency() -> None:
    values = [own(Sign(name, {})) for name in ("PodCrash", "HighCpu", "HighErrorRate", "HighLatency", "CpuLow")]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5


def test_twins_count_less_than_different_alerts() -> None:
    twins = own(Sign("latency_p50", {}), Sign("latency_p99", {}))
    others = own(Sign("latency_p50", {}), Sign("queue_delay", {}))
    assert own(Sign("latency_p50", {})) < twins < others


def test_a_larger_deviation_proves_more_up_to_a_limit() -> None:
    values = [own(Sign("HighLatency", {"z": z})) for z in (0.0, 5.0, 50.0, 1e6, 1e12)]
    assert values[0] == own(Sign("HighLatency", {})) < values[1] < values[2] < values[3] == values[4]


@pytest.mark.parametrize("z", [float("nan"), float("inf"), "12", None])
def test_a_deviation_that_is_no_number_is_left_aside(z: object) -> None:
    assert own(Sign("HighLatency", {"z": z})) == own(Sign("HighLatency", {}))


def test_the_order_of_alerts_does_not_matter() -> None:
    signs = [
        Sign("HighLatency", {"caller": "web"}, 3.0),
        Sign("p99", {"direction": "up"}, 1.0),
        Sign("CpuHigh", {}, 2.0),
        Sign("p50", {"direction": "up"}, 4.0),
    ]
    assert len({weigh("db", order, KINDS) for order in permutations(signs)}) == 1
    assert weigh("db", signs, KINDS).onset == 1.0


def test_a_repeated_alert_counts_once() -> None:
    assert own(Sign("HighLatency", {}), Sign("HighLatency", {})) == own(Sign("HighLatency", {}))


def test_a_usual_alert_proves_less_but_never_nothing() -> None:
    history = past(50, db=["HighLatency"])
    usual, unusual = own(Sign("HighLatency", {}), history=history), own(Sign("CpuHigh", {}), history=history)
    assert 0.3 < usual < own(Sign("HighLatency", {})) < unusual


def test_an_alert_needs_a_cause_when_it_is_an_unusual_error() -> None:
    assert weigh("db", [Sign("HighErrorRate", {})], KINDS).cause
    assert not weigh("db", [Sign("HighErrorRate", {})], KINDS, past(9, db=["HighErrorRate"])).cause
    assert not weigh("db", [Sign("HighLatency", {})], KINDS).cause


def test_effects_are_known_as_such() -> None:
    assert weigh("db", [Sign("NoRequests", {}), Sign("CpuLow", {})], KINDS).effect
    assert not weigh("db", [Sign("NoRequests", {}), Sign("HighLatency", {})], KINDS).effect


def test_the_alerts_of_a_blamed_service_do_not_become_usual() -> None:
    history = History()
    for _ in range(30):
        history.observe({"db": [Sign("CpuHigh", {})], "web": [Sign("Slow", {})]}, blamed="db")
    assert history.usual("db", "CpuHigh") == pytest.approx(0.5)
    assert history.usual("web", "Slow") > 0.9


def test_a_doubtful_blame_counts_in_part() -> None:
    sure, unsure = History(), History()
    for _ in range(30):
        sure.observe({"db": [Sign("CpuHigh", {})]}, blamed="db")
        unsure.observe({"db": [Sign("CpuHigh", {})]}, blamed="db", certainty=0.5)
    assert sure.usual("db", "CpuHigh") < unsure.usual("db", "CpuHigh") <= 1.0


def test_numbers_in_an_operation_are_left_aside() -> None:
    signs = [Sign("Slow", {"caller": "web", "operation": f"/cart/{number}"}) for number in (17, 4711)]
    assert len({key_of("cart", sign) for sign in signs}) == 1


def test_old_incidents_fade() -> None:
    history = History(half_life=10)
    for _ in range(50):
        history.observe({"db": [Sign("CpuHigh", {})]})
    before = history.usual("db", "CpuHigh")
    for _ in range(50):
        history.observe({"web": [Sign("Slow", {})]})
    assert before > 0.9
    assert history.usual("db", "CpuHigh") < 0.15


def test_the_history_survives_json_and_a_copy_stays_as_it_is() -> None:
    history = past(7, db=["CpuHigh", "Slow"], web=["Slow"])
    copy = history.freeze()
    restored = History.from_data(json.loads(json.dumps(history.to_data())))
    history.observe({"db": [Sign("CpuHigh", {})]})
    assert restored.to_data() == copy.to_data()
    assert copy.usual("db", "CpuHigh") == pytest.approx(8 / 9, rel=1e-2)
    assert history.usual("db", "CpuHigh") > copy.usual("db", "CpuHigh")


def test_the_memory_is_bounded_and_keeps_what_is_frequent() -> None:
    history = History(most=100)
    for number in range(500):
        history.observe({"db": [Sign("Steady", {}), Sign(f"Once{number}", {})]})
    assert len(history.to_data()["seen"]["db"]) <= 100
    assert history.usual("db", "Steady") > 0.9


def test_many_incidents_leave_finite_counts() -> None:
    history = History(half_life=1)
    for _ in range(3_000):
        history.observe({"db": [Sign("CpuHigh", {})]})
    assert 0.5 < history.usual("db", "CpuHigh") < 1.0
