"""The README says what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

from correlator.engine.lifecycle import TRANSITIONS
from correlator.errors import EXIT_CODES, REJECT_REASONS
from correlator.model import VERDICTS

_HERE = Path(__file__).resolve().parent


def _readme() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", _HERE / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_code() -> None:
    """Settings, metrics, topics, commands and the topology example are current: else run tests/readme.py."""
    module = _readme()
    text = module.README.read_text()
    assert text == module.rewrite(text)


def test_every_verdict_and_state_is_explained() -> None:
    """A reader finds each word that a decision or an incident can carry."""
    text = _readme().README.read_text()
    states = {s for s, _ in TRANSITIONS} | set(TRANSITIONS.values()) | {"merged"}
    for word in (*VERDICTS, *sorted(states)):
        assert re.search(rf"^\| {word} \|", text, re.MULTILINE), word


def test_every_exit_code_and_reject_reason_is_named() -> None:
    """What a worker can end with, and what a record can be refused for."""
    text = _readme().README.read_text()
    line = next(part for part in text.split("\n\n") if part.startswith("Errors are one line"))
    for code in sorted(set(EXIT_CODES.values())):
        assert re.search(rf"\b{code} ", line), code
    for reason in REJECT_REASONS:
        assert f"`{reason}`" in text, reason


def test_links_point_to_files_that_exist() -> None:
    """No dead link within the repository."""
    text = _readme().README.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (_HERE.parent / target).exists(), target
