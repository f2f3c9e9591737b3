"""The proof: a heartbeat that came through says that everything before it is decided, and nothing else does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from correlator.bypass.path import Offsets, Path, Valve

RAW = "alerts.raw/0"


def seen(committed: int, decided: dict[int, int], ends: dict[int, int]) -> Offsets:
    return Offsets({RAW: committed}, decided, ends, {RAW: committed})


def test_a_frozen_intake_proves_nothing() -> None:
    """The heartbeat is in the raw topic and nobody reads it."""
    path = Path(0.0)
    path.beat(4, 1.0)
    for now in range(100):
        path.look(RAW, seen(4, {0: 9}, {0: 9}))
        assert path.age(float(now)) == now
    assert path.decided is None


def test_a_frozen_engine_proves_nothing() -> None:
    """Intake goes on and the end of the placed topic grows; the engine stands."""
    path = Path(0.0)
    for offset in range(50):
        path.beat(offset, float(offset))
        path.look(RAW, seen(offset + 1, {0: 9}, {0: 10 + offset}))
    assert (path.decided, path.age(50.0)) == (None, 50.0)


def test_heartbeats_that_waited_behind_another_come_through_together() -> None:
    """An engine that has caught up is seen at once, however many heartbeats it had before it."""
    path = Path(0.0)
    for offset in range(50):
        path.beat(offset, float(offset))
        path.look(RAW, seen(offset + 1, {0: 9}, {0: 10 + offset}))
    path.look(RAW, seen(50, {0: 59}, {0: 60}))
    assert (path.decided, path.age(50.0)) == (50, 1.0)


def test_the_age_does_not_grow_while_all_goes_well() -> None:
    """A heartbeat a second, commits that are a second behind, for an hour."""
    path = Path(0.0)
    for second in range(3_600):
        path.beat(second, float(second))
        path.look(RAW, seen(second, {0: second - 1}, {0: second}))
        assert path.age(float(second)) <= 3.0


def test_one_placed_partition_that_stands_holds_up_the_proof() -> None:
    """Where an alert was placed is not known here: all partitions must have come as far."""
    path = Path(0.0)
    path.beat(0, 1.0)
    path.look(RAW, seen(1, {0: 5, 1: 2}, {0: 5, 1: 3}))
    assert path.decided is None
    path.look(RAW, seen(1, {0: 5, 1: 3}, {0: 99, 1: 99}))
    assert path.decided == 1


def test_without_heartbeats_there_is_no_proof() -> None:
    """Nothing waits, as far as offsets tell, and still: workers that live send heartbeats."""
    path = Path(0.0)
    path.look(RAW, seen(7, {0: 7}, {0: 7}))
    assert path.age(60.0) == 60.0


def test_what_was_missed_while_nobody_watched_counts() -> None:
    """A bypass that starts later is as impatient as one that was there all the time."""
    path = Path(100.0)
    path.waits_since(20.0)
    path.waits_since(30.0)
    assert path.age(100.0) == 80.0
    path.beat(5, 95.0)
    path.look(RAW, seen(6, {0: 1}, {0: 1}))
    path.waits_since(10.0)
    assert path.age(100.0) == 5.0


@given(st.lists(st.sampled_from(["alert", "beat", "intake", "engine", "look"]), max_size=400))
def test_nothing_is_called_decided_that_is_not(steps: list[str]) -> None:
    """Whatever the order of writing, placing, deciding and looking."""
    raw: list[str] = []
    placed: list[int] = []  # raw offset + 1 that each placed record brings up to
    intake = engine = 0
    path = Path(0.0)
    for now, step in enumerate(steps):
        if step in ("alert", "beat"):
            raw.append(step)
            if step == "beat":
                path.beat(len(raw) - 1, float(now))
        elif step == "intake" and intake < len(raw):
            intake += 1
            if raw[intake - 1] == "alert":
                placed.append(intake)
        elif step == "engine" and engine < len(placed):
            engine += 1
        elif step == "look":
            path.look(RAW, seen(intake, {0: engine}, {0: len(placed)}))
        undecided = [offset for offset, kind in enumerate(raw) if kind == "alert" and offset + 1 not in placed[:engine]]
        assert path.decided is None or path.decided <= min([*undecided, len(raw)])


def test_a_long_silence_takes_bounded_memory_and_is_followed_afterwards() -> None:
    """A day of heartbeats that do not come through; then they do."""
    path = Path(0.0)
    for offset in range(86_400):
        path.beat(offset, float(offset))
    assert len(path._probes) <= 64
    path.look(RAW, seen(86_400, {0: 1}, {0: 1}))
    assert path.decided == 86_400


def test_the_valve_opens_at_a_bound_and_shuts_at_half_of_it() -> None:
    """So that it does not flutter."""
    valve = Valve(60.0, 1_000)
    states = []
    for age, lag in [(60, 0), (61, 0), (40, 0), (30, 0), (0, 1_000), (0, 1_001), (0, 600), (0, 500)]:
        valve.turn(float(age), {"raw": lag, "placed": 0})
        states.append(valve.open)
    assert states == [False, True, True, False, False, True, True, False]


def test_the_valve_says_why() -> None:
    """The reason is what the page says."""
    valve = Valve(60.0, 1_000)
    valve.turn(75.4, {})
    assert valve.reason == "no heartbeat of the correlator has come through for 75 s"
    valve.turn(1.0, {"raw": 3, "placed": 2_000})
    assert valve.reason == "2000 records of the placed topic wait for the correlator"
