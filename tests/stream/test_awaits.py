"""Every await of the path on which a partition is opened, written and given up: what happens when it fails there.

The points are found by running a whole life and noting which calls it waits for, so a new one is tested as soon as it
is there. At each one, each fault happens once. In the end the broker must hold what it holds after an undisturbed life.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, RequestTimedOutError

from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from correlator.stream.clients import MAX_BATCH_BYTES
from tests.stream import test_intake_awaits as walk
from tests.stream.group import Fault, Group, Passage
from tests.stream.harness import ROOT
from tests.stream.life import GRAPH, SETTINGS, STATE, STORY, Outcome, Process
from tests.stream.memory import Broker
from tests.stream.points import Point
from tests.stream.virtual import run

# -- faults -------------------------------------------------------------------------------------------------------


async def refused(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """The call raises, and nothing was done."""
    raise KafkaConnectionError


async def unanswered(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """The broker has done it, and the answer is lost."""
    raise RequestTimedOutError


async def silent(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """The broker does not answer: clients that read give up in time, those that start or write try for ever."""
    if point.name.startswith("reader.") and not point.name.endswith(".start"):
        await asyncio.sleep(SETTINGS.broker.request_timeout)
        raise KafkaTimeoutError
    await asyncio.Event().wait()


async def fenced(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """Another writer starts, though the group has not said so; without transactions, the lease runs out for a while."""
    if group.broker.transactions:
        group.broker.init(f"{SETTINGS.worker.application}-0")
    else:
        process.lease = False
        asyncio.get_running_loop().call_later(1, setattr, process, "lease", True)


async def cancelled(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """The task that waits is cancelled."""
    waits.cancel()
    await asyncio.sleep(0)


async def killed(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """The process ends here."""
    process.kill()


async def frozen(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """The process stands still until another has taken over, and then goes on."""
    group.freeze(process)


async def rebalanced(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """A rebalance begins here, after which the partition is where it was."""

    async def rebalance() -> None:
        await process.act(process.revoke())
        await process.act(process.obtain())

    group.meanwhile(rebalance())
    await asyncio.sleep(0.5)


async def moved(group: Group, process: Process, point: Point, waits: asyncio.Task[Any]) -> None:
    """A rebalance begins here, after which the partition is elsewhere."""

    async def move() -> None:
        await process.act(process.revoke())
        successor = group.start()
        await asyncio.gather(process.act(process.lose()), successor.act(successor.obtain()))

    group.meanwhile(move())
    await asyncio.sleep(0.5)


#: Each fault, and whether it happens before the call or once it was answered.
FAULTS: list[tuple[Fault, str]] = [
    *((fault, "before") for fault in (refused, silent, fenced, cancelled, killed, frozen, rebalanced, moved)),
    *((fault, "after") for fault in (unanswered, killed, frozen)),
]

#: Points that are calls of the worker's own, which do not fail as a broker's do.
OURS: Final = ("seek", "graph_known")
#: A batch that few entries of the state fill.
SMALL: Final = 1_000

# -- points -------------------------------------------------------------------------------------------------------


def life(
    transactions: bool, passage: Passage | None = None, fault: Fault | None = None, batch_bytes: int = MAX_BATCH_BYTES
) -> Group:
    """Live to the end."""

    async def main() -> Group:
        group = Group(Broker(transactions=transactions, batch_bytes=batch_bytes), passage, fault)
        await group.live()
        return group

    return run(main())


@cache
def undisturbed(transactions: bool) -> Group:
    """A life without a fault."""
    return life(transactions)


@cache
def implied() -> frozenset[tuple[bytes, bytes | None]]:
    """Every revision that a checkpoint after any of the records would publish."""
    partition, found = Partition(GRAPH, Rules(), lambda _: GRAPH), set[tuple[bytes, bytes | None]]()
    for offset, record in enumerate(STORY):
        partition.apply(offset, record.timestamp / 1000, record.key.decode(), record.value)
        output = partition.take()
        partition.saved(output)
        found |= {(id.encode(), orjson.dumps(value) if value else None) for id, value in output.incidents}
    return frozenset(found)


def passages(transactions: bool) -> list[Passage]:
    """Where a life can be disturbed: all of the first worker, and how the second one opens.

    Reading is the same with and without transactions, and what the second one writes is like what the first one did.
    """
    passed = undisturbed(transactions).passed
    opened = next(n for n, p in enumerate(passed) if p.worker == 1 and p.point.name.startswith("send "))
    return [p for p in passed[:opened] if transactions or not p.point.name.startswith("reader.")]


def test_every_point_is_listed() -> None:
    """The table for operators has the points that runs pass, those of the intake too, and no others."""
    text = (ROOT / "deploy" / "README.md").read_text()
    table = text.partition("<!-- points -->")[2].partition("<!-- /points -->")[0]
    listed = [name for line in table.strip().splitlines() for name in re.findall("`([^`]+)`", line.split("|")[1])]
    points = [passage.point for transactions in (True, False) for passage in undisturbed(transactions).passed]
    points += [point for point, _ in walk.undisturbed().passed]
    assert sorted(listed) == sorted({point.name for point in points})


def in_the_window(transactions: bool, passage: Passage, fault: Fault) -> bool:
    """Whether a batch is on its way after the lease was looked at: nothing holds it back without transactions."""
    under_way = passage.when == "before" and passage.point.name.startswith(("send ", "acknowledge "))
    return fault is frozen and not transactions and under_way


def cases(window: bool) -> Iterator[Any]:
    """Every point with every fault, either those in the window or the others."""
    for transactions in (True, False):
        for passage in passages(transactions):
            for fault, when in FAULTS:
                if when != passage.when or in_the_window(transactions, passage, fault) is not window:
                    continue
                if passage.point.name in OURS and fault in (refused, unanswered, silent):
                    continue
                if passage.point.name.startswith("reader.") and (when == "after" or fault in (silent, rebalanced)):
                    continue  # a read changes nothing: refused and moved say the same
                if fault is frozen and when == "after" and not passage.point.name.startswith("acknowledge "):
                    continue  # as before the next call
                kind = "transactions" if transactions else "plain"
                place = f"worker {passage.worker} {passage.point}"
                yield pytest.param(
                    transactions, passage, fault, id=f"{kind}: {place}: {fault.__name__} {when}".replace(" ", "_")
                )


def differences(group: Group) -> set[str]:
    """In what the broker differs from an undisturbed one; repeats count where there are transactions."""
    found, wanted = Outcome.of(group.broker), Outcome.of(undisturbed(group.broker.transactions).broker)
    once = group.broker.transactions
    wrong = {name for name in ("last", "state", "figures") if getattr(found, name) != getattr(wanted, name)}
    for name in ("receipts", "rejected"):
        this, that = getattr(found, name), getattr(wanted, name)
        if (this != that) if once else (this.keys() != that.keys()):
            wrong.add(name)
    if once and max(found.revisions.values()) > 1:
        wrong.add("a revision twice")
    if not found.revisions.keys() <= implied():
        wrong.add("a revision that the log does not imply")
    return wrong


@pytest.mark.parametrize(("transactions", "passage", "fault"), list(cases(window=False)))
def test_the_end_is_the_same(transactions: bool, passage: Passage, fault: Fault) -> None:
    """Whatever happens at one point of a life: nothing is lost, twice or different, and no worker ends with an error.

    Without transactions some of what was published may be there again, the same byte for byte, and a worker whose
    lease has run out hands over nothing.
    """
    group = life(transactions, passage, fault)
    assert group.happened
    assert not differences(group)
    assert not [error for worker in group.workers for error in worker.errors]
    assert transactions or not [point for worker in group.workers for point in worker.sent_without_lease]
    assert not group.stalled or fault in (silent, cancelled)


def test_an_error_that_nobody_expects_ends_the_worker() -> None:
    """At once and with its place, not after ``worker.stall_timeout``; the next one goes on."""
    seek = next(passage for passage in passages(True) if passage.point.name == "seek" and passage.when == "before")
    group = life(True, seek, refused)
    (error,) = (error for worker in group.workers for error in worker.errors)
    assert error.reason == "crashed"
    assert str(error).startswith("checkpoints of partition 0: KafkaConnectionError")
    assert not group.stalled
    assert not differences(group)


def test_a_checkpoint_of_many_batches_is_one() -> None:
    """In a transaction it makes no difference that the first of its batches were taken and the last one was not."""
    batches = checkpoints(life(True, batch_bytes=SMALL))
    assert len(batches) > len(checkpoints(undisturbed(True)))
    for passage in batches:
        for fault in (killed, refused, fenced) if passage.when == "before" else (unanswered,):
            group = life(True, passage, fault, SMALL)
            assert group.happened
            assert not differences(group), (passage, fault)
            assert not [error for worker in group.workers for error in worker.errors], (passage, fault)


def checkpoints(group: Group) -> list[Passage]:
    """Where a batch of the state is acknowledged."""
    return [passage for passage in group.passed if passage.point.name == f"acknowledge {STATE.topic}"]


@pytest.mark.parametrize("case", [pytest.param(case.values, id=case.id) for case in cases(window=True)])
def test_without_transactions_what_is_on_its_way_is_not_held_back(case: tuple[bool, Passage, Fault]) -> None:
    """A worker frozen behind its look at the lease writes, once it goes on, one more batch: an older one.

    Nothing is lost and no revision is new. But the last value of an incident may be an older one, and entries of the
    state older than others, until they change again; with transactions none of this happens, whatever the point.
    """
    group = life(*case)
    assert group.happened
    assert differences(group) <= {"last", "state", "figures"}
    assert not [error for worker in group.workers for error in worker.errors]
