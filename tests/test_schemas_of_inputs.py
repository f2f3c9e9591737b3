"""What the program takes in, controls and records of the log, is what the schemas say, no more and no less."""

from __future__ import annotations

from typing import Any

import pytest

from correlator.engine.layout import Incoming, Moved, written
from correlator.engine.rules import Rules
from correlator.errors import ControlError
from correlator.schemas import schema
from correlator.stream.controls import CONTROL_TYPES, check
from tests.validation import problems
from topology import ServiceGraph

T0 = 1_750_000_000.0

WINDOW = {
    "type": "maintenance",
    "id": "CHG-1",
    "match": {"service": "db"},
    "starts_at": 1.0,
    "ends_at": 2,
    "author": "ada",
    "reason": "upgrade",
}
MATCHERS = [{"name": "env", "value": "prod.*", "isRegex": True}, {"name": "service", "value": "db", "isEqual": False}]
SUBTREE = {**{key: value for key, value in WINDOW.items() if key != "match"}, "subtree": "db"}
SILENCE = {
    "type": "silence",
    "id": "3b5e",
    "matchers": MATCHERS,
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "2026-01-01T02:00:00Z",
    "createdBy": "ada",
    "comment": "upgrade",
    "status": {"state": "active"},
    "updatedAt": "2026-01-01T00:00:00Z",
}
END = {"type": "maintenance_end", "id": "CHG-1"}
ACK = {"type": "acknowledge", "incident": "0123456789abcdef", "by": "ada"}
SAID = {"type": "verdict", "incident": "0123456789abcdef", "by": "ada"}


@pytest.mark.parametrize(
    "control",
    [
        WINDOW,
        END,
        {**END, "author": "ada"},
        ACK,
        {**ACK, "type": "praise"},
        {**SAID, "root": "db"},
        {**SAID, "root": "db", "note": "disk"},
        {**SAID, "not_explained": "0" * 16},
        {**SAID, "rightly_hidden": "0" * 16, "sampled": True},
        SAID,
        {**SAID, "root": "db", "not_explained": "0" * 16},
        {**SAID, "not_explained": "0" * 16, "rightly_hidden": "0" * 16},
        {**SAID, "root": "db", "sampled": True},
        {**SAID, "not_explained": "0" * 16, "sampled": 1},
        {**SAID, "not_explained": "0" * 16, "sampled": "yes"},
        {**SAID, "root": ""},
        {**SAID, "root": 5},
        {**SAID, "root": True},
        {**SAID, "root": "db", "note": ""},
        {**SAID, "root": "db", "by": ""},
        {"type": "verdict", "root": "db", "by": "ada"},
        {"type": "verdict", "root": "db", "incident": "x"},
        {"incident": "x", "by": "ada"},
        {**ACK, "by": ""},
        {**ACK, "by": 5},
        {**ACK, "why": "because"},
        {**END, "id": ""},
        {**WINDOW, "match": {}},
        {**WINDOW, "match": {"service": 5}},
        {**WINDOW, "match": ["db"]},
        {**WINDOW, "starts_at": "now"},
        {**WINDOW, "ends_at": True},
        *({key: value for key, value in WINDOW.items() if key != left_out} for left_out in WINDOW),
        SUBTREE,
        {**SUBTREE, "subtree": ""},
        {**SUBTREE, "subtree": ["db"]},
        {**SUBTREE, "match": None},
        {**WINDOW, "match": None},
        {**WINDOW, "subtree": "db", "matchers": MATCHERS},
        {**WINDOW, "matchers": []},
        {**WINDOW, "matchers": [{"name": "env"}]},
        {**WINDOW, "matchers": [{"name": "", "value": "x"}]},
        {**WINDOW, "matchers": [{"name": "env", "value": "x", "isRegex": "yes"}]},
        {**SILENCE, "id": None},
        {**SILENCE, "why": "x"},
        *({key: value for key, value in SILENCE.items() if key != left_out} for left_out in SILENCE),
    ],
)
def test_the_schema_of_controls_accepts_what_the_program_accepts(control: dict[str, Any]) -> None:
    """Whoever checks a control before sending it gets the same answer."""
    try:
        check(control)
        accepted = True
    except ControlError:
        accepted = False
    assert (problems("control", control) == []) == accepted


def test_the_schema_of_controls_has_the_types_of_the_program() -> None:
    """And their fields."""
    kinds = {part["properties"]["type"]["const"]: part for part in schema("control")["oneOf"]}
    assert {kind: set(part["properties"]) - {"type"} for kind, part in kinds.items()} == {
        kind: set(known) for kind, known in CONTROL_TYPES.items()
    }
    assert set(schema("control")["properties"]["type"]["enum"]) == set(kinds)
    assert set(kinds) - {"silence"} < set(schema("placed")["properties"]["type"]["enum"])


ARRIVAL = Incoming({"now": T0}, {"a": {"0" * 16: ["row"]}}, {"db": "0" * 16})


@pytest.mark.parametrize(
    "record",
    [
        {"type": "tick"},
        {"type": "tick", "watermarks": {"alerts.raw/0": T0}, "partitions": 8},
        {"type": "graph", "version": ServiceGraph.empty().version},
        {"type": "rules", "rules": Rules().plain()},
        {
            "source": "alerts.raw/0",
            "rows": [[0, 0, 1.0, True, "0" * 16, "db", "n", "info", "firing", 1.0, None, {}, {}, "am", []]],
            "ahead": {"am": 2.5},
        },
        {"type": "move_begin", "layout": 1},
        *written(1, Moved(["all"], {"eu": ARRIVAL}, {"alerts.raw/0": [3, 0]}, {"partitions": 1})),
        {"type": "move_end", "layout": 1},
        WINDOW,
        ACK,
        {**SAID, "root": "db"},
    ],
)
def test_every_kind_of_record_of_the_log_is_allowed(record: dict[str, Any]) -> None:
    """One kind each."""
    assert problems("placed", record) == []


@pytest.mark.parametrize(
    "record",
    [
        {"type": "alerts", "rows": []},
        {"type": "alerts", "source": "alerts.raw/0", "rows": [[1, 2]]},
        {"type": "graph"},
        {"type": "tick", "time": 5},
        {"type": "move_part", "layout": 1, "part": 0, "parts": 1},
        {"type": "weather"},
        [],
    ],
)
def test_other_records_are_not(record: Any) -> None:
    """Of no kind, or of a kind and broken."""
    assert problems("placed", record) != []
