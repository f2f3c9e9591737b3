"""When which fault begins, how long it lasts and what it hits: a function of the seed, and of nothing else.

Kinds come in rounds, each kind once a round and in random order, so that a run of a few minutes has all of them. Now
and then a fault begins while the last one still lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from correlator.storms.wiring import below, sample

__all__ = ["KINDS", "ON_EMBEDDED", "Fault", "schedule"]

#: kind -> (what it is, shortest and longest time that it lasts in seconds)
KINDS: Final[dict[str, tuple[str, float, float]]] = {
    "kill": ("SIGKILL to a worker", 0.0, 0.0),
    "freeze": ("SIGSTOP to a worker for longer than its session, then SIGCONT", 9.0, 15.0),
    "restart": ("SIGTERM to a worker", 0.0, 0.0),
    "broker": ("the broker stops, or is killed, and starts again", 1.0, 5.0),
    "cut": ("the network of a worker refuses or swallows", 4.0, 14.0),
    "cut-all": ("the network of all workers refuses or swallows", 2.0, 10.0),
    "slow": ("the network of a worker, or of all, delays", 5.0, 12.0),
    "clock": ("the clocks of the producers are wrong", 3.0, 8.0),
    "poison": ("alerts and a control on which the engine raises", 1.0, 4.0),
    "garbage": ("records that cannot be read, or are large", 1.0, 4.0),
}
#: The embedded broker keeps its records in memory, and has one address for all clients.
ON_EMBEDDED: Final = tuple(kind for kind in KINDS if kind not in ("broker", "cut"))

_FIRST: Final = 5.0  # seconds until the first fault
_QUIET: Final = 8.0  # seconds at the end without one
_PAUSE: Final = (3.0, 11.0)
_MORE: Final = {"broker": 12.0}  # it takes so long to stop and to start
_OVERLAP: Final = 0.25  # share of faults that begin while the last one lasts
_BOTH: Final = 0.3  # share of slow links that are those of all workers
#: Seconds that a clock may be wrong by. A broker refuses times more than an hour ahead of its own.
_JUMPS: Final = (240.0, 3_000.0, -600.0, -7_200.0, -86_400.0)
_DELAYS: Final = (0.02, 0.1, 0.4)


@dataclass(frozen=True)
class Fault:
    """One fault. ``at`` and ``lasts`` are seconds; ``worker`` is its number, -1 for all or none.

    ``how`` is the variant of the kind: ``refuse`` or ``swallow``, ``stop`` or ``kill``; ``size`` a delay or a jump in
    seconds.
    """

    number: int
    kind: str
    at: float
    lasts: float
    worker: int = -1
    how: str = ""
    size: float = 0.0

    @property
    def until(self) -> float:
        """When it ends."""
        return self.at + self.lasts

    def __str__(self) -> str:
        worker, size = f"w{self.worker}" if self.worker >= 0 else "", f"{self.size:g} s" if self.size else ""
        return " ".join(word for word in (self.kind, self.how, worker, size) if word)


def schedule(seed: int, seconds: float, *, workers: int = 3, kinds: Sequence[str] = tuple(KINDS)) -> list[Fault]:
    """The faults of a run that lasts ``seconds``, in order of their beginning; all end before the run does.

    >>> [fault.kind for fault in schedule(1, 30, kinds=["kill", "restart"])]
    ['restart', 'kill', 'kill']
    """
    rng, faults, at = Random(seed), list[Fault](), _FIRST
    bag: list[int] = []
    while True:
        bag = bag or sample(rng, range(len(kinds)), len(kinds))
        fault = _draw(rng, len(faults), kinds[bag.pop()], round(at, 2), workers)
        if fault.until > seconds - _QUIET:
            return faults
        faults.append(fault)
        at = fault.until + _MORE.get(fault.kind, 0.0) + _PAUSE[0] + rng.random() * (_PAUSE[1] - _PAUSE[0])
        if rng.random() < _OVERLAP and fault.lasts:
            at = fault.at + rng.random() * fault.lasts


def _draw(rng: Random, number: int, kind: str, at: float, workers: int) -> Fault:
    _, shortest, longest = KINDS[kind]
    lasts = round(shortest + rng.random() * (longest - shortest), 2)
    one, either = below(rng, workers), rng.random()
    match kind:
        case "kill" | "freeze" | "restart":
            return Fault(number, kind, at, lasts, one)
        case "broker":
            return Fault(number, kind, at, lasts, how="stop" if either < 0.5 else "kill")
        case "cut":
            return Fault(number, kind, at, lasts, one, "refuse" if either < 0.5 else "swallow")
        case "cut-all":
            return Fault(number, kind, at, lasts, how="refuse" if either < 0.5 else "swallow")
        case "slow":
            worker = -1 if either < _BOTH else one
            return Fault(number, kind, at, lasts, worker, size=_DELAYS[below(rng, len(_DELAYS))])
        case "clock":
            return Fault(number, kind, at, lasts, size=_JUMPS[below(rng, len(_JUMPS))])
        case _:
            return Fault(number, kind, at, lasts)
