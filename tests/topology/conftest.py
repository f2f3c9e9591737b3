"""What the tests of the service graph share: reading a file that the test writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topology import Loaded, load


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaded]:
    """Write text, bytes or plain data to a file and load it; places start with the bare file name."""
    monkeypatch.chdir(tmp_path)

    def write_and_load(name: str, content: Any, **options: Any) -> Loaded:
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        (tmp_path / name).write_bytes(content)
        return load(name, **options)

    return write_and_load


@pytest.fixture
def findings(read: Callable[..., Loaded]) -> Callable[..., list[str]]:
    """Return the problems of a file as ``severity place code``, in the order of the report."""

    def found(name: str, content: Any, **options: Any) -> list[str]:
        loaded = read(name, content, **options)
        return [f"{problem.severity} {problem.place} {problem.code}" for problem in loaded.problems]

    return found
