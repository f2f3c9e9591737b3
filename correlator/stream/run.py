"""Run one worker until it is told to stop, or cannot go on; the exit code and one line say which."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from correlator import calendars, program
from correlator.assemble import load_graph
from correlator.config import Settings, load_settings
from correlator.dialects import NOTES, dialects
from correlator.errors import EXIT_CODES, BrokerError, CorrelatorError, SettingsError
from correlator.metrics import Metrics
from correlator.stream import clients, topics
from correlator.stream.http import Http
from correlator.stream.worker import Worker
from topology import ServiceGraph

__all__ = ["run", "why"]

log = logging.getLogger("correlator")

_UNSAVED: Final = "the broker did not take the last checkpoint within {:g} s; it will be made up for at the next start"


async def run(
    settings: Settings,
    path: Path | None,
    environ: Mapping[str, str],
    *,
    connect: clients.Clients | None = None,
    create_topics: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Run until SIGTERM or SIGINT. Raises :class:`CorrelatorError` with the one line that says why not."""
    graph = _graph(settings)
    if settings.maintenance.calendars:
        calendars.require()
    partitions = await topics.require(settings, make=create_topics)
    transactions = await clients.has_transactions(settings, settings.worker.application)
    say(_guarantee(settings, transactions))
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    metrics = Metrics(
        registry,
        clock=time.time,
        version=program.version(),
        compiled=program.compiled(),
        dialects=dialects(),
        notes=NOTES,
    )
    connect = connect or clients.Clients(settings)
    name = settings.worker.id or f"{socket.gethostname()}-{os.getpid()}"
    worker = Worker(settings, graph, partitions, transactions=transactions, metrics=metrics, name=name, connect=connect)
    http = Http(metrics, lambda: worker.ready)
    if settings.http.enabled:
        port = http.start(settings.http.host, settings.http.port)
        say(f"metrics on http://{settings.http.host}:{port}/metrics")
    gc.collect()
    gc.freeze()  # the graph and the modules stay for good: keep the collector from walking them
    # What a backlog holds is freed by its counts of references: keep the collector from walking it. The old generation
    # is walked by _beat, and not in the middle of a storm.
    gc.set_threshold(200_000, 20, 1_000_000)
    try:
        await _serve(worker, http, path, environ, say)
    finally:
        http.stop()


def _graph(settings: Settings) -> ServiceGraph:
    loaded = load_graph(settings)
    for problem in loaded.problems:
        if problem.severity == "warning":
            log.warning("%s: %s", problem.place, problem.message)
    return loaded.graph_or_raise()


def _guarantee(settings: Settings, transactions: bool) -> str:
    where = settings.broker.bootstrap[0]
    if transactions:
        return (
            f"broker {where}: transactions, so outputs and state are written together and stale writers are fenced off"
        )
    return (
        f"broker {where}: no transactions, so after a crash some outputs repeat (same id, revision and bytes), "
        "and a stale writer is not fenced off"
    )


async def _serve(
    worker: Worker, http: Http, path: Path | None, environ: Mapping[str, str], say: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(clients.on_exception)
    stop, changed = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    tasks = [
        asyncio.create_task(_start(worker), name="start"),
        asyncio.create_task(_beat(http), name="pulse"),
        asyncio.create_task(_reloads(worker, path, environ, changed, say), name="reload"),
    ]
    stopping = asyncio.create_task(stop.wait(), name="signal")
    either: set[asyncio.Future[Any]] = {stopping, worker.failure}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for task in [*tasks, stopping]:
        task.cancel()
    await asyncio.gather(*tasks, stopping, return_exceptions=True)
    failure = worker.failure.result() if worker.failure.done() else None
    unsaved = CorrelatorError(_UNSAVED.format(worker.settings.worker.stop_timeout), reason="stalled")
    _leave_later(failure or unsaved, 2 * worker.settings.worker.stop_timeout, say)
    failure = await _stop(worker, failure, unsaved)
    if failure is not None:
        raise failure
    say("stopped: checkpoints written, offsets committed, group left")


async def _stop(worker: Worker, failure: CorrelatorError | None, unsaved: CorrelatorError) -> CorrelatorError | None:
    """Stop in time; the error to end with: why we stop at all, else what was wrong with the stop."""
    task = asyncio.create_task(worker.stop(), name="stop")
    await asyncio.wait([task], timeout=worker.settings.worker.stop_timeout)
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if task.cancelled():  # or a client of the broker ended as if it were
        return failure or unsaved
    error = task.exception()
    return failure or (None if error is None else why(worker.settings, error))


def _leave_later(error: CorrelatorError, seconds: float, say: Callable[[str], None]) -> None:
    """Make sure that the process ends: a client that waits for a dead broker may hold it up for minutes."""

    def leave() -> None:
        say(f"correlator: {error}")
        os._exit(EXIT_CODES.get(error.reason, 1))

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


async def _start(worker: Worker) -> None:
    try:
        await worker.start()
        while not worker.app.crashed:  # noqa: ASYNC110 - Faust has no event for it
            await asyncio.sleep(0.25)
        reason = worker.app.crash_reason
    except Exception as error:
        reason = error
    worker.fail(why(worker.settings, reason))


def why(settings: Settings, reason: BaseException) -> CorrelatorError:
    """Why the worker cannot go on, when something raised ``reason``."""
    if isinstance(reason, CorrelatorError):
        return reason
    if isinstance(reason, KafkaError):  # the broker went away, perhaps between the checks and the start
        return BrokerError(f"{settings.broker.bootstrap[0]}: {reason!r}")
    log.error("the worker crashed", exc_info=reason)
    return CorrelatorError(f"the worker crashed: {reason!r}", reason="crashed")


async def _beat(http: Http) -> None:
    """Say once a second that the event loop runs; collect the oldest garbage every ten minutes."""
    for second in itertools.count(1):
        http.pulse()
        if not second % 600:
            gc.collect()
        await asyncio.sleep(1)


# -- reload ---------------------------------------------------------------------------------------------------


async def _reloads(
    worker: Worker, path: Path | None, environ: Mapping[str, str], changed: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Read settings and graph again on SIGHUP, or when a file changed."""
    seen = _stamps(worker.settings, path)
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), 2)
        stamps = _stamps(worker.settings, path)
        asked = changed.is_set()
        changed.clear()
        if not asked and (stamps == seen or not worker.settings.topology.reload):
            continue
        seen = stamps
        try:
            settings = await asyncio.to_thread(load_settings, path, environ)
            graph = (await asyncio.to_thread(load_graph, settings)).graph_or_raise()
            await worker.reload(settings, graph)
            say(f"reloaded: graph {graph.version}, {len(graph)} services")
        except SettingsError as error:
            say(f"not reloaded: {'; '.join(error.problems)}")
        except Exception as error:
            say(f"not reloaded: {error}")


def _stamps(settings: Settings, path: Path | None) -> list[tuple[str, int]]:
    files = [Path(p) for p in (path, settings.topology.file) if p]
    return [(str(f), f.stat().st_mtime_ns) for f in files if f.exists()]
