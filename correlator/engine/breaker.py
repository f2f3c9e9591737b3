"""Breakers: a source whose alerts make the engine raise again and again is put aside, and its neighbours go on.

Every alert that the engine raises on costs a rebuild of the partition's state, so a source that sends many would hold
up all others. After ``breaker_errors`` of them within ``breaker_window`` its breaker opens: its alerts are put aside
without being tried. ``breaker_retry`` later one of them is tried: if the engine takes it the breaker shuts, else it
stays open for as long again. A source is the ``source`` of the alert; the raw partition where that is no text.

Time is that of the log, and the state is part of the checkpoint, so a replay puts the same alerts aside.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from correlator.engine.rules import Rules

__all__ = ["Breakers"]

#: Column of a placed row that names the source.
_SOURCE: Final = 13


class Breakers:
    """The breakers of one partition; mutable, owned by it. ``open`` maps a source to when one alert is tried again."""

    __slots__ = ("_errors", "_now", "open")

    def __init__(self) -> None:
        self.open: dict[str, float] = {}
        self._errors: dict[str, list[float]] = {}
        self._now = 0.0

    def sift(self, rows: Sequence[Any], raw: str, failed: Collection[int], rules: Rules, time: float) -> frozenset[int]:
        """The rows of a record that are put aside; ``failed`` are those that the engine is known to raise on.

        To be called once for every record, with its time, before it is applied; and again, on the state from before,
        once another failed row is known. O(1) while nothing fails and nothing is open, else O(rows).
        """
        self._now = min(max(self._now, time), self._now + rules.max_time_jump) if self._now else time
        if not failed and not self.open:
            return frozenset()
        aside = []
        for index, row in enumerate(rows):
            source = _source(row, raw)
            if source in self.open:
                if self._now < self.open[source]:
                    aside.append(index)
                elif index in failed:
                    self.open[source] = self._now + rules.breaker_retry
                else:
                    del self.open[source]
            elif index in failed:
                self._count(source, rules)
        return frozenset(aside)

    def _count(self, source: str, rules: Rules) -> None:
        since = self._now - rules.breaker_window
        times = [time for time in self._errors.pop(source, ()) if time > since]
        times.append(self._now)
        if len(times) >= rules.breaker_errors:
            self.open[source] = self._now + rules.breaker_retry
        else:
            self._errors[source] = times
        for other, last in [(other, times[-1]) for other, times in self._errors.items()]:
            if last <= since:
                del self._errors[other]

    def plain(self) -> dict[str, Any]:
        """The saved form."""
        return {"now": self._now, "open": self.open, "errors": self._errors}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over a saved form; an empty one is a state from before there were breakers."""
        self._now = saved.get("now", 0.0)
        self.open, self._errors = dict(saved.get("open", {})), dict(saved.get("errors", {}))


def _source(row: Any, raw: str) -> str:
    named = row[_SOURCE] if isinstance(row, list) and len(row) > _SOURCE else None
    return named if isinstance(named, str) else raw
