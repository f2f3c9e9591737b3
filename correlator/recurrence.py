"""What it costs to expand a recurring event, told from its rule (RFC 5545, RRULE) before anybody expands it.

Whoever expands a rule walks from its first occurrence to the time in question, a step for every period, and one for
every time of day that the rule lists within it. A rule that never comes true is walked to the year 9999. A rule costs
about four microseconds a step, so the steps of a calendar are counted first.

>>> begin = datetime(2025, 1, 1)
>>> steps({"FREQ": ["WEEKLY"], "BYDAY": ["MO", "FR"]}, begin, datetime(2026, 1, 1))
106
>>> steps({"FREQ": ["DAILY"], "BYMONTH": [2], "BYMONTHDAY": [30]}, begin, datetime(2026, 1, 1))
2912807
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

__all__ = ["steps"]

#: Seconds of a period, the shortest month and year counted, so that there are never more steps than are said.
_LONG: Final = {"YEARLY": 365 * 86_400, "MONTHLY": 28 * 86_400, "WEEKLY": 7 * 86_400, "DAILY": 86_400}
_PERIODS: Final = {**_LONG, "HOURLY": 3_600, "MINUTELY": 60, "SECONDLY": 1}
#: Parts that list times or days within a period, with the period that makes each a mere condition.
_LISTS: Final = {"BYSECOND": 60, "BYMINUTE": 3_600, "BYHOUR": 86_400}
_DAYS: Final = ("BYDAY", "BYMONTHDAY", "BYYEARDAY")
#: Parts that may contradict each other, with the largest number that can come true.
_CONDITIONS: Final = {"BYMONTH": 12, "BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 4}
_LAST_YEAR: Final = datetime(9_999, 12, 31)
_MONTH_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def steps(rule: Mapping[str, Any], begin: datetime, end: datetime) -> float:
    """At most so many steps lead from ``begin``, the first occurrence, to ``end``; none without a known period.

    ``rule`` maps the parts of a rule to lists of their values. Both times have no zone.
    """
    period = _PERIODS.get(str(_first(rule, "FREQ")).upper())
    interval = _first(rule, "INTERVAL", 1)
    if period is None:
        return 0
    if not isinstance(interval, int) or interval < 1:
        return math.inf
    within = 1
    for part, longest in _LISTS.items():
        if period >= longest:
            within *= max(1, len(_list(rule, part)))
    if period > 86_400:
        within *= max(1, sum(len(_list(rule, part)) for part in _DAYS))
    if period == _PERIODS["YEARLY"]:
        # A day of the week alone is one of every week, and a day of the month one of every month.
        within *= 53 if "BYDAY" in rule or "BYWEEKNO" in rule else 12 if "BYMONTHDAY" in rule else 1
        within *= max(1, len(_list(rule, "BYMONTH")))
    elif period == _PERIODS["MONTHLY"] and "BYDAY" in rule:
        within *= 5
    walked = end if _comes_true(rule) else _LAST_YEAR
    return max(0, math.ceil((walked - begin).total_seconds() / (period * interval))) * within


def _comes_true(rule: Mapping[str, Any]) -> bool:
    """Whether the rule certainly holds now and then: not more than one condition, or a month with a day it has."""
    given = [part for part in _CONDITIONS if part in rule]
    for part in given:
        values = _list(rule, part)
        if not all(isinstance(value, int) and 1 <= abs(value) <= _CONDITIONS[part] for value in values):
            return False
    if any(abs(int(number or 1)) > 4 for number in re.findall(r"([+-]?\d*)[A-Z]{2}", " ".join(_words(rule, "BYDAY")))):
        return False
    if given == ["BYMONTH", "BYMONTHDAY"]:
        months, days = _list(rule, "BYMONTH"), _list(rule, "BYMONTHDAY")
        return any(month > 0 and abs(day) <= _MONTH_DAYS[month - 1] for month in months for day in days)
    return len(given) < 2 and not (given and "BYDAY" in rule and given != ["BYMONTH"] and given != ["BYSETPOS"])


def _list(rule: Mapping[str, Any], part: str) -> Sequence[Any]:
    values = rule.get(part, ())
    return values if isinstance(values, list | tuple) else [values]


def _words(rule: Mapping[str, Any], part: str) -> list[str]:
    return [str(value).upper() for value in _list(rule, part)]


def _first(rule: Mapping[str, Any], part: str, otherwise: Any = "") -> Any:
    return next(iter(_list(rule, part)), otherwise)
