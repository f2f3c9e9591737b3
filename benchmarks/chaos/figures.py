"""How long it was silent, and how soon it spoke again after each kind of fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from benchmarks.chaos.run import Struck
from benchmarks.chaos.schedule import KINDS
from benchmarks.measure import percentiles

__all__ = ["recoveries", "silences", "too_long"]


def silences(
    moments: Mapping[str, Sequence[float]], struck: Sequence[Struck], begun: float, ended: float
) -> list[dict[str, Any]]:
    """Per shard: how often it published something, the longest pause, when, and the faults that lay in it."""
    rows = []
    for shard, times in sorted(moments.items()):
        marks = [begun, *(time for time in times if begun < time < ended), ended]
        length, at = max((later - earlier, earlier) for earlier, later in pairwise(marks))
        within = [str(s.fault) for s in struck if s.began <= at + length and s.ended >= at]
        rows.append(
            {
                "shard": shard,
                "publications": len(marks) - 2,
                "longest silence s": round(length, 2),
                "from s": round(at - begun, 1),
                "faults in it": ", ".join(within) or "-",
            }
        )
    return rows


def too_long(rows: Sequence[Mapping[str, Any]], most: float) -> list[str]:
    """The silences that were longer than ``most`` seconds, of what :func:`silences` found.

    >>> too_long([{"shard": "a", "longest silence s": 121, "from s": 7}], 120)
    ['a: nothing for 121 s, from 7 s on']
    >>> too_long([{"shard": "a", "longest silence s": 120, "from s": 7}], 120)
    []
    """
    found = [(row["shard"], row["longest silence s"], row["from s"]) for row in rows]
    return [f"{shard}: nothing for {length:g} s, from {at:g} s on" for shard, length, at in found if length > most]


def recoveries(moments: Mapping[str, Sequence[float]], struck: Sequence[Struck]) -> list[dict[str, Any]]:
    """Per kind: seconds from the end of the fault until every shard has published again.

    Faults before whose recovery another one began are counted as ``disturbed``; the percentiles leave them out, the
    worst is of all. A kill and a restart end at once, so theirs is the time from the signal. The longest silence is
    the longest pause of any shard that began or ended while the fault lasted, or went on all the while.
    """
    rows = []
    for kind in KINDS:
        found = [s for s in struck if s.fault.kind == kind]
        if not found:
            continue
        alone, worst, silent, disturbed, never = [], 0.0, 0.0, 0, 0
        for one in found:
            silent = max(silent, *(_silence(times, one) for times in moments.values()), 0.0)
            firsts = [next((t for t in times if t > one.ended), None) for times in moments.values()]
            if None in firsts or not firsts:
                never += 1
                continue
            until = max(t for t in firsts if t is not None)
            worst = max(worst, until - one.ended)
            if any(other is not one and other.began < until and other.ended > one.began for other in struck):
                disturbed += 1
            else:
                alone.append(until - one.ended)
        middle, most = percentiles(alone, (50, 100)) or (None, None)
        rows.append(
            {
                "fault": kind,
                "times": len(found),
                "disturbed": disturbed,
                "recovery p50 s": None if middle is None else round(middle, 2),
                "recovery max s": None if most is None else round(most, 2),
                "worst of all s": round(worst, 2),
                "longest silence s": round(silent, 2),
                "never": never,
            }
        )
    return rows


def _silence(times: Sequence[float], one: Struck) -> float:
    """The longest pause between two publications that has a moment in common with the fault."""
    return max((b - a for a, b in pairwise(times) if a <= one.ended and b >= one.began), default=0.0)
