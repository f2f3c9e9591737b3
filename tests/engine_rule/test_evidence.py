"""What the alerts of a service prove, and what the history remembers."""

from __future__ import annotations

from itertools import permutations

import pytest

from correlator.engine.evidence import Pile, Scales, Sign, key_of, weigh
from correlator.engine.kinds import Kinds

KINDS = Kinds()


def own(*signs: Sign) -> float:
    return weigh("db", signs, KINDS).own


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


@pytest.mark.parametrize("z", [float("nan"), float("inf"), "much", True, None])
def test_a_deviation_that_is_no_number_is_left_aside(z: object) -> None:
    assert own(Sign("HighLatency", {"z": z})) == own(Sign("HighLatency", {}))


def test_a_deviation_may_come_as_text() -> None:
    assert own(Sign("HighLatency", {"z": "12"})) == own(Sign("HighLatency", {"z": 12}))


def test_the_order_of_alerts_does_not_matter() -> None:
    signs = [
        Sign("HighLatency", {"caller": "web"}),
        Sign("p99", {"direction": "up"}),
        Sign("CpuHigh", {}, 0.2),
        Sign("p50", {"direction": "up"}),
    ]
    assert len({weigh("db", order, KINDS) for order in permutations(signs)}) == 1


def test_a_repeated_alert_counts_once() -> None:
    assert own(Sign("HighLatency", {}), Sign("HighLatency", {})) == own(Sign("HighLatency", {}))


def test_of_a_repeated_alert_the_most_unusual_counts() -> None:
    seldom, often = Sign("HighLatency", {}, 0.1), Sign("HighLatency", {}, 0.9)
    assert own(seldom, often) == own(often, seldom) == own(seldom)


def test_a_usual_alert_proves_less_but_never_nothing() -> None:
    usual, unusual = own(Sign("HighLatency", {}, 0.98)), own(Sign("CpuHigh", {}, 0.02))
    assert 0.2 < usual < own(Sign("HighLatency", {})) < unusual


def test_an_alert_needs_a_cause_when_it_is_an_unusual_error() -> None:
    assert weigh("db", [Sign("HighErrorRate", {})], KINDS).cause
    assert not weigh("db", [Sign("HighErrorRate", {}, 0.9)], KINDS).cause
    assert not weigh("db", [Sign("HighLatency", {})], KINDS).cause


def test_effects_are_known_as_such() -> None:
    assert weigh("db", [Sign("NoRequests", {}), Sign("CpuLow", {})], KINDS).effect
    assert not weigh("db", [Sign("NoRequests", {}), Sign("HighLatency", {})], KINDS).effect


def test_numbers_in_an_operation_are_left_aside() -> None:
    labels = [{"caller": "web", "operation": f"/cart/{number}"} for number in (17, 4711)]
    assert len({key_of("Slow", found) for found in labels}) == 1


def test_scales_remember_and_say_the_same() -> None:
    """Of a service that its callers complain about the name counts, of others it does not."""
    scales = Scales(KINDS)
    alerts: list[tuple[str, dict[str, str], float]]
    alerts = [("HighLatency", {"caller": "web", "pod": "a-1"}, 0.5), ("CpuHigh", {"z": "7"}, 0.2)]
    signs = [Sign(name, labels, usual) for name, labels, usual in alerts]
    for service in ("web", "db", "web"):
        piles = []
        for order in permutations(alerts):
            extracts = [scales.extract(service, *alert) for alert in order]
            pile: Pile | None = scales.empty
            for extract in [*extracts, *extracts]:
                assert pile is not None
                pile = scales.add(pile, extract)
            piles += [pile, scales.gather(extracts)]
        assert [scales.weigh(pile) for pile in piles if pile] == [weigh(service, signs, KINDS)] * len(piles)
        assert len({id(pile) for pile in piles}) == 1


def test_scales_weigh_any_number_of_different_alerts() -> None:
    """Beyond a few they are gathered when they are asked for."""
    scales = Scales(KINDS)
    signs = [Sign(f"Check{number}Failed", {}) for number in range(100)]
    extracts = [scales.extract("db", sign.name, {}, sign.usual) for sign in signs]
    pile: Pile | None = scales.empty
    for extract in extracts:
        pile = pile and scales.add(pile, extract)
    assert pile is None
    assert scales.weigh(scales.gather(extracts)) == weigh("db", signs, KINDS)
