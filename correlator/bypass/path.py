"""How far the heartbeats of one raw partition have come, and whether that is far enough. Pure: times are arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Offsets", "Path", "Valve"]

#: Heartbeats under way that are remembered; beyond it every second one is left out, which costs only precision.
_PROBES: Final = 64


@dataclass(frozen=True)
class Offsets:
    """What the broker says about the workers' group at one moment.

    ``committed`` maps a raw partition (``topic/partition``) to the next offset to read, and ``decided`` the same for
    the placed partitions; ``ends`` are the ends of the placed partitions, asked for after the other two; ``raw_ends``
    those of the raw ones. A partition of which the group has committed nothing is left out of the first two.
    """

    committed: Mapping[str, int]
    decided: Mapping[int, int]
    ends: Mapping[int, int]
    raw_ends: Mapping[str, int]

    def lag(self) -> dict[str, int]:
        """Records that wait for intake, and records that wait for the engine; 0 for what was never committed."""
        raw = sum(max(0, end - self.committed.get(source, end)) for source, end in self.raw_ends.items())
        placed = sum(max(0, end - self.decided.get(number, end)) for number, end in self.ends.items())
        return {"raw": raw, "placed": placed}


@dataclass
class _Probe:
    """A heartbeat under way: when it was seen, the offset after it, and the placed ends that hold what came before."""

    at: float
    offset: int
    ends: Mapping[int, int] | None = None


class Path:
    """One raw partition. ``proven_at`` is when the last heartbeat that came through was seen, in monotonic seconds;
    ``decided`` the raw offset up to which everything is decided, None before the first one came through.

    >>> path = Path(now=0.0)
    >>> path.beat(offset=7, at=1.0)
    >>> path.look("raw/0", Offsets({"raw/0": 8}, {0: 3}, {0: 5}, {}))  # placed; what it may have led to ends at 5
    >>> path.look("raw/0", Offsets({"raw/0": 8}, {0: 5}, {0: 9}, {}))
    >>> path.decided, path.age(3.0)
    (8, 2.0)
    """

    def __init__(self, now: float) -> None:
        self.proven_at = now
        self.decided: int | None = None
        self._probes: list[_Probe] = []

    def age(self, now: float) -> float:
        """Seconds since the last heartbeat that came through was seen."""
        return max(0.0, now - self.proven_at)

    def waits_since(self, at: float) -> None:
        """An undecided record is this old: nothing after it was proven while nobody watched."""
        if self.decided is None:
            self.proven_at = min(self.proven_at, at)

    def beat(self, offset: int, at: float) -> None:
        """A heartbeat was seen at ``offset``."""
        self._probes.append(_Probe(at, offset + 1))
        if len(self._probes) > _PROBES:
            del self._probes[1::2]

    def look(self, source: str, seen: Offsets) -> None:
        """Follow the heartbeats under way. O(probes x placed partitions)."""
        committed = seen.committed.get(source, -1)
        through = -1
        for probe in self._probes:  # every one at once: those behind one that waits must not wait for it
            if probe.ends is None and committed >= probe.offset:
                probe.ends = seen.ends
        for number, probe in enumerate(self._probes):
            if probe.ends is None or any(seen.decided.get(n, 0) < end for n, end in probe.ends.items()):
                break
            through = number
        if through >= 0:
            last = self._probes[through]
            self.proven_at, self.decided = max(self.proven_at, last.at), last.offset
            del self._probes[: through + 1]


class Valve:
    """Whether critical alerts of one raw partition go past the correlator. Opens at a bound, shuts at half of it."""

    def __init__(self, failopen_after: float, max_lag: int) -> None:
        self._failopen_after, self._max_lag = failopen_after, max_lag
        self.open = False
        self.reason = ""

    def turn(self, age: float, lag: Mapping[str, int]) -> None:
        """Decide by the age of the last proof in seconds and the records that wait."""
        topic = max(lag, key=lambda name: lag[name]) if lag else ""
        most = lag.get(topic, 0)
        if age > self._failopen_after:
            self.open = True
            self.reason = f"no heartbeat of the correlator has come through for {age:.0f} s"
        elif most > self._max_lag:
            self.open = True
            self.reason = f"{most} records of the {topic} topic wait for the correlator"
        elif age <= self._failopen_after / 2 and most <= self._max_lag / 2:
            self.open = False
            self.reason = ""
