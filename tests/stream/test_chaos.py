"""The short form of ``python -m benchmarks.chaos``: every kind of fault once, in less than two minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.chaos.__main__ import main
from benchmarks.chaos.schedule import KINDS

pytestmark = [pytest.mark.broker, pytest.mark.kafka, pytest.mark.slow]

#: A seed whose schedule has every kind of fault within so many minutes.
SEED, MINUTES = 4, 1.8


def test_every_kind_of_fault_while_storms_flow(kafka_jars: Path, tmp_path: Path) -> None:
    """No alert lost, none counted twice, and what was published is byte for byte what the log implies."""
    found, evidence = tmp_path / "chaos.json", tmp_path / "evidence"
    where = [f"--json={found}", f"--evidence={evidence}", "--drain=90"]
    main([f"--minutes={MINUTES}", f"--seed={SEED}", *where])  # leaves with SystemExit when a law broke
    result = json.loads(found.read_bytes())
    assert {row["fault"] for row in result["rows"]} == KINDS.keys()
    assert not any(result["laws"].values())
    assert not evidence.exists()
    counts = result["counts"]
    assert counts["alerts fed"] == counts["alerts decided"] > 10_000
    assert counts["alerts put aside"] > 0
    assert counts["bad records"] > 0
    assert all(row["publications"] > 50 for row in result["shards"])
