"""A broker, topics of its own and real worker processes, for one measurement. Everything ends with this process.

Every process started here runs in a group of its own. A shell watches it: when this process is gone, in whatever way,
it kills the group and removes the files. SIGTERM leaves through the same doors as an exception.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from benchmarks.measure import cpu_seconds, memory, metric, scraped
from correlator import brokers
from correlator.brokers.watchdog import dismiss, watch
from correlator.config import Settings, load_settings
from correlator.storms import Graph, node_link
from correlator.stream.rejected import records
from correlator.stream.topics import create, state_topic

__all__ = ["Changelog", "Fleet", "WorkerProcess", "changelog", "counted", "fleet", "options", "shape", "terminable"]

_ROOT: Final = Path(__file__).resolve().parent.parent


class Child:
    """One process of ours with its watchdog."""

    def __init__(
        self, command: Sequence[str], log: Path, *, piped: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.started = time.time()
        with log.open("ab") as file:
            out = subprocess.PIPE if piped else file
            self.process = subprocess.Popen(
                command,
                cwd=_ROOT,
                env=_environment(log.parent) | dict(environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=file,
                start_new_session=True,
            )
        self._watchdog: subprocess.Popen[bytes] | None = watch(self.process.pid, str(log.parent))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._dismiss()

    def stop(self, timeout: float = 40.0) -> int:
        """SIGTERM, then SIGKILL after ``timeout`` seconds; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)
        self.kill()
        return int(self.process.returncode)

    def tail(self, lines: int = 8) -> str:
        """The end of what it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _dismiss(self) -> None:
        dog, self._watchdog = self._watchdog, None
        if dog is not None:
            dismiss(dog)


def _environment(folder: Path) -> dict[str, str]:
    """An installed program is compiled: where that is forbidden, do it once, not at every start that is measured."""
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    return environment


class WorkerProcess(Child):
    """``correlator run``: its metrics, CPU seconds and memory. ``base`` is its CPU when it began to serve HTTP."""

    def __init__(self, command: Sequence[str], log: Path, port: int, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(command, log, environ=environ)
        self.port = port
        self.base = 0.0

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its pages; (0, "") while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""

    def samples(self) -> dict[str, float]:
        """Its metrics now."""
        return scraped(self.get("/metrics")[1])

    def wait(self, deadline: float, path: str = "/readyz") -> float:
        """Wait until a page answers with 200; the epoch second at which it did. Raises RuntimeError."""
        while self.get(path)[0] != 200:
            if self.process.poll() is not None:
                raise RuntimeError(f"the worker ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the worker does not answer {path} in time:\n{self.tail()}")
            time.sleep(0.02)
        return time.time()


@dataclass
class Fleet:
    """What one measurement runs on."""

    settings: Settings
    config: Path
    folder: Path
    broker: str
    deadline: float
    _stack: ExitStack
    _count: int = 0

    def worker(self, *, profile: Path | None = None, wait: str = "/healthz", name: str = "") -> WorkerProcess:
        """Start a worker and wait for a page of it; with ``profile`` under cProfile, which makes it slower.

        ``name`` is its ``worker.id``; with ``worker.static_membership`` only named workers are static members.
        """
        self._count += 1
        port = brokers.free_port()
        traced = ["-m", "cProfile", "-o", str(profile)] if profile else []
        config = self.folder / f"worker-{self._count}.toml"
        config.write_text(self.config.read_text().replace("port = 0", f"port = {port}"))
        command = [sys.executable, *traced, "-m", "correlator", "run", "--config", str(config)]
        environ = {"CORRELATOR_WORKER__ID": name} if name else {}
        worker = WorkerProcess(command, self.folder / f"worker-{self._count}.log", port, environ)
        self._stack.callback(worker.stop)
        worker.wait(self.deadline, "/healthz")
        worker.base = cpu_seconds(worker.pid)
        if wait != "/healthz":
            worker.wait(self.deadline, wait)
        return worker

    def load(self, **options: Any) -> Child:
        """Start ``benchmarks.load`` with these options; its figures come with :meth:`loaded`."""
        self._count += 1
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        command = [sys.executable, "-m", "benchmarks.load", f"--config={self.config}", *given]
        child = Child(command, self.folder / f"load-{self._count}.log", piped=True)
        self._stack.callback(child.stop)
        return child

    def loaded(self, child: Child) -> dict[str, float]:
        """Wait for a load to end; its figures. Raises RuntimeError."""
        try:
            out, _ = child.process.communicate(timeout=max(1.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise RuntimeError("the load did not end in time") from None
        if child.process.returncode:
            raise RuntimeError(f"the load ended with {child.process.returncode}:\n{child.tail()}")
        figures: dict[str, float] = orjson.loads(out.splitlines()[-1])
        return figures

    def until(self, true: Callable[[], bool], workers: Sequence[WorkerProcess], what: str, every: float = 0.25) -> None:
        """Wait for something while the workers live. Raises RuntimeError."""
        while not true():
            for worker in workers:
                if worker.process.poll() is not None:
                    raise RuntimeError(f"a worker ended with {worker.process.returncode}:\n{worker.tail()}")
            if time.monotonic() > self.deadline:
                raise RuntimeError(f"not in time: {what}")
            time.sleep(every)

    @staticmethod
    def decided(workers: Sequence[WorkerProcess]) -> tuple[float, float]:
        """Alerts that have a verdict or were rejected, and the conservation difference, over all workers."""
        samples = [worker.samples() for worker in workers]
        done = sum(metric(s, "correlator_verdicts_total") + metric(s, "correlator_rejected_total") for s in samples)
        return done, sum(metric(s, "correlator_conservation_difference") for s in samples)

    @staticmethod
    def spent(workers: Sequence[WorkerProcess]) -> float:
        """CPU seconds of the workers since they began to serve HTTP."""
        return sum(cpu_seconds(worker.pid) - worker.base for worker in workers)

    @staticmethod
    def memory(workers: Sequence[WorkerProcess]) -> dict[str, float]:
        """Memory of the largest worker in MiB."""
        found = [memory(worker.pid) for worker in workers]
        return {name: max(one[name] for one in found) for name in ("rss", "peak")}


async def counted(settings: Settings) -> int:
    """Alerts decided in the life of all shards, as the last checkpoint of each says."""
    found: dict[bytes, int] = {}
    async for record in records(settings, state_topic(settings)):
        if record.key is not None and record.key.endswith(b"\x1fm\x1f") and record.value is not None:
            found[record.key] = sum(orjson.loads(record.value)["transitions"].values())
    return sum(found.values())


class Changelog(NamedTuple):
    """What a recovery would read, the keys that live in it, and the bytes of their last values."""

    records: int
    keys: int
    bytes: int


async def changelog(settings: Settings, partition: int | None = None) -> Changelog:
    """Of one partition, or of all."""
    last, count = dict[tuple[int, bytes], int](), 0
    async for record in records(settings, state_topic(settings)):
        if partition not in (None, record.partition):
            continue
        count += 1
        if record.value is None:
            last.pop((record.partition, record.key), None)
        else:
            last[record.partition, record.key] = len(record.key) + len(record.value)
    return Changelog(count, len(last), sum(last.values()))


def options(parser: argparse.ArgumentParser, *, deadline: float) -> None:
    """Where a measurement runs, the :func:`shape` of its fleet, and where its figures go."""
    parser.add_argument("--broker", default="kafka", help="embedded, kafka or HOST:PORT (default %(default)s)")
    parser.add_argument("--partitions", type=int, default=8, help="of the placed topic (default %(default)s)")
    parser.add_argument("--raw-partitions", type=int, default=8, help="of the raw topic (default %(default)s)")
    parser.add_argument("--deadline", type=float, default=deadline, help="give up on one row after so many seconds")
    parser.add_argument("--json", type=Path, help="write the figures here")


def shape(given: argparse.Namespace) -> dict[str, Any]:
    """What :func:`options` say about a fleet."""
    return {"partitions": given.partitions, "raw_partitions": given.raw_partitions, "deadline": given.deadline}


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises SystemExit, so that what was opened is closed."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """The logger of this name says nothing below critical."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def fleet(
    broker: str,
    graph: Graph,
    *,
    partitions: int = 8,
    raw_partitions: int = 8,
    shards: Sequence[str] = (),
    more: Mapping[str, Mapping[str, Any]] | None = None,
    deadline: float = 900.0,
) -> Iterator[Fleet]:
    """A fleet on ``embedded``, ``kafka`` or HOST:PORT, with topics of its own; ``more`` are further settings."""
    ends = time.monotonic() + deadline
    with terminable(), _quiet("aiokafka"), ExitStack() as stack:  # new topics have no leader for a moment: it says so
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="correlator-bench-")))
        if broker in ("embedded", "kafka"):
            started = stack.enter_context(brokers.embedded() if broker == "embedded" else brokers.kafka(heap="1g"))
            address = started.address
        else:
            address = broker
        topology = folder / "topology.json"
        topology.write_bytes(orjson.dumps(node_link(graph)))
        prefix = f"bench{os.getpid()}-{round(time.time()) % 100_000}"
        names = {
            name: f"{prefix}.{name}"
            for name in ("placed", "incidents", "history", "decisions", "rejected", "controls", "topology")
        }
        values: dict[str, dict[str, Any]] = {
            "broker": {"bootstrap": [address]},
            "topology": {"file": str(topology), "format": "node-link"},
            "worker": {"application": prefix},
            "http": {"port": 0},
            "topics": {"raw": [f"{prefix}.raw"], **names, "partitions": partitions, "raw_partitions": raw_partitions},
        }
        if shards:
            values["shards"] = {"labels": list(shards)}
        for section, keys in (more or {}).items():
            values.setdefault(section, {}).update(keys)
        config = folder / "correlator.toml"
        lines = (
            f"[{section}]\n" + "".join(f"{key} = {orjson.dumps(value).decode()}\n" for key, value in keys.items())
            for section, keys in values.items()
        )
        config.write_text("\n".join(lines))
        settings = load_settings(config, {})
        asyncio.run(create(settings))
        kind = {"embedded": "embedded broker", "kafka": f"Apache Kafka {brokers.KAFKA_VERSION}"}.get(broker, broker)
        yield Fleet(settings, config, folder, kind, ends, stack)
