"""Harder streams made from labelled cases: a root that recurs, a service that is always noisy, two faults at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from benchmarks.labelled import SETTLED, Case, Folder, Stage

__all__ = ["both_named", "noisy", "recurring"]

#: What the noisy service shows: one alert of each kind that makes a root look like one.
_NOISE: Final = ("PodCrashLooping", "MemoryHigh", "HighErrorRate", "HighLatency")


def recurring(cases: Sequence[Case], share: float, random: Random) -> list[Case]:
    """As many cases, drawn with repetition, of which ``share`` have the most frequent root."""
    frequent, _ = Counter(case.nodes for case in cases).most_common(1)[0]
    same = [case for case in cases if case.nodes == frequent]
    others = [case for case in cases if case.nodes != frequent] or same
    return [random.choice(same if random.random() < share else others) for _ in cases]


def noisy(folder: Folder, cases: Sequence[Case], share: float, random: Random) -> list[Case]:
    """The cases; in ``share`` of them one service, always the same, shows everything that a broken one would."""
    names = sorted(folder.graph, key=lambda name: (len(folder.graph.dependencies(name)), name))
    name = next(n for n in names if folder.graph.dependents(n) and not any(n in case.nodes for case in cases))
    found = []
    for case in cases:
        if case.alerts and random.random() < share:
            at, like = case.alerts[0]
            extra = [
                (at, like._replace(service=name, name=what, fingerprint=f"noise/{what}", labels={})) for what in _NOISE
            ]
            case = replace(case, alerts=(*case.alerts, *extra))
        found.append(case)
    return found


def both_named(folder: Folder, cases: Sequence[Case], random: Random) -> tuple[float, int]:
    """Share of pairs of cases with different roots, played at once, in which each root is that of an incident of its
    case; and the number of pairs. What was learned from the pairs before is kept."""
    order = [case for case in cases if case.alerts]
    random.shuffle(order)
    stage, named, pairs = Stage(folder.graph), 0, 0
    for one, other in zip(order[::2], order[1::2], strict=False):
        if one.nodes & other.nodes:
            continue
        start = stage.now + 1.0
        seen = {alert.fingerprint: (at, alert) for case in (other, one) for at, alert in case.at(start)}
        stage.plays(sorted(seen.values(), key=lambda pair: (pair[0], pair[1].fingerprint)))
        stage.passes(SETTLED)
        found = {case.name: stage.incidents(case) for case in (one, other)}
        last = stage.ledger.last
        named += all(
            any(last[key]["root"]["service"] in case.nodes for key in found[case.name]) for case in (one, other)
        )
        pairs += 1
        stage.resolves(alert for _, alert in seen.values())
        stage.closes()
    return named / max(1, pairs), pairs
