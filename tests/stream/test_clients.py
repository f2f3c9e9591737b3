"""Login and encryption of the settings reach every client; cursors; what needs no broker."""

from __future__ import annotations

import asyncio
import gc
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, ProducerFenced
from aiokafka.structs import TopicPartition

from benchmarks.chaos.stage import stage
from correlator.brokers import Listener, free_port, kafka
from correlator.config import Settings
from correlator.errors import EXIT_CODES, ControlError, FencedError
from correlator.stream import clients, controls
from correlator.stream.cursor import Cursor
from correlator.stream.run import why
from correlator.stream.topics import create
from tests.stream.conftest import Make
from tests.stream.harness import until

LOGIN: dict[str, Any] = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_username": "ana",
    "sasl_password": "correct horse",
}


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


class TestCursor:
    def test_what_follows_is_admitted(self) -> None:
        """The next offsets are due."""
        assert Cursor(5).admit(found := records(5, 6)) is found

    def test_what_was_read_is_left_out(self) -> None:
        """A fetch from before is cut, or empty."""
        assert [r.offset for r in Cursor(5).admit(records(3, 4, 5, 6)) or ()] == [5, 6]
        assert Cursor(5).admit(records(3, 4)) == []

    def test_a_gap_is_asked_for_once(self) -> None:
        """What is still missing after going back is missing in the log."""
        cursor = Cursor(5)
        assert cursor.admit(records(9)) is None
        assert cursor.admit(records(20)) is None
        assert cursor.admit(records(9)) is None
        assert cursor.admit(found := records(9)) is found


class TestOptions:
    def test_a_login_reaches_the_clients(self) -> None:
        """aiokafka's options and Faust's credentials say the same."""
        settings = Settings.model_validate({"broker": LOGIN})
        options, credentials = clients.options(settings), clients.credentials(settings)
        assert options["security_protocol"] == "SASL_PLAINTEXT"
        assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("ana", "correct horse")
        assert credentials.protocol.value == "SASL_PLAINTEXT"
        assert (credentials.username, credentials.password) == ("ana", "correct horse")
        assert "correct horse" not in repr(settings)

    @pytest.mark.parametrize(("protocol", "login"), [("SSL", {}), ("SASL_SSL", LOGIN)])
    def test_encryption_reaches_the_clients(self, protocol: str, login: dict[str, Any]) -> None:
        """The context checks certificates and host names."""
        settings = Settings.model_validate({"broker": {**login, "security_protocol": protocol}})
        context = clients.options(settings)["ssl_context"]
        assert context.check_hostname
        credentials = clients.credentials(settings)
        assert (credentials.ssl_context if login else credentials.context).check_hostname
        assert credentials.protocol.value == protocol

    def test_without_login_there_are_no_credentials(self) -> None:
        """PLAINTEXT."""
        assert clients.credentials(Settings()) is None


class TestConsumer:
    @pytest.mark.broker
    async def test_it_stops_while_the_broker_is_away(self, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever stops it goes on, and no connection or task is left, though a fetch waits to ask again."""
        caplog.set_level(logging.ERROR, "aiokafka")
        with stage("embedded", 1) as on:
            settings = Settings.model_validate({"broker": {"bootstrap": [on.direct]}})
            await create(settings)
            consumer = clients.reader(settings)
            await consumer.start()
            before = asyncio.all_tasks()
            consumer._fetcher._retry_backoff = 3_600
            consumer.assign([TopicPartition("incidents", 0)])

            async def waits() -> bool:
                return "Failed fetch messages" in caplog.text

            async def asks() -> bool:
                return bool(consumer._fetcher._in_flight)

            await until("a fetch is under way", asks)
            on.links[0].set("refuse")
            await until("the fetch waits to ask again", waits)
            await asyncio.wait_for(consumer.stop(), 20)
            assert asyncio.all_tasks() <= before
            assert not consumer._client._conns


class TestEnd:
    """What a worker says when something raises in it."""

    def test_a_broker_that_went_away_is_no_crash(self, caplog: pytest.LogCaptureFixture) -> None:
        """One line with its address and exit code 3, without a traceback: starting again is all that helps."""
        found = why(Settings(), KafkaConnectionError("Unable to bootstrap"))
        assert EXIT_CODES[found.reason] == 3
        assert str(found).startswith("127.0.0.1:9092: KafkaConnectionError")
        assert not caplog.records

    def test_our_own_errors_say_themselves_what_is_wrong(self) -> None:
        """With a code of their own."""
        error = FencedError("partition 3 belongs to another worker now")
        assert why(Settings(), error) is error

    def test_anything_else_is_a_crash_with_its_place(self, caplog: pytest.LogCaptureFixture) -> None:
        """Exit code 1, and a traceback in the log."""
        found = why(Settings(), ZeroDivisionError("by zero"))
        assert EXIT_CODES.get(found.reason, 1) == 1
        assert "by zero" in str(found)
        assert caplog.records[0].exc_info


class TestLeftovers:
    async def test_errors_that_aiokafka_keeps_are_not_told_again(self, caplog: pytest.LogCaptureFixture) -> None:
        """A future of a producer that was fenced off is dropped; anything else is told, tasks of ours too."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(clients.on_exception)
        for error in (ProducerFenced(), ZeroDivisionError("by zero")):
            loop.create_future().set_exception(error)
        gc.collect()
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]

        async def ours() -> None:
            raise ProducerFenced

        await asyncio.wait([asyncio.create_task(ours())])
        gc.collect()
        assert [record.exc_info[0] for record in caplog.records if record.exc_info][1:] == [ProducerFenced]


class TestControls:
    @pytest.mark.parametrize(
        ("value", "says"),
        [
            (None, "not JSON"),
            (b"{", "not JSON"),
            (b"[]", "not a JSON object"),
            (b'{"type": "reboot"}', "type is 'reboot'"),
            (b'{"type": "acknowledge", "incident": "a"}', "acknowledge.by"),
            (b'{"type": "acknowledge", "incident": "a", "by": "ana", "x": 1}', "acknowledge.x is not a field"),
            (
                b'{"type":"maintenance","id":"1","match":{"service":"("},"starts_at":1,"ends_at":2,"author":"a","reason":"r"}',
                "regular expression",
            ),
            (
                b'{"type":"maintenance","id":"1","match":{"service":"a"},"starts_at":2,"ends_at":2,"author":"a","reason":"r"}',
                "ends_at must be later",
            ),
            (
                b'{"type":"maintenance","id":"1","starts_at":1,"ends_at":2,"author":"a","reason":"r"}',
                "needs a match, matchers or a subtree",
            ),
            (
                b'{"type":"maintenance","id":"1","match":{"env":".*"},"starts_at":1,"ends_at":2,"author":"a","reason":"r"}',
                "covers every alert that lacks",
            ),
            (
                b'{"type":"silence","matchers":[{"name":"a","value":"b"}],"startsAt":"noon","endsAt":"x","createdBy":"a",'
                b'"comment":"r"}',
                "silence.startsAt is 'noon'",
            ),
        ],
    )
    def test_a_bad_one_names_its_field(self, value: bytes | None, says: str) -> None:
        """The error is for the sender."""
        with pytest.raises(ControlError, match=says.replace("(", r"\(")):
            controls.read(value)

    def test_a_silence_of_alertmanager_is_a_maintenance_window(self) -> None:
        """The same one has the same id each time."""
        matchers = [{"name": "service", "value": "db", "isRegex": False, "isEqual": True}]
        silence = {"type": "silence", "matchers": matchers, "startsAt": "1970-01-01T00:00:01Z", "comment": "upgrade"}
        silence |= {"endsAt": "1970-01-01T02:00:00+01:00", "createdBy": "ana"}
        window = controls.check(silence)
        assert window == {
            "type": "maintenance",
            "id": window["id"],
            "matchers": matchers,
            "starts_at": 1.0,
            "ends_at": 3_600.0,
            "author": "ana",
            "reason": "upgrade",
        }
        assert controls.check(silence)["id"] == window["id"] != controls.check({**silence, "comment": "x"})["id"]
        assert controls.check({**silence, "id": "3b5e"})["id"] == "3b5e"
        assert len(controls.check({**silence, "comment": "x" * 50_000})["reason"]) == 1_000

    def test_a_silence_that_was_ended_before_its_begin_ends_the_window(self) -> None:
        """Alertmanager puts both of its times to that moment."""
        now = "2026-01-01T00:00:00Z"
        matchers = [{"name": "service", "value": "db"}]
        silence: dict[str, Any] = {"type": "silence", "matchers": matchers, "startsAt": now, "endsAt": now}
        silence |= {"createdBy": "ana", "comment": "no longer needed", "status": {"state": "expired"}}
        assert controls.check({**silence, "id": "3b5e"}) == {"type": "maintenance_end", "id": "3b5e", "author": "ana"}
        with pytest.raises(ControlError, match="ends_at must be later"):
            controls.check(silence)


@pytest.mark.broker
@pytest.mark.kafka
@pytest.mark.slow
async def test_a_worker_logs_in(install: Make) -> None:
    """A listener with SASL: with the password everything comes through, with another the worker refuses to start."""
    login = Listener("LOGIN", "SASL_PLAINTEXT", free_port())
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    properties = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.login.plain.sasl.jaas.config": f'{module} required user_ana="correct horse";',
    }
    with kafka(properties=properties, listeners=[login]) as broker:
        here = install(broker, broker={**LOGIN, "bootstrap": [login.address]})
        await here.create()
        here.start()
        await here.ready()
        await here.feed([{"name": "HighLatency", "service": f"s{n}"} for n in range(20)])
        await here.drained()
        await here.stop()
        _, oracle = await here.check()
        assert oracle.inputs == 20
        stranger = here.start(CORRELATOR_BROKER__SASL_PASSWORD="battery staple", CORRELATOR_WORKER__LOG_LEVEL="DEBUG")
        assert await stranger.ended() == 3
        assert "correlator: " in stranger.text
        assert "Traceback" not in stranger.text
        assert "battery staple" not in stranger.text
