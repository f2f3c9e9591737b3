"""Labelled cases mixed into one concurrent stream, as a control room sees them, and whether they come apart again.

There are several sites, each with the systems of all folders side by side. The cases come in an order, at moments and
sites drawn by a seed, so many an hour on average; the alerts of a case whose file gives one time for all of them arrive
within SPREAD seconds. A case lasts LASTS seconds after its last alert, then what no other case needs is resolved. Cases
that meet at one site, or follow each other there before the incident of the first is closed, share services and alerts.

Read is what the incidents say when a case ends. ``recovered`` is the share of cases of which at least 90 % of the
alerts are in one incident that is at least 90 % theirs; ``precision`` and ``recall`` are those of pairs of alerts:
together in an incident against together in a case; ``false_roots`` are incidents per case whose root is that of none of
the cases in them; ``incidents_per_case`` is their mean number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from math import comb
from random import Random
from typing import Any, Final, NamedTuple

from benchmarks.labelled import Case, Folder, Stage
from correlator.model import Alert
from topology import Edge, Node, ServiceGraph

__all__ = ["rows"]

SPREAD: Final = 60.0
LASTS: Final = 600.0


def rows(folders: Mapping[str, Folder], *, rate: float, seed: int, sites: int) -> list[dict[str, Any]]:
    """One row for each folder, and one for all where there are several, from one stream."""
    random = Random(seed)
    cases = [
        (name, case.within(f"{random.randrange(sites)}.{n}/"))
        for n, (name, folder) in enumerate(folders.items())
        for case in folder.cases
        if case.alerts
    ]
    random.shuffle(cases)
    play = _Play(_beside(folders, sites), random, 3600.0 / rate)
    play.run(cases)
    return [play.row(name) for name in (*folders, *([""] if len(folders) > 1 else []))]


def _beside(folders: Mapping[str, Folder], sites: int) -> ServiceGraph:
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], Edge] = {}
    for site in range(sites):
        for n, folder in enumerate(folders.values()):
            at, graph = f"{site}.{n}/", folder.graph
            nodes.update((f"{at}{name}", graph.node(name)) for name in graph)
            edges.update(((f"{at}{u}", f"{at}{v}"), graph.edge(u, v)) for u in graph for v in graph.dependencies(u))
    return ServiceGraph.build(nodes, edges)


class _Play:
    """One stream, and the books of it."""

    def __init__(self, graph: ServiceGraph, random: Random, gap: float) -> None:
        self._stage, self._random, self._gap = Stage(graph), random, gap
        self._active: Counter[str] = Counter()  # fingerprint: running cases that have it
        self._running: dict[int, Case] = {}
        self._books: dict[str, list[_Entry]] = defaultdict(list)

    def run(self, cases: list[tuple[str, Case]]) -> None:
        """Play all cases, each in its time."""
        random, start, stage = self._random, self._stage.now, self._stage
        events: list[tuple[float, int, int, Alert | None]] = []
        for number, (_, case) in enumerate(cases):
            start += random.expovariate(1.0 / self._gap)
            alerts = list(case.at(start))
            if not case.duration:
                alerts = [(at + random.uniform(0.0, SPREAD), alert) for at, alert in alerts]
            events += [(at, 1, number, alert) for at, alert in alerts]
            events += [(start, 0, number, None), (max(at for at, _ in alerts) + LASTS, 2, number, None)]
        for at, kind, number, alert in sorted(events, key=lambda event: event[:3]):
            name, case = cases[number]
            stage.passes(at - stage.now)
            if alert is not None:
                stage.plays([(at, alert)])
            elif kind == 0:
                self._running[number] = case
                self._active.update(case.fingerprints)
            else:
                self._read(name, case)
                del self._running[number]
                self._active.subtract(case.fingerprints)
                stage.resolves(alert for _, alert in case.alerts if not self._active[alert.fingerprint])

    def _read(self, name: str, case: Case) -> None:
        found, ledger = self._stage.incidents(case), self._stage.ledger
        false = 0
        for key in found:
            theirs = ledger.fingerprints(key)
            there = [other for other in self._running.values() if not theirs.isdisjoint(other.fingerprints)]
            false += not any(ledger.last[key]["root"]["service"] in other.nodes for other in there)
        most = max(found, key=lambda key: (found[key], key), default="")
        wanted = 0.9 * len(case.fingerprints)
        recovered = found[most] >= wanted and found[most] >= 0.9 * len(ledger.fingerprints(most) & self._active.keys())
        self._books[name].append(_Entry(found, recovered, false))

    def row(self, name: str) -> dict[str, Any]:
        """What the books say about a folder, about all with ''."""
        books = self._books[name] if name else [entry for entries in self._books.values() for entry in entries]
        together = sum(comb(n, 2) for entry in books for n in entry.found.values())
        in_case = sum(comb(entry.found.total(), 2) for entry in books)
        incidents: Counter[str] = sum((entry.found for entry in books), Counter())
        in_incident = sum(comb(n, 2) for n in incidents.values())
        cases = max(1, len(books))
        return {
            "set": name or "all",
            "cases": len(books),
            "recovered": round(sum(entry.recovered for entry in books) / cases, 4),
            "precision": round(together / max(1, in_incident), 4),
            "recall": round(together / max(1, in_case), 4),
            "false_roots": round(sum(entry.false_roots for entry in books) / cases, 3),
            "incidents_per_case": round(sum(len(entry.found) for entry in books) / cases, 3),
        }


class _Entry(NamedTuple):
    """How one case ended: alerts by incident, whether it was recovered, incidents with the root of no case."""

    found: Counter[str]
    recovered: bool
    false_roots: int
