"""Accounting: CPU seconds and memory of processes, the machine, tables on a terminal, results as JSON."""

from __future__ import annotations

import gc
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from correlator.program import compiled

__all__ = [
    "best",
    "cpu_seconds",
    "introduce",
    "machine",
    "memory",
    "metric",
    "percentiles",
    "scraped",
    "show",
    "tuned_collector",
    "write_json",
]

_TICKS: Final = os.sysconf("SC_CLK_TCK")


# -- processes ------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """User and system seconds that a process has used so far, all its threads; 0.0 when it is gone. Linux only."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int | None = None) -> dict[str, float]:
    """Resident memory now (``rss``) and at its highest (``peak``) in MiB, of this process by default. Linux only."""
    found = {"rss": 0.0, "peak": 0.0}
    names = {"VmRSS": "rss", "VmHWM": "peak"}
    try:
        lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, value = line.partition(":")
        if name in names:
            found[names[name]] = round(int(value.split()[0]) / 1024, 1)
    return found


def machine() -> dict[str, Any]:
    """What a figure depends on: processor, cores, versions, and how busy the machine is with other things."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "compiled": compiled(),
        "system": f"{platform.system()} {platform.release()}",
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def introduce() -> None:
    """Print what a reader of the figures that follow should know."""
    here = machine()
    print(f"load of the machine: {here['load']}{', the engine is compiled' if here['compiled'] else ''}")


@contextmanager
def tuned_collector() -> Iterator[None]:
    """The garbage collector as a worker sets it: what exists is left alone, the rest is walked seldom."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def best(work: Callable[[], Any], times: int = 3) -> float:
    """Least CPU seconds of this process over some runs of ``work``: for floors, which other load can only raise."""
    least = float("inf")
    for _ in range(times):
        started = time.process_time()
        work()
        least = min(least, time.process_time() - started)
    return least


# -- a worker's own figures -----------------------------------------------------------------------------------


def scraped(text: str) -> dict[str, float]:
    """Samples of a Prometheus exposition by name with labels.

    >>> scraped('# HELP x y\\nx{shard="all"} 3.0\\n')
    {'x{shard="all"}': 3.0}
    """
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def metric(samples: Mapping[str, float], name: str, containing: str = "") -> float:
    """Sum over the labels of one metric, of those that contain ``containing``.

    >>> metric({'x{a="1"}': 2.0, 'x{a="2"}': 3.0, 'xy': 9.0}, "x")
    5.0
    """
    return sum(value for key, value in samples.items() if key.partition("{")[0] == name and containing in key)


# -- results --------------------------------------------------------------------------------------------------


def percentiles(values: Iterable[float], of: Sequence[float] = (50, 99, 100)) -> list[float]:
    """Nearest-rank percentiles; empty for no values.

    >>> percentiles([3.0, 1.0, 2.0, 4.0], (50, 100))
    [2.0, 4.0]
    """
    ordered = sorted(values)
    if not ordered:
        return []
    return [ordered[max(0, -int(-len(ordered) * share // 100) - 1)] for share in of]


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Print rows as a table; numbers to the right, a column for every key of the first row by default."""
    if not rows:
        return
    names = list(columns or rows[0])
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    right = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    for line in [names, *cells]:
        fields = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
        print("  ".join(fields).rstrip(), flush=True)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}" if abs(value) < 1 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_json(path: Path | None, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Write rows with the date, the machine and the command to ``path``; nothing without one."""
    if path is None:
        return
    result = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "command": shlex.join(["python", "-m", _module(Path(sys.argv[0])), *sys.argv[1:]]),
        **more,
        "rows": list(rows),
    }
    path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _module(program: Path) -> str:
    """The module that runs; of a package the file is ``__main__.py``."""
    return f"benchmarks.{program.parent.name if program.stem == '__main__' else program.stem}"
