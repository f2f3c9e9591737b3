"""Times of foreign alerts: parsed to epoch seconds, and clamped when they cannot be true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from correlator.dialects.limits import Limits
from correlator.errors import RejectedError

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
        if text[4:5] != "-":
            return float(text)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
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

    def start(self, raw: Any, other: Any, arrival: float | None, notes: list[str]) -> float:
        """Start in epoch seconds. One that is absent or absurd is ``other``, the record's other time, or the arrival.

        Raises RejectedError (``missing_field``, ``wrong_type``) when there is no usable time at all.
        """
        moment = epoch_of(raw)
        if moment is not None and self._plausible(moment, arrival):
            return moment
        absent = raw is None or raw == ""
        notes.append("no_starts_at" if absent else "clamped_starts_at")
        moment = epoch_of(other)
        if moment is not None and self._plausible(moment, arrival):
            return moment
        if arrival is not None:
            return arrival
        if absent:
            raise RejectedError("missing_field", "no starts_at, and no arrival time to stand in for it")
        raise RejectedError("wrong_type", f"starts_at is no usable time: {str(raw)[:80]!r}")

    def firing_end(self, raw: Any, start: float, arrival: float | None, notes: list[str]) -> float | None:
        """Time to live of a firing alert; None for absent, zero and year 1, which all say "not ended"."""
        if raw is None or raw == "":
            return None
        end = epoch_of(raw)
        if end is not None and end <= 0.0:
            return None
        if end is None or not start <= end <= (start if arrival is None else arrival) + self._past:
            notes.append("clamped_ends_at")
            return None
        return end

    def resolved_end(self, raw: Any, moment: Any, start: float, arrival: float | None, notes: list[str]) -> float:
        """End of a resolved alert: the given end, else the message's own ``moment``, else the arrival."""
        now = start if arrival is None else max(start, arrival)
        end = epoch_of(raw)
        if end is None or end <= 0.0:
            if end is None and raw is not None and raw != "":
                notes.append("clamped_ends_at")
            end = epoch_of(moment)
            if end is None:
                return now
        latest = max(start, _LAST_PLAUSIBLE if arrival is None else arrival + self._skew)
        if start <= end <= latest:
            return end
        if "clamped_ends_at" not in notes:
            notes.append("clamped_ends_at")
        return start if end < start else now

    def _plausible(self, moment: float, arrival: float | None) -> bool:
        if arrival is None:
            return 0.0 < moment < _LAST_PLAUSIBLE
        return arrival - self._past <= moment <= arrival + self._skew
