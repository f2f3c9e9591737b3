"""A secret of the settings comes out nowhere: marked ones go in by every way, and whatever comes out is searched."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import orjson
import pytest
from click.testing import Result

from correlator.assemble import rules_for
from correlator.bypass.sink import Webhook
from correlator.config import load_settings
from correlator.engine.partition import Partition
from correlator.engine.poison import Fault
from correlator.engine.shard import StepError
from correlator.errors import SettingsError
from correlator.stream import clients
from topology import ServiceGraph

Call = Callable[..., Result]

MARK = "s3cr3t-marked"
LOGIN = {
    "CORRELATOR_BROKER__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "CORRELATOR_BROKER__SASL_USERNAME": "ana",
    "CORRELATOR_BROKER__SASL_PASSWORD": MARK,
    "CORRELATOR_BYPASS__WEBHOOK": f"https://hooks.example.org/{MARK}?token={MARK}",
}
INCIDENT = {"id": "i-1", "shard": "all", "revision": 1, "state": "open", "updated_at": "2026-01-01T00:00:00.000Z"}
TLS = {
    "CORRELATOR_BROKER__SECURITY_PROTOCOL": "SASL_SSL",
    "CORRELATOR_BROKER__SSL_CERTFILE": "absent.pem",
    "CORRELATOR_BROKER__SSL_KEY_PASSWORD": MARK,
}


@pytest.mark.parametrize("environ", [LOGIN, LOGIN | TLS], ids=["login", "login and key"])
def test_check_prints_no_secret(call: Call, tmp_path: Path, environ: dict[str, str]) -> None:
    """Given by the environment, or by a file."""
    lines: dict[str, list[str]] = {"broker": [], "bypass": []}
    for name, value in environ.items():
        section, key = name.removeprefix("CORRELATOR_").lower().split("__")
        lines[section].append(f'{key} = "{value}"')
    config = tmp_path / "correlator.toml"
    config.write_text("\n".join(line for name, found in lines.items() for line in (f"[{name}]", *found)))
    for result in (call("check", "--print", **environ), call("check", "--print", "--config", str(config))):
        assert result.exit_code == 0, result.output
        assert "***" in result.stdout
        assert MARK not in result.output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER__SASL_PASSWORD", MARK),  # without a protocol that has a login
        ("BROKER__SSL_KEY_PASSWORD", MARK),  # without a certificate
        ("BROKER_SASL_PASSWORD", MARK),  # one underscore for two
        ("BROKER__SASL_PASWORD", MARK),
        ("BYPASS__WEBHOOK", f"ftp://hooks.example.org/{MARK}"),
        ("BYPASS__WEBHOOK", f"https:// {MARK}"),
        ("BYPASS__WEBHOOK", f"https://[{MARK}"),
        ("BYPASS__WEBHOOK", f"https://hooks.example.org:{MARK}/"),
        ("BROKER__BOOTSTRAP", f"ana:{MARK}@kafka-1:9092"),
        ("BROKER__BOOTSTRAP", f'["kafka://:{MARK}@kafka-1:9092"]'),
    ],
)
def test_no_error_about_the_settings_tells_a_secret(call: Call, name: str, value: str) -> None:
    """Whatever is wrong with it, where it stands, or what stands in its place; tracebacks included."""
    environ = {f"CORRELATOR_{name}": value}
    with pytest.raises(SettingsError) as caught:
        load_settings(None, environ)
    assert MARK not in "".join(traceback.format_exception(caught.value))
    for result in (call("check", **environ), call("topics", **environ), call("run", **environ)):
        assert result.exit_code
        assert MARK not in result.output


def test_settings_and_clients_do_not_show_secrets() -> None:
    """Not even to somebody who logs them; what goes into the deciding log and the state has none at all."""
    settings = load_settings(None, LOGIN)
    shown = [repr(settings), str(settings), f"{settings.broker!r}", settings.model_dump_json()]
    assert all(MARK not in text for text in [*shown, repr(clients.credentials(settings))])
    rules = rules_for(settings)
    assert MARK.encode() not in orjson.dumps(rules.plain())
    partition = Partition(ServiceGraph.empty(), rules)
    partition.apply(0, 1_750_000_000.0, "", b"")
    assert all(MARK.encode() not in (value or b"") for value in partition.take().entries.values())
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_trace_of_what_is_put_aside_has_places_and_no_values() -> None:
    """It goes into a header of the rejected topic."""
    secret = MARK

    def fails(password: str) -> None:
        raise ValueError(f"no number, of {len(password)} characters")

    try:
        fails(secret)
    except ValueError as error:
        failure = StepError(None, error)
        failure.__cause__ = error
    fault = Fault.of(failure)
    assert fault.trace.endswith(" fails")
    assert MARK not in fault.text + fault.trace


async def test_a_webhook_that_fails_is_logged_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that is no yes, or no answer of a web server; a host without one; an address that is none."""
    caplog.set_level(logging.DEBUG)
    no = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with _answering(no) as (port, heard), _answering(b"220 mail.example.org\r\n") as (other, _):
        hosts = f"127.0.0.1:{port}/", f"127.0.0.1:{other}/", "127.0.0.1:1/", "["
        for address in (f"http://{host}{MARK}" for host in hosts):
            told = asyncio.Event()
            webhook = Webhook(address, 5.0, "correlator", partial(_tell, told))
            webhook.put(INCIDENT)
            await asyncio.wait_for(told.wait(), 10)
            await webhook.stop(0.0)
    assert MARK.encode() in heard
    assert caplog.text.count("webhook: incident i-1 not taken") == 4
    assert MARK not in caplog.text


def test_a_refused_login_is_logged_without_the_password(tmp_path: Path) -> None:
    """Even where everything is logged; the broker has heard the password, so it was there to tell."""
    with _refusing() as (port, heard):
        config = tmp_path / "correlator.toml"
        config.write_text(f'[broker]\nbootstrap = ["127.0.0.1:{port}"]\n[worker]\nlog_level = "DEBUG"\n')
        done = subprocess.run(
            [sys.executable, "-m", "correlator", "run", "--config", str(config)],
            env=os.environ | LOGIN,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert MARK.encode() in heard
    assert done.returncode == 3, done.stderr
    assert "DEBUG aiokafka" in done.stderr
    assert MARK not in done.stdout + done.stderr


def _tell(event: asyncio.Event, taken: bool) -> None:
    assert not taken
    event.set()


# -- servers that refuse --------------------------------------------------------------------------------------


@contextmanager
def _serving(answer: Callable[[socket.socket, bytearray], None]) -> Iterator[tuple[int, bytearray]]:
    """A server of one connection at a time; its port, and everything that it heard."""
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # closed
                with connection:
                    answer(connection, heard)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@contextmanager
def _answering(answer: bytes) -> Iterator[tuple[int, bytearray]]:
    def reply(connection: socket.socket, heard: bytearray) -> None:
        heard += connection.recv(65_536)
        connection.sendall(answer)

    with _serving(reply) as served:
        yield served


@contextmanager
def _refusing() -> Iterator[tuple[int, bytearray]]:
    """A broker of Kafka that knows no more than versions and logins, and takes none."""
    known = ((3, 0, 1), (17, 0, 1), (18, 0, 0), (36, 0, 1))
    answers = {
        18: struct.pack(">hi", 0, len(known)) + b"".join(struct.pack(">hhh", *api) for api in known),
        17: struct.pack(">hih", 0, 1, 5) + b"PLAIN",
        36: struct.pack(">hh", 58, 2) + b"no" + struct.pack(">iq", 0, 0),
    }

    def reply(connection: socket.socket, heard: bytearray) -> None:
        stream = connection.makefile("rb")
        while size := stream.read(4):
            request = stream.read(*struct.unpack(">i", size))
            heard.extend(request)
            api, _, correlation = struct.unpack(">hhi", request[:8])
            body = struct.pack(">i", correlation) + answers[api]
            connection.sendall(struct.pack(">i", len(body)) + body)

    with _serving(reply) as served:
        yield served
