"""How far the clocks of sending systems run ahead of the broker's.

An alert cannot begin after it arrived. Where its onset says so, the clock of its source is ahead by at least the
difference, and every other onset of that source may be too late by as much. The estimate is the largest difference of
this hour and the last one, so that a clock that was set right is forgiven. It is a lower bound: what a source holds an
alert back for, and how long the way takes, hides as much of it. A clock that is behind looks like a long way, and
cannot be told from one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from correlator.model import PLACED_COLUMNS

__all__ = ["EVERY_OTHER", "LEAST", "MOST_SOURCES", "Clocks"]

#: Sources that are told apart while they are ahead; the others share one estimate, the largest of theirs.
MOST_SOURCES: Final = 256
#: The name of that estimate.
EVERY_OTHER: Final = ""
#: The broker's time is cut to milliseconds.
LEAST: Final = 0.001
_HOUR: Final = 3600.0
_RECEIVED, _SOURCE = PLACED_COLUMNS.index("received_at"), PLACED_COLUMNS.index("source")


class Clocks:
    """Estimates by source, of those alone that were seen ahead. Memory: at most MOST_SOURCES of them."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        #: By source: an hour, the largest difference in it, and in the hour before.
        self._seen: dict[str, tuple[int, float, float]] = {}

    def note(self, source: str, lead: float, at: float) -> None:
        """An onset lay ``lead`` seconds after its arrival at epoch second ``at``; LEAST or less says nothing. O(1)."""
        if lead <= LEAST:
            return
        hour, seen = int(at // _HOUR), self._seen
        if source not in seen and len(seen) >= MOST_SOURCES:
            self._forget(hour)
            if len(seen) >= MOST_SOURCES:
                source = EVERY_OTHER
        latest, now, before = seen.get(source, (hour, 0.0, 0.0))
        if hour > latest:
            seen[source] = (hour, lead, now if hour == latest + 1 else 0.0)
        elif hour == latest:
            seen[source] = (latest, max(now, lead), before)
        elif hour == latest - 1:
            seen[source] = (latest, now, max(before, lead))

    def _forget(self, hour: int) -> None:
        """Sources that were not seen ahead for long enough go."""
        for source in [source for source, (latest, *_) in self._seen.items() if hour > latest + 1]:
            del self._seen[source]

    def of_rows(self, rows: Sequence[Sequence[Any]]) -> dict[str, float]:
        """The sources behind placed ``rows`` whose clocks are ahead, each with the seconds. O(rows), O(1) for none."""
        if not self._seen:
            return {}
        return self.ahead({row[_SOURCE] for row in rows}, max(row[_RECEIVED] for row in rows))

    def ahead(self, sources: Iterable[str], at: float) -> dict[str, float]:
        """Those of ``sources`` whose clocks are ahead at epoch second ``at``, each with the seconds. O(sources)."""
        seen, hour = self._seen, int(at // _HOUR)
        shared = self._estimate(EVERY_OTHER, hour)
        found = {s: self._estimate(s, hour) if s in seen else shared for s in sources}
        return {source: round(ahead, 3) for source, ahead in found.items() if ahead}

    def known(self, at: float) -> dict[str, float]:
        """All sources that are ahead at epoch second ``at``, each with the seconds; that of :data:`EVERY_OTHER` too."""
        return self.ahead(sorted(self._seen), at)

    def _estimate(self, source: str, hour: int) -> float:
        latest, now, before = self._seen.get(source, (hour, 0.0, 0.0))
        if hour <= latest:
            return max(now, before)
        return now if hour == latest + 1 else 0.0
