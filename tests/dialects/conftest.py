"""What the tests of the dialects share: a reader, and a record read as its only alert."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from correlator.dialects import Reader
from correlator.model import Alert

ARRIVAL = 1_714_903_900.0
"""2024-05-05T10:11:40Z, the arrival of every record unless a test says otherwise."""

ReadOne = Callable[..., Alert]


@pytest.fixture
def arrival() -> float:
    return ARRIVAL


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def read_one(reader: Reader) -> ReadOne:
    """Reads a record that holds one alert; keyword arguments are added to a small native alert."""

    def read(record: Any = None, /, received_at: float | None = ARRIVAL, **fields: Any) -> Alert:
        if record is None:
            record = {"name": "HighErrorRate", "service": "payments", "severity": "critical", "status": "firing"}
            record["starts_at"] = ARRIVAL - 60.0
            record.update(fields)
        reading = reader.read(json.dumps(record).encode(), received_at=received_at, topic="alerts.raw")
        assert reading.rejects == []
        [alert] = reading.alerts
        return alert

    return read
