"""Times of foreign alerts: parsed to epoch seconds, and clamped when they cannot be true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from correlator.dialects.limits import Limits, mark
from correlator.errors import RejectedError
from correlator.model import FIRING

__all__ = ["Times", "epoch_of"]

#: Without an arrival time to compare with, a time must lie between the epoch and 2100-01-01.
_LAST_PLAUSIBLE: Final = 4_102_444_800.0
#: From these sizes on, a number counts milliseconds, microseconds, nanoseconds; below, seconds (until year 5138).
_MILLISECONDS, _MICROSECONDS, _NANOSECONDS, _ABSURD = 1e11, 1e14, 1e17, 1e20


def epoch_of(raw: Any) -> float | None:
    """Epoch seconds of a sender's time, or None when it is not a time.

    Takes seconds, milliseconds, microseconds or nanoseconds (told apart by size), as a number or as text, and
    ISO 8601 text, RFC 3339 with any number of digits included. A time without zone is UTC. Booleans, NaN and
    infinities are not times.

    >>> epoch_of("2024-05-05T10:11:12Z") == epoch_of(1714903872000) == epoch_of("1714903872")
    True
    """
    if type(raw) is str:
        number = _number_of(raw)
    elif type(raw) is float or type(raw) is int:
        number = float(raw)
    else:
        return None
    if number is None:
        return None
    size = abs(number)
    if size < _MILLISECONDS:
        return number
    if size < _MICROSECONDS:
        return number / 1e3
    if size < _NANOSECONDS:
        return number / 1e6
    return number / 1e9 if size < _ABSURD else None


def _number_of(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    # Year 9999 in seconds would be taken for milliseconds.
    return min(seconds, _MILLISECONDS - 1.0)


class Times:
    """Start and end of an alert against the arrival time of its record (epoch seconds, None when unknown)."""

    __slots__ = ("_past", "_skew")

    def __init__(self, limits: Limits) -> None:
        self._past = limits.past_limit
        self._skew = limits.future_skew

    def start(self, status: str, raw: Any, end: Any, moment: Any, arrival: float | None, notes: list[str]) -> float:
        """Start of an alert. For one that is absent or absurd, another time of the record stands in, or the arrival.

        The other time is ``moment``, the message's own; before it, for a resolved alert, ``end``; after it, for a
        firing alert without arrival, ``end`` too. Raises RejectedError (``missing_field``, ``wrong_type``) when
        there is no usable time at all.
        """
        start = epoch_of(raw)
        if start is not None and self.plausible(start, arrival):
            return start
        mark(notes, "no_starts_at" if raw is None else "clamped_starts_at")
        for other in (moment, end if arrival is None else None) if status == FIRING else (end, moment):
            start = epoch_of(other)
            if start is not None and self.plausible(start, arrival):
                return start
        if arrival is not None:
            return arrival
        if raw is None:
            raise RejectedError("missing_field", "no starts_at, and no arrival time to stand in for it")
        raise RejectedError("wrong_type", f"starts_at is no usable time: {str(raw)[:80]!r}")

    def end(
        self, status: str, raw: Any, moment: Any, start: float, arrival: float | None, notes: list[str]
    ) -> float | None:
        """End of an alert. A firing one has None or the sender's time to live, a resolved one always has an end.

        Zero, negative times and year 1 say "not ended". A resolved alert without end ended at ``moment``, the
        message's own time, else on arrival.
        """
        end = epoch_of(raw)
        absurd = raw is not None and end is None
        if end is not None and end <= 0.0:
            end = None
        if status == FIRING:
            absurd |= end is not None and not start <= end <= (start if arrival is None else arrival) + self._past
            end = None if absurd else end
        else:
            now = start if arrival is None else max(start, arrival)
            end = end or epoch_of(moment) or now
            latest = max(now + self._skew, _LAST_PLAUSIBLE if arrival is None else 0.0)
            absurd |= not start <= end <= latest
            end = max(start, end) if end <= latest else now
        if absurd:
            mark(notes, "clamped_ends_at")
        return end

    def plausible(self, time: float, arrival: float | None) -> bool:
        """Whether an alert may have started at ``time``."""
        if arrival is None:
            return 0.0 < time < _LAST_PLAUSIBLE
        return arrival - self._past <= time <= arrival + self._skew
