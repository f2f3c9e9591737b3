"""The labelled cases, where they lie beside the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from correlator.dialects import Reader

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
FILES = sorted(CASES.glob("*/alerts.jsonl"))


@pytest.mark.skipif(not FILES, reason="no labelled cases beside the repository")
def test_every_line_of_the_labelled_cases_is_an_alert() -> None:
    """Each line is read by itself without reject, keeps its own words, and one key is one fingerprint."""
    reader = Reader()
    prints: dict[str, str] = {}
    for file in FILES:
        with file.open("rb") as lines:
            for line in lines:
                reading = reader.read(line, received_at=None, topic="alerts.raw")
                [alert] = reading.alerts
                raw = json.loads(line)
                assert (alert.service, alert.name, alert.status) == (raw["service"], raw["name"], raw["status"])
                assert alert.starts_at == raw["ts"]
                assert prints.setdefault(raw["key"], alert.fingerprint) == alert.fingerprint
    assert len(set(prints.values())) == len(prints)


@pytest.mark.skipif(not FILES, reason="no labelled cases beside the repository")
def test_a_whole_file_is_a_record_too() -> None:
    """The same lines as one record of many lines are the same alerts."""
    for file in FILES:
        value = b"".join(file.read_bytes().splitlines(keepends=True)[:2_000])
        reading = Reader().read(value, received_at=None)
        assert reading.rejects == []
        assert reading.indices == list(range(value.count(b"\n")))
