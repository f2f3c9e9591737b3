"""Which alerting services are one incident, what is its root, and why: the rule, as a pure function.

**Explains.** A service that alerts is explained by what it depends on and alerts too, over silent services where no
direct dependency does. One thing is explained by its callers instead: a service whose alerts are all effects (nothing
arrives, the load changed), unless a caller fails with errors while the requests stop here, which is where they stop.

What broke by itself (it crashed, it ran out of memory) before anything that could explain it alerted, by more than
onsets are uncertain, is explained by nothing: a fault of its own, even above a larger one. An onset is an interval: it
may lie ``tolerance`` earlier than was said, and as much more as the clock of its source is ahead.

**Blame.** Symptoms (errors, latency) are handed to what explains a service, callers first, and on from there. A service
that *stands out*, with more evidence of its own than STANDS times the median of its region, is no mere victim: it keeps
blame up to its own evidence and hands on the rest. What nothing explains keeps all. The score is own evidence, a
quarter of it where explained, plus the geometric mean of own evidence and blame kept.

**Trees.** Every service joins the explanation with the largest evidence behind it. One that stands out joins only a
better one. In a clean cascade nobody stands out, so what is left is the graph: a root is what nothing explains.

**Absorption.** In noise there are roots that are none. The best root takes the trees beside it whose roots cannot stand
by themselves: all alerts are effects; or the best root stands out, while the other does not, or has no unusual alert
that needs a cause and is either no more than APART times what is typical or far weaker. A tree is beside another when
an edge connects them, or a silent service that one depends on. In a clean cascade no root stands out, so nothing is
absorbed but effects.

**Changes.** What was changed shortly before its trouble began counts CHANGED times as a candidate: its score, and what
is behind it as an explanation. That decides between candidates; alone it makes nobody stand out.

The result depends on the set of alerts only, not on their order. Every member has a path along edges, silent services
included. Cost: O(alerting services + edges at them, + a walk over silent services of at most BRIDGE hops for those with
no alerting dependency, + roots log roots).

``web`` depends on ``api``, which depends on ``db`` and ``cache``. In a cascade the deepest service is the root; where
``api`` shows far more than a victim would, the harmless deviation below it is an effect:

>>> from topology import Edge, Node, ServiceGraph
>>> edges = [("web", "api"), ("api", "db"), ("api", "cache")]
>>> graph = ServiceGraph.build({name: Node() for name in ("web", "api", "db", "cache")}, {e: Edge() for e in edges})
>>> from correlator.engine.evidence import Sign, weigh
>>> from correlator.engine.kinds import Kinds
>>> from correlator.engine.terrain import Terrain
>>> def roots(**alerts):
...     evidence = {s: weigh(s, [Sign(n, {}) for n in names], Kinds()) for s, names in alerts.items()}
...     found = judge(evidence, Terrain(graph, evidence))
...     return [(it.root, {m: "-".join(path) for m, path in sorted(it.members.items())}) for it in found]
>>> roots(web=["HighErrorRate"], api=["HighErrorRate"], db=["HighErrorRate"])
[('db', {'api': 'api-db', 'db': 'db', 'web': 'web-api-db'})]
>>> roots(web=["HighErrorRate"], api=["PodCrashLooping", "OutOfMemory", "HighErrorRate"], cache=["CpuLow"])
[('api', {'api': 'api', 'cache': 'cache-api', 'web': 'web-api'})]
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from statistics import median
from typing import Final

import networkx as nx

from correlator.engine.account import Candidate, Finding, report
from correlator.engine.evidence import Evidence
from correlator.engine.region import Graph, Region, Via

__all__ = ["BRIDGE", "MOST_SHARING", "Candidate", "Finding", "Graph", "judge", "limit", "nearest"]

#: Own evidence over the median of the region from which on a service is no mere victim, and how much more that must be
#: for each power of ten of services beyond ten: of many victims, some are unlucky.
STANDS, GROWTH = 1.5, 0.5
#: Own evidence over the median from which on a root without a cause may stand beside a stronger one, and the share of
#: its score that it needs for that.
APART, RIVAL = 4.0, 0.65
#: Share of its own evidence that counts in the score of an explained service; share of its symptoms that one which
#: stands out hands on all the same.
EXPLAINED, SECONDARY = 0.25, 0.5
#: Explanations with this share of the largest evidence are told apart by time: the first, or where dependencies say how
#: long trouble takes, the one that fits best.
TIE: Final = 0.7
#: Share of the evidence behind an explanation that counts when the edge to it is soft.
SOFT: Final = 0.5
#: Silent services in a row that a contact may cross.
BRIDGE: Final = 2
#: Score of what was changed shortly before, over what it would be without.
CHANGED: Final = 1.5
#: Connected services below which nobody can tell what is typical: the graph alone decides.
FEW: Final = 4
_MOST_SEEN: Final = 2_000
#: A silent service with more dependents than this is a hub: to share it says nothing.
MOST_SHARING: Final = 64
_NOTHING: Final[Mapping[str, str]] = {}


def judge(
    evidence: Mapping[str, Evidence],
    graph: Graph,
    hops: int = BRIDGE,
    changed: Mapping[str, str] = _NOTHING,
    tolerance: float = 60.0,
) -> list[Finding]:
    """The incidents of the alerting services, the one with the highest score first.

    ``hops`` is how many silent services in a row an explanation may cross; ``changed`` has what was changed shortly
    before, alerting services and silent dependencies of such, each with the change in words; onsets that differ by at
    most ``tolerance`` seconds may be the same, by more where clocks are ahead.
    """
    if not evidence:
        return []
    region = Region(dict(sorted(evidence.items())), graph, changed)
    _link(region, hops)
    _turn_effects(region)
    _break_out(region, tolerance)
    _stand_out(region)
    _hand_on(region)
    for number in range(len(region.cells)):
        _choose(region, number)
    _absorb(region)
    return report(region)


# -- what explains what ------------------------------------------------------------------------------------------


def _link(region: Region, hops: int) -> None:
    alerting, graph = region.evidence, region.graph
    for name in alerting:
        region.links[name] = nearest(name, alerting, graph.dependencies, graph.passages, hops)


def nearest(
    name: str,
    alerting: Container[str],
    first: Callable[[str], Via],
    further: Callable[[str], Via],
    hops: int,
) -> dict[str, Via]:
    """The alerting services on the nearest ring with one, each with the silent services on the way.

    ``first`` gives the neighbours of ``name``, ``further`` those of the silent services behind.
    """
    beside = first(name)
    found: dict[str, Via] = {other: () for other in beside if other in alerting and other != name}
    seen = {name, *beside}
    ring: list[tuple[str, Via]] = [(other, (other,)) for other in beside]
    for _ in range(hops):
        if found or not ring or len(seen) > _MOST_SEEN:
            break
        outer: list[tuple[str, Via]] = []
        for at, via in ring:
            for other in further(at):
                if other in seen:
                    continue
                seen.add(other)
                if other in alerting:
                    found[other] = via
                else:
                    outer.append((other, (*via, other)))
        ring = outer
    return found


def _turn_effects(region: Region) -> None:
    """Explain services with effects alone by their callers."""
    turned = []
    for user, found in region.links.items():
        caller = region.evidence[user]
        for name, via in found.items():
            callee = region.evidence[name]
            stops_here = callee.idle > 0 and caller.errors > 0 and not caller.idle
            if callee.effect and not stops_here:
                turned.append((user, name, via))
    for user, name, _ in turned:
        del region.links[user][name]
    for user, name, via in turned:
        region.links[name].setdefault(user, via[::-1])


def _break_out(region: Region, tolerance: float) -> None:
    """Explain by nothing what broke by itself before all that could explain it."""
    for name, found in region.links.items():
        evidence = region.evidence[name]
        if evidence.inner and found:
            others = [region.evidence[other] for other in found]
            lead = min(other.onset - other.ahead for other in others) - evidence.broke
            if lead > tolerance:
                region.apart[name] = lead
            elif (said := min(other.onset for other in others) - evidence.broke) > tolerance:
                region.unsure[name] = said, max(other.ahead for other in others)
    for name in region.apart:
        region.links[name] = {}


# -- blame -------------------------------------------------------------------------------------------------------


def _stand_out(region: Region) -> None:
    """Compare every service with the median of what is connected with it, and find the cells."""
    digraph: nx.DiGraph[str] = nx.DiGraph()
    digraph.add_nodes_from(region.links)
    digraph.add_edges_from((name, other) for name, found in region.links.items() for other in found)
    for part in nx.weakly_connected_components(digraph):
        typical = median(region.own(name) for name in part)
        region.typical.update(dict.fromkeys(part, typical))
        if len(part) >= FEW:
            most = limit(typical, len(part))
            region.stands.update(name for name in part if region.own(name) > most)
    region.cells = [sorted(cell) for cell in nx.strongly_connected_components(digraph)]
    region.cell = {name: number for number, cell in enumerate(region.cells) for name in cell}


def limit(typical: float, size: int) -> float:
    """Own evidence beyond which one of ``size`` connected services stands out, when ``typical`` is their median."""
    return typical * (STANDS + GROWTH * max(0.0, math.log10(size / 10)))


def _hand_on(region: Region) -> None:
    """Blame runs from what is explained to what explains it; a cell acts as one."""
    inflow = dict.fromkeys(region.evidence, 0.0)
    for number in reversed(range(len(region.cells))):
        cell, exits = region.cells[number], list(region.exits(number))
        holders = [name for name in cell if not exits or name in region.stands]
        weight = math.fsum(region.own(name) for name in holders)
        pool = math.fsum(inflow[name] for name in cell)
        kept = min(pool, weight) if exits else pool
        for name in cell:
            own, holds = region.own(name), name in holders
            region.blame[name] = kept * own / weight if holds else 0.0
            score = own * (1.0 if holds else EXPLAINED) + math.sqrt(region.blame[name] * own)
            region.score[name] = score * CHANGED if name in region.changed else score
        if exits:
            given = pool - SECONDARY * kept
            for name in cell:
                given += region.evidence[name].symptoms * (SECONDARY if name in region.stands else 1.0)
            targets = sorted({other for _, other, _ in exits})
            total = math.fsum(region.own(other) for other in targets)
            for other in targets:
                inflow[other] += given * region.own(other) / total


# -- trees -------------------------------------------------------------------------------------------------------


def _choose(region: Region, number: int) -> None:
    """The root of a cell, and the parent of each of its services."""
    cell, exits = region.cells[number], list(region.exits(number))
    holders = [name for name in cell if not exits or name in region.stands]
    head = _elect(region, cell, holders)
    if head is not None:
        exits = [e for e in exits if region.score[region.root[e[1]]] > region.score[head]]
    if not exits:
        assert head is not None
        region.root.update(dict.fromkeys(cell, head))
        _inside(region, cell, [head])
        return

    def behind(exit: tuple[str, str, Via]) -> float:
        name, other, via = exit
        root = region.root[other]
        weight = SOFT if not via and region.graph.soft(name, other) else 1.0
        if root in region.changed:
            weight *= CHANGED
        return weight * (region.own(root) + region.blame[root])

    most = max(map(behind, exits))
    ranked = sorted((e for e in exits if behind(e) >= TIE * most), key=lambda e: _preference(region, e))
    root = region.root[ranked[0][1]]
    starts: list[str] = []
    for name, other, via in ranked:
        if region.root[other] == root and name not in region.parent:
            region.parent[name] = (via, other)
            starts.append(name)
    region.root.update(dict.fromkeys(cell, root))
    _inside(region, cell, starts)


def _elect(region: Region, cell: list[str], holders: list[str]) -> str | None:
    """The best of a cell: by score, then as the graph alone would (:mod:`correlator.engine.cycles`)."""
    if len(holders) < 2:
        return holders[0] if holders else None
    named = Counter(other for name in cell for other in region.links[name])
    return min(holders, key=lambda n: (-round(region.score[n], 9), -named[n], region.evidence[n].onset, n))


def _preference(region: Region, exit: tuple[str, str, Via]) -> tuple[float, int, float, float, str, str]:
    name, other, via = exit
    onset = region.evidence[other].onset
    delay = region.graph.delay(name, other)
    if delay is not None:
        onset = abs(region.evidence[name].onset - onset - delay)
    return (onset, len(via), -region.score[region.root[other]], -region.own(other), other, name)


def _inside(region: Region, cell: list[str], starts: list[str]) -> None:
    """Shortest ways inside of a cell to one of ``starts``."""
    if len(cell) == 1:
        return
    users: dict[str, list[str]] = {}
    members = set(cell)
    for name in cell:
        for other in region.links[name]:
            if other in members:
                users.setdefault(other, []).append(name)
    done = set(starts)
    for at in (queue := list(starts)):
        for name in users.get(at, ()):
            if name not in done:
                done.add(name)
                region.parent[name] = (region.links[name][at], at)
                queue.append(name)


# -- absorption --------------------------------------------------------------------------------------------------


def _absorb(region: Region) -> None:
    """Best root first: take the trees beside it, and beside those taken, that cannot stand by themselves."""
    beside = region.beside
    for name, other, via in _contacts(region):
        a, b = region.root[name], region.root[other]
        if a != b:
            beside.setdefault(a, {}).setdefault(b, (name, via, other))
            beside.setdefault(b, {}).setdefault(a, (other, via[::-1], name))
    for root in region.ranked(set(region.root.values())):
        if root in region.owner:
            continue
        region.owner[root] = root
        for at in (queue := [root]):
            for other, (inside, via, outside) in sorted(beside.get(at, {}).items()):
                if other not in region.owner and _weak(region, other, root):
                    region.owner[other] = root
                    region.graft[other] = (outside, via[::-1], inside)
                    queue.append(other)


def _contacts(region: Region) -> Iterator[tuple[str, str, Via]]:
    """Pairs of alerting services of which one may have affected the other, with the silent services in between."""
    alerting, graph = region.evidence, region.graph
    for name, found in region.links.items():
        for other, via in found.items():
            yield name, other, via
    roots = set(region.root.values())
    tops = region.links.keys() - {other for found in region.links.values() for other in found}
    for name in sorted(roots | tops):
        for other, via in nearest(name, alerting, graph.dependents, graph.dependents, BRIDGE).items():
            yield name, other, via
    for root in sorted(roots):
        for silent in graph.dependencies(root):
            sharing = () if silent in alerting else graph.dependents(silent)
            if len(sharing) <= MOST_SHARING:
                for other in sharing:
                    if other in alerting and other != root:
                        yield root, other, (silent,)


def _weak(region: Region, other: str, root: str) -> bool:
    """Whether ``other`` cannot stand by itself beside the stronger ``root``."""
    evidence = region.evidence[other]
    if evidence.effect:
        return True
    if root not in region.stands:
        return False
    more = evidence.own / region.typical[root]
    if evidence.cause:
        return more <= STANDS
    return more <= APART or region.score[other] <= RIVAL * region.score[root]
