"""``correlator shards move``: put another layout in force while no worker is alive.

The order, so that a move that ends anywhere is finished by doing it again:

1. ``current`` says that a move is under way: no worker starts from here on;
2. topics get the partitions that they lack;
3. ``move_begin`` goes into the log of every partition: from here on nothing else is applied there;
4. every partition is brought up to there by its own fenced writer, so that all that was said before is published;
5. what arrives is worked out from the states, which stand still, and written into the log, into every partition;
6. ``move_end`` goes into every partition, when all of that is acknowledged;
7. every partition is brought up to there, which publishes what has moved;
8. graph, rules and layout are put in force, and the move is over.

What decides is in the log (:mod:`correlator.engine.layout`); the state follows from it as ever. Up to the first
``move_end`` the fifth step is done anew, from the same states; after it nothing has to be worked out any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import orjson
from aiokafka.errors import KafkaError

from correlator.assemble import rules_for
from correlator.config import Settings
from correlator.errors import BrokerError, StateError
from correlator.stream import topics
from correlator.stream.bulletin import Bulletin
from correlator.stream.clients import Clients, close, producer
from correlator.stream.outlet import Outlet
from correlator.stream.repair import alive
from correlator.stream.survey import Survey, survey, wanted
from topology import ServiceGraph

__all__ = ["move", "obstacles"]


def obstacles(seen: Survey) -> list[str]:
    """What keeps a move from being done now, each with what to do about it."""
    found = []
    group, noted = seen.settings.worker.application, seen.current.get("move")
    if seen.members:
        found.append(f"{seen.members} workers of the group {group} are alive: stop them with SIGTERM first")
    if seen.unplaced:
        how = "start workers with the settings in force, let them read on, and stop them with SIGTERM"
        found.append(f"the raw topics are not drained: {'; '.join(seen.unplaced)}: {how}")
    if seen.begun and noted != wanted(seen):
        layout = orjson.dumps(noted).decode()
        found.append(f"another move has begun; finish it first, with these settings and that graph: {layout}")
    return found


async def move(settings: Settings, graph: ServiceGraph) -> AsyncGenerator[str, None]:
    """Do it, or finish it; a line after each step.

    Raises :class:`StateError` where it must not be done, before anything is changed, and :class:`BrokerError`.
    """
    bulletin = Bulletin(settings, Clients(settings), settings.topics.partitions)
    await bulletin.start()
    try:
        async for line in _move(await survey(settings, graph, bulletin)):
            yield line
    finally:
        await bulletin.stop()


async def _move(seen: Survey) -> AsyncGenerator[str, None]:
    settings, bulletin, number = seen.settings, seen.bulletin, seen.number
    against = obstacles(seen)
    if against:
        raise StateError("; ".join(against), reason="busy")
    if not seen.begun:
        found = seen.plan()
        if not seen.needed(found):
            if seen.current.get("move") is not None:
                await bulletin.note_move(None)
            yield "nothing to move"
            return
        seen.rehearse(found)
        seen = await survey(settings, seen.graph, bulletin, seen)
        await bulletin.note_move(wanted(seen))
        counts = {state.plan.name: state.partitions or 0 for state in seen.states}
        if await alive(settings, counts, seen.transactions):
            await bulletin.note_move(None)
            raise StateError("a worker has started meanwhile: stop it first", reason="busy")
        yield f"layout {number} is noted: no worker starts before it is in force"
    try:
        grown = await topics.grow(settings, await topics.inspect(settings))
    except BrokerError:
        if not seen.begun:
            await bulletin.note_move(None)
        raise
    for name in grown:
        yield f"{name} has {settings.topics.partitions} partitions"
    if not seen.ended:
        await _write(settings, {number: seen.opening(number) for number in range(settings.topics.partitions)})
        yield "begun in every partition"
        seen = await _caught_up(seen)
        yield "everything before it is published"
        parts = seen.parts(seen.plan())
        for partition, found_parts in parts.items():
            await _write(settings, {partition: found_parts})
            yield f"partition {partition}: {len(found_parts)} parts written"
    for partition in range(settings.topics.partitions):
        known = seen.partitions.get(partition)
        if known is None or known.layout.number < number:
            await _write(settings, {partition: seen.closing()})
            yield f"partition {partition}: ended"
    await _caught_up(seen)
    yield "what has moved is published"
    await bulletin.announce(seen.graph, rules_for(settings), number)
    yield f"layout {number} is in force: start the workers with these settings"


async def _caught_up(before: Survey) -> Survey:
    """Bring every partition up to the end of its log, as its owner: publish and save. The survey of that."""
    settings = before.settings
    counts = await topics.require(settings)
    outlets = [
        Outlet(
            settings,
            Clients(settings),
            number,
            lambda: True,  # no group is asked: nobody is in it
            transactions=before.transactions,
            rejected_partitions=counts[settings.topics.rejected],
        )
        for number in range(settings.topics.partitions)
    ]
    try:
        await asyncio.gather(*(outlet.start() for outlet in outlets))  # which fences whoever wrote before
        seen = await survey(settings, before.graph, before.bulletin, before)
        for number, outlet in enumerate(outlets):
            output = seen.partitions[number].take()
            await outlet.write(output, seen.partitions[number].graph.version)
            seen.partitions[number].saved(output)
    finally:
        await asyncio.gather(*(outlet.stop() for outlet in outlets))
    return seen


async def _write(settings: Settings, controls: dict[int, list[dict[str, Any]]]) -> None:
    """Append controls to the logs of partitions, and wait for the acknowledgements."""
    made = producer(settings)
    try:
        await made.start()
        for number, found in controls.items():
            for control in found:
                at = round(time.time() * 1000)
                value = orjson.dumps(control)
                await made.send_and_wait(settings.topics.placed, value, key=b"", partition=number, timestamp_ms=at)
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await close(made)
