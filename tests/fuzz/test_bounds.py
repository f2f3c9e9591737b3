"""Every input has a bound of size, and what exceeds it is refused with the bound, before it costs anything."""

from __future__ import annotations

import gzip
import ipaddress
from datetime import UTC
from pathlib import Path

import pytest

from correlator import calendars
from correlator.changes.reader import ChangeReader
from correlator.config import Settings, load_settings
from correlator.config_load import MAX_BYTES
from correlator.dialects import Reader
from correlator.errors import SettingsError
from correlator.recordings import FileError, documents, whole
from tests.fuzz.bounds import memory_bounded, time_bounded

MEGABYTE = 1 << 20


def test_a_record_of_a_million_lines_is_refused_in_time() -> None:
    """By the number of lines, of which no more are read than are allowed."""
    lines = b'{"service":"db"}\n' * 500_000
    with time_bounded(10.0):
        (reject,) = Reader().read(lines, received_at=None).rejects
        (change,) = ChangeReader().read(lines, received_at=None).rejects
    assert (reject[1].reason, change[1].reason) == ("too_many_alerts", "too_many_alerts")


def test_settings_have_a_size(tmp_path: Path) -> None:
    """Read no further than the bound."""
    path = tmp_path / "correlator.toml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(SettingsError, match=f"more than {MAX_BYTES} bytes are not read"):
        load_settings(path, {})
    path.write_bytes(b"#" * MAX_BYTES)
    assert load_settings(path, {}) == Settings()


def test_a_calendar_has_a_size(tmp_path: Path) -> None:
    """And its windows stay as they are, because it could not be read."""
    path = tmp_path / "ops.ics"
    path.write_bytes(b" " * (calendars.MAX_BYTES + 1))
    found = calendars.expand(path, 0.0, 1.0, UTC)
    assert not found.readable
    assert found.problems == [f"{path}: more than {calendars.MAX_BYTES} bytes are not read"]


@pytest.mark.parametrize(
    "content", [b"7" * 101, b"x\n" + b"7" * 100, b"7\n" + b"7" * 101], ids=["line", "whole", "later"]
)
def test_a_document_in_a_file_has_a_size(tmp_path: Path, content: bytes) -> None:
    """One line, the rest that may be one document, and a line after others."""
    path = tmp_path / "alerts.ndjson"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"alerts\.ndjson:\d: a document of more than 100 bytes is not read"):
        list(documents(path, most=100))


def test_what_is_packed_small_is_not_unpacked_whole(tmp_path: Path) -> None:
    """A hundred megabytes of nothing are found out after one."""
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(bytes(100 * MEGABYTE), 1))
    with memory_bounded(16 * MEGABYTE), pytest.raises(FileError, match="a document of more than 1048576 bytes"):
        whole(path, most=MEGABYTE)


def test_nothing_listens_beyond_this_machine_by_default() -> None:
    """Metrics and health have no login."""
    assert ipaddress.ip_address(Settings().http.host).is_loopback
