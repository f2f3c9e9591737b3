"""Folders of labelled cases, and a stage on which they play: the real engine, fed on a running clock.

A folder holds ``topology.json`` (networkx node-link; the node attribute ``service`` folds instances), ``alerts.jsonl``
(native alerts with ``id`` and ``ts``) and ``truth.json`` (``cases``: ``start``, ``end``, ``root_causes``,
``root_services``, ``alert_ids`` or null for all that fire in between). Cases with ``truth_conflict`` are left out.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import orjson

from benchmarks.cases import Ledger
from correlator.dialects import Reader
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from correlator.engine.shard import Record
from correlator.model import Alert
from correlator.place import ALL, Placer
from correlator.recordings import Arrival, read_alerts
from correlator.replay import file_rules
from topology import ServiceGraph, load

__all__ = ["SETTLED", "Case", "Folder", "Stage"]

#: Seconds after the last alert of a case at which it is looked at: when a page is sent.
SETTLED: Final = 61.0
_START: Final = 1_750_000_000.0
_SOURCE: Final = "file/0"
#: Seconds between ticks while nothing arrives, and how many of them incidents may take to close.
_STEP, _MOST_STEPS = 300.0, 2_000


@dataclass(frozen=True)
class Case:
    """The firing alerts of one fault, with times in seconds since its first one arrived, and its true roots.

    ``alerts`` are pairs of arrival and alert; the onset of an alert counts from the same moment.
    """

    name: str
    alerts: tuple[tuple[float, Alert], ...]
    nodes: frozenset[str]
    services: frozenset[str]

    @property
    def fingerprints(self) -> frozenset[str]:
        """Of all its alerts."""
        return frozenset(alert.fingerprint for _, alert in self.alerts)

    @property
    def onsets(self) -> dict[str, list[float]]:
        """Onsets of its alerts, by service."""
        found: dict[str, list[float]] = defaultdict(list)
        for _, alert in self.alerts:
            found[alert.service].append(alert.starts_at)
        return found

    @property
    def duration(self) -> float:
        """Seconds from its first alert to its last."""
        return max((at for at, _ in self.alerts), default=0.0)

    def at(self, start: float) -> Iterator[tuple[float, Alert]]:
        """Its alerts with their arrivals, as if the first one came at ``start``."""
        for offset, alert in self.alerts:
            yield start + offset, alert._replace(starts_at=start + alert.starts_at)

    def within(self, prefix: str) -> Self:
        """The same case about services, and with fingerprints, that begin with ``prefix``."""
        return replace(
            self,
            name=f"{prefix}{self.name}",
            alerts=tuple(
                (at, a._replace(service=f"{prefix}{a.service}", fingerprint=f"{prefix}{a.fingerprint}"))
                for at, a in self.alerts
            ),
            nodes=frozenset(f"{prefix}{name}" for name in self.nodes),
            services=frozenset(f"{prefix}{name}" for name in self.services),
        )


@dataclass(frozen=True)
class Folder:
    """One set of cases, in the order of its file, on one graph; ``service_of`` folds nodes to services."""

    graph: ServiceGraph
    service_of: Mapping[str, str]
    cases: tuple[Case, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises TopologyError or FileError for a folder that cannot be read."""
        graph = load(path / "topology.json", format="node-link", direction="depends_on").graph_or_raise()
        nodes = orjson.loads((path / "topology.json").read_bytes())["nodes"]
        arrivals = list(read_alerts([path / "alerts.jsonl"], Reader(), lambda line: print(line, file=sys.stderr)))
        lines = (path / "alerts.jsonl").read_bytes().splitlines()
        ids = {number: orjson.loads(line).get("id") for number, line in enumerate(lines, 1)}
        by_id = {ids[arrival.line]: arrival for arrival in arrivals}
        cases = []
        for truth in orjson.loads((path / "truth.json").read_bytes())["cases"]:
            if not truth.get("truth_conflict"):
                cases.append(_case(truth, arrivals, by_id))
        return cls(graph, {node["id"]: node.get("service", node["id"]) for node in nodes}, tuple(cases))


def _case(truth: Mapping[str, Any], arrivals: Iterable[Arrival], by_id: Mapping[Any, Arrival]) -> Case:
    if truth.get("alert_ids") is not None:
        chosen: Iterable[Arrival] = (by_id[key] for key in truth["alert_ids"] if key in by_id)
    else:
        chosen = (arrival for arrival in arrivals if truth["start"] <= arrival.at <= truth["end"])
    firing = sorted((a for a in chosen if a.alert.status == "firing"), key=lambda a: (a.at, a.line))
    first = firing[0].at if firing else 0.0
    alerts = tuple((a.at - first, a.alert._replace(starts_at=a.alert.starts_at - first, ends_at=None)) for a in firing)
    nodes, services = frozenset(truth["root_causes"]), frozenset(truth.get("root_services", ()))
    return Case(str(truth["case_id"]), alerts, nodes, services)


class Stage:
    """The engine over one graph, and what a reader of its outputs knows."""

    def __init__(self, graph: ServiceGraph, rules: Rules | None = None) -> None:
        self.now = _START
        self.ledger = Ledger()
        self._partition = Partition(graph, file_rules(rules or Rules()))
        self._placer = Placer(graph)
        self._offset = 0

    def plays(self, alerts: Iterable[tuple[float, Alert]]) -> None:
        """Alerts arrive, in order of time; those of one moment in one record."""
        moment: list[Alert] = []
        for at, alert in alerts:
            if moment and at > self.now:
                self._arrive(moment)
                moment = []
            self.now = max(self.now, at)
            moment.append(alert)
        if moment:
            self._arrive(moment)

    def _arrive(self, alerts: Iterable[Alert]) -> None:
        rows = [self._placer.row(a, self._offset, index, self.now)[1] for index, a in enumerate(alerts)]
        self._step(Record(self._offset, self.now, _SOURCE, rows))

    def _step(self, record: Record) -> None:
        self._partition.step(record, ALL)
        self._offset += 1
        self.ledger.take(self._partition.take(entries=False))

    def passes(self, seconds: float) -> None:
        """Time passes."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + _STEP)
            self._step(Record(self._offset, self.now, control={"type": "tick"}))

    def resolves(self, alerts: Iterable[Alert]) -> None:
        """Alerts end now."""
        ended = {a.fingerprint: a._replace(status="resolved", ends_at=self.now) for a in alerts}
        self._arrive(ended.values())

    def closes(self) -> None:
        """Time passes until no incident is left."""
        for _ in range(_MOST_STEPS):
            if not self.ledger.live():
                return
            self.passes(_STEP)
        raise AssertionError(f"{len(self.ledger.live())} incidents did not close")

    def incidents(self, case: Case) -> Counter[str]:
        """The incidents that hold alerts of a case now, each with how many."""
        found = (self.ledger.incident(fingerprint) for fingerprint in sorted(case.fingerprints))
        return Counter(incident["id"] for incident in found if incident is not None)
