"""Labelled cases through the engine, and the books of what it published.

A folder holds ``topology.json`` (networkx node-link, key ``edges``; the attribute ``service`` of a node folds
instances), ``alerts.jsonl`` (native alerts in order of arrival, with ``id`` and ``ts``), and possibly ``truth.json``
(``cases``, each with ``start``, ``end``, ``root_causes``, ``root_services`` and ``alert_ids``, null for all that fire
between start and end).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.measure import memory, tuned_collector
from correlator.dialects import Reader
from correlator.engine.partition import Output, Partition
from correlator.engine.rules import Rules
from correlator.engine.shard import Record
from correlator.place import ALL, Placer
from correlator.recordings import Arrival, read_alerts
from correlator.replay import MAX_ROWS, MAX_SPAN, file_rules
from topology import ServiceGraph, load

__all__ = ["Ledger", "case_row"]

#: States of an incident that people need not look at any more.
_OVER: Final = ("merged", "closed")


class Ledger:
    """What a reader of ``incidents`` and ``decisions`` knows: last values, and where each alert went last."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, Any]] = {}
        self.revisions = 0
        self._where: dict[str, tuple[str, str]] = {}

    def take(self, output: Output) -> None:
        """Read one output."""
        for key, incident in output.incidents:
            if incident is not None:
                self.last[key] = incident
                self.revisions += 1
        for receipts in output.decisions.values():
            for receipt in receipts:
                if receipt["incident_id"] is not None:
                    self._where[receipt["fingerprint"]] = receipt["service"], receipt["incident_id"]

    def incident(self, fingerprint: str) -> dict[str, Any] | None:
        """The incident of an alert now, merges followed; None for an alert that none has taken."""
        place = self._where.get(fingerprint)
        found = None if place is None else self.last.get(place[1])
        while found is not None and found["merged_into"]:
            found = self.last.get(found["merged_into"])
        return found

    def fingerprints(self, key: str) -> set[str]:
        """The alerts that are in an incident now. O(alerts)."""
        found = ((fingerprint, self.incident(fingerprint)) for fingerprint in self._where)
        return {fingerprint for fingerprint, incident in found if incident is not None and incident["id"] == key}

    def live(self) -> list[dict[str, Any]]:
        """Incidents that stand."""
        return [incident for incident in self.last.values() if incident["state"] not in _OVER]

    def merged(self) -> int:
        """Incidents that were corrected to be part of another one."""
        return sum(incident["state"] == "merged" for incident in self.last.values())

    def pages(self) -> int:
        """Pages wanted so far."""
        return sum(incident["page"]["seq"] for incident in self.last.values())

    def roots_by_service(self) -> dict[str, set[str]]:
        """The services named as roots of the alerts of each service."""
        found: dict[str, set[str]] = defaultdict(set)
        for fingerprint, (service, _) in self._where.items():
            incident = self.incident(fingerprint)
            if incident is not None:
                found[service].add(incident["root"]["service"])
        return found


@dataclass
class _Score:
    """How the cases of a folder went."""

    cases: int = 0
    named: int = 0
    first: int = 0
    incidents: int = 0
    false: int = 0
    unheard: int = 0


class _Folder:
    """The files of one folder."""

    def __init__(self, path: Path, direction: str) -> None:
        self.graph: ServiceGraph = load(
            path / "topology.json", format="node-link", direction=direction
        ).graph_or_raise()
        self.unread: list[str] = []
        self.arrivals = list(read_alerts([path / "alerts.jsonl"], Reader(), self.unread.append))
        lines = (path / "alerts.jsonl").read_bytes().splitlines()
        self._ids = {number: orjson.loads(line).get("id") for number, line in enumerate(lines, 1)}
        nodes = orjson.loads((path / "topology.json").read_bytes())["nodes"]
        self._fold = {node["id"]: node.get("service", node["id"]) for node in nodes}
        truth = path / "truth.json"
        found = orjson.loads(truth.read_bytes())["cases"] if truth.exists() else []
        self.cases = sorted((c for c in found if not c.get("truth_conflict")), key=lambda c: c["end"])
        self._fingerprints = {self._ids.get(a.line): a.alert.fingerprint for a in self.arrivals}

    def fingerprints(self, case: dict[str, Any]) -> set[str]:
        """The alerts of a case."""
        if case["alert_ids"] is not None:
            return {self._fingerprints[i] for i in case["alert_ids"] if i in self._fingerprints}
        firing = (a for a in self.arrivals if a.alert.status == "firing" and case["start"] <= a.at <= case["end"])
        return {arrival.alert.fingerprint for arrival in firing}

    def judge(self, case: dict[str, Any], ledger: Ledger, score: _Score) -> None:
        """Compare the incidents of a case's alerts, as they are at its end, with its truth."""
        found = Counter(i["id"] for f in self.fingerprints(case) if (i := ledger.incident(f)) is not None)
        score.cases += 1
        score.incidents += len(found)
        if not found:
            score.unheard += 1
            return
        nodes, services = set(case["root_causes"]), set(case.get("root_services", ()))
        right = {}
        for key in found:
            root = ledger.last[key]["root"]["service"]
            right[key] = root in nodes or self._fold.get(root, root) in services
        score.named += any(right.values())
        score.false += sum(not it for it in right.values())
        most = max(found.values())
        largest = [key for key, n in found.items() if n == most]
        score.first += any(right[key] for key in largest) and len(largest) == 1


def _records(arrivals: Iterable[Arrival], placer: Placer, cuts: Iterator[float]) -> Iterator[Record]:
    """Records as the intake would write them, in one shard; none reaches over a cut."""
    rows: list[list[Any]] = []
    offset, now, start, cut = 0, 0.0, 0.0, next(cuts, float("inf"))
    for arrival in arrivals:
        at = max(now, arrival.at)
        if rows and (len(rows) >= MAX_ROWS or at - start > MAX_SPAN or at > cut):
            yield Record(offset, now, "file/0", rows)
            offset, rows = offset + 1, []
        while at > cut:
            cut = next(cuts, float("inf"))
        if not rows:
            start = at
        now = at
        rows.append(placer.row(arrival.alert, arrival.line, arrival.place, at)[1])
    if rows:
        yield Record(offset, now, "file/0", rows)


def case_row(path: Path, direction: str) -> dict[str, Any]:
    """Run one folder. Raises TopologyError or FileError for one that cannot be read."""
    folder = _Folder(path, direction)
    records = list(_records(folder.arrivals, Placer(folder.graph), iter([case["end"] for case in folder.cases])))
    partition, ledger, score = Partition(folder.graph, file_rules(Rules())), Ledger(), _Score()
    spent, waiting = 0.0, list(reversed(folder.cases))
    with tuned_collector():
        for record in records:
            while waiting and waiting[-1]["end"] < record.time:
                folder.judge(waiting.pop(), ledger, score)
            started = time.process_time()
            partition.step(record, ALL)
            output = partition.take(entries=False)
            spent += time.process_time() - started
            ledger.take(output)
    for case in reversed(waiting):
        folder.judge(case, ledger, score)
    alerts = len(folder.arrivals)
    row: dict[str, Any] = {
        "folder": path.name,
        "services": len(folder.graph),
        "edges": folder.graph.edge_count,
        "alerts": alerts,
        "unread": len(folder.unread),
        "incidents": len(ledger.last) - ledger.merged(),
        "roots": len({i["root"]["service"] for i in ledger.last.values() if i["state"] != "merged"}),
        "merged": ledger.merged(),
        "pages": ledger.pages(),
    }
    if score.cases:
        row |= {
            "cases": score.cases,
            "named": score.named,
            "largest right": score.first,
            "false roots": score.false,
            "unheard": score.unheard,
            "per case": round(score.incidents / score.cases, 2),
        }
    return row | {
        "CPU s": round(spent, 3),
        "alerts/CPU s": round(alerts / spent) if spent else 0,
        "peak MiB": memory()["peak"],
    }
