"""The bypass shares no machinery with what it watches."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["faust", "mode", "correlator.stream.worker", "correlator.stream.owner"])
def test_the_process_does_not_load(module: str) -> None:
    """A fault in Faust or in the worker cannot take the bypass along."""
    program = f"import sys, correlator.cli, correlator.bypass.run; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
