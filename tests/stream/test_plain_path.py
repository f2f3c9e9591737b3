"""The plain path: alerts in, incidents and receipts out, on both brokers."""

from __future__ import annotations

import pytest

from correlator.brokers import BrokerProcess
from correlator.storms import storm
from tests.stream.conftest import Make


@pytest.mark.parametrize("variant", ["a", "c"])
async def test_a_storm_comes_out_as_the_engine_decides(any_broker: BrokerProcess, install: Make, variant: str) -> None:
    """One partition, one worker."""
    drawn = storm(variant, services=300, seed=3)
    here = install(any_broker)
    here.use_graph(drawn)
    await here.create()
    worker = here.start()
    await here.ready()
    await here.feed(drawn.alerts)
    await here.drained(40)
    await here.stop()
    published, oracle = await here.check()
    assert oracle.inputs == len(drawn.alerts)
    assert oracle.replayed == 0
