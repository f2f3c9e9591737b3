"""Draw storms, print what is in them and how long the draw took; write them as labelled cases on request.

python -m benchmarks.storms --variants a,b,c --services 5000 --seeds 1,2,3 [--alerts N] [--out DIRECTORY]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from correlator.storms import VARIANTS, Storm, storm, write_case

__all__ = ["fewest_incidents", "main"]

_COLUMNS = (
    "variant",
    "services",
    "seed",
    "alerts",
    "edges",
    "affected",
    "silent",
    "spurious",
    "lone",
    "fewest",
    "in reach",
    "CPU s",
)


def fewest_incidents(drawn: Storm, *, bridge: int | None = None) -> int:
    """How many alerting services no other alerting service explains, with all alerts known and times left aside.

    A service is explained by an alerting one that it depends on, directly or over at most ``bridge`` services in a row
    that do not alert; over any number of them when ``bridge`` is None.
    """
    alerting = {*drawn.truth["members"], *drawn.truth["spurious"]}
    dependencies: dict[str, list[str]] = defaultdict(list)
    for source, target in drawn.graph["edges"]:
        dependencies[source].append(target)
    return sum(not _explained(service, alerting, dependencies, bridge) for service in alerting)


def _explained(service: str, alerting: set[str], dependencies: dict[str, list[str]], bridge: int | None) -> bool:
    seen, front, steps = {service}, [service], 0
    while front and (bridge is None or steps <= bridge):
        reached = {target for source in front for target in dependencies[source]} - seen
        if reached & alerting:
            return True
        seen |= reached
        front, steps = list(reached), steps + 1
    return False


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per storm; ``in reach`` is ``fewest`` with at most two services bridged in a row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storms", description="Draw alert storms.")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="comma-separated: %(default)s")
    parser.add_argument("--services", type=int, default=5000, help="services in the graph (default %(default)s)")
    parser.add_argument("--alerts", type=int, help="alerts in total (default: five per service)")
    parser.add_argument("--seeds", default="1", help="comma-separated (default %(default)s)")
    parser.add_argument("--out", type=Path, help="write each storm as a labelled case to a folder below this one")
    given = parser.parse_args(arguments)
    print("  ".join(f"{column:>8}" for column in _COLUMNS))
    for variant in given.variants.split(","):
        for seed in map(int, given.seeds.split(",")):
            started = time.process_time()
            drawn = storm(variant, services=given.services, alerts=given.alerts, seed=seed)
            spent = time.process_time() - started
            print("  ".join(f"{cell:>8}" for cell in (*_counts(drawn), f"{spent:.2f}")))
            if given.out:
                write_case(drawn, given.out / f"storm_{variant}_{given.services}_{seed}")


def _counts(drawn: Storm) -> tuple[str | int, ...]:
    truth, graph = drawn.truth, drawn.graph
    return (
        drawn.variant,
        len(graph["nodes"]),
        drawn.seed,
        len(drawn.alerts),
        len(graph["edges"]),
        len(truth["members"]) + len(truth["silent"]),
        len(truth["silent"]),
        len(truth["spurious"]),
        len(truth["lone_spurious"]),
        fewest_incidents(drawn),
        fewest_incidents(drawn, bridge=2),
    )


if __name__ == "__main__":
    main()
