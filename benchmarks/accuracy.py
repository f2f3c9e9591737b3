"""How often the root is named, in folders of labelled cases, beside simple rankers in the same run.

    python -m benchmarks.accuracy DIR... [--json FILE] [--history none|past] [--order file|SEED]
    python -m benchmarks.accuracy DIR... --recurring 0.75 | --noisy 0.9 | --together [--seed 1]
    python -m benchmarks.accuracy DIR... --stream [--rate 25] [--sites 8] [--seed 1] [--json FILE]

Each case plays through the engine: its alerts arrive as the file has them, and a minute after the last one, when a page
is sent, the incident that holds most of them counts, and of that the candidates as published: top-1 and top-3, ties in
expectation, at the level of nodes and of services. Then all alerts are resolved, and when every incident is closed the
next case begins. ``--history past`` keeps the engine for the whole set, so that it has what it learned by itself from
the cases before; ``none`` gives every case a new one. ``--order`` takes the cases as in the file, or shuffled by a
seed. ``incidents`` is their mean number per case, ``share`` the mean share of a case's alerts in the largest, ``ece``
the expected calibration error of the confidence of the first candidate over ten bins. The reliability table counts all
sets together.

``--recurring SHARE`` draws the cases so that this share has the same root, ``--noisy SHARE`` lets one service that is
never to blame show everything that a broken one would in this share of them, ``--together`` plays two cases at once and
says how often both roots are named.

``--stream`` mixes the cases of all folders into one stream instead: see :mod:`benchmarks.mixture`.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks import mixture
from benchmarks.labelled import SETTLED, Case, Folder, Stage
from benchmarks.rankers import RANKERS, Peers, Ranking, fold, hit
from benchmarks.stress import both_named, noisy, recurring

__all__ = ["Score", "main", "measure"]

_BINS: Final = 10


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


def measure(folder: Folder, cases: Iterable[Case], *, learn: bool) -> Score:
    """The engine and the simple rankers over ``cases``, in this order."""
    score, peers = Score(), Peers(folder.graph)
    stage = Stage(folder.graph)
    for case in cases:
        score.cases += 1
        if not case.alerts:
            continue
        if not learn:
            stage = Stage(folder.graph)
        stage.plays(case.at(stage.now + 1.0))
        stage.passes(SETTLED)
        _count(score, case, stage, folder.service_of)
        for name, ranker in RANKERS.items():
            ranking = ranker(case.onsets, peers)
            score.count("node", name, ranking, case.nodes)
            score.count("service", name, fold(ranking, folder.service_of), case.services)
        if learn:
            stage.resolves(alert for _, alert in case.alerts)
            stage.closes()
    return score


def _count(score: Score, case: Case, stage: Stage, service_of: Mapping[str, str]) -> None:
    found = stage.incidents(case)
    last = stage.ledger.last
    largest = last[max(found, key=lambda key: (found[key], last[key]["confidence"], key))]
    ranking = [
        (math.inf if number == 0 else candidate["confidence"], candidate["service"])
        for number, candidate in enumerate(largest["candidates"])
    ]
    score.count("node", "rule", ranking, case.nodes)
    score.count("service", "rule", fold(ranking, service_of), case.services)
    score.incidents += len(found)
    score.share += max(found.values()) / found.total()
    score.sure.append((largest["confidence"], float(largest["root"]["service"] in case.nodes)))


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
        f"  incidents {row['incidents_per_case']:.2f}  share {row['share']:.2f}  ece {row['ece']:.2f}  | {others}",
        flush=True,
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
    parser.add_argument("--recurring", type=float, metavar="SHARE", help="share of the cases with the same root")
    parser.add_argument("--noisy", type=float, metavar="SHARE", help="share of the cases with one noisy service")
    parser.add_argument("--together", action="store_true", help="two cases at once")
    parser.add_argument("--stream", action="store_true", help="mix all cases into one concurrent stream")
    parser.add_argument("--rate", type=float, default=25.0, metavar="CASES", help="cases an hour in the stream")
    parser.add_argument("--sites", type=int, default=8, metavar="N", help="copies of the systems in the stream")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is drawn")
    given = parser.parse_args(arguments)
    if given.order != "file" and not given.order.isdecimal():
        parser.error(f"--order is {given.order!r}; allowed: file, or a number")
    folders = {name: Folder.read(Path(name)) for name in given.folders}
    if given.stream or given.together:
        if given.stream:
            rows = mixture.rows(folders, rate=given.rate, seed=given.seed, sites=given.sites)
        else:
            rows = [_together(name, folder, given.seed) for name, folder in folders.items()]
        for row in rows:
            print("  ".join(f"{key} {value}" for key, value in row.items()))
    else:
        rows = _cases(folders, given)
    if given.json is not None:
        given.json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
    return 0


def _together(name: str, folder: Folder, seed: int) -> dict[str, Any]:
    named, pairs = both_named(folder, folder.cases, random.Random(seed))
    return {"set": name, "pairs": pairs, "both named": round(named, 4)}


def _cases(folders: Mapping[str, Folder], given: argparse.Namespace) -> list[dict[str, Any]]:
    rows, sure = [], []
    for name, folder in folders.items():
        cases = list(folder.cases)
        if given.order != "file":
            random.Random(int(given.order)).shuffle(cases)
        if given.recurring is not None:
            cases = recurring(cases, given.recurring, random.Random(given.seed))
        if given.noisy is not None:
            cases = noisy(folder, cases, given.noisy, random.Random(given.seed))
        score = measure(folder, cases, learn=given.history == "past")
        sure += score.sure
        for row in _rows(name, score, given.history, given.order):
            rows.append(row)
            _show(row)
    _reliability(sure)
    return rows


if __name__ == "__main__":
    sys.exit(main())
