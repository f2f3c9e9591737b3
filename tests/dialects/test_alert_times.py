"""Times of alerts: forms, clamping, and what an end means."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from correlator.dialects import Limits, Reader
from correlator.model import Alert

ReadOne = Callable[..., Alert]
START = 1_714_903_872.5


@pytest.mark.parametrize(
    "time",
    [
        START,
        START * 1e3,
        int(START * 1e3),
        int(START * 1e6),
        int(START * 1e9),
        "1714903872.5",
        "1714903872500",
        "2024-05-05T10:11:12.5Z",
        "2024-05-05T10:11:12.500000000Z",
        "2024-05-05T12:11:12.5+02:00",
        "2024-05-05 10:11:12.5",
        "20240505T101112.5Z",
    ],
)
def test_a_time_is_seconds_milliseconds_or_iso_8601(read_one: ReadOne, time: Any) -> None:
    """Seconds to nanoseconds are told apart by size; text may be a number or a date; without zone it is UTC."""
    for field in ("starts_at", "ts"):
        alert = read_one(**{"starts_at": None, field: time})
        assert abs(alert.starts_at - START) < 1e-6
        assert alert.notes == ()


NO_TIMES = [
    -1.0,
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    1e300,
    "yesterday",
    "2024-13-45T00:00:00Z",
    "NaN",
    "inf",
    True,
    [1_714_903_872],
    {"seconds": 1_714_903_872},
]
ABSURD = [*NO_TIMES, 1.0, 253_402_300_799]


@pytest.mark.parametrize("time", ABSURD, ids=str)
def test_an_absurd_start_becomes_the_arrival(read_one: ReadOne, arrival: float, time: Any) -> None:
    """A time that cannot be true says nothing, but the alert is real: it starts when it arrives, with a note."""
    alert = read_one(starts_at=time)
    assert (alert.starts_at, alert.notes) == (arrival, ("clamped_starts_at",))


def test_a_start_may_be_a_little_ahead_and_a_year_back(read_one: ReadOne, arrival: float) -> None:
    """Clocks differ by up to five minutes; an alert may have been on for 366 days."""
    for start in (arrival + 300.0, arrival - 366 * 86_400.0):
        assert read_one(starts_at=start).starts_at == start
    for start in (arrival + 301.0, arrival - 367 * 86_400.0):
        alert = read_one(starts_at=start)
        assert (alert.starts_at, alert.notes) == (arrival, ("clamped_starts_at",))
    narrow = Reader(limits=Limits(future_skew=1.0, past_limit=10.0))
    record = json.dumps({"name": "a", "service": "s", "starts_at": arrival - 11.0}).encode()
    assert narrow.read(record, received_at=arrival).alerts[0].starts_at == arrival


def test_a_start_that_is_absent_is_the_arrival(read_one: ReadOne, arrival: float) -> None:
    """A sender without clock is heard too, with a note."""
    alert = read_one(starts_at=None)
    assert (alert.starts_at, alert.notes) == (arrival, ("no_starts_at",))


@pytest.mark.parametrize("received_at", [None, -1.0, 0.0, float("nan"), float("inf")])
def test_without_arrival_any_plausible_time_holds(read_one: ReadOne, received_at: float | None) -> None:
    """An offline replay has no arrival; a Kafka timestamp of -1 is none either. Old times stay as they are."""
    assert read_one(starts_at=1e9, received_at=received_at).starts_at == 1e9
    alert = read_one(starts_at="yesterday", ends_at=1e9, received_at=received_at)
    assert (alert.starts_at, alert.notes) == (1e9, ("clamped_starts_at",))


@pytest.mark.parametrize(("time", "reason"), [(None, "missing_field"), *((time, "wrong_type") for time in NO_TIMES)])
def test_without_any_usable_time_an_alert_is_rejected(reader: Reader, time: Any, reason: str) -> None:
    """Without arrival there is nothing to clamp to, and the clock of this machine must not decide."""
    record = json.dumps({"name": "a", "service": "s", "starts_at": time}).encode()
    assert [error.reason for _, error in reader.read(record, received_at=None).rejects] == [reason]


@pytest.mark.parametrize("end", [None, "", 0, -5, "0001-01-01T00:00:00Z"])
def test_year_one_means_not_ended(read_one: ReadOne, end: Any) -> None:
    """Go writes its zero time where there is no end."""
    alert = read_one(ends_at=end)
    assert (alert.ends_at, alert.notes) == (None, ())


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59Z", "never", True, 1e300, 1_714_903_000.0])
def test_an_absurd_end_of_a_firing_alert_is_no_end(read_one: ReadOne, end: Any) -> None:
    """Too far ahead, no time, or before the start: the alert has no time to live of its own, with a note."""
    alert = read_one(ends_at=end)
    assert (alert.ends_at, alert.notes) == (None, ("clamped_ends_at",))


def test_the_end_of_a_firing_alert_is_its_time_to_live(read_one: ReadOne, arrival: float) -> None:
    """It may lie ahead, or already be over when the record arrives late."""
    assert read_one(ends_at=arrival + 14_400.0).ends_at == arrival + 14_400.0
    assert read_one(ends_at=arrival - 1.0).ends_at == arrival - 1.0


def test_a_resolved_alert_ends_at_its_end_else_its_moment_else_on_arrival(read_one: ReadOne, arrival: float) -> None:
    """A resolved alert always has an end."""
    assert read_one(status="resolved", ends_at=arrival - 9.0, ts=arrival - 5.0).ends_at == arrival - 9.0
    assert read_one(status="resolved", ts=arrival - 5.0).ends_at == arrival - 5.0
    assert read_one(status="resolved").ends_at == arrival
    assert read_one(status="resolved", received_at=None).ends_at == arrival - 60.0
    alert = read_one(status="resolved", starts_at=None, ts=arrival - 5.0)
    assert (alert.starts_at, alert.ends_at, alert.notes) == (arrival - 5.0, arrival - 5.0, ())


def test_the_end_of_a_resolved_alert_lies_between_its_start_and_its_arrival(read_one: ReadOne, arrival: float) -> None:
    """An end that is no time or lies ahead becomes the arrival, one before the start becomes the start, with a note."""
    for end, clamped in ((arrival + 900.0, arrival), ("never", arrival), (arrival - 900.0, arrival - 60.0)):
        alert = read_one(status="resolved", ends_at=end)
        assert (alert.ends_at, alert.notes) == (clamped, ("clamped_ends_at",))
    assert read_one(status="resolved", ends_at=arrival + 10.0).notes == ()


def test_a_resolved_alert_without_usable_start_starts_at_its_end(read_one: ReadOne, arrival: float) -> None:
    """Its end is the time that is known."""
    alert = read_one(status="resolved", starts_at="0001-01-01T00:00:00Z", ends_at=arrival - 9.0)
    assert (alert.starts_at, alert.ends_at) == (arrival - 9.0, arrival - 9.0)
