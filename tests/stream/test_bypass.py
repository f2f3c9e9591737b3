"""The bypass beside real workers: silent while they work, and heard when they are not."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.chaos.proxy import Mode
from benchmarks.chaos.stage import stage
from correlator.brokers import BrokerProcess, kafka
from correlator.bypass.feed import NOTE
from correlator.storms import Storm, storm
from tests.stream.conftest import Make
from tests.stream.harness import Installation, Worker, says, until
from tests.validation import problems

#: Seconds; the least that the settings allow.
FAILOPEN = 10


def critical(service: str, name: str = "ServiceDown", **values: Any) -> dict[str, Any]:
    return {
        "name": name,
        "service": service,
        "severity": "critical",
        "source": "test",
        "key": f"{service}/{name}",
    } | values


async def past(here: Installation) -> dict[str, list[dict[str, Any]]]:
    """Bypass incidents: id -> revisions in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in await here.read(here.settings.topics.incidents):
        if record.value is not None and any(name == NOTE for name, _ in record.headers):
            value = orjson.loads(record.value)
            found.setdefault(value["id"], []).append(value)
    return found


async def paged(here: Installation, *services: str) -> dict[str, list[dict[str, Any]]]:
    """Bypass incidents, once each of ``services`` has an open one; empty before."""
    found = await past(here)
    now = {revisions[-1]["root"]["service"] for revisions in found.values() if revisions[-1]["page"]["wanted"]}
    return found if set(services) <= now else {}


async def over(here: Installation) -> bool:
    return all(revisions[-1]["state"] == "closed" for revisions in (await past(here)).values())


async def watching(here: Installation, bypass: Worker) -> None:
    """Until heartbeats come through, as the bypass sees it."""

    ages = [0.0]

    async def proven() -> bool:
        ages.append(bypass.metrics("bypass_proof_age_seconds").get((), 0.0))
        return ages[-1] < ages[-2] and bypass.total("bypass_waiting_alerts") == 0

    await until("heartbeats come through", proven, alive=lambda: alive(bypass))


def alive(bypass: Worker) -> None:
    assert bypass.process.poll() is None, bypass.text[-3_000:]


async def set_up(
    install: Make, broker: BrokerProcess, graph: Any = None, **environ: str
) -> tuple[Installation, Worker, Worker]:
    """A worker, in an environment of its own, and a bypass; both are at work."""
    here = install(broker, bypass={"failopen_after": FAILOPEN}, topics={"partitions": 2, "raw_partitions": 2})
    if graph is not None:
        here.use_graph(graph)
    await here.create()
    worker, bypass = here.start(**environ), here.start_bypass()
    await here.ready()
    await watching(here, bypass)
    return here, worker, bypass


@contextmanager
def webhook(refusals: int) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """An HTTP server that refuses so many posts and then takes them: its address, and what it took."""
    taken: list[tuple[str, dict[str, Any]]] = []
    refused = iter(range(refusals))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            refuse = next(refused, None) is not None
            self.send_response(503 if refuse else 204)
            self.end_headers()
            if not refuse:
                taken.append((self.headers["ce-id"], orjson.loads(body)))

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/page?token=hush", taken
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("by", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "killed"])
async def test_a_worker_that_stops_in_a_storm(any_broker: BrokerProcess, install: Make, by: signal.Signals) -> None:
    """It goes on after SIGCONT; after SIGKILL another one is started."""
    drawn = storm("a", services=100, seed=5)
    here, worker, bypass = await set_up(install, any_broker, drawn)

    def back() -> None:
        if by == signal.SIGKILL:
            here.start()
        else:
            worker.signal(signal.SIGCONT)

    await lost(here, bypass, drawn, lambda: worker.signal(by), back)


@pytest.mark.broker
@pytest.mark.kafka
@pytest.mark.parametrize("mode", ["refuse", "swallow"])
async def test_a_worker_that_is_cut_off_in_a_storm(install: Make, mode: Mode) -> None:
    """Between the worker and the broker connections are reset and refused, or stay open and nothing passes."""
    drawn = storm("a", services=100, seed=5)
    with stage("kafka", 1) as on:
        (link,) = on.links
        here, _, bypass = await set_up(install, on.broker, drawn, CORRELATOR_BROKER__BOOTSTRAP=link.address)
        await lost(here, bypass, drawn, lambda: link.set(mode), link.set)


async def lost(
    here: Installation, bypass: Worker, drawn: Storm, lose: Callable[[], None], back: Callable[[], None]
) -> None:
    """The worker is lost in the middle of a storm: the first critical alert since is paged within failopen_after and a
    few seconds. When there is one again, it decides all, and all that was paged is closed."""
    (worker,) = (worker for worker in here.workers if worker is not bypass)
    feeding = asyncio.create_task(here.feed(drawn.alerts, partition=lambda a: len(a["service"]) % 2, pace=0.01))

    async def fed() -> bool:
        return bool(worker.total("alerts_received_total") > 50)

    await until("a part fed", fed)
    lose()
    began = time.monotonic()
    await feeding
    await here.feed([critical(f"lost-{number}", labels={"team": "db"}) for number in range(3)])
    found = await until("paged", lambda: paged(here, "lost-0", "lost-1", "lost-2"), 60, lambda: alive(bypass))
    assert time.monotonic() - began < FAILOPEN + 8
    for revisions in found.values():
        for value in revisions:
            assert problems("incident", value) == []
            assert value["flags"] == ["bypass"]
    (one,) = (r[-1] for r in found.values() if r[-1]["root"]["service"] == "lost-0")
    assert (one["page"]["wanted"], one["page"]["seq"], one["team"]) == (True, 1, "db")
    back()
    await until("closed", lambda: over(here), 60, lambda: alive(bypass))
    final = await past(here)
    assert final.keys() >= found.keys()
    assert not any(revisions[-1]["page"]["wanted"] for revisions in final.values())
    for revisions in final.values():
        numbers = [value["revision"] for value in revisions]
        assert numbers == sorted(set(numbers))
    assert "bypass open: no heartbeat" in bypass.text
    await here.drained()
    await here.stop()


async def test_a_healthy_run_publishes_nothing(any_broker: BrokerProcess, install: Make) -> None:
    """A storm, a restart of the bypass, and more alerts: not one bypass incident."""
    drawn = storm("c", services=200, seed=6)
    here, _, bypass = await set_up(install, any_broker, drawn)
    half = len(drawn.alerts) // 2
    await here.feed(drawn.alerts[:half], partition=lambda a: len(a["service"]) % 2)
    assert await bypass.stop() == 0
    await here.feed(drawn.alerts[half:], partition=lambda a: len(a["service"]) % 2)
    again = here.start_bypass()
    await here.ready(again)
    await watching(here, again)
    await here.feed([critical("late")])
    await here.drained()
    await asyncio.sleep(FAILOPEN + 3)  # longer than anything may stay without proof
    assert again.total("bypass_open") == 0
    assert again.total("bypass_alerts_read_total") > 0
    assert await past(here) == {}
    await here.stop()


async def test_a_killed_worker_and_a_restarted_bypass(embedded_broker: BrokerProcess, install: Make) -> None:
    """Nobody is there: capped with one summary, posted to the webhook; a bypass that starts anew tells nothing twice,
    and closes what the one before has opened."""
    with webhook(refusals=2) as (address, taken):
        here, worker, bypass = await set_up(install, embedded_broker)
        await bypass.stop()
        here.configure({"bypass": {"cap": 2, "webhook": address, "webhook_timeout": 2}})
        await here.feed([critical("known")])
        await here.drained()
        bypass = here.start_bypass()
        await here.ready(bypass)
        await watching(here, bypass)
        worker.kill()
        await here.feed([critical("known"), *(critical(f"s{number}") for number in range(5))])
        await here.feed([critical("s4", status="resolved"), critical("warned", severity="warning")])
        found = await until("paged", lambda: paged(here, "s0", "s1", "source test"), 60, lambda: alive(bypass))
        (summary,) = (r[-1] for r in found.values() if r[-1]["kind"] == "bundle")
        assert summary["counts"]["alerts"] == 2  # s2 and s3; s4 has ended, and known repeats what was decided
        assert len(found) == 3

        async def posted() -> bool:
            return {value["id"] for _, value in taken} == set(found)

        await until("posted", posted)
        assert bypass.metrics("bypass_posts_total")[(("outcome", "failed"),)] == 2
        assert "hush" not in bypass.text

        bypass.kill()
        bypass = here.start_bypass()
        await here.ready(bypass)
        await here.feed([critical("s0", status="resolved")])

        async def resolved() -> bool:
            return any(r[-1]["state"] == "resolved" for r in (await past(here)).values())

        await until("the resolution passed on", resolved, 60, lambda: alive(bypass))
        assert (await past(here)).keys() == found.keys()
        here.start()
        await until("closed", lambda: over(here), 60, lambda: alive(bypass))
        last = {r[-1]["root"]["service"]: r[-1]["resolution"] for r in (await past(here)).values()}
        assert last == {"s0": "recovered", "s1": "unknown", "source test": "unknown"}
        await until("closings posted", closings(taken, set(found)))
        await here.stop()


def closings(taken: list[tuple[str, dict[str, Any]]], ids: set[str]) -> Any:
    async def all_closed() -> bool:
        return {value["id"] for _, value in taken if value["state"] == "closed"} == ids

    return all_closed


async def test_an_engine_that_stands_while_the_intake_goes_on(embedded_broker: BrokerProcess, install: Make) -> None:
    """Heartbeats are written and placed as ever: it is the end of the way that is missing."""
    here = install(embedded_broker, bypass={"failopen_after": FAILOPEN})
    here.command = (str(Path(__file__).with_name("stuck.py")),)
    await here.create()
    worker, bypass = here.start(), here.start_bypass()
    await here.ready()
    await watching(here, bypass)
    (here.folder / "stuck").touch()
    await here.feed([critical("db")])
    await until("paged", lambda: paged(here, "db"), 40, lambda: alive(bypass))
    assert worker.get("/readyz")[0] == 200
    (here.folder / "stuck").unlink()
    await until("closed", lambda: over(here), 60, lambda: alive(bypass))
    await here.stop()


@pytest.mark.broker
@pytest.mark.kafka
async def test_too_much_waits(kafka_broker: BrokerProcess, install: Make) -> None:
    """More records than max_lag open the bypass long before the heartbeat is old; it shuts at half of that."""
    here = install(kafka_broker, bypass={"failopen_after": 3_600, "max_lag": 50})
    await here.create()
    worker, bypass = here.start(), here.start_bypass()
    await here.ready()
    await watching(here, bypass)
    await asyncio.sleep(FAILOPEN)  # nothing is judged in the first ten seconds
    worker.signal(signal.SIGSTOP)
    await here.feed([*(critical(f"minor-{n}", severity="warning") for n in range(100)), critical("db")])
    found = await until("paged", lambda: paged(here, "db"), 30, lambda: alive(bypass))
    assert len(found) == 1
    assert "records of the raw topic wait for the correlator" in bypass.text
    worker.signal(signal.SIGCONT)
    await until("closed", lambda: over(here), 60, lambda: alive(bypass))
    await here.stop()


@pytest.mark.broker
@pytest.mark.kafka
@pytest.mark.slow
async def test_a_restart_of_the_broker(install: Make) -> None:
    """The bypass outlives it, tells nothing because of it, and is heard when the worker does not outlive it."""
    with kafka() as broker:
        here, worker, bypass = await set_up(install, broker)
        await asyncio.to_thread(broker.restart)
        await watching(here, bypass)
        assert await past(here) == {}
        worker.kill()
        await here.feed([critical("db")])
        await until("paged", lambda: paged(here, "db"), 60, lambda: alive(bypass))
        assert await bypass.stop() == 0


@pytest.mark.broker
async def test_missing_topics(embedded_broker: BrokerProcess, install: Make) -> None:
    """Exit code 3 and one line."""
    here = install(embedded_broker)
    bypass = here.start_bypass()
    assert await bypass.ended() == 3
    assert f"{here.name}.placed" in bypass.text
    assert "Traceback" not in bypass.text


async def test_a_bypass_says_what_it_does(embedded_broker: BrokerProcess, install: Make) -> None:
    """It logs that it watches, and ends with 0 on SIGTERM."""
    here = install(embedded_broker, bypass={"failopen_after": FAILOPEN})
    await here.create()
    bypass = here.start_bypass()
    await says(bypass, f"watching {here.name}: bypass opens after 10 s")
    assert await bypass.stop() == 0
