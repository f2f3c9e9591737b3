"""Times and durations: for people, and as controls give them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from correlator.errors import ControlError

__all__ = ["counted", "few", "iso", "span", "time_of"]

_EARLIEST, _LATEST = -62_135_596_800.0, 253_402_300_799.0
_HOUR: Final = 3_600


def iso(time: float) -> str:
    """RFC 3339 in UTC with milliseconds.

    >>> iso(0.0)
    '1970-01-01T00:00:00.000Z'
    """
    moment = datetime.fromtimestamp(min(max(time, _EARLIEST), _LATEST), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def counted(count: int, word: str) -> str:
    """A number and what is counted.

    >>> counted(1, "alert"), counted(2, "alert")
    ('1 alert', '2 alerts')
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def few(names: Iterable[str]) -> str:
    """The first names in order, and how many more there are.

    >>> few("dbcae")
    'a, b, c and 2 more'
    """
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def span(seconds: float) -> str:
    """A duration in its largest units, hours and minutes or seconds.

    >>> span(240.4), span(3_700.0), span(5.0)
    ('4 min', '1 h 1 min', '5 s')
    """
    whole = round(seconds)
    hours, minutes = whole // _HOUR, whole % _HOUR // 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{whole} s"


def time_of(control: Mapping[str, Any], key: str) -> float:
    """A time of a control in epoch seconds. Raises :class:`ControlError`."""
    time = control.get(key)
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        raise ControlError(f"{key} is {time!r}; allowed: epoch seconds")
    return float(time)
