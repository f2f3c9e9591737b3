"""Apache Kafka: where its jars come from, and one node of it with the settings that tests and measurements want."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from correlator.brokers.process import ENVIRONMENT, HOST, BrokerProcess, free_port, made
from correlator.errors import BrokerError

__all__ = ["KAFKA_VERSION", "Listener", "fetch_kafka", "kafka", "kafka_available"]

KAFKA_VERSION: Final = "4.1.0"

_POM: Final = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "pom.xml"
_CLUSTER_ID: Final = "YWxlcnQtY29ycmVsYXRvcg"  # "alert-correlator" in base 64: the 16 bytes that Kafka wants


class Listener(NamedTuple):
    """A way to a broker beside its plain one. Clients are told to come to ``advertised`` where it is given."""

    name: str
    protocol: str
    port: int
    advertised: str = ""

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.port}"


def kafka(
    port: int | None = None,
    directory: Path | None = None,
    properties: Mapping[str, str] | None = None,
    heap: str = "512m",
    format_options: Sequence[str] = (),
    listeners: Sequence[Listener] = (),
) -> BrokerProcess:
    """Apache Kafka as one node, not started; formats ``directory`` unless it is formatted already.

    ``properties`` override those of ``server.properties``; ``heap`` is in Java's notation; ``format_options`` are those
    of the storage tool, such as ``--add-scram``; ``listeners`` come beside the plain one. Topics are not created by
    use, and records are not removed by age, because tests write records with old times.
    Raises BrokerError when Java is missing or too old, or when the jars cannot be had.
    """
    jars = fetch_kafka()
    process = BrokerProcess("kafka", port or free_port(), made(directory))
    settings = process.directory / "server.properties"
    values = _server_properties(process, listeners) | dict(properties or {})
    settings.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    java = (_program("java"), "-cp", f"{jars}/*", "-Dorg.slf4j.simpleLogger.showDateTime=true")
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    memory = (f"-Xms{heap}", f"-Xmx{heap}", "-XX:+ExitOnOutOfMemoryError")
    process.command = (*java, quiet, *memory, "kafka.Kafka", str(settings))
    if not Path(values["log.dirs"], "meta.properties").exists():
        short = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "kafka.tools.StorageTool", "format")
        try:
            _run(*java, quiet, *short, "-t", _CLUSTER_ID, "-c", str(settings), *format_options, environment=ENVIRONMENT)
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


def _server_properties(process: BrokerProcess, listeners: Sequence[Listener]) -> dict[str, str]:
    controller, plain = f"{HOST}:{free_port()}", f"PLAINTEXT://{process.address}"
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"} | {way.name: way.protocol for way in listeners}
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": ",".join([plain, f"CONTROLLER://{controller}", *(f"{w.name}://{w.address}" for w in listeners)]),
        "advertised.listeners": ",".join([plain, *(f"{w.name}://{w.advertised or w.address}" for w in listeners)]),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "inter.broker.listener.name": "PLAINTEXT",
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
