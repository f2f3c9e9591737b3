"""Values of nodes and edges as files state them: checked one by one, each problem with its place.

Every function here takes a value of unknown type, its path and the draft to report to, and returns the
value to use, or None after reporting. Null and the empty text count as not stated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from topology.draft import Draft, Path
from topology.model import HARD, MAX_DELAY, MAX_TIER, Edge, Kind, Node
from topology.suggest import did_you_mean

__all__ = [
    "EDGE_KEYS",
    "NODE_KEYS",
    "label_text",
    "read_edge",
    "read_kind",
    "read_name",
    "read_node",
    "type_name",
    "unknown_key",
]

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NUMBER: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
_PART: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(ms|s|m|h|d)")
_DURATION: Final = re.compile(f"(?:{_PART.pattern})+")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TYPES: Final = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value", int: "a number"}


def type_name(value: object) -> str:
    """Return the type of a value in the words of the files."""
    return "nothing" if value is None else _TYPES.get(type(value), "a number")


def unknown_key(key: str, known: tuple[str, ...], at: Path, draft: Draft) -> None:
    """Report a key without meaning, with what it may have been meant to be."""
    hint = did_you_mean(key, known) or f"; known: {', '.join(known)}"
    draft.error((*at, key), "unknown_key", f"unknown key {key!r}{hint}")


def read_name(value: object, at: Path, draft: Draft) -> str | None:
    """Return a service name. Whole numbers are names too, because some programs number their nodes."""
    if type(value) is str and value.isprintable() and value == value.strip() != "":
        return value
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        draft.error(at, "bad_type", f"a service name must be text, not {type_name(value)}")
        return None
    if not value or value != value.strip() or _CONTROL.search(value):
        draft.error(at, "bad_name", f"{value!r} is empty, or has control characters or blanks around it")
        return None
    return value


def read_node(raw: Mapping[str, object], at: Path, draft: Draft, unknown: Callable[[str, object], None]) -> Node:
    """Return the node that a mapping states; ``unknown`` is called with each key that is not in NODE_KEYS."""
    values: dict[str, Any] = {}
    for key, value in raw.items():
        read = _NODE.get(key)
        if read is None:
            unknown(key, value)
        elif value is not None and value != "":
            result = read(value, (*at, key), draft)
            if result is not None:
                values[key] = result
    return Node(**values)


def read_edge(raw: Mapping[str, object], kind: Kind, at: Path, draft: Draft) -> Edge:
    """Return the edge that ``group``, ``needs`` and ``delay`` of a mapping state; other keys are not looked at."""
    values: dict[str, Any] = {}
    for key in ("group", "needs", "delay"):
        value = raw.get(key)
        if value is not None and value != "":
            result = _EDGE[key](value, (*at, key), draft)
            if result is not None:
                values[key] = result
    if "needs" in values and "group" not in values:
        if "group" not in raw:
            draft.error((*at, "needs"), "needs_without_group", "needs counts members of a group; name the group")
        del values["needs"]
    return Edge(kind, **values) if values or kind != "hard" else HARD


def read_kind(value: object, at: Path, draft: Draft) -> Kind:
    """Return the kind of an edge; hard when nothing is stated, and after an error."""
    if value == "soft":
        return "soft"
    if value is not None and value not in ("", "hard"):
        draft.error((*at, "kind"), "unknown_kind", f"kind is {value!r}; allowed: hard, soft")
    return "hard"


def label_text(value: object) -> str | None:
    """Return a label value as text: true and false in small letters, numbers as digits; None if it has no text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return None if not value.isascii() and _SURROGATE.search(value) else value
    return str(value) if isinstance(value, int | float) else None


def _text(value: object, at: Path, draft: Draft) -> str | None:
    if not isinstance(value, str):
        draft.error(at, "bad_type", f"{at[-1]} must be text, not {type_name(value)}; put it in quotes")
        return None
    if not value.isprintable() and _CONTROL.search(value):
        draft.error(at, "bad_value", f"{at[-1]} is {value!r}; control characters are not allowed")
        return None
    return value


def _tier(value: object, at: Path, draft: Draft) -> int | None:
    if type(value) is not int:
        draft.error(at, "bad_type", f"tier must be a whole number, not {value!r}")
    elif not 0 <= value <= MAX_TIER:
        draft.error(at, "bad_value", f"tier is {value}; allowed: 0 to {MAX_TIER}, 0 and 1 the most important")
    else:
        return value
    return None


def _labels(value: object, at: Path, draft: Draft) -> dict[str, str] | None:
    if not isinstance(value, dict):
        draft.error(at, "bad_type", f"labels must be a mapping, not {type_name(value)}")
        return None
    found: dict[str, str] = {}
    for key, item in value.items():
        text = label_text(item)
        if not isinstance(key, str) or not key or (not key.isascii() and _SURROGATE.search(key)):
            draft.error(at, "bad_name", f"label name {key!r} is not text, or is empty")
        elif text is not None:
            found[key] = text
        elif item is not None:
            draft.error((*at, key), "bad_type", f"label {key!r} must be text, not {type_name(item)}")
    return found


def _aliases(value: object, at: Path, draft: Draft) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        draft.error(at, "bad_type", f"aliases must be a list, not {type_name(value)}")
        return None
    names = (read_name(item, (*at, index), draft) for index, item in enumerate(value))
    return tuple(name for name in names if name is not None)


def _needs(value: object, at: Path, draft: Draft) -> int | None:
    if type(value) is not int:
        draft.error(at, "bad_type", f"needs must be a whole number, not {value!r}")
    elif value < 1:
        draft.error(at, "bad_value", f"needs is {value}; allowed: 1 up to the members of the group")
    else:
        return value
    return None


def _delay(value: object, at: Path, draft: Draft) -> float | None:
    allowed = "a number of seconds from 0, or text such as 30s, 5m, 1h"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        draft.error(at, "bad_type", f"delay must be {allowed}, not {type_name(value)}")
        return None
    seconds = _seconds(value)
    if seconds is None or not 0 <= seconds <= MAX_DELAY:
        draft.error(at, "bad_value", f"delay is {value!r}; allowed: {allowed}, up to a year")
        return None
    return seconds


def _seconds(value: float | str) -> float | None:
    if isinstance(value, int | float):
        return value
    if _NUMBER.fullmatch(value):
        return float(value)
    if not _DURATION.fullmatch(value):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))


_NODE: Final[dict[str, Callable[[object, Path, Draft], Any]]] = {
    "service": _text,
    "hosted_on": _text,
    "owner": _text,
    "team": _text,
    "on_call": _text,
    "runbook": _text,
    "channel": _text,
    "tier": _tier,
    "labels": _labels,
    "aliases": _aliases,
}
_EDGE: Final[dict[str, Callable[[object, Path, Draft], Any]]] = {"group": _text, "needs": _needs, "delay": _delay}

#: The keys that a node and an edge can have in every format.
NODE_KEYS: Final = tuple(_NODE)
EDGE_KEYS: Final = ("kind", *_EDGE)
