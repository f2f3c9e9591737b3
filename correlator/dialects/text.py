"""Foreign values as text: scalars as strings, without control characters, cut to a number of bytes."""

from __future__ import annotations

from typing import Any, Final

import orjson

from correlator.dialects.fingerprint import digest
from correlator.errors import RejectedError

__all__ = ["clean", "clean_lines", "cut", "cut_marked", "text_of"]

_LINE: Final[dict[int, str]] = {
    **dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)], "\ufffd"),
    **dict.fromkeys(map(ord, "\t\n\r\x85"), " "),
}
_LINES: Final[dict[int, str]] = {code: mended for code, mended in _LINE.items() if chr(code) not in "\t\n\r"}


def text_of(value: Any, depth: int) -> str:
    """Text of a JSON value: a string as it is, null as "", an object or array as JSON text with sorted keys.

    JSON does not tell 100 from 100.0, and senders change their mind, so both are "100". Raises RejectedError
    (``too_deep``) for objects and arrays nested deeper than ``depth``.

    >>> text_of(100.0, 1), text_of(True, 1), text_of({"b": 1, "a": None}, 1)
    ('100', 'true', '{"a":null,"b":1}')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, bool | int):
        return str(value).lower()
    level = [value]
    for _ in range(depth):
        items = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    raise RejectedError("too_deep", f"nested deeper than {depth}")


def clean(text: str) -> str:
    """One line: control characters become U+FFFD, line breaks and tabs become spaces."""
    return text if text.isprintable() else text.translate(_LINE)


def clean_lines(text: str) -> str:
    """As :func:`clean`, but line breaks and tabs stay."""
    return text if text.isprintable() or text.replace("\n", " ").isprintable() else text.translate(_LINES)


def cut(text: str, size: int) -> str:
    """``text`` itself, or its longest beginning of at most ``size`` bytes of UTF-8."""
    if len(text) * 4 <= size:
        return text
    raw = text.encode()
    return text if len(raw) <= size else raw[:size].decode(errors="ignore")


def cut_marked(text: str, size: int) -> str:
    """As :func:`cut`, but a cut text ends in a hash of the whole: two long names with one beginning stay two."""
    short = cut(text, size)
    return short if short is text else f"{cut(text, size - 17)}~{digest(text.encode())}"
