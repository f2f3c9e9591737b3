"""The demonstration: a broker, a worker, a storm of alerts, and the one incident that comes out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.live import Live
from rich.table import Table

from correlator import brokers
from correlator.config import Settings, load_settings
from correlator.errors import BrokerError
from correlator.storms import Storm, node_link, storm
from correlator.stream.clients import producer, reader
from correlator.stream.rejected import records
from correlator.stream.topics import create

__all__ = ["demo"]

_DEADLINE = 120.0


async def demo(*, alerts: int, services: int, variant: str, seed: int, address: str | None, started: float) -> None:
    """Show the whole path once. Raises :class:`BrokerError` when nothing comes out in time."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that broker and worker end with us
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"drawing a storm: {alerts:,} alerts over {services:,} services, variant {variant}, seed {seed}")
    drawn = storm(variant, services=services, alerts=alerts, seed=seed)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="correlator-demo-")))
        if address is None:
            process = stack.enter_context(brokers.embedded())
            address = process.address
            console.print(f"embedded broker on {address}")
        settings, config = _settings(folder, drawn, address)
        await create(settings)
        console.print(f"topics created, starting a worker (correlator run --config {config})")
        await stack.enter_async_context(_worker(config, folder))
        watch = _Watch(settings)
        await _until_ready(settings, folder)
        following = asyncio.create_task(watch.follow())
        try:
            await _storm(console, settings, drawn, watch)
            decisions = await _decisions(settings, len(drawn.alerts))
        finally:
            following.cancel()
            await asyncio.wait([following])
    _report(console, drawn, watch, decisions, started)


def _settings(folder: Path, drawn: Storm, address: str) -> tuple[Settings, Path]:
    graph, config = folder / "topology.json", folder / "correlator.toml"
    graph.write_bytes(orjson.dumps(node_link(drawn.graph)))
    name = f"demo{os.getpid()}"
    config.write_text(
        f'[broker]\nbootstrap = ["{address}"]\n'
        f'[topology]\nfile = "{graph}"\nformat = "node-link"\n'
        f'[worker]\napplication = "{name}"\n'
        "[http]\nport = 0\n"
        "[topics]\npartitions = 1\nraw_partitions = 1\n"
    )
    return load_settings(config, {}), config


@asynccontextmanager
async def _worker(config: Path, folder: Path) -> AsyncIterator[None]:
    log = (folder / "worker.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "correlator", "run", "--config", str(config), stdout=log, stderr=log
    )
    try:
        yield
        if process.returncode:
            raise BrokerError(f"the worker ended: {(folder / 'worker.log').read_text()[-500:]}")
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
        log.close()


async def _until_ready(settings: Settings, folder: Path) -> None:
    """The worker is ready when the graph in force has been announced and its ticks come through."""
    for _ in range(300):
        async for record in records(settings, settings.topics.placed):
            if record.value and b'"tick"' in record.value:
                return
        await asyncio.sleep(0.2)
    raise BrokerError(f"the worker does not start: {(folder / 'worker.log').read_text()[-500:]}")


async def _decisions(settings: Settings, wanted: int) -> list[dict[str, Any]]:
    """All receipts; an incident may be visible a moment before the receipts of the same checkpoint are."""
    found: list[dict[str, Any]] = []
    for _ in range(50):
        found = [d async for r in records(settings, settings.topics.decisions) for d in _receipts(r.value)]
        if len(found) >= wanted:
            break
        await asyncio.sleep(0.1)
    return found


class _Watch:
    """Follows the incidents topic as a dashboard would: the highest revision of each id."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.last: dict[str, dict[str, Any]] = {}
        self.revisions = 0
        self.changed = time.monotonic()

    async def follow(self) -> None:
        consumer = reader(self._settings)
        await consumer.start()
        try:
            consumer.subscribe([self._settings.topics.incidents])
            while True:
                for found in (await consumer.getmany(timeout_ms=200)).values():
                    for record in found:
                        if record.value is not None:
                            incident = orjson.loads(record.value)
                            self.revisions += 1
                            self.last[incident["id"]] = incident
                            self.changed = time.monotonic()
        finally:
            await consumer.stop()

    def current(self) -> list[dict[str, Any]]:
        live = [i for i in self.last.values() if i["state"] not in ("merged", "closed")]
        return sorted(live, key=lambda i: (-i["counts"]["alerts"], i["id"]))

    def explained(self) -> int:
        return sum(i["counts"]["alerts"] for i in self.current())


async def _storm(console: Console, settings: Settings, drawn: Storm, watch: _Watch) -> None:
    total = len(drawn.alerts)
    watch.total = total  # type: ignore[attr-defined]
    made = producer(settings)
    await made.start()
    begun = time.monotonic()
    sending = asyncio.create_task(_send(made, settings.topics.raw[0], drawn))
    live = Live(_progress(watch, 0, total), console=console, refresh_per_second=4) if console.is_terminal else None
    said = 0.0
    try:
        if live is not None:
            live.start()
        while watch.explained() < total:
            await asyncio.sleep(0.1)
            passed = time.monotonic() - begun
            if passed > _DEADLINE:
                raise BrokerError(f"{watch.explained():,} of {total:,} alerts are explained after {passed:.0f} s")
            if live is not None:
                live.update(_progress(watch, passed, total))
            elif passed - said >= 2:
                said = passed
                console.print(f"{passed:5.1f} s  {watch.explained():>7,} alerts in {len(watch.current())} incidents")
    finally:
        if live is not None:
            live.stop()
        await sending
        await made.stop()
    watch.seconds = watch.changed - begun  # type: ignore[attr-defined]


async def _send(made: Any, topic: str, drawn: Storm) -> None:
    futures = []
    shift = time.time() - drawn.arrivals[-1]  # as if the storm had just ended
    for number, alert in enumerate(drawn.alerts):
        value = orjson.dumps({**alert, "starts_at": alert["starts_at"] + shift})
        futures.append(await made.send(topic, value, key=b"", partition=0))
        if not number % 500:
            await asyncio.sleep(0)
    await asyncio.gather(*futures)


def _progress(watch: _Watch, passed: float, total: int) -> Table:
    table = Table(box=None, show_header=False)
    table.add_row("time", f"{passed:.1f} s")
    table.add_row("alerts explained", f"{watch.explained():,} of {total:,}")
    table.add_row("incidents now", f"{len(watch.current())}")
    table.add_row("revisions seen", f"{watch.revisions}")
    for incident in watch.current()[:3]:
        table.add_row("", incident["title"])
    return table


def _receipts(value: bytes | None) -> list[dict[str, Any]]:
    return orjson.loads(value)["decisions"] if value else []


def _report(console: Console, drawn: Storm, watch: _Watch, decisions: list[dict[str, Any]], started: float) -> None:
    seconds: float = watch.seconds  # type: ignore[attr-defined]
    current = watch.current()
    console.print()
    console.print(f"alerts in      {len(drawn.alerts):,}")
    console.print(f"incidents out  {len(current):,}")
    for incident in current[:5]:
        root = incident["root"]
        sure = f"confidence {incident['confidence']}"
        console.print(f"root           {root['service']}: {root['name']} ({root['severity']}), {sure}")
        for reason in incident["reasons"]:
            console.print(f"               - {reason}")
    roots = {i["root"]["service"] for i in current}
    missing = [r for r in drawn.truth["roots"] if r not in roots]
    longest = max((d for d in decisions if d["verdict"] == "symptom"), key=lambda d: len(d["path"]), default=None)
    if longest is not None:
        console.print(f"one path       {longest['name']} on {' -> '.join(longest['path'])}")
    console.print(f"wall time      {seconds:.1f} s from the first alert sent to the last one explained")
    console.print(f"rate           {len(drawn.alerts) / seconds:,.0f} alerts/s, {len(decisions):,} receipts")
    console.print(f"all in all     {time.monotonic() - started:.1f} s")
    if missing:
        raise BrokerError(f"the true roots {', '.join(missing)} were not named")
