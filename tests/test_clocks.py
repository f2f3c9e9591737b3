"""How far sources are ahead: what is concluded from onsets that lie after their arrival, and for how long."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from correlator.clocks import EVERY_OTHER, LEAST, MOST_SOURCES, Clocks
from correlator.model import PLACED_COLUMNS

HOUR = 3600.0
NOTES = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(-300.0, 300.0), st.floats(0.0, 4 * HOUR)), min_size=1, max_size=30
)


def known(clocks: Clocks, source: str, at: float) -> float:
    """The estimate of one source."""
    return clocks.ahead([source], at).get(source, 0.0)


def test_an_alert_that_arrives_before_it_began_shows_a_clock_ahead() -> None:
    """By the largest difference that was seen; other sources are not suspected."""
    clocks = Clocks()
    for lead in (-30.0, 4.0, 20.0, 11.0, -400.0):
        clocks.note("am", lead, 1_000.0)
    assert clocks.known(1_000.0) == {"am": 20.0}
    assert clocks.ahead(["zabbix"], 1_000.0) == {}


def test_a_clock_that_was_set_right_is_forgiven() -> None:
    """Within two hours."""
    clocks = Clocks()
    clocks.note("am", 20.0, 100.0)
    assert known(clocks, "am", HOUR + 100.0) == 20.0
    clocks.note("am", 3.0, HOUR + 200.0)
    assert known(clocks, "am", 2 * HOUR - 1.0) == 20.0
    assert known(clocks, "am", 2 * HOUR + 1.0) == 3.0
    assert clocks.known(3 * HOUR) == {}


@given(NOTES, st.randoms(use_true_random=False))
def test_within_an_hour_the_order_does_not_matter(notes: list[tuple[str, float, float]], order: Random) -> None:
    """Raw partitions are read side by side: the estimate is the largest difference, if that is one."""
    clocks, shuffled = Clocks(), list(notes)
    order.shuffle(shuffled)
    for source, lead, at in shuffled:
        clocks.note(source, lead, at % HOUR)
    for source in "abc":
        leads = [lead for name, lead, _ in notes if name == source and lead > LEAST]
        assert known(clocks, source, HOUR - 1.0) == round(max([0.0, *leads]), 3)


@given(NOTES)
def test_the_estimate_is_never_more_than_was_seen_lately_nor_less_than_in_this_hour(
    notes: list[tuple[str, float, float]],
) -> None:
    """In the order of time."""
    clocks, ordered = Clocks(), sorted(notes, key=lambda note: note[2])
    for source, lead, at in ordered:
        clocks.note(source, lead, at)
    end = ordered[-1][2]
    for source in "abc":
        mine = [(lead, at // HOUR) for name, lead, at in ordered if name == source and lead > LEAST]
        this = max([0.0, *(lead for lead, hour in mine if hour == end // HOUR)])
        both = max([0.0, *(lead for lead, hour in mine if hour >= end // HOUR - 1)])
        assert round(this, 3) <= known(clocks, source, end) <= round(both, 3)


def test_sources_without_end_share_one_estimate() -> None:
    """A sender that makes up sources costs no memory, and hides no clock: the largest difference holds for the rest."""
    clocks = Clocks()
    for number in range(10_000):
        clocks.note(f"s{number}", 1.0 + number / 10_000, 100.0)
    found = clocks.known(100.0)
    assert len(found) == MOST_SOURCES + 1
    assert found[EVERY_OTHER] == known(clocks, "s9999", 100.0) == known(clocks, "never seen", 100.0) == 2.0
    clocks.note("late", 7.0, 100.0 + 2 * HOUR)  # the others are over
    assert clocks.known(100.0 + 2 * HOUR) == {"late": 7.0}


def test_the_sources_of_placed_rows_are_asked_for() -> None:
    """As of the latest row."""
    columns = dict.fromkeys(PLACED_COLUMNS)
    rows = [list({**columns, "source": s, "received_at": at}.values()) for s, at in (("am", 50.0), ("nagios", 2_000.0))]
    clocks = Clocks()
    assert clocks.of_rows(rows) == {}
    clocks.note("am", 12.3456, 50.0)
    clocks.note("zabbix", 5.0, 50.0)
    assert clocks.of_rows(rows) == {"am": 12.346}
