"""The service graph of a storm, built in order from infrastructure to the edge.

A service depends only on services built before it, so the order is a topological one and a cascade is one pass over it.
A dependency is drawn by the number of dependents it has already, so few services are depended on by many.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Final

__all__ = ["LAYERS", "MIN_SERVICES", "Wiring", "below", "sample"]

LAYERS: Final = ("infrastructure", "data", "mid", "edge")
#: Five regions of ten services each still have room for their dependencies.
MIN_SERVICES: Final = 50

_INFRA, _DATA, _MID, _EDGE = range(4)
_DEPENDENCIES: Final = 2.279  # per service
_SHARE: Final = (0.02, 0.28, 0.50, 0.20)
#: The part of each layer that does not depend on the root, where some are spared.
_SPARED: Final = (0.50, 0.60, 0.22, 0.12)
#: How readily a service of each layer takes a further dependency, and the layers it draws it from.
_WEIGHT: Final = (0.05, 0.05, 1.0, 1.0)
_TARGETS: Final = (
    (_INFRA,),
    (_INFRA,) * 9 + (_DATA,),
    (_MID,) * 9 + (_DATA,) * 7 + (_INFRA,) * 4,
    (_MID,) * 17 + (_DATA, _INFRA, _EDGE),
)
_DRAWS: Final = 20


def below(rng: Random, limit: int) -> int:
    """A whole number from 0 to ``limit`` - 1; 0 when ``limit`` is 0."""
    return int(rng.random() * limit)


def sample(rng: Random, items: Sequence[int], size: int) -> list[int]:
    """``size`` of the items in random order, none twice. Python does not promise the order of ``Random.sample``."""
    pool = list(items)
    for index in range(size):
        other = index + below(rng, len(pool) - index)
        pool[index], pool[other] = pool[other], pool[index]
    return pool[:size]


class Wiring:
    """One region, built when made. Services are numbers in build order; number 0 is the root.

    ``layer`` is the index of each service's layer, ``hit`` whether it depends on the root (the root counts as hit),
    ``deps`` what it depends on. With ``spare``, about a third of the services is not hit.
    """

    def __init__(self, rng: Random, size: int, *, spare: bool) -> None:
        infra, edge = max(2, int(size * _SHARE[_INFRA])), size - int(size * _SHARE[_EDGE])
        bounds = list(pairwise((0, infra, infra + int(size * _SHARE[_DATA]), edge, size)))
        self.layer = [layer for layer, (low, high) in enumerate(bounds) for _ in range(low, high)]
        self.hit = [True] * size
        self.deps: list[list[int]] = [[] for _ in range(size)]
        self._rng = rng
        # A pool holds a service once, and once more for each of its dependents.
        self._pools: dict[tuple[int, bool], list[int]] = {
            (layer, hit): [] for layer in range(len(LAYERS)) for hit in (True, False)
        }
        if spare:
            self._spare(bounds)
        self._wire(round(size * _DEPENDENCIES))

    def _spare(self, bounds: list[tuple[int, int]]) -> None:
        scale = 0.85 + 0.3 * self._rng.random()
        for share, (low, high) in zip(_SPARED, bounds, strict=True):
            for number in sample(self._rng, range(max(low, 1), high), round((high - low) * share * scale)):
                self.hit[number] = False

    def _wire(self, edges: int) -> None:
        """First dependencies in build order, so that what is hit reaches the root; then more, ``edges`` in all."""
        for number, hit in enumerate(self.hit):
            if number and (hit or self.layer[number] >= _MID or self._rng.random() < 0.25):
                edges -= any(self._link(number, hit) for _ in range(_DRAWS)) or (hit and self._join(number, 0))
            self._pools[self.layer[number], hit].append(number)
        while edges > 0:
            number = below(self._rng, len(self.hit))
            if self._rng.random() < _WEIGHT[self.layer[number]]:
                edges -= self._link(number, self.hit[number] and self._rng.random() < 0.8)

    def _link(self, number: int, hit: bool) -> bool:
        """Try one more dependency of a service; False when the draw does not fit."""
        targets = _TARGETS[self.layer[number]]
        pool = self._pools[targets[below(self._rng, len(targets))], hit]
        return bool(pool) and self._join(number, pool[below(self._rng, len(pool))])

    def _join(self, number: int, target: int) -> bool:
        if target >= number or target in self.deps[number]:
            return False
        self.deps[number].append(target)
        self._pools[self.layer[target], self.hit[target]].append(target)
        return True
