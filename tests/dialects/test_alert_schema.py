"""The JSON Schema of the native alert says what the reader does."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from correlator.dialects import Reader
from correlator.dialects.fields import STATUSES

SCHEMA: dict[str, Any] = json.loads((files("correlator") / "schemas" / "alert.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
ARRIVAL = 1_714_903_900.0

names = st.text(min_size=1, max_size=9)
nothing_or_text = st.one_of(st.none(), st.text(max_size=9))
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
values = st.one_of(nothing_or_text, numbers, st.booleans())
times = st.one_of(nothing_or_text, numbers)
alerts = st.fixed_dictionaries(
    {"name": names},
    optional={
        "service": st.one_of(nothing_or_text, numbers),
        "severity": nothing_or_text,
        "status": st.sampled_from([*STATUSES, None]),
        "starts_at": times,
        "ts": times,
        "ends_at": times,
        "labels": st.one_of(st.none(), st.dictionaries(st.text(max_size=5), values, max_size=4)),
        "annotations": st.one_of(st.none(), st.dictionaries(st.text(max_size=5), values, max_size=4)),
        "links": st.lists(st.text(max_size=9), max_size=2),
        "source": nothing_or_text,
        "key": st.one_of(nothing_or_text, numbers),
        "id": st.one_of(nothing_or_text, numbers),
        "more": values,
    },
)


def test_the_schema_is_one() -> None:
    """It is valid JSON Schema 2020-12, and its status words are those of the reader."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["status"]["enum"] == [*STATUSES, None]


@given(alert=alerts)
@settings(max_examples=300, deadline=None)
def test_what_the_schema_allows_is_accepted(alert: dict[str, Any]) -> None:
    """An alert that is valid by the schema is never rejected when its arrival is known."""
    if VALIDATOR.is_valid(alert):
        reading = Reader(dialect="native").read(json.dumps(alert).encode(), received_at=ARRIVAL)
        assert (len(reading.alerts), reading.rejects) == (1, [])


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": " "},
        {"name": ["a"]},
        {"status": "blue"},
        {"labels": "a=b"},
        {"key": {}},
        {"service": [1]},
    ],
)
def test_what_is_rejected_the_schema_forbids(change: dict[str, Any]) -> None:
    """A sender that validates its alerts learns of every reject beforehand."""
    alert = {"name": "a", "service": "s", "severity": "error", "ts": ARRIVAL}
    assert VALIDATOR.is_valid(alert)
    assert not VALIDATOR.is_valid(alert | change)


def test_the_examples_of_the_schema_are_read_as_they_are() -> None:
    """An alert made of the first example of each field passes without a note."""
    alert = {name: field["examples"][0] for name, field in SCHEMA["properties"].items() if "examples" in field}
    alert["starts_at"] = SCHEMA["$defs"]["time"]["examples"][0]
    reading = Reader().read(json.dumps(alert).encode(), received_at=ARRIVAL)
    assert [read.notes for read in reading.alerts] == [()]
    assert reading.alerts[0].labels == alert["labels"]
