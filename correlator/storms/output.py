"""A storm in other shapes: node-link data, an endless stream, the files of a labelled case."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from correlator.storms.draw import Graph, Storm

__all__ = ["node_link", "stream", "write_case"]


def node_link(graph: Graph) -> dict[str, Any]:
    """The graph as networkx node-link data with the key ``edges``; source depends on target.

    >>> node_link({"nodes": {"web": {"tier": 1}, "db": {}}, "edges": [("web", "db")]})["edges"]
    [{'source': 'web', 'target': 'db'}]
    """
    return {
        "directed": True,
        "multigraph": False,
        "graph": {"direction": "depends_on"},
        "nodes": [{"id": name, **attributes} for name, attributes in graph["nodes"].items()],
        "edges": [{"source": source, "target": target} for source, target in graph["edges"]],
    }


def stream(storm: Storm, total: int) -> Iterator[dict[str, Any]]:
    """``total`` alerts in order of arrival: the storm, its repeats, its resolution, then the next episode of the same.

    An episode repeats every alert two or three times, in turn, under the same ``key`` and ``starts_at``, and resolves
    it; the next one has a later ``starts_at``. ``ts`` is the arrival, epoch seconds. Labels and annotations are shared
    with the storm: read them only.
    """
    return islice(chain.from_iterable(_episodes(storm)), total)


def _episodes(storm: Storm) -> Iterator[Iterable[dict[str, Any]]]:
    period = int(storm.arrivals[-1] - storm.arrivals[0]) + 60
    passes = 0
    for episode in count():
        shift = passes * period
        for last in (False,) * (3 + episode % 2) + (True,):
            yield _pass(storm, shift, passes * period, last)
            passes += 1


def _pass(storm: Storm, shift: int, later: int, resolve: bool) -> Iterator[dict[str, Any]]:
    """Every alert once: onset moved by ``shift`` seconds, arrival by ``later``."""
    for alert, arrival in zip(storm.alerts, storm.arrivals, strict=True):
        ts = round(arrival + later, 3)
        again = {**alert, "starts_at": round(alert["starts_at"] + shift, 3), "ts": ts}
        if resolve:
            again["status"] = "resolved"
            again["ends_at"] = ts
        yield again


def write_case(storm: Storm, directory: Path) -> None:
    """Write topology.json, alerts.jsonl and truth.json to ``directory``, which is made when absent.

    ``ts`` of an alert is its arrival, by which the file is sorted; ``starts_at`` its onset. The one case of truth.json
    covers all alerts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "topology.json", [json.dumps(node_link(storm.graph), indent=1)])
    fields = ("key", "service", "name", "severity", "status", "starts_at", "labels")
    rows = enumerate(zip(storm.alerts, storm.arrivals, strict=True))
    lines = ({"id": f"a{i:06d}", "ts": ts, **{field: alert[field] for field in fields}} for i, (alert, ts) in rows)
    _write(directory / "alerts.jsonl", (json.dumps(line) for line in lines))
    _write(directory / "truth.json", [json.dumps(_labels(storm), indent=1)])


def _labels(storm: Storm) -> dict[str, Any]:
    truth = storm.truth
    case = {
        "case_id": f"storm.{storm.variant}.{len(storm.graph['nodes'])}.{storm.seed}",
        "start": min(alert["starts_at"] for alert in storm.alerts),
        "end": storm.arrivals[-1],
        "root_causes": truth["roots"],
        "root_services": truth["roots"],
        "fault_type": "down",
        "alert_ids": None,
    }
    return {"dataset": f"storm_{storm.variant}", "truth_kind": "generated", "cases": [case], **truth}


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
