"""The engine alone on drawn storms and on labelled cases: what comes out, against the truth, and what it costs.

python -m benchmarks.storm [--variants a,b,c] [--services 5000,50000] [--alerts N] [--seeds 1,2,3] [--json FILE]
python -m benchmarks.storm --per-alert 1k,10k,100k
python -m benchmarks.storm --cases DIR ... [--direction depends_on]

Alerts are read and placed beforehand; measured are the steps and the taking of their outputs, receipts included, in
records of 500 alerts, outputs every five records, without the state's entries and without JSON. Floors of the same
process and the same alerts: ``orjson.loads`` of them, and the naive peer, which asks ``networkx.descendants``
(remembered) whether something below a service alerts already. Each storm has a process of its own.

``bar`` is how many incidents are left at best with all alerts known. ``named`` are true roots that are the root of a
live incident; ``re-rooted`` are those whose incident existed before the first alert of the root; ``merged`` are
published corrections; ``wrong`` are services of a cascade whose alerts ended with another root than the truth's, as
the last published receipts and incidents say, ``strays`` spurious ones under a true root, ``unheard`` those without
any receipt, ``stale`` alerts of which the engine itself thinks otherwise than it said; ``pages`` counts page
sequences, merged incidents included. With ``--per-alert``, ``us/alert`` is CPU microseconds of one alert, of which
``judging`` are the judgement of evidence: what is left out where none ever comes, of runs that take turns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import networkx as nx
import orjson

from benchmarks.cases import Ledger, case_row
from benchmarks.measure import best, introduce, memory, show, tuned_collector, write_json
from benchmarks.storms import fewest_incidents
from correlator.dialects import Reader
from correlator.engine.partition import Output, Partition
from correlator.engine.render import iso
from correlator.engine.rules import Rules
from correlator.engine.shard import Record
from correlator.place import ALL, Placer
from correlator.storms import VARIANTS, Storm, node_link, storm
from topology import ServiceGraph, load

__all__ = ["main", "measured", "storm_row"]

_ROWS: Final = 500
_TAKE: Final = 5
_SOURCE: Final = "alerts.raw/0"
#: Above this many services the naive peer's memory of descendants no longer fits.
_NAIVE: Final = 10_000
#: A judgement that never comes: seconds after the first alert.
_NEVER: Final = 1e9


class Run(NamedTuple):
    """What the engine said, and what it took: CPU seconds and the growth of memory in MiB."""

    outputs: list[Output]
    partition: Partition
    cpu: float
    grown: float


def prepared(drawn: Storm, graph: ServiceGraph) -> tuple[list[Record], list[bytes]]:
    """The storm as records for the engine, and the bytes of its alerts."""
    reader, placer = Reader(), Placer(graph)
    values = [orjson.dumps(alert) for alert in drawn.alerts]
    rows = []
    for offset, (value, at) in enumerate(zip(values, drawn.arrivals, strict=True)):
        reading = reader.read(value, received_at=at, topic="alerts.raw")
        shard, row = placer.row(reading.alerts[0], offset, 0, at)
        assert shard == ALL
        rows.append(row)
    batches = (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))
    return [Record(offset, batch[-1][2], _SOURCE, batch) for offset, batch in enumerate(batches)], values


def measured(records: Sequence[Record], graph: ServiceGraph, rules: Rules | None = None) -> Run:
    """Run the engine over the records, then two minutes of silence, in which what is due gets decided."""
    partition = Partition(graph, rules or Rules())
    outputs = []
    before = memory()["rss"]
    last = records[-1]
    with tuned_collector():
        started = time.process_time()
        for number, record in enumerate(records, 1):
            partition.step(record, ALL)
            if not number % _TAKE:
                outputs.append(partition.take(entries=False))
        partition.step(Record(last.offset + 1, last.time + 120.0, control={"type": "tick"}), ALL)
        outputs.append(partition.take(entries=False))
        spent = time.process_time() - started
    return Run(outputs, partition, spent, round(memory()["rss"] - before, 1))


def naive(drawn: Storm, graph: nx.DiGraph[str]) -> int:
    """The peer: a service is quiet when something that it depends on, however far, alerts already. Pages sent."""
    below: dict[str, set[str]] = {}
    alerting: set[str] = set()
    pages: set[str] = set()
    for alert in drawn.alerts:
        service = alert["service"]
        found = below.get(service)
        if found is None:
            found = below[service] = nx.descendants(graph, service)
        if alerting.isdisjoint(found):
            pages.add(service)
        alerting.add(service)
    return len(pages)


def storm_row(variant: str, services: int, alerts: int | None, seed: int, per_alert: bool) -> dict[str, Any]:
    """Draw one storm, measure it, and compare it with the truth; ``per_alert`` also what one alert costs."""
    drawn = storm(variant, services=services, alerts=alerts, seed=seed)
    graph = graph_of(drawn)
    records, values = prepared(drawn, graph)

    def decode() -> None:
        for value in values:
            orjson.loads(value)

    floor = best(decode, 2)
    run = measured(records, graph)
    floor = min(floor, best(decode, 2))
    peer, pages = None, None
    if services <= _NAIVE:
        plain: nx.DiGraph[str] = nx.DiGraph(drawn.graph["edges"])
        plain.add_nodes_from(drawn.graph["nodes"])
        started = time.process_time()
        pages = naive(drawn, plain)
        peer = time.process_time() - started
    total = len(drawn.alerts)
    return {
        "variant": variant,
        "services": services,
        "seed": seed,
        "alerts": total,
        **_truth(drawn, run),
        "CPU s": round(run.cpu, 3),
        "alerts/CPU s": round(total / run.cpu),
        "x decode": round(run.cpu / floor, 2),
        "x naive": None if peer is None else round(run.cpu / peer, 2),
        "naive pages": pages,
        "state MiB": run.grown,
        "peak MiB": memory()["peak"],
        **(_costs(records, graph, total) if per_alert else {}),
    }


def _costs(records: Sequence[Record], graph: ServiceGraph, alerts: int) -> dict[str, float]:
    """CPU microseconds an alert, the least of five runs, and what judging adds, the median of five pairs."""
    pairs = [
        (measured(records, graph).cpu, measured(records, graph, Rules(judge_interval=_NEVER)).cpu) for _ in "12345"
    ]
    judged, judging = min(cpu for cpu, _ in pairs), median(cpu - plain for cpu, plain in pairs)
    return {"us/alert": round(judged / alerts * 1e6, 2), "judging": round(judging / alerts * 1e6, 2)}


def graph_of(drawn: Storm) -> ServiceGraph:
    """The service graph of a storm, loaded from a file as a worker does it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "topology.json")
        path.write_bytes(orjson.dumps(node_link(drawn.graph)))
        return load(path, format="node-link").graph_or_raise()


def _truth(drawn: Storm, run: Run) -> dict[str, Any]:
    """What was published, against what happened."""
    truth, ledger = drawn.truth, Ledger()
    first: dict[str, float] = {}
    for alert, at in zip(drawn.alerts, drawn.arrivals, strict=True):
        first.setdefault(alert["service"], at)
    for output in run.outputs:
        ledger.take(output)
    live = ledger.live()
    roots = {incident["root"]["service"]: incident for incident in live}
    rerooted = [r for r in truth["roots"] if r in roots and roots[r]["opened_at"] < iso(first[r])]
    named = ledger.roots_by_service()
    members = sum(named.get(s, {root}) != {root} for s, root in truth["members"].items())
    strays = sum(bool(named.get(s, set()) & set(truth["roots"])) for s in truth["spurious"])
    unheard = sum(s not in named for s in [*truth["members"], *truth["spurious"]])
    return {
        "incidents": len(live),
        "bar": fewest_incidents(drawn),
        "named": f"{sum(root in roots for root in truth['roots'])}/{len(truth['roots'])}",
        "re-rooted": len(rerooted),
        "merged": ledger.merged(),
        "wrong": members,
        "strays": strays,
        "unheard": unheard,
        "stale": _stale(run.partition, ledger),
        "pages": ledger.pages(),
        "revisions": ledger.revisions,
    }


def _stale(partition: Partition, ledger: Ledger) -> int:
    """Alerts of which the engine thinks otherwise than its receipts and incidents say."""
    store = partition.shards[ALL].store
    found = 0
    for fingerprint, alert in store.alerts.items():
        incident, said = store.incident_of(alert), ledger.incident(fingerprint)
        found += (incident.id if incident is not None else None) != (said["id"] if said is not None else None)
    return found


def _sizes(text: str) -> list[int]:
    """
    >>> _sizes("1k,20k,300")
    [1000, 20000, 300]
    """
    return [round(float(part.rstrip("k")) * (1_000 if part.endswith("k") else 1)) for part in text.split(",")]


def _jobs(given: argparse.Namespace) -> Iterator[tuple[str, int, int | None, int, bool]]:
    for seed in _sizes(given.seeds):
        for variant in given.variants.split(","):
            if given.per_alert:
                yield from ((variant, size // 5, size, seed, True) for size in _sizes(given.per_alert))
            else:
                yield from ((variant, services, given.alerts, seed, False) for services in _sizes(given.services))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row per storm or per case folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description="Measure the engine alone.")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="comma-separated (default %(default)s)")
    parser.add_argument(
        "--services", default="5000", help="services in the graph, comma-separated (default %(default)s)"
    )
    parser.add_argument("--alerts", type=int, help="alerts in total (default: five per service)")
    parser.add_argument("--seeds", default="1", help="comma-separated (default %(default)s)")
    parser.add_argument("--per-alert", metavar="SIZES", help="cost of one alert by size of storm, such as 1k,10k,100k")
    parser.add_argument("--cases", type=Path, nargs="+", metavar="DIR", help="labelled cases instead of drawn storms")
    parser.add_argument(
        "--direction",
        default="depends_on",
        choices=["depends_on", "serves", "both"],
        help="meaning of an edge in the cases' topology (default %(default)s)",
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    introduce()
    rows: list[dict[str, Any]] = []
    # A process for each row: the highest memory of one must not be that of another.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        if given.cases:
            tasks = [pool.submit(case_row, path, given.direction) for path in given.cases]
        else:
            tasks = [pool.submit(storm_row, *job) for job in _jobs(given)]
        for task in tasks:
            rows.append(task.result())
            print(".", end="", flush=True)
    print()
    show(rows)
    write_json(given.json, rows)


if __name__ == "__main__":
    main()
