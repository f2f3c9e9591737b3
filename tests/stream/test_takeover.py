"""Take-over: its order, workers that were frozen and go on, and two that both believe they own a partition."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from correlator.brokers import BrokerProcess
from correlator.errors import EXIT_CODES, BrokerError, CorrelatorError, FencedError
from correlator.metrics import Metrics
from correlator.storms import storm
from correlator.stream import changelog
from correlator.stream.clients import Clients, on_exception
from correlator.stream.owner import Owner, Surroundings
from tests.stream.conftest import Make
from tests.stream.group import Group
from tests.stream.harness import Installation, Oracle, Worker, says, until
from tests.stream.life import (
    GRAPH,
    PLACED,
    SETTINGS,
    STATE,
    STORY,
    Outcome,
    Process,
    applied,
    follows_nothing,
    partition,
)
from tests.stream.memory import Broker, MemoryClients
from tests.stream.points import Point
from tests.stream.virtual import run


class TestOrder:
    """Fence, read the end, recover, go on at the applied offset + 1."""

    @pytest.mark.parametrize("transactions", [True, False])
    def test_the_old_writer_is_fenced_before_anything_is_read(self, transactions: bool) -> None:
        """The end of the changelog is asked for afterwards, and the state is read up to that end, before any write."""

        async def main() -> list[str]:
            group = Group(Broker(transactions=transactions))
            await group.live()
            return [p.point.name for p in group.passed if p.worker == 1 and p.when == "after"]

        passed = run(main())
        wanted = ("writer.start", "reader.end_offsets", "reader.getmany", f"acknowledge {STATE.topic}")
        assert sorted(wanted, key=passed.index) == list(wanted)

    def test_reading_goes_on_behind_what_was_applied(self) -> None:
        """Not from where the group had committed, or where the last worker had read to."""

        async def main() -> None:
            broker = Broker()
            broker.append(PLACED, STORY[:7])
            first, second = Process(broker), Process(broker)
            await first.obtain()
            await asyncio.sleep(2)
            await first.stop()
            assert applied(broker) == 6
            broker.append(PLACED, STORY[7:])
            await second.obtain()
            assert second.position == 7
            await second.stop()

        run(main())

    @pytest.mark.parametrize("transactions", [True, False])
    def test_what_another_wrote_meanwhile_holds(self, transactions: bool) -> None:
        """A partition that comes back to a worker that still has it in memory is read again, if another had it."""

        async def main() -> Outcome:
            broker = Broker(transactions=transactions)
            first, second = Process(broker), Process(broker)
            broker.append(PLACED, STORY[:7])
            await first.obtain()
            await asyncio.sleep(2)
            await first.revoke()
            broker.append(PLACED, STORY[7:12])
            await second.obtain()
            await asyncio.sleep(2)
            await second.stop()
            assert applied(broker) == 11
            await first.obtain()
            assert first.position == 12
            broker.append(PLACED, STORY[12:])
            await asyncio.sleep(2)
            await first.stop()
            return Outcome.of(broker)

        found, wanted = run(main()), alone()
        assert (found.last, found.state, found.figures) == (wanted.last, wanted.state, wanted.figures)

    @pytest.mark.parametrize("stays", [True, False], ids=["a rebalance leaves it", "another worker takes it"])
    def test_an_older_word_that_came_late_is_not_the_last(self, stays: bool) -> None:
        """Where nothing fences, a batch of the last owner can land after a later one: the next take-over mends it.

        Not so of an incident that is over, which nobody remembers.
        """

        async def main() -> None:
            broker = Broker(transactions=False)
            first, second = Process(broker), Process(broker)
            broker.append(PLACED, STORY[:8])
            await first.obtain()
            await asyncio.sleep(2)
            await first.revoke()
            before = Outcome.of(broker).last
            said = broker.records(SETTINGS.topics.incidents)
            live = {key for key, value in before.items() if value is not None and b'"state":"open"' in value}
            late = next(word for word in said if word.key in live and word.value != before[word.key])
            broker.append(TopicPartition(late.topic, late.partition), [late])
            assert Outcome.of(broker).last != before
            owner = first if stays else second
            await owner.obtain()
            await asyncio.sleep(2)
            assert Outcome.of(broker).last == before
            await owner.stop()

        run(main())


class TestDeafBroker:
    """One that answers nobody when the group distributes anew. Who does not let go in time holds up all the others."""

    @pytest.mark.parametrize("saving", [True, False], ids=["a checkpoint is on its way", "nothing is"])
    def test_a_partition_is_let_go_in_time(self, saving: bool) -> None:
        """Though not even the end of the transaction comes through; and it goes on where it was."""

        async def main() -> float:
            broker, deaf = Broker(), False

            async def nothing_comes_back(process: Process, point: Point, when: str, _: Any) -> None:
                if deaf and point.name.startswith(("acknowledge ", "writer.abort")):
                    await asyncio.Event().wait()

            worker, clock = Process(broker, nothing_comes_back), asyncio.get_running_loop().time
            broker.append(PLACED, STORY[:7])
            await worker.obtain()
            await until("decided", lambda: decided(broker, 7), 60)
            deaf = True
            broker.append(PLACED, STORY[7:])
            await asyncio.sleep(2 if saving else 0.15)
            begun = clock()
            await worker.revoke()
            ended = clock()
            deaf = False
            await worker.obtain()
            await until("all decided", lambda: decided(broker), 60)
            await worker.stop()
            assert not worker.errors
            return ended - begun

        assert run(main()) < SETTINGS.broker.session_timeout + 3

    def test_reading_a_state_of_which_nothing_comes_is_given_up(self) -> None:
        """The end is known, and fetches bring nothing, for ever: another client may do better."""

        class Mute(MemoryClients):
            """Readers that fetch nothing."""

            def reader(self) -> Any:
                made = super().reader()
                made.getmany = nothing
                return made

        async def nothing(**_: Any) -> dict[Any, Any]:
            await asyncio.sleep(1)
            return {}

        async def main() -> float:
            broker = Broker()
            first, clock = Process(broker), asyncio.get_running_loop().time
            broker.append(PLACED, STORY[:7])
            await first.obtain()
            await until("decided", lambda: decided(broker, 7), 60)
            await first.stop()
            begun = clock()
            with pytest.raises(BrokerError, match="nothing of the state came for 20 s, at offset 0"):
                await changelog.read(Mute(SETTINGS, broker), STATE.topic, 0)
            return clock() - begun

        assert run(main()) < SETTINGS.broker.request_timeout + 2

    @pytest.mark.broker
    @pytest.mark.kafka
    async def test_a_worker_that_never_lets_go_ends(self, kafka_broker: BrokerProcess, install: Make) -> None:
        """Whatever holds it up: the group would wait for it, and it would sit on its partitions."""
        here = install(kafka_broker, worker={"stall_timeout": 8})
        await here.create()
        here.command = ("-m", "tests.stream.stubborn")
        stubborn = here.start()
        await here.ready()
        here.command = ("-m", "correlator")
        other = here.start()
        assert await stubborn.ended() == EXIT_CODES["stalled"]
        assert "partitions not given up for 8 s after the group asked" in stubborn.text
        await here.ready(other)
        await here.stop()


def alone() -> Outcome:
    """What one worker says, whom nothing disturbs."""

    async def main() -> Outcome:
        group = Group(Broker())
        await group.live()
        return Outcome.of(group.broker)

    return run(main())


class TestTwoOwners:
    """Two that the group has not told apart."""

    def test_one_that_was_fenced_off_writes_no_more_of_what_it_has_read(self) -> None:
        """It reads on while its checkpoint is on its way; then another takes over, and the group says so at once."""

        async def main() -> list[CorrelatorError]:
            broker = Broker()
            second = Process(broker)

            async def taken_over(process: Process, point: Point, when: str, _: Any) -> None:
                if (point, when) == (Point(f"acknowledge {STATE.topic}", 0), "before"):
                    broker.append(PLACED, STORY[4:8])
                    await asyncio.sleep(1)
                    process.rebalancing = True
                    await second.obtain()

            first = Process(broker, taken_over)
            broker.append(PLACED, STORY[:4])
            await first.obtain()
            await until("taken over", lambda: decided(broker, 8), 60)
            await first.revoke()
            await first.lose()
            await second.stop()
            return first.errors + second.errors

        assert run(main()) == []

    @pytest.mark.parametrize("turns", range(4))
    def test_they_never_both_publish(self, turns: int) -> None:
        """Both read and step everything: each receipt and each revision is there once, as from one of them.

        They fence each other off in turn; what stops that is that one of them ends, with a line.
        """

        async def main() -> tuple[Outcome, list[CorrelatorError]]:
            broker = Broker()
            both = [Process(broker), Process(broker)]
            await both[0].obtain()
            broker.append(PLACED, STORY[:turns])
            await asyncio.sleep(turns / 20)
            await both[1].obtain()
            for record in STORY[turns:]:
                broker.append(PLACED, [record])
                await asyncio.sleep(4)
            errors = [error for process in both for error in process.errors]
            await until("all decided", lambda: decided(broker), 300)
            for process in both:
                await process.stop()
                process.bury()
            return Outcome.of(broker), errors

        found, errors = run(main())
        wanted = alone()
        assert (found.last, found.state, found.figures) == (wanted.last, wanted.state, wanted.figures)
        assert (found.receipts, found.rejected) == (wanted.receipts, wanted.rejected)
        assert set(found.revisions.values()) == {1}
        assert all(isinstance(error, FencedError) for error in errors)

    @pytest.mark.broker
    @pytest.mark.kafka
    async def test_on_kafka_the_older_one_is_refused(self, kafka_broker: BrokerProcess, install: Make) -> None:
        """It has stepped the same records and does not know: its checkpoint is refused, and nothing of it is seen."""
        here = install(kafka_broker)
        await here.create()
        async with here.producer() as made:
            for record in (record for record in STORY if record.value != b"{"):
                await made.send_and_wait(
                    here.settings.topics.placed, record.value, key=record.key, partition=0, headers=[]
                )
        log = await here.read(here.settings.topics.placed)
        asyncio.get_running_loop().set_exception_handler(on_exception)
        errors: list[CorrelatorError] = []
        older, newer = (owner(here, errors) for _ in range(2))
        await older.open()
        await older.feed(fetch(log[:5]), log[:5])
        await until("saved by the older", lambda: saved(here, 4), 20)
        await newer.open()
        assert newer.position == 5
        await older.feed(fetch(log), log)  # and neither is told
        await newer.feed(fetch(log[5:]), log[5:])
        await until("saved by the newer", lambda: saved(here, len(log) - 1), 20)
        await asyncio.gather(older.suspend(), newer.suspend())
        await asyncio.gather(older.close(), newer.close())
        assert not errors
        published = await here.published()
        oracle = Oracle.of(log, {GRAPH.version: GRAPH}, published.applied)
        assert not oracle.differences(published, once=True, compacted=True)


async def decided(broker: Broker, records: int = len(STORY)) -> bool:
    """Whether the state covers so many records of the story."""
    return applied(broker) == records - 1


def owner(here: Installation, errors: list[CorrelatorError]) -> Owner:
    """An owner of partition 0 that is told nothing."""

    async def nothing(*_: Any) -> None:
        """Graphs are known, and nobody seeks."""

    clients, metrics = Clients(here.settings), Metrics(CollectorRegistry(), clock=lambda: 0.0)
    around = Surroundings(
        clients=clients,
        make=partition,
        state=follows_nothing(here.settings, clients, metrics).read,
        graph_known=nothing,
        seek=nothing,
        mine=lambda _: True,
        is_member=lambda: True,
        failed=errors.append,
    )
    return Owner(here.settings, 0, around, transactions=True, rejected_partitions=1, metrics=metrics)


def fetch(records: list[Any]) -> Any:
    return SimpleNamespace(message=records[-1], ack=lambda: None)


async def saved(here: Installation, offset: int) -> bool:
    """Whether the state covers the placed log up to an offset."""
    return (await here.published()).applied.get(0, -1) >= offset


async def frozen(worker: Worker) -> bool:
    """Whether the process is stopped."""
    return "State:\tT" in await asyncio.to_thread(Path(f"/proc/{worker.process.pid}/status").read_text)


async def test_a_worker_frozen_within_a_checkpoint(any_broker: BrokerProcess, install: Make) -> None:
    """SIGSTOP between the outputs and the end of the checkpoint, for longer than the session; another takes over.

    Resumed it writes neither state nor incidents nor decisions, says so in one line, and rejoins.
    """
    kafka = any_broker.kind == "kafka"
    drawn = storm("a", services=60, seed=4)
    here = install(any_broker)
    here.use_graph(drawn)
    await here.create()
    here.command = ("-m", "tests.stream.freezing")
    zombie = here.start()
    await here.ready()
    await here.feed(drawn.alerts[:100])
    await here.drained()
    at = "before writer.commit_transaction" if kafka else f"after acknowledge {here.settings.topics.decisions}"
    (here.folder / "freeze").write_text(at)
    await here.feed(drawn.alerts[100:150])
    await until("frozen", lambda: frozen(zombie))
    here.command = ("-m", "correlator")
    successor = here.start()
    await here.ready(successor)
    await here.feed(drawn.alerts[150:200])
    await here.drained()
    zombie.signal(signal.SIGCONT)
    line = "belongs to another worker now" if kafka else "the group may have given it to another worker"
    await says(zombie, line)
    await here.ready()
    await here.feed(drawn.alerts[200:])
    await here.drained()
    assert zombie.text.count(line) == 1
    assert "Traceback" not in zombie.text
    await here.stop()
    _, oracle = await here.check()
    assert oracle.inputs == len(drawn.alerts)
