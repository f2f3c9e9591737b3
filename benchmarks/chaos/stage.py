"""What a run of chaos happens on: a broker behind a proxy, and places for workers that are filled again when empty."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from benchmarks.chaos.proxy import Link, Mode, Proxy
from benchmarks.fleet import Fleet, WorkerProcess
from correlator import brokers
from correlator.brokers import BrokerProcess, Listener, free_port

__all__ = ["SETTINGS", "Net", "Place", "Stage", "stage"]

#: Short lives, so that everything that time brings about happens within minutes, and under faults.
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "broker": {"session_timeout": 6, "request_timeout": 20},
    "worker": {"stop_timeout": 10},
    "engine": {
        "settle": 10,
        "grace": 15,
        "reopen_window": 20,
        "gap_window": 15,
        "ttl": 90,
        "late_window": 60,
        "flap_window": 30,
        "flap_hold": 15,
        "incident_retention": 60,
        "change_window": 120,
    },
}
_AGAIN: Final = 1.0  # seconds after which a worker that ended is started again
_HOST: Final = "127.0.0.1"


class Net:
    """The links of all workers, under any number of effects at once."""

    def __init__(self, links: list[Link]) -> None:
        self._links = links
        self._effects: dict[int, tuple[int, Mode, float]] = {}

    def begin(self, effect: int, worker: int, mode: Mode = "open", delay: float = 0.0) -> None:
        """An effect on the link of a worker, or on all with -1."""
        self._effects[effect] = (worker, mode, delay)
        self._apply()

    def end(self, effect: int) -> None:
        """It is over."""
        self._effects.pop(effect, None)
        self._apply()

    def heal(self) -> None:
        """All are over."""
        self._effects.clear()
        self._apply()

    def _apply(self) -> None:
        for number, link in enumerate(self._links):
            here = [(mode, delay) for worker, mode, delay in self._effects.values() if worker in (-1, number)]
            modes = {mode for mode, _ in here}
            mode: Mode = "refuse" if "refuse" in modes else "swallow" if "swallow" in modes else "open"
            link.set(mode, max((delay for _, delay in here), default=0.0))


class Place:
    """A place for a worker, with a link of its own. Whenever its process ends, the next one is started."""

    def __init__(self, number: int, run: Fleet, address: str) -> None:
        self.number, self._run, self._address = number, run, address
        self.codes: Counter[int] = Counter()
        self.worker: WorkerProcess | None = None
        self.workers: list[WorkerProcess] = []
        self._ended = 0.0

    def start(self) -> None:
        """Start a worker; does not wait."""
        port = free_port()
        environ = {
            "CORRELATOR_BROKER__BOOTSTRAP": self._address,
            "CORRELATOR_HTTP__PORT": str(port),
            "CORRELATOR_WORKER__ID": f"w{self.number}",
        }
        log = self._run.folder / f"w{self.number}-{len(self.workers)}.log"
        command = [sys.executable, "-m", "benchmarks.poison", "run", "--config", str(self._run.config)]
        self.worker = WorkerProcess(command, log, port, environ)
        self.workers.append(self.worker)

    def tend(self) -> None:
        """Note an end, and start again a second later. To be called often."""
        if self.worker is None:
            if time.monotonic() - self._ended >= _AGAIN:
                self.start()
        elif self.worker.process.poll() is not None:
            self.codes[int(self.worker.process.returncode)] += 1
            self.worker.kill()  # its watchdog with it
            self.worker, self._ended = None, time.monotonic()

    def signal(self, number: signal.Signals) -> WorkerProcess | None:
        """Send a signal to the worker that is here now; the worker."""
        worker = self.worker
        if worker is not None:
            with suppress(ProcessLookupError):
                worker.process.send_signal(number)
        return worker

    def close(self) -> None:
        """Kill what is here."""
        if self.worker is not None:
            self.worker.kill()
            self.worker = None


@dataclass
class Stage:
    """A broker, the proxy's links by worker, and the address of the broker itself for the tool's own clients."""

    broker: BrokerProcess
    direct: str
    links: list[Link] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether the broker has transactions, and keeps its records over a restart."""
        return self.broker.kind == "kafka"


@contextmanager
def stage(kind: Literal["kafka", "embedded"], workers: int) -> Iterator[Stage]:
    """A broker of our own on loopback, behind a link per worker. Raises :class:`~correlator.errors.BrokerError`.

    Apache Kafka gets a listener per worker that advertises the worker's link, and one for the tool. The embedded
    broker has one listener only: all clients, the tool's too, share one link.
    """
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy())
        if kind == "embedded":
            outer = free_port()
            broker = brokers.embedded(free_port())
            broker.command = (*broker.command[:-1], f"tcp://{_HOST}:{outer}")
            link = proxy.link(outer, int(broker.address.rpartition(":")[2]))
            stack.enter_context(broker)
            yield Stage(broker, link.address, [link])
            return
        inner = [free_port() for _ in range(workers)]
        links = [proxy.link(free_port(), port) for port in inner]
        ways = enumerate(zip(inner, links, strict=True))
        listeners = [Listener(f"WORKER{n}", "PLAINTEXT", port, link.address) for n, (port, link) in ways]
        broker = brokers.kafka(listeners=listeners, heap="768m")
        stack.enter_context(broker)
        yield Stage(broker, broker.address, links)
