"""Every fault that we can make, in a seeded schedule, while storms flow; and whether the guarantees held.

python -m benchmarks.chaos [--minutes 5] [--seed 1] [--broker kafka|embedded] [--workers 3] [--drain 240]
                           [--silence 120] [--evidence DIR] [--json FILE]

Starts a broker of its own on loopback, workers behind a proxy, and a load. Ends with the oracle (what was published is
byte for byte what the log implies), conservation, what a naive reader sees twice, the longest silence of each shard and
the recovery after each kind of fault. Exit code 1 when a law broke: the table says what and where, and the evidence
(all records, all logs) is kept in --evidence.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import pickle
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from benchmarks import poison
from benchmarks.chaos.figures import recoveries, silences, too_long
from benchmarks.chaos.run import Run
from benchmarks.chaos.schedule import KINDS, ON_EMBEDDED, Fault, schedule
from benchmarks.chaos.stage import SETTINGS, stage
from benchmarks.chaos.traffic import Regions
from benchmarks.chaos.verdict import Evidence, Verdict, judge, repeats
from benchmarks.fleet import fleet
from benchmarks.measure import introduce, show, write_json
from correlator.program import compiled

__all__ = ["main"]

_REGIONS: Final = 6
_PARTITIONS: Final = 6
#: How workers may end: stopped, killed, told to stop before they heed it, no broker at start, fenced off, no progress.
_ENDS: Final = (0, -9, -15, 3, 5, 6)
_STOPS: Final = (0, -15)
_AFTERWARDS: Final = 300.0  # seconds for starting, reading and judging, beside the run and the drain


def chaos(given: argparse.Namespace, evidence: Path) -> tuple[Verdict, dict[str, Any]]:
    """Run once; what held, and the figures."""
    seconds = given.minutes * 60
    kinds = tuple(KINDS) if given.broker == "kafka" else ON_EMBEDDED
    if compiled():
        kinds = tuple(kind for kind in kinds if kind != "poison")
    faults = schedule(given.seed, seconds, workers=given.workers, kinds=kinds)
    regions = Regions(given.seed, _REGIONS)
    shape: dict[str, Any] = {
        "partitions": _PARTITIONS,
        "raw_partitions": _PARTITIONS,
        "shards": ["region"],
        "more": SETTINGS,
    }
    with poison.injected(), stage(given.broker, given.workers) as on:
        print(f"{len(faults)} faults in {given.minutes:g} minutes, seed {given.seed}; broker: {given.broker}")
        with fleet(on.direct, regions.graph, **shape, deadline=seconds + given.drain + _AFTERWARDS) as used:
            run = Run(used, on, regions, given.workers, seconds, given.seed, say=lambda line: print(line, flush=True))
            found = None
            try:
                asyncio.run(_until(run, faults, given.drain))
                found, naive = asyncio.run(_read(run))
                verdict = judge(found, used.settings, exact=on.exact)
                verdict.laws["the run itself"] = [*run.broken, *_ends(run), *_sent(run, found)]
                figures = _figures(run, verdict, naive)
                verdict.laws["no shard silent for long"] = too_long(figures["shards"], given.silence)
            finally:
                run.close()
                if found is None or verdict.broken:
                    _keep(evidence, used.folder, found)
            return verdict, figures


async def _until(run: Run, faults: Sequence[Fault], drain: float) -> None:
    try:
        async with asyncio.timeout(run.seconds + drain + _AFTERWARDS / 2):
            await run.all(faults, drain)
    except TimeoutError:
        run.broken.append("the run did not end in time")
        run.close()  # so that nothing changes while it is read


async def _read(run: Run) -> tuple[Evidence, list[dict[str, Any]]]:
    return await Evidence.read(run.outcome), await repeats(run.outcome)


def _ends(run: Run) -> list[str]:
    lines = [f"{n} workers ended with {code}" for code, n in sorted(run.codes.items()) if code not in _ENDS]
    return lines + [f"a worker stopped with {code} at the end" for code in run.stops if code not in _STOPS]


def _sent(run: Run, found: Evidence) -> list[str]:
    lines = [f"not sent: {line}" for line in run.feed.failed[:5]]
    beats = sum(bool(record.headers) for record in found.raw)
    if run.stage.exact and not lines and len(found.raw) - beats != run.feed.sent["records"]:
        lines.append(f"{run.feed.sent['records']} raw records were acknowledged, {len(found.raw) - beats} are there")
    return lines


def _figures(run: Run, verdict: Verdict, naive: list[dict[str, Any]]) -> dict[str, Any]:
    moments = run.follow.moments
    return {
        "faults": recoveries(moments, run.struck),
        "shards": silences(moments, run.struck, run.started, run.fed or time.monotonic()),
        "naive reader": naive,
        "counts": {
            **verdict.figures,
            **{f"sent {what}": n for what, n in sorted(run.feed.sent.items())},
            "worker starts": sum(len(place.workers) for place in run.places),
            "connections through the proxy": sum(link.connections for link in run.stage.links),
            "MiB through the proxy": round(sum(link.bytes for link in run.stage.links) / 2**20),
            "drained s": round(run.drained - run.fed, 1),
        },
        "exit codes": {str(code): n for code, n in sorted(run.codes.items())},
        "timeline": [
            {"fault": str(s.fault), "from s": round(s.began - run.started, 2), "to s": round(s.ended - run.started, 2)}
            for s in run.struck
        ],
    }


def _keep(evidence: Path, folder: Path, found: Evidence | None) -> None:
    """Logs and settings of the run, and all records, which ``pickle`` reads back."""
    with suppress(OSError):
        shutil.copytree(folder, evidence, dirs_exist_ok=True, ignore=shutil.ignore_patterns("compiled"))
    if found is not None:
        (evidence / "evidence.pickle").write_bytes(pickle.dumps(found))
    print(f"evidence: {evidence}")


def _print(verdict: Verdict, figures: dict[str, Any]) -> None:
    for name in ("faults", "shards", "naive reader"):
        print()
        show(figures[name])
    print()
    show([{"count": name, "value": value} for name, value in figures["counts"].items()])
    print(f"\nworkers ended with: {figures['exit codes'] or 'nothing'}\n")
    for law, lines in verdict.laws.items():
        print(f"{'BROKEN' if lines else 'holds '}  {law}")
        for line in lines:
            print(f"        {line}")


def _deadline(seconds: float) -> threading.Timer:
    """Whatever hangs: say where, and leave. What watches our children kills them then."""

    def leave() -> None:
        print(f"did not end within {seconds:g} s", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()
    return timer


def main(arguments: Sequence[str] | None = None) -> None:
    """Run once, print what came of it; SystemExit with 1 when a law broke."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="Faults in a seeded schedule.")
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="how long load and faults last (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of schedule and load (default %(default)s)")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka", help="started by this tool")
    parser.add_argument("--workers", type=int, default=3, help="worker processes (default %(default)s)")
    parser.add_argument("--drain", type=float, default=240.0, help="longest wait for the rest in seconds (default 240)")
    parser.add_argument("--silence", type=float, default=120.0, help="longest silence of a shard (default %(default)s)")
    parser.add_argument(
        "--evidence", type=Path, help="where to keep everything when a law broke (default: a new folder)"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    introduce()
    evidence = given.evidence or Path(tempfile.gettempdir(), f"chaos-{given.seed}-{os.getpid()}")
    timer = _deadline(given.minutes * 60 + given.drain + 2 * _AFTERWARDS)
    try:
        verdict, figures = chaos(given, evidence)
    finally:
        timer.cancel()
    _print(verdict, figures)
    write_json(given.json, figures.pop("faults"), **figures, laws=verdict.laws)
    if verdict.broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
