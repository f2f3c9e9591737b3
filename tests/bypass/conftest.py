"""Alerts for the tests of the bypass, as the dialect readers give them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from correlator.model import Alert

Make = Callable[..., Alert]


@pytest.fixture
def alert() -> Make:
    """Makes alerts: a critical one about ``db`` unless told otherwise; fingerprint by service and name."""

    def make(service: str = "db", name: str = "Down", **values: object) -> Alert:
        fingerprint = hashlib.blake2b(f"{service}/{name}".encode(), digest_size=8).hexdigest()
        plain = Alert(fingerprint, service, name, "critical", "firing", 100.0, None, {}, {}, "prometheus")
        return plain._replace(**values)  # type: ignore[arg-type]

    return make
