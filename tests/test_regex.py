"""Regular expressions of operators: what is refused for its cost, that what is taken has none, where they come in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from correlator.config import load_settings
from correlator.engine.regex import check
from correlator.errors import ControlError, SettingsError
from correlator.stream import controls
from tests.fuzz.bounds import time_bounded

Call = Callable[..., Result]

COSTLY = (
    r"(a+)+$",
    r"(a|aa)+$",
    r"(.*)*x",
    r"(a*?)*b",
    r"([a-z.]+\.)*svc",
    r"(?i)(x[a-w]+)*",
    r"(a{1,10}){1,10}",
    r"(a?){40}b",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(?=(a+)+$)a",
    r".*a.*b.*c.*d",
    "a?" * 33 + "a" * 33,
)
USUAL = (
    r"db-.*",
    r".*(db|cache|queue).*",
    r"(?i)expir|forecast|predict|ticket",
    r"web(-[a-z0-9]+)*",
    r"[^-]+(-[^-]+)+",
    r"([a-z]+\.)*svc",
    r"(foo|bar)+",
    r"(\d{1,3}\.){3}\d{1,3}",
    r"(prod|staging)-.*",
    r"\bcargo lost\b",
    r".*a.*b.*c",
    r"(a++)+b",
)


@pytest.mark.parametrize("pattern", COSTLY)
def test_a_pattern_that_can_take_for_ever_is_refused(pattern: str) -> None:
    """With how many ways it has, and what is allowed."""
    with pytest.raises(re.error, match=r"can be tried in 2\^\d+ ways, at most 2\^32 are allowed"):
        check(pattern)


@pytest.mark.parametrize("pattern", USUAL)
def test_usual_patterns_are_taken(pattern: str) -> None:
    """The bound is in nobody's way."""
    check(pattern)


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(" * 3_000 + ")" * 3_000, "(?P<n>a)(?P<n>b)"])
def test_what_is_no_pattern_is_one_kind_of_error(pattern: str) -> None:
    """Numbers that are too large, and nesting that is too deep, too."""
    with pytest.raises(re.error):
        check(pattern)


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\w", "-", "(?:a|b)", "(?:a|aa)", "(?:ab|a)"])
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{0,3}", "{2,}", "*?"])).map(lambda it: f"(?:{it[0]}){it[1]}"),
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(patterns, st.sampled_from(["a", "ab", "aab", "a-", "-a", "aaab"]))
def test_no_pattern_that_is_taken_goes_back_for_ever(pattern: str, unit: str) -> None:
    """On texts that nearly fit: 2^80 tries would be needed where there is a choice for each character."""
    try:
        check(pattern)
    except re.error:
        return
    compiled = re.compile(pattern)
    text = (unit * 80)[:80] + "!"
    with time_bounded(5.0):
        compiled.fullmatch(text)
        compiled.search(f"{text}!")


def test_settings_with_a_costly_pattern_are_refused(tmp_path: Path) -> None:
    """In each list of patterns, with the key."""
    keys = ('not_a_cause = ["(a+)+$"]', 'never_suppress = [{ match = { team = "(a+)+$" } }]')
    kinds = 'kinds = [{ kind = "error", match = "(a+)+$" }]'
    path = tmp_path / "correlator.toml"
    path.write_text("[engine]\n" + "\n".join([*keys, kinds]))
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert [problem.split("[")[0] for problem in sorted(caught.value.problems)] == [
        "engine.kinds",
        "engine.never_suppress",
        "engine.not_a_cause",
    ]
    assert all("can be tried in" in problem for problem in caught.value.problems)


@pytest.mark.parametrize("value", ["(a+)+$", "a{99999999999999999999}"])
def test_windows_and_silences_with_a_costly_pattern_are_refused(value: str) -> None:
    """Before they are in the log."""
    about: dict[str, Any] = {"type": "maintenance", "id": "w", "author": "ana", "reason": "r"}
    about |= {"starts_at": 1.0, "ends_at": 2.0}
    with pytest.raises(ControlError, match="not a regular expression"):
        controls.check({**about, "match": {"service": value}})
    matcher = {"name": "service", "value": value, "isRegex": True}
    with pytest.raises(ControlError, match="not a regular expression"):
        controls.check({**about, "matchers": [matcher]})
    assert controls.check({**about, "matchers": [{**matcher, "isRegex": False}]})
