"""A broker that has no room left: it gives up, and goes on where it was once there is room."""

from __future__ import annotations

import asyncio
import resource

import pytest

from correlator.brokers import kafka
from correlator.storms import storm
from tests.stream.conftest import Make
from tests.stream.harness import until

pytestmark = [pytest.mark.broker, pytest.mark.kafka, pytest.mark.slow]

#: Seconds without room: longer than a session.
_FULL = 8.0


async def test_nothing_is_lost_while_the_disk_is_full(install: Make) -> None:
    """No file of the broker can grow in the middle of a storm; alerts wait with their senders, workers wait for it."""
    drawn = storm("a", services=200, alerts=20_000, seed=9)
    with kafka() as broker:
        here = install(broker, topics={"raw_partitions": 2})
        here.use_graph(drawn)
        await here.create()
        worker = here.start()
        await here.ready()
        feeding = asyncio.create_task(
            here.feed(drawn.alerts, partition=lambda a: len(a["service"]) % 2, pack=10, pace=0.002)
        )

        async def fed() -> bool:
            return worker.total("alerts_received_total") > 1_000

        async def given_up() -> bool:
            return not broker.running

        await until("a part fed", fed)
        pid = broker.broker.pid
        assert pid is not None
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        await until("the broker has noticed", given_up)
        assert not feeding.done()
        await asyncio.sleep(_FULL)
        await asyncio.to_thread(broker.start)
        await feeding
        await here.all_decided(worker, len(drawn.alerts))
