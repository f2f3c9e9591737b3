"""An installation of its own for each test: topics, settings file, workers as processes; and the oracle."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families

import correlator
from benchmarks.oracle import Oracle
from benchmarks.outcome import Outcome, Published
from correlator.brokers import BrokerProcess, free_port
from correlator.config import Settings, load_settings
from correlator.config_load import toml_text
from correlator.storms import Storm, node_link
from correlator.stream.topics import create

__all__ = ["GRAPH", "LAUNCHER", "Installation", "Oracle", "Published", "Worker", "alert", "says", "until"]

ROOT: Final = Path(str(correlator.__file__)).parent.parent
#: The program with a bug in its engine.
LAUNCHER: Final = ("-m", "benchmarks.poison")
#: A service and what it depends on.
GRAPH: Final[dict[str, Any]] = {
    "directed": True,
    "multigraph": False,
    "graph": {"direction": "depends_on"},
    "nodes": [{"id": "web", "team": "front"}, {"id": "db", "team": "back"}],
    "edges": [{"source": "web", "target": "db"}],
}


async def until(
    what: str, condition: Callable[[], Awaitable[Any]], timeout: float = 60.0, alive: Callable[[], None] = lambda: None
) -> Any:
    """The first true answer of ``condition``; AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = await condition()
        if found:
            return found
        alive()
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s, last answer {found!r}"
        await asyncio.sleep(0.1)


def alert(service: str, name: str = "ServiceDown", **values: Any) -> dict[str, Any]:
    """A critical alert of a service."""
    return {"name": name, "service": service, "severity": "critical", **values}


class Worker:
    """One worker process, or another command that runs until it is told to stop."""

    def __init__(
        self,
        name: str,
        config: Path,
        folder: Path,
        environ: Mapping[str, str],
        command: Sequence[str],
        action: str = "run",
    ) -> None:
        self.name, self.port = name, free_port()
        self.log = folder / f"{name}.log"
        key = "HTTP__PORT" if action == "run" else f"{action.upper()}__HTTP_PORT"
        values = {f"CORRELATOR_{key}": str(self.port), "CORRELATOR_WORKER__ID": name, "PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, action, "--config", str(config)],
                cwd=folder,
                env={**os.environ, **values, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def text(self) -> str:
        """What it wrote."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()

    async def ended(self, timeout: float = 60.0) -> int:
        """The exit code, once it has ended."""

        async def over() -> bool:
            return self.process.poll() is not None

        await until(f"end of {self.name}", over, timeout)
        assert self.process.returncode is not None
        return self.process.returncode

    async def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return await self.ended(timeout)

    def get(self, path: str, accept: str = "") -> tuple[int, str, str]:
        """Status, content type and body; (0, "", "") while nothing answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()
        except OSError:
            return 0, "", ""

    def metrics(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Samples of ``correlator_<name>`` by their labels."""
        _, _, text = self.get("/metrics")
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"correlator_{name}"
        }

    def total(self, name: str) -> float:
        """Their sum."""
        return sum(self.metrics(name).values())


async def says(worker: Worker, words: str, timeout: float = 40.0) -> None:
    """Wait until the worker has written ``words``."""

    async def said() -> bool:
        return words in worker.text

    await until(f"{worker.name} says {words!r}", said, timeout)


class Installation:
    """Topics, settings and workers under one name."""

    def __init__(
        self, broker: BrokerProcess, name: str, folder: Path, sections: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.broker, self.name, self.folder = broker, name, folder
        self.command: Sequence[str] = ("-m", "correlator")
        folder.mkdir(parents=True, exist_ok=True)
        self.config, self.graph_file = folder / "correlator.toml", folder / "topology.json"
        self.workers: list[Worker] = []
        self.ends: dict[TopicPartition, int] = {}
        topics: dict[str, Any] = {
            key: f"{name}.{key}"
            for key in ("placed", "incidents", "history", "decisions", "rejected", "controls", "topology")
        }
        topics |= {"raw": [f"{name}.raw"], "changes": [f"{name}.changes"]}
        self.sections: dict[str, dict[str, Any]] = {
            "broker": {"bootstrap": [broker.address], "session_timeout": 6, "request_timeout": 20},
            "topics": {
                **topics,
                "raw": [f"{name}.raw"],
                "changes": [f"{name}.changes"],
                "partitions": 1,
                "raw_partitions": 1,
            },
            "worker": {"application": name, "stop_timeout": 10},
            "topology": {},
        }
        self.configure(sections or {})

    # -- settings --------------------------------------------------------------------------------------------

    def configure(self, sections: Mapping[str, Mapping[str, Any]]) -> Settings:
        """Change settings and write the file."""
        for section, values in sections.items():
            self.sections.setdefault(section, {}).update(values)
        self.config.write_text(toml_text(self.sections))
        self.settings = load_settings(self.config, {})
        return self.settings

    def use_graph(self, graph: Any) -> None:
        """Write the topology file."""
        if isinstance(graph, Storm):
            graph = node_link(graph.graph)
        self.graph_file.write_bytes(orjson.dumps(graph))
        if "file" not in self.sections["topology"]:
            self.configure({"topology": {"file": str(self.graph_file), "format": "node-link"}})

    async def create(self) -> None:
        """Create the topics."""
        await create(self.settings)

    # -- workers ---------------------------------------------------------------------------------------------

    def start(self, **environ: str) -> Worker:
        """Start one more worker; does not wait."""
        worker = Worker(f"w{len(self.workers)}", self.config, self.folder, environ, self.command)
        self.workers.append(worker)
        return worker

    def start_bypass(self, **environ: str) -> Worker:
        """Start a bypass; does not wait."""
        name = f"b{sum(worker.name.startswith('b') for worker in self.workers)}"
        bypass = Worker(name, self.config, self.folder, environ, ("-m", "correlator"), "bypass")
        self.workers.append(bypass)
        return bypass

    async def ready(self, *workers: Worker, timeout: float = 60.0) -> None:
        """Wait until the workers (all by default) own what the group gave them."""
        for worker in workers or [w for w in self.workers if w.process.poll() is None]:

            async def answers(worker: Worker = worker) -> bool:
                assert worker.process.poll() is None, worker.text[-3000:]
                return worker.get("/readyz")[0] == 200

            await until(f"{worker.name} ready", answers, timeout)

    async def stop(self) -> None:
        """Stop every worker in order; AssertionError when one does not end with exit code 0."""
        running = [worker for worker in self.workers if worker.process.poll() is None]
        for worker in running:
            worker.process.terminate()
        for worker in running:
            assert await worker.ended() == 0, worker.text[-3000:]

    def close(self) -> None:
        """Kill what is left."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()

    def command_line(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the program; the first word may be several, as in "maintenance list"."""
        return subprocess.run(
            [sys.executable, "-m", "correlator", *words[0].split(), "--config", str(self.config), *words[1:]],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    # -- topics ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        """A producer for alerts; large enough for any record, and idempotent where the broker can: none comes twice."""
        settings: dict[str, Any] = {
            "linger_ms": 5,
            "max_request_size": 16 << 20,
            "max_batch_size": 1 << 20,
            "request_timeout_ms": 60_000,
        }
        settings |= {"bootstrap_servers": self.broker.address, "enable_idempotence": self.broker.kind == "kafka"}
        async with AIOKafkaProducer(**{**settings, **options}) as made:
            yield made

    async def feed(
        self,
        alerts: Iterable[Any],
        *,
        partition: Callable[[Any], int] = lambda _: 0,
        pack: int = 1,
        pace: float = 0.0,
        producer: AIOKafkaProducer | None = None,
    ) -> int:
        """Send alerts (dicts, or bytes as they are), ``pack`` of them in a record; the number of records."""
        topic, waiting, sent = self.settings.topics.raw[0], dict[int, list[Any]](), 0
        async with nullcontext(producer) if producer is not None else self.producer() as made:
            futures = []

            async def send(number: int, value: bytes | None) -> None:
                nonlocal sent
                futures.append(await made.send(topic, value, key=b"", partition=number))
                sent += 1
                if pace and not sent % 50:
                    await asyncio.sleep(50 * pace)

            for alert in alerts:
                if not isinstance(alert, dict):
                    await send(sent % self.settings.topics.raw_partitions, alert)
                    continue
                group = waiting.setdefault(partition(alert), [])
                group.append(alert)
                if len(group) >= pack:
                    await send(partition(alert), orjson.dumps(group if pack > 1 else group[0]))
                    group.clear()
            for number, group in waiting.items():
                if group:
                    await send(number, orjson.dumps(group))
            for meta in await asyncio.gather(*futures):
                tp = TopicPartition(meta.topic, meta.partition)
                self.ends[tp] = max(self.ends.get(tp, 0), meta.offset + 1)
        return sent

    @property
    def outcome(self) -> Outcome:
        """What its topics hold."""
        return Outcome(self.settings, self.broker.address, exact=self.broker.kind == "kafka")

    async def read(self, topic: str, *, offsets: Mapping[int, int] | None = None) -> list[Any]:
        """Every committed record of a topic, partition by partition, from ``offsets`` on."""
        return await self.outcome.read(topic, offsets=offsets)

    async def incidents(self) -> dict[str, Any]:
        """Root service -> last value of its incident."""
        last = {r.key: orjson.loads(r.value) for r in await self.read(self.settings.topics.incidents) if r.value}
        return {incident["root"]["service"]: incident for incident in last.values()}

    async def in_log(self, kind: str) -> list[dict[str, Any]]:
        """Controls of a kind in the deciding log."""
        values = (orjson.loads(r.value) for r in await self.read(self.settings.topics.placed) if r.value)
        return [value for value in values if value.get("type") == kind]

    async def drained(self, timeout: float = 120.0) -> None:
        """Wait until everything fed has been placed and, after that, decided and saved."""

        async def reached(wanted: Mapping[TopicPartition, int]) -> bool:
            try:
                done = await self.outcome.committed()
            except (KafkaError, AssertionError):  # a broker that is not back yet; aiokafka asserts that it is
                return False
            return all(done.get(tp, 0) >= end for tp, end in wanted.items())

        await until("everything placed", lambda: reached(self.ends), timeout)
        ends = await self.outcome.placed_ends()
        await until("everything decided", lambda: reached(ends), timeout)

    async def all_decided(self, worker: Worker, alerts: int) -> None:
        """Wait until all that was fed is decided, by a worker that has lived, stop, and ask the oracle."""
        await self.drained()
        assert worker.process.poll() is None, worker.text[-2_000:]
        await self.stop()
        _, oracle = await self.check()
        assert oracle.inputs == alerts

    async def published(self) -> Published:
        """Everything that the workers wrote. Call it when they have stopped."""
        return await self.outcome.published()

    async def check(self, cut: bytes = b"") -> tuple[Published, Oracle]:
        """The oracle: what was published is what the engine says about the log, byte for byte."""
        published = await self.published()
        oracle = Oracle.of(published.placed, published.graphs, published.applied, cut)
        kafka = self.broker.kind == "kafka"  # compacts older values away when a run takes longer than a minute
        found = oracle.differences(published, once=kafka, compacted=kafka)
        assert not found, "\n".join(found)
        return published, oracle
