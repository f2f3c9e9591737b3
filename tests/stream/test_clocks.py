"""A source whose clock is ahead, from the raw log to the placed one and the metrics."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import orjson
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from correlator.assemble import placer_for, reader_for
from correlator.errors import CorrelatorError
from correlator.metrics import Metrics
from correlator.stream.intake import Intake
from tests.stream.life import GRAPH, PLACED, SETTINGS
from tests.stream.memory import Broker, MemoryClients
from tests.validation import problems

RAW = TopicPartition(SETTINGS.topics.raw[0], 0)


def failed(error: CorrelatorError) -> None:
    raise error


async def seek(_: Any, offset: int) -> None:
    raise AssertionError(f"asked for {offset}")


async def placed(alerts: list[dict[str, Any]], received: float) -> tuple[list[dict[str, Any]], str]:
    """What the intake writes of raw records, one for each alert, and the metrics a heartbeat later."""
    broker, metrics = Broker(transactions=False), Metrics(CollectorRegistry(), clock=time.time, dialects=["native"])
    placer = placer_for(SETTINGS, GRAPH)
    readers = {RAW.topic: reader_for(SETTINGS, RAW.topic)}
    partitions = dict.fromkeys((PLACED.topic, SETTINGS.topics.rejected, RAW.topic), 1)
    intake = Intake(
        *(SETTINGS, MemoryClients(SETTINGS, broker), readers, lambda: placer, lambda: 0),
        *(partitions, metrics, failed, seek),
    )
    await intake.start()
    await intake.begin({RAW: 0})
    stamp = round(received * 1000)
    broker.append(RAW, [SimpleNamespace(timestamp=stamp, key=b"", value=orjson.dumps(a), headers=()) for a in alerts])
    done = asyncio.Event()
    for offset in range(len(alerts)):
        records, _ = broker.read(RAW, offset, 1)
        message = SimpleNamespace(tp=RAW, offset=offset)
        await intake.take(SimpleNamespace(message=message, ack=done.set), records)
        await done.wait()
        done.clear()
    intake.beat(set())
    await asyncio.sleep(0.1)
    await intake.stop()
    values = [orjson.loads(record.value or b"") for record in broker.records(PLACED.topic)]
    return [value for value in values if value["type"] == "alerts"], metrics.exposition()[0].decode()


async def test_a_clock_that_is_ahead_is_placed_and_exported() -> None:
    """From the first alert that shows it; what comes from others says nothing, and the engine knows the record."""
    now = time.time()

    def alert(service: str, source: str, ahead: float) -> dict[str, Any]:
        at = {"starts_at": now + ahead, "source": source}
        return {"name": "Down", "service": service, "severity": "critical", "status": "firing", **at}

    alerts = [alert("web", "am", -5.0), alert("api", "am", 40.0), alert("db", "am", -90.0), alert("web", "nagios", 0.0)]
    values, metrics = await placed(alerts, now)
    assert [(value["rows"][0][5], value.get("ahead")) for value in values] == [
        ("web", None),
        ("api", {"am": 40.0}),
        ("db", {"am": 40.0}),
        ("web", None),
    ]
    assert [problems("placed", value) for value in values] == [[]] * 4
    assert [line for line in metrics.splitlines() if line.startswith("correlator_clock_ahead_seconds")] == [
        'correlator_clock_ahead_seconds{source="am"} 40.0'
    ]
