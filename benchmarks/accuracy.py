"""How often the root is named, in folders of labelled cases, beside simple rankers in the same run.

    python -m benchmarks.accuracy DIR... [--json FILE] [--history none|past] [--order file|SEED]

A folder holds ``topology.json`` (networkx node-link; the node attribute ``service`` folds instances), ``alerts.jsonl``
and ``truth.json`` (``cases``: ``start``, ``end``, ``root_causes``, ``root_services``, ``alert_ids`` or null for all
that fire in between). Cases with ``truth_conflict`` are left out. Of each case the incident that holds most of its
alerts counts, and of that the first candidates: top-1 and top-3, ties in expectation, at the level of nodes and of
services.

``--history past`` learns from the cases that came before, as the rule itself decided them; ``none`` starts cold for
every case. ``--order`` takes the cases as in the file, or shuffled by a seed. ``incidents`` is their mean number per
case, ``share`` the mean share of a case's alerts in the largest, ``ece`` the expected calibration error of the
confidence of the first candidate over ten bins. The reliability table counts all sets together.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import networkx as nx
import orjson

from correlator.engine.evidence import History, Sign, weigh
from correlator.engine.judge import Incident, judge
from correlator.engine.kinds import Kinds
from topology import ServiceGraph, load

__all__ = ["Case", "Score", "hit", "main", "measure", "read"]

Ranking = Sequence[tuple[float, str]]
_BINS: Final = 10


@dataclass(frozen=True)
class Case:
    """The firing alerts of one incident by node, and its true roots as nodes and as services."""

    signs: Mapping[str, Sequence[Sign]]
    nodes: frozenset[str]
    services: frozenset[str]


@dataclass
class Score:
    """Sums over the cases of a set."""

    cases: int = 0
    top: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # level, ranker: top-1, top-3
    incidents: int = 0
    share: float = 0.0
    sure: list[tuple[float, float]] = field(default_factory=list)  # confidence, hit

    def count(self, level: str, ranker: str, ranking: Ranking, wanted: frozenset[str]) -> None:
        """Add the hits of a ranking."""
        sums = self.top.setdefault(level, {}).setdefault(ranker, [0.0, 0.0])
        sums[0] += hit(ranking, wanted, 1)
        sums[1] += hit(ranking, wanted, 3)


def hit(ranking: Ranking, wanted: frozenset[str], k: int) -> float:
    """Probability that one of ``wanted`` is among the first ``k`` when equal scores are put in random order.

    >>> hit([(2.0, "a"), (1.0, "b"), (1.0, "c")], frozenset("c"), 2)
    0.5
    """
    best = max((score for score, name in ranking if name in wanted), default=None)
    if best is None:
        return 0.0
    tied = [name in wanted for score, name in ranking if score == best]
    slots = k - sum(score > best for score, _ in ranking)
    if slots <= 0:
        return 0.0
    return 1.0 - math.comb(tied.count(False), slots) / math.comb(len(tied), slots) if slots < len(tied) else 1.0


def read(folder: Path) -> tuple[ServiceGraph, dict[str, str], list[Case]]:
    """The graph, the service of each node, and the cases in the order of the file. SystemExit when unreadable."""
    loaded = load(folder / "topology.json", format="node-link", direction="depends_on")
    if loaded.graph is None:
        raise SystemExit(f"{folder / 'topology.json'}: {loaded.problems[0]}")
    nodes = orjson.loads((folder / "topology.json").read_bytes())["nodes"]
    alerts = [orjson.loads(line) for line in (folder / "alerts.jsonl").read_bytes().splitlines()]
    by_id = {alert["id"]: alert for alert in alerts}
    cases = []
    for case in orjson.loads((folder / "truth.json").read_bytes())["cases"]:
        if not case.get("truth_conflict"):
            signs: dict[str, list[Sign]] = {}
            for alert in _alerts(case, alerts, by_id):
                onset = alert.get("starts_at", alert["ts"])
                signs.setdefault(alert["service"], []).append(Sign(alert["name"], alert.get("labels") or {}, onset))
            cases.append(Case(signs, frozenset(case["root_causes"]), frozenset(case["root_services"])))
    return loaded.graph, {node["id"]: node.get("service", node["id"]) for node in nodes}, cases


def _alerts(case: Mapping[str, Any], alerts: Iterable[Any], by_id: Mapping[str, Any]) -> Iterator[Any]:
    if case.get("alert_ids") is not None:
        chosen: Iterable[Any] = (by_id[key] for key in case["alert_ids"])
    else:
        chosen = (alert for alert in alerts if case["start"] <= alert["ts"] <= case["end"])
    return (alert for alert in chosen if alert["status"] == "firing")


# -- the rule ------------------------------------------------------------------------------------------------------


def measure(
    graph: ServiceGraph, folded: Mapping[str, str], cases: Iterable[Case], *, learn: bool, kinds: Kinds
) -> Score:
    """The rule and the simple rankers over ``cases``, in this order."""
    score = Score()
    history = History() if learn else None
    depth, reach = _depths(graph)
    for case in cases:
        score.cases += 1
        if not case.signs:
            continue
        found = judge({name: weigh(name, signs, kinds, history) for name, signs in case.signs.items()}, graph)
        _count(score, case, found, folded)
        for name, ranker in _RANKERS.items():
            ranking = ranker(case, graph, depth, reach)
            score.count("node", name, ranking, case.nodes)
            score.count("service", name, _fold(ranking, folded), case.services)
        if history is not None:
            first = found[0]
            history.observe(case.signs, first.root, certainty=math.sqrt(first.confidence))
    return score


def _count(score: Score, case: Case, found: Sequence[Incident], folded: Mapping[str, str]) -> None:
    sizes = [sum(len(case.signs[member]) for member in incident.members) for incident in found]
    largest = max(zip(sizes, found, strict=True), key=lambda pair: (pair[0], pair[1].score, pair[1].root))[1]
    ranking = [(math.inf if i == 0 else c.score, c.service) for i, c in enumerate(largest.candidates)]
    score.count("node", "rule", ranking, case.nodes)
    score.count("service", "rule", _fold(ranking, folded), case.services)
    score.incidents += len(found)
    score.share += max(sizes) / sum(sizes)
    score.sure.append((largest.confidence, float(largest.root in case.nodes)))


def _fold(ranking: Ranking, folded: Mapping[str, str]) -> Ranking:
    best: dict[str, float] = {}
    for value, name in ranking:
        service = folded.get(name, name)
        best[service] = max(value, best.get(service, -math.inf))
    return [(value, name) for name, value in best.items()]


# -- simple rankers --------------------------------------------------------------------------------------------------

Depths = Mapping[str, int]
Reach = Mapping[str, frozenset[str]]


def _depths(graph: ServiceGraph) -> tuple[Depths, Reach]:
    """Longest distance from a service that nothing depends on, and everything that a service depends on."""
    condensed = nx.condensation(graph.digraph)
    level: dict[int, int] = {}
    for cell in nx.topological_sort(condensed):
        level[cell] = max((level[before] + 1 for before in condensed.predecessors(cell)), default=0)
    depth = {name: level[cell] for cell in condensed for name in condensed.nodes[cell]["members"]}
    return depth, {name: frozenset(nx.descendants(graph.digraph, name)) for name in graph}


def _random(case: Case, graph: ServiceGraph, depth: Depths, reach: Reach) -> Ranking:
    return [(0.0, name) for name in case.signs]


def _most(case: Case, graph: ServiceGraph, depth: Depths, reach: Reach) -> Ranking:
    return [(float(len(signs)), name) for name, signs in case.signs.items()]


def _earliest(case: Case, graph: ServiceGraph, depth: Depths, reach: Reach) -> Ranking:
    return [(-min(sign.onset for sign in signs), name) for name, signs in case.signs.items()]


def _deepest(case: Case, graph: ServiceGraph, depth: Depths, reach: Reach) -> Ranking:
    ranking = []
    for name in case.signs:
        explained = any(other in case.signs and name not in reach[other] for other in reach.get(name, ()))
        ranking.append((depth.get(name, -1) + (0.0 if explained else 1e6), name))
    return ranking


def _pagerank(case: Case, graph: ServiceGraph, depth: Depths, reach: Reach) -> Ranking:
    """Power iteration with damping 0.85; what depends on nothing that alerts spreads evenly."""
    links = {name: [other for other in graph.dependencies(name) if other in case.signs] for name in sorted(case.signs)}
    rank = dict.fromkeys(links, 1.0 / len(links))
    for _ in range(100):
        loose = math.fsum(rank[name] for name, found in links.items() if not found)
        following = dict.fromkeys(links, (0.15 + 0.85 * loose) / len(links))
        for name, found in links.items():
            for other in found:
                following[other] += 0.85 * rank[name] / len(found)
        rank = following
    return [(round(value, 9), name) for name, value in rank.items()]


_RANKERS: Final[Mapping[str, Callable[[Case, ServiceGraph, Depths, Reach], Ranking]]] = {
    "random": _random,
    "most alerts": _most,
    "earliest": _earliest,
    "deepest": _deepest,
    "pagerank": _pagerank,
}

# -- report ----------------------------------------------------------------------------------------------------------


def _rows(folder: str, score: Score, history: str, order: str) -> Iterator[dict[str, Any]]:
    n = max(score.cases, 1)
    for level, rankers in sorted(score.top.items()):
        mean = {name: [round(value / n, 4) for value in sums] for name, sums in rankers.items()}
        top1, top3 = mean.pop("rule")
        yield {
            "set": folder,
            "cases": score.cases,
            "level": level,
            "history": history,
            "order": order,
            "top1": top1,
            "top3": top3,
            "incidents_per_case": round(score.incidents / n, 3),
            "share": round(score.share / n, 3),
            "ece": round(_calibration(score.sure), 3),
            "rankers": mean,
        }


def _bins(sure: Iterable[tuple[float, float]]) -> dict[int, list[tuple[float, float]]]:
    bins: dict[int, list[tuple[float, float]]] = {}
    for pair in sure:
        bins.setdefault(min(_BINS - 1, int(pair[0] * _BINS)), []).append(pair)
    return dict(sorted(bins.items()))


def _calibration(sure: Sequence[tuple[float, float]]) -> float:
    gaps = (abs(math.fsum(c for c, _ in pairs) - math.fsum(h for _, h in pairs)) for pairs in _bins(sure).values())
    return math.fsum(gaps) / max(len(sure), 1)


def _show(row: Mapping[str, Any]) -> None:
    others = "  ".join(f"{name} {top1:.2f}/{top3:.2f}" for name, (top1, top3) in row["rankers"].items())
    print(
        f"{Path(row['set']).name:20s} {row['level']:7s} {row['top1']:.3f}/{row['top3']:.3f}"
        f"  incidents {row['incidents_per_case']:.2f}  share {row['share']:.2f}  ece {row['ece']:.2f}  | {others}"
    )


def _reliability(sure: Sequence[tuple[float, float]]) -> None:
    print(f"confidence: expected calibration error {_calibration(sure):.3f}")
    for number, pairs in _bins(sure).items():
        right = sum(value for _, value in pairs) / len(pairs)
        print(f"  {number / _BINS:.1f}-{(number + 1) / _BINS:.1f}: {len(pairs):5d} named, {right:.2f} right")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--history", choices=("none", "past"), default="past")
    parser.add_argument("--order", default="file", metavar="file|SEED")
    given = parser.parse_args(arguments)
    if given.order != "file" and not given.order.isdecimal():
        parser.error(f"--order is {given.order!r}; allowed: file, or a number")
    rows, sure = [], []
    for folder in given.folders:
        graph, folded, cases = read(Path(folder))
        if given.order != "file":
            random.Random(int(given.order)).shuffle(cases)
        score = measure(graph, folded, cases, learn=given.history == "past", kinds=Kinds())
        sure += score.sure
        for row in _rows(folder, score, given.history, given.order):
            rows.append(row)
            _show(row)
    _reliability(sure)
    if given.json is not None:
        given.json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
