"""A broker as a process on the loopback interface, which keeps its port and its directory over any number of starts."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from correlator.brokers.watchdog import dismiss, watch
from correlator.errors import BrokerError

__all__ = ["ENVIRONMENT", "HOST", "Broker", "BrokerProcess", "free_port", "made", "wait_ready"]

HOST: Final = "127.0.0.1"
# Below the ephemeral range: else a client that dials a stopped broker's port can be given that very port as its
# own, connect to itself, and keep the broker from coming back on it.
_PORTS: Final = range(20_000, 32_000)
_next_port = itertools.count(os.getpid() * 101)  # processes start apart
# The environment holds nothing that a broker should see, and much that it would obey (CLUSTER_ID, OTEL_*, KAFKA_*).
ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}


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
        self.address: Final = f"{HOST}:{port}"
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
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        orphaned = str(self.directory) if self._made_directory else ""
        self._watchdog = watch(self._process.pid, orphaned)
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
            dismiss(self._watchdog)
            self._watchdog = None

    def _log_tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except OSError as error:
            return str(error)


def made(directory: Path | None) -> Path | None:
    """The directory, made where it is missing."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    return directory


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
            probe.bind((HOST, port))
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
