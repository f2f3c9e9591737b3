"""``make audit``: what its exit code says of what pip-audit found, and that silence of the database is no yes."""

from __future__ import annotations

import json
from typing import Any

from requirements.audit import judged

SOUND: dict[str, Any] = {"name": "orjson", "version": "3.13.0", "vulns": []}
FLAWED = {"name": "aiohttp", "version": "3.0", "vulns": [{"id": "PYSEC-2099-1", "fix_versions": ["3.1", "3.2"]}]}
SKIPPED = {"name": "faust", "skip_reason": "Dependency not found on PyPI and could not be audited: faust (0.15)"}


def told(*packages: dict[str, Any]) -> tuple[int, list[str]]:
    return judged(json.dumps({"dependencies": packages, "fixes": []}), "")


def test_nothing_found_is_a_yes() -> None:
    """With the number of packages that were asked about."""
    assert told(SOUND) == (0, ["0 known vulnerabilities in 1 of 1 packages"])


def test_a_vulnerability_is_named_with_what_mends_it() -> None:
    """And it weighs more than packages of which nothing is known."""
    code, lines = told(SOUND, FLAWED, SKIPPED)
    assert code == 1
    assert lines[:2] == [
        "1 known vulnerabilities in 2 of 3 packages",
        "aiohttp 3.0: PYSEC-2099-1, mended in 3.1, 3.2",
    ]


def test_packages_that_the_database_does_not_know_are_no_yes() -> None:
    """Neither some of them nor all."""
    assert told(SOUND, SKIPPED)[0] == 3
    assert told(SKIPPED) == (3, ["nothing is known: the database has none of the 1 packages"])


def test_a_database_that_does_not_answer_is_said_plainly() -> None:
    """With the last line of what pip-audit says."""
    code, (line,) = judged("", "Traceback\n  ...\nConnectionError: no route to host\n")
    assert (code, line) == (
        3,
        "nothing is known: pip-audit could not ask the database: ConnectionError: no route to host",
    )
