"""Encrypted listeners, logins by password and by certificate, and exactly the rights that deploy/README.md lists."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from correlator.brokers import BrokerProcess, Listener, free_port, kafka
from correlator.config import Settings
from correlator.stream.topics import create, state_topic
from tests.stream.conftest import Make
from tests.stream.harness import ROOT, Installation

pytestmark = [pytest.mark.broker, pytest.mark.kafka, pytest.mark.slow]

PASSWORD: Final = "a pass phrase of a test"
_OPERATIONS: Final = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10, "IdempotentWrite": 12}
_RESOURCES: Final = {"topic": 2, "group": 3, "cluster": 4, "transactional id": 5}
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3


def listed() -> list[tuple[str, str, list[str]]]:
    """The rows of the table of rights: resource, its name by default settings, operations."""
    text = (ROOT / "deploy" / "README.md").read_text()
    table = text.split("<!-- rights -->")[1].split("<!-- /rights -->")[0]
    rows = re.findall(r"^\| (topic|group|cluster|transactional id) `([^`]+)`[^|]*\| ([^|]+) \|", table, re.MULTILINE)
    return [(kind, name, operations.strip().split(", ")) for kind, name, operations in rows]


def called(name: str, settings: Settings) -> str:
    """What an installation calls the resource that has this name by default."""
    usual = Settings()
    names = {state_topic(usual): state_topic(settings)}
    for field in type(usual.topics).model_fields:
        was, now = getattr(usual.topics, field), getattr(settings.topics, field)
        if isinstance(was, str):
            names[was] = now
        elif isinstance(was, tuple):
            names |= dict(zip(was, now, strict=True))
    application = (usual.worker.application, settings.worker.application)
    return names.get(name, name.replace(*application))


async def grant(address: str, user: str, settings: Settings) -> None:
    """Give a user what the table lists, and nothing more."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        for kind, usual, operations in listed():
            name = called(usual, settings)
            pattern = _PREFIXED if name.endswith("*") else _LITERAL
            for operation in operations:
                rule = (_RESOURCES[kind], name.rstrip("*"), pattern, f"User:{user}", "*", _OPERATIONS[operation])
                answer = await admin._send_request(CreateAclsRequest(*rule, _ALLOW))
                assert [code for code, *_ in answer.creation_responses] == [0], (rule, answer)
    finally:
        await admin.close()


def certificates(folder: Path) -> None:
    """An authority, and certificates of the broker and of a worker."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: nobody makes certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    key = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    run(*key, "-x509", "-subj", "/CN=authority", "-keyout", "authority.key", "-out", "authority.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("broker", "worker"):
        run(*key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-extfile", "names")
        run("x509", "-req", "-in", f"{name}.csr", *signed, "-days", "2", "-out", f"{name}.pem")
    both = (folder / "broker.key").read_text() + (folder / "broker.pem").read_text()
    (folder / "broker-all.pem").write_text(both)


@contextmanager
def guarded(folder: Path) -> Iterator[tuple[BrokerProcess, str, str]]:
    """Kafka that lets nobody do anything, but for its plain listener; the addresses of SASL_SSL and of mutual TLS."""
    certificates(folder)
    scram, mutual = Listener("SCRAM", "SASL_SSL", free_port()), Listener("MUTUAL", "SSL", free_port())
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    properties = {
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": login,
        "listener.name.mutual.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker-all.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "authority.pem"),
        "ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # the plain listener, for the tests' own clients and the controller
    }
    users = [f"SCRAM-SHA-512=[name={name},password={PASSWORD.replace(',', '')}]" for name in ("ana", "eve")]
    options = [part for user in users for part in ("--add-scram", user)]
    with kafka(properties=properties, format_options=options, listeners=[scram, mutual]) as broker:
        yield broker, scram.address, mutual.address


def plainly(here: Installation, broker: BrokerProcess) -> Settings:
    """The settings of one who may do everything."""
    login = Settings().broker.model_copy(update={"bootstrap": (broker.address,)})
    return here.settings.model_copy(update={"broker": login})


async def works(here: Installation) -> None:
    """A worker reads alerts, decides, publishes, goes on after a restart."""
    for number in range(2):
        worker = here.start()
        await here.ready()
        await here.feed([{"name": "HighLatency", "service": f"s{n}", "labels": {"n": number}} for n in range(20)])
        await here.drained()
        assert await worker.stop() == 0, worker.text
        assert "Traceback" not in worker.text
    _, oracle = await here.check()
    assert oracle.inputs == 40


async def test_a_worker_needs_no_more_rights_than_are_listed(install: Make, tmp_path: Path) -> None:
    """By password over TLS, and by certificate. Without rights, or with a wrong password, it refuses in a line."""
    with guarded(tmp_path) as (broker, scram, mutual):
        trust = {"ssl_cafile": str(tmp_path / "authority.pem")}
        password = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_password": PASSWORD}
        by_password: dict[str, Any] = {"security_protocol": "SASL_SSL", "bootstrap": [scram], **trust, **password}
        certificate = {
            name: str(tmp_path / f"worker.{end}") for name, end in (("ssl_certfile", "pem"), ("ssl_keyfile", "key"))
        }
        by_certificate: dict[str, Any] = {"security_protocol": "SSL", "bootstrap": [mutual], **trust, **certificate}
        for user, section in (("ana", {**by_password, "sasl_username": "ana"}), ("worker", by_certificate)):
            here = install(broker, broker=section)
            await create(plainly(here, broker))
            await grant(broker.address, user, here.settings)
            await works(here)
        for section, says in (
            ({**by_password, "sasl_username": "eve"}, "hides topics from users without the right Describe"),
            ({**by_password, "sasl_username": "ana", "sasl_password": "wrong"}, ""),
            ({**by_certificate, "ssl_cafile": str(tmp_path / "worker.pem")}, ""),
        ):
            here = install(broker, broker=section)
            await create(plainly(here, broker))
            worker = here.start()
            assert await worker.ended() == 3, worker.text
            assert says in worker.text
            assert "Traceback" not in worker.text
            assert "wrong" not in worker.text
            assert PASSWORD not in worker.text
