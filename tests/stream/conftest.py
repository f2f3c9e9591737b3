"""Installations for the tests of the stream, closed at the end of each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from correlator.brokers import BrokerProcess
from tests.stream.harness import Installation

Make = Callable[..., Installation]


@pytest.fixture
def install(unique: str, tmp_path: Path) -> Iterator[Make]:
    """Makes installations: ``install(broker, **sections)``."""
    made: list[Installation] = []

    def make(broker: BrokerProcess, /, **sections: dict[str, Any]) -> Installation:
        name = f"{unique}-{len(made)}" if made else unique
        made.append(Installation(broker, name, tmp_path / name, sections))
        return made[-1]

    yield make
    for installation in made:
        installation.close()
