"""The account of a judgement: incidents with their members, and candidates with reasons and confidence.

Candidates of an incident are its members, the roots of the incidents beside it, and the silent dependencies of members
that nothing explains. The confidence of a candidate is its score to the power SHARP, over the sum of those of all and
of causes that nobody sees: one whose score is what is typical of the services that are connected with the root, and
UNSEEN times the root, whose alerts may be those of a victim. So an alert that stands alone is its own cause with
confidence 0.44, and none that is judged is above 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from correlator.engine.region import Region, Via
from correlator.engine.words import few, span

__all__ = ["BROKE_FIRST", "DOES_NOT_ALERT", "MOST_CANDIDATES", "STANDS_OUT", "Candidate", "Finding", "report"]

#: How the first reason of a silent candidate begins.
DOES_NOT_ALERT: Final = "does not alert"
#: Share of the symptoms of an unexplained service that counts for its silent dependencies, together.
SILENT = 0.1
#: The same for one that was changed shortly before.
SILENT_CHANGED: Final = 0.5
SHARP: Final = 4.0
#: What a cause that nobody sees has of the root, however much that stands out. SHARP and UNSEEN are chosen for a small
#: calibration error on labelled cases (``python -m benchmarks.accuracy``).
UNSEEN: Final = 0.25
MOST_CANDIDATES: Final = 10
#: How the reason of a root that is no mere victim begins, and that of one that broke before what could explain it.
STANDS_OUT: Final = "stands out"
BROKE_FIRST: Final = "it broke"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible root. ``score`` has the unit of evidence; ``confidence`` is in [0, 1]; they add up to less than 1."""

    service: str
    score: float
    confidence: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One incident as judged.

    ``members`` maps each service to its path to the root, both included; ``candidates`` has the root first, and at most
    MOST_CANDIDATES.
    """

    root: str
    score: float
    confidence: float
    candidates: tuple[Candidate, ...]
    members: Mapping[str, Via]


def report(region: Region) -> list[Finding]:
    """The incidents that the roots of ``region`` own, the one with the highest score first. O(members x path)."""
    members: dict[str, list[str]] = {}
    for name in region.evidence:
        members.setdefault(region.owner[region.root[name]], []).append(name)
    rivals = _rivals(region)
    incidents = []
    for root in region.ranked(members):
        candidates = _candidates(region, root, members[root], rivals.get(root, set()))
        paths = {name: region.path(name) for name in members[root]}
        incidents.append(Finding(root, region.score[root], candidates[0].confidence, candidates, paths))
    return incidents


def _rivals(region: Region) -> dict[str, set[str]]:
    """Of each incident: the roots of those beside it, which may be its root as well."""
    rivals: dict[str, set[str]] = {}
    for root, others in region.beside.items():
        for other in others:
            a, b = region.owner[root], region.owner[other]
            if a != b:
                rivals.setdefault(a, set()).add(b)
    return rivals


def _candidates(region: Region, root: str, members: list[str], rivals: set[str]) -> tuple[Candidate, ...]:
    score = {name: min(region.score[name], region.score[root]) for name in (*members, *rivals)}
    silent: dict[str, list[str]] = {}
    for name in members:
        if not region.links[name]:
            for other in region.graph.dependencies(name):
                if other not in region.evidence:
                    silent.setdefault(other, []).append(name)
    for other, users in silent.items():
        share = (region.evidence[u].symptoms / _silent(region, u) for u in users)
        counts = SILENT_CHANGED if other in region.changed else SILENT
        score[other] = min(counts * math.fsum(share), region.score[root])
    order = sorted(score, key=lambda name: (name != root, -score[name], name))[:MOST_CANDIDATES]
    unseen = region.typical[root] ** SHARP + UNSEEN * region.score[root] ** SHARP
    total = math.fsum((unseen, *(value**SHARP for value in score.values())))
    return tuple(
        Candidate(name, score[name], score[name] ** SHARP / total, tuple(_reasons(region, name, root, silent)))
        for name in order
    )


def _silent(region: Region, name: str) -> int:
    return sum(other not in region.evidence for other in region.graph.dependencies(name))


def _reasons(region: Region, name: str, root: str, silent: Mapping[str, list[str]]) -> Iterator[str]:
    if name in silent:
        yield f"{DOES_NOT_ALERT}, but nothing else explains {few(silent[name])}, which depend on it"
        yield from _changed(region, name)
        return
    yield from region.evidence[name].reasons
    yield from _changed(region, name)
    if name in region.unsure:
        said, ahead = region.unsure[name]
        yield f"broke {span(said)} before what it depends on alerted, by a clock that is up to {span(ahead)} ahead"
    own, typical, found = region.own(name), region.typical[name], region.links[name]
    if name in region.stands:
        yield f"{STANDS_OUT}: {own:.1f} of its own, {typical:.1f} is typical here"
    elif name in region.apart:
        yield f"{BROKE_FIRST} {span(region.apart[name])} before what it depends on alerted"
    elif found:
        yield f"shows no more than others here ({own:.1f}, {typical:.1f} is typical); explained by {few(found)}"
    else:
        yield "nothing that it depends on alerts"
    if region.blame[name] > 0:
        yield f"explains symptoms of its callers: +{math.sqrt(region.blame[name] * own):.1f}"
    if region.owner[region.root[name]] != root:
        yield "root of another incident beside this one"


def _changed(region: Region, name: str) -> Iterator[str]:
    if name in region.changed:
        yield f"changed shortly before: {region.changed[name]}"
