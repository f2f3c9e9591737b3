r"""Regular expressions of operators: read with a bound on what one may cost, because ``re`` goes back and tries again.

The cost is the number of ways in which a pattern can be tried on a text, told from the pattern, as a power of two.
Where a repeat or an alternative can go on in one way only, because what comes first in it tells, it is no choice. The
ways of what follows each other multiply; so does a repeat those within it, which is how ``(a+)+`` takes for ever.
RE2 never goes back, but a match through its Python binding took 11 microseconds where one of ``re`` took 0.3.

>>> check(r"(?i)expir|forecast"), check(r"web(-[a-z0-9]+)*"), check(r".*disk.*full.*")
(None, None, None)
>>> check(r"(a+)+$")
Traceback (most recent call last):
    ...
re.error: '(a+)+$' can be tried in 2^10250 ways, at most 2^32 are allowed: a repeat within a repeat, or too many of them
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

__all__ = ["MAX_WAYS", "check"]

#: Ways that are allowed, as a power of two: three repeats without an end on a text of a thousand characters.
MAX_WAYS: Final = 32
#: Characters of a text that are counted, as a power of two: the longest label value by default.
_TEXT: Final = 10
_REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT)

#: One step of a pattern: what it is, and what that is about.
_Step = tuple[Any, Any]


def check(pattern: str) -> None:
    """Raise ``re.error`` for what is no regular expression, or one that costs too much."""
    try:
        parsed = _parser.parse(pattern)
        re.compile(pattern)
    except (OverflowError, RecursionError) as error:
        raise re.error(f"nested too deep, or a number too large: {error}") from None
    letters = not parsed.state.flags & re.IGNORECASE and "(?i" not in pattern
    ways = _ways(list(parsed), letters)
    if ways > MAX_WAYS:
        raise re.error(
            f"{pattern[:80]!r} can be tried in 2^{ways:.0f} ways, at most 2^{MAX_WAYS} are allowed: "
            "a repeat within a repeat, or too many of them"
        )


def _ways(steps: Iterable[_Step], letters: bool) -> float:
    """Ways to try these steps one after the other, as a power of two. O(length of the pattern).

    ``letters`` says that a letter stands for itself, and not for the other case.
    """
    return sum(_ways_of(step, letters) for step in steps)


def _ways_of(step: _Step, letters: bool) -> float:
    kind, about = step
    if kind is op.SUBPATTERN:
        return _ways(about[-1], letters)
    if kind is op.ATOMIC_GROUP:
        return _ways(about, letters)
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return _ways(about[1], letters)
    if kind is op.GROUPREF_EXISTS:
        return 1.0 + sum(_ways(part, letters) for part in about[1:] if part is not None)
    if kind is op.BRANCH:
        return _branch(about[1], letters)
    if kind is op.POSSESSIVE_REPEAT:
        return _ways(about[2], letters)
    if kind in _REPEATS:
        least, most, body = about
        return _repeat(least, min(int(most), max(2**_TEXT, least)), list(body), letters)
    return 0.0


def _branch(alternatives: Sequence[Sequence[_Step]], letters: bool) -> float:
    each = [_ways(alternative, letters) for alternative in alternatives]
    first = [_literal(alternative[0]) if len(alternative) else None for alternative in alternatives]
    told = letters and None not in first and len(set(first)) == len(first)
    return max(each) if told else math.log2(len(each)) + max(each)


def _repeat(least: int, most: int, body: list[_Step], letters: bool) -> float:
    within, times = _ways(body, letters), math.log2(most - least + 1)
    if not within or most == 1:
        return within + times
    return within + times if _told(body, letters) else within * most + times


def _told(body: list[_Step], letters: bool) -> bool:
    """Whether a character that nothing else in the body can match begins, or ends, every repeat of it."""
    while len(body) == 1 and body[0][0] is op.SUBPATTERN:
        body = list(body[0][1][-1])
    for end, rest in ((body[:1], body[1:]), (body[-1:], body[:-1])):
        mark = _literal(end[0]) if end else None
        if mark is not None and (letters or not chr(mark).isalpha()) and not any(_matches(s, mark) for s in rest):
            return True
    return False


def _literal(step: _Step) -> int | None:
    kind, about = step
    return int(about) if kind is op.LITERAL else None


def _matches(step: _Step, mark: int) -> bool:
    """Whether the character may be matched somewhere in the step; yes where that is not known."""
    kind, about = step
    if kind in (op.LITERAL, op.NOT_LITERAL):
        return bool((about == mark) == (kind is op.LITERAL))
    if kind is op.IN:
        sets = [item for item in about if item[0] is not op.NEGATE]
        inside = any(_in_set(item, mark) for item in sets)
        return inside != (len(sets) < len(about))
    if kind in _REPEATS:
        return any(_matches(inner, mark) for inner in about[2])
    if kind is op.SUBPATTERN:
        return any(_matches(inner, mark) for inner in about[-1])
    return kind is not op.AT


def _in_set(item: _Step, mark: int) -> bool:
    kind, about = item
    if kind is op.RANGE:
        return bool(about[0] <= mark <= about[1])
    if kind is op.CATEGORY:
        return re.fullmatch(_CATEGORIES[about], chr(mark)) is not None
    return kind is op.LITERAL and bool(about == mark)


_CATEGORIES: Final = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}
