"""The load: storms, their repeats and resolves, flaps, a pulse, controls and changes, as a function of the seed.

Each region is a shard with a graph and a life of its own. Times are seconds since the start of the run; whoever sends
adds the moment of the start. A pulse is an alert that fires or resolves once a second: its receipt shows that the shard
is alive, so that silence can be measured.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from random import Random
from typing import Any, Final, NamedTuple

import orjson

from benchmarks.poison import POISON
from correlator.storms import Graph, Storm, storm
from correlator.storms.wiring import below
from correlator.stream.intake import partition_of

__all__ = ["BAD", "PULSE", "Item", "Regions", "garbage", "poison", "shard_of"]

#: Name of the alerts of a pulse.
PULSE: Final = "Pulse"
#: Records that cannot be read, by the reason for which they are rejected.
BAD: Final[dict[str, bytes | None]] = {
    "not_json": b'{"name": "cut off',
    "not_utf8": b'{"name": "\xff\xfe", "service": "web"}',
    "tombstone": None,
    "wrong_type": b'{"alerts": 7, "name": "x", "service": "y"}',
    "unknown_dialect": b'{"hello": "world"}',
    "empty": b"",
}
_SERVICES: Final = 100  # of a region
_SPREAD: Final = (8.0, 20.0)  # seconds in which a storm arrives
_LASTS: Final = (6.0, 20.0)  # seconds from its last alert to the resolves
_LULL: Final = (3.0, 10.0)
_REPEATS: Final = 0.4  # share of a storm's alerts that repeat while it lasts
_STAYS: Final = 0.05  # share of them that nobody resolves
_LARGE: Final = 1_500_000  # bytes


class Item(NamedTuple):
    """Something to send ``at`` seconds: an ``alert``, a ``control`` or a ``change``.

    Times within ``value`` are seconds since the start of the run too. An acknowledgement has no incident yet.
    """

    at: float
    kind: str
    region: str
    value: dict[str, Any]


class Regions:
    """Storms side by side, one per region."""

    def __init__(self, seed: int, count: int = 6) -> None:
        self.names: Final = _names(count)
        self._seed = seed
        self._drawn = [
            storm("ac"[number % 2], services=_SERVICES, seed=100 * seed + number + 1) for number in range(count)
        ]

    @property
    def graph(self) -> Graph:
        """The services of all regions, and what pulses."""
        nodes: dict[str, dict[str, Any]] = {}
        edges: list[tuple[str, str]] = []
        for name, drawn in zip(self.names, self._drawn, strict=True):
            nodes |= {f"{name}.{service}": values for service, values in drawn.graph["nodes"].items()}
            nodes[f"{name}.pulse"] = {"tier": 3}
            edges += [(f"{name}.{u}", f"{name}.{v}") for u, v in drawn.graph["edges"]]
        return {"nodes": nodes, "edges": edges}

    def items(self, seconds: float) -> Iterator[Item]:
        """Everything to send in a run of so many seconds, in order of time."""
        lives = [
            source
            for number, (name, drawn) in enumerate(zip(self.names, self._drawn, strict=True))
            for source in (
                _pulse(name, seconds),
                _storms(Random(1_000 * self._seed + number), name, drawn, seconds),
                _controls(Random(2_000 * self._seed + number), name, sorted(drawn.graph["nodes"]), seconds),
            )
        ]
        return heapq.merge(*lives, key=lambda item: item.at)


def shard_of(region: str) -> str:
    """The shard of a region."""
    return f"region={region}"


def _names(count: int) -> list[str]:
    """Regions whose shards lie in ``count`` partitions, one in each, so that every worker has some."""
    named: dict[int, str] = {}
    numbers = itertools.count()
    while len(named) < count:
        name = f"r{next(numbers)}"
        named.setdefault(partition_of(shard_of(name), count), name)
    return sorted(named.values())


def poison(rng: Random, region: str, number: int) -> dict[str, Any]:
    """An alert on which the engine of :mod:`benchmarks.poison` raises."""
    labels = {"region": region, "n": f"{number}-{below(rng, 1_000_000)}"}
    return {"name": POISON, "service": f"{region}.poison", "severity": "critical", "labels": labels, "source": POISON}


def garbage(rng: Random, region: str) -> bytes | None:
    """A record that is rejected, or one that is only large."""
    choice = below(rng, len(BAD) + 1)
    if choice < len(BAD):
        return BAD[list(BAD)[choice]]
    dump = {"dump": "x" * _LARGE}
    return orjson.dumps(
        {"name": "Dump", "service": f"{region}.large", "labels": {"region": region}, "annotations": dump}
    )


def _between(rng: Random, bounds: tuple[float, float]) -> float:
    return bounds[0] + rng.random() * (bounds[1] - bounds[0])


def _pulse(region: str, seconds: float) -> Iterator[Item]:
    for second in range(int(seconds)):
        number, ending = divmod(second, 2)
        value = {
            "key": f"{region}/pulse/{number % 50}",
            "service": f"{region}.pulse",
            "name": PULSE,
            "severity": "info",
            "status": "resolved" if ending else "firing",
            "starts_at": 2.0 * number,
            "labels": {"region": region},
            "source": "pulse",
        }
        yield Item(float(second), "alert", region, {**value, "ends_at": float(second)} if ending else value)


def _storms(rng: Random, region: str, drawn: Storm, seconds: float) -> Iterator[Item]:
    """Episode after episode of the region's storm, each in part, squeezed into seconds."""
    begin = 1.0 + rng.random() * 5.0
    while begin < seconds:
        items, over = _episode(rng, region, drawn, begin)
        yield from sorted((item for item in items if item.at < seconds), key=lambda item: item.at)
        begin = over + _between(rng, _LULL)


def _episode(rng: Random, region: str, drawn: Storm, begin: float) -> tuple[list[Item], float]:
    first, share = drawn.arrivals[0], 0.3 + 0.7 * rng.random()
    squeeze = _between(rng, _SPREAD) / (drawn.arrivals[-1] - first)
    over = begin + (drawn.arrivals[-1] - first) * squeeze + _between(rng, _LASTS)
    items: list[Item] = []
    for alert, arrival in zip(drawn.alerts, drawn.arrivals, strict=True):
        if alert["service"] not in drawn.truth["roots"] and rng.random() > share:
            continue
        at = begin + (arrival - first) * squeeze
        onset = begin + (alert["starts_at"] - first) * squeeze
        fires = {
            **alert,
            "key": f"{region}/{alert['key']}",
            "service": f"{region}.{alert['service']}",
            "labels": {**alert["labels"], "region": region},
            "starts_at": onset,
        }
        items.append(Item(at, "alert", region, fires))
        if rng.random() < _REPEATS:
            items.append(Item(at + rng.random() * (over - at), "alert", region, fires))
        if rng.random() < 0.02:
            items += _flaps(rng, region, fires, at)
        elif rng.random() >= _STAYS:
            ends = over + rng.random() * 3.0
            items.append(Item(ends, "alert", region, {**fires, "status": "resolved", "ends_at": ends}))
    return items, over


def _flaps(rng: Random, region: str, fires: dict[str, Any], at: float) -> list[Item]:
    items, starts = [], fires["starts_at"]
    for _ in range(3 + below(rng, 5)):
        ends = at + 0.3 + rng.random()
        value = {**fires, "starts_at": starts}
        items.append(Item(at, "alert", region, value))
        items.append(Item(ends, "alert", region, {**value, "status": "resolved", "ends_at": ends}))
        at = starts = ends + 0.2 + rng.random()
    return items


def _controls(rng: Random, region: str, services: list[str], seconds: float) -> Iterator[Item]:
    """Windows that begin and end, acknowledgements and deployments, one every few seconds."""
    at, number = 2.0 + rng.random() * 8.0, 0
    ending: list[tuple[float, str]] = []
    while at < seconds:
        while ending and ending[0][0] <= at:
            ends, name = heapq.heappop(ending)
            yield Item(ends, "control", region, {"type": "maintenance_end", "id": name, "author": "ana"})
        name, service = f"{region}-{number}", f"{region}.{services[below(rng, len(services))]}"
        choice = rng.random()
        if choice < 0.35:
            yield Item(at, "control", region, _window(name, service, region, at, 5.0 + rng.random() * 30.0))
            if rng.random() < 0.5:
                heapq.heappush(ending, (at + 2.0 + rng.random() * 10.0, name))
        elif choice < 0.6:
            yield Item(at, "control", region, {"type": "acknowledge", "by": "ana"})
        else:
            value = {"id": name, "service": service, "summary": f"deploy {name}", "at": at}
            yield Item(at, "change", region, {**value, "labels": {"region": region}})
        at, number = at + 2.0 + rng.random() * 8.0, number + 1


def _window(name: str, service: str, region: str, at: float, length: float) -> dict[str, Any]:
    covers: dict[str, Any] = (
        {"subtree": service} if len(name) % 2 else {"match": {"service": service, "region": region}}
    )
    times = {"starts_at": at, "ends_at": at + length}
    return {"type": "maintenance", "id": name, **covers, **times, "author": "ana", "reason": "chaos"}
