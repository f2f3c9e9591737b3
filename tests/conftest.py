"""Fixtures that every test may use: brokers, free ports, unique names; and Hypothesis profiles."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings

from correlator import brokers
from correlator.brokers import BrokerProcess
from correlator.cli import main
from correlator.errors import BrokerError

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

# A shared machine stalls now and then: no deadlines. In CI the examples are the same on every run.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if IN_CI else "here")

_names = itertools.count(1)


def pytest_report_header() -> str:
    """One line that says which brokers the tests run on."""
    reason = brokers.kafka_available()
    if reason is None:
        return f"brokers: embedded, Apache Kafka {brokers.KAFKA_VERSION}"
    return f"brokers: embedded only; tests on Apache Kafka {'fail' if IN_CI else 'are skipped'} ({reason})"


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[BrokerProcess]:
    """The embedded broker, started at first use. Shared: leave it running, use unique topics and groups."""
    with brokers.embedded() as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """Where Apache Kafka is, not started. Where it cannot be had, tests are skipped, and in CI they fail."""
    try:
        return brokers.fetch_kafka()
    except BrokerError as error:
        if IN_CI:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def kafka_broker(kafka_jars: Path) -> Iterator[BrokerProcess]:
    """Apache Kafka, started at first use."""
    with brokers.kafka() as broker:
        yield broker


@pytest.fixture(
    params=[
        pytest.param("embedded_broker", id="embedded", marks=pytest.mark.broker),
        pytest.param("kafka_broker", id="kafka", marks=[pytest.mark.broker, pytest.mark.kafka]),
    ]
)
def any_broker(request: pytest.FixtureRequest) -> BrokerProcess:
    """Each broker in turn: a test that uses this runs on both."""
    broker = request.getfixturevalue(request.param)
    assert isinstance(broker, BrokerProcess)
    return broker


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface that nothing uses."""
    return brokers.free_port()


@pytest.fixture
def unique() -> str:
    """A name that no other test of this or of a concurrent run has: for topics, groups and applications."""
    return f"t{os.getpid()}-{next(_names)}"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command; nothing of the caller's environment reaches it."""
    for name in [name for name in os.environ if name.startswith("CORRELATOR_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, **environment: str) -> Result:
        result = CliRunner(env=environment).invoke(main, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    return run
