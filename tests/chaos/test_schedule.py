"""Which faults there are, and when: by the seed alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chaos.schedule import KINDS, ON_EMBEDDED, schedule
from benchmarks.chaos.stage import SETTINGS


@given(st.integers(), st.floats(10, 4_000), st.integers(1, 9))
def test_a_schedule_follows_from_its_seed(seed: int, seconds: float, workers: int) -> None:
    """Same seed, same schedule; faults in order, of bounded length, on workers that exist, over before the run is."""
    faults = schedule(seed, seconds, workers=workers)
    assert faults == schedule(seed, seconds, workers=workers)
    assert all(earlier.at <= later.at for earlier, later in pairwise(faults))
    for number, fault in enumerate(faults):
        _, shortest, longest = KINDS[fault.kind]
        assert fault.number == number
        assert shortest <= fault.lasts <= longest
        assert 0 < fault.at <= fault.until < seconds
        assert fault.worker in range(-1, workers)


@pytest.mark.parametrize("seed", range(20))
def test_a_long_schedule_has_every_kind_and_enough_of_them(seed: int) -> None:
    """At least 60 faults in 30 minutes, every kind several times, and some while another one lasts."""
    faults = schedule(seed, 30 * 60)
    assert len(faults) >= 60
    counted = Counter(fault.kind for fault in faults)
    assert counted.keys() == KINDS.keys()
    assert min(counted.values()) >= 5
    assert any(later.at < earlier.until for earlier, later in pairwise(faults))


def test_another_seed_is_another_schedule_and_kinds_can_be_left_out() -> None:
    """The embedded broker is spared what it cannot survive."""
    assert schedule(1, 300) != schedule(2, 300)
    assert {fault.kind for fault in schedule(1, 600, kinds=ON_EMBEDDED)} == set(ON_EMBEDDED)


def test_a_worker_is_frozen_for_longer_than_its_session() -> None:
    """Else nobody takes its partitions over, and it wakes up as their owner."""
    assert KINDS["freeze"][1] > SETTINGS["broker"]["session_timeout"]
