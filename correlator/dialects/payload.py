"""The bytes of a record as JSON: one document, or one per line."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

import orjson

from correlator.errors import RejectedError

__all__ = ["Document", "documents_of"]

_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"{}[]")))
#: A JSON string, or the rest of the text when it does not end: so the search takes linear time.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
#: orjson reads a little more than this many levels.
_PARSER_DEPTH: Final = 1_000
_BOM: Final = b"\xef\xbb\xbf"
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
#: What Python and JavaScript senders write that JSON forbids: non-finite numbers, half a surrogate pair.
_MENDABLE: Final = re.compile(rb"NaN|Infinity|\\u[dD][89a-fA-F]")


class Document(NamedTuple):
    """One JSON document of a record, or why it cannot be read. ``mended``: it was not JSON to the letter."""

    content: Any
    mended: bool = False


def documents_of(value: bytes, most: int) -> list[Document]:
    """The JSON documents of a record: one, or one per line.

    A record of several lines of which one is a JSON object is read line by line; blank lines do not count, and a
    line that cannot be read is a document whose content is the RejectedError. In an object with duplicate keys
    the last one holds. Raises RejectedError (``empty``, ``not_utf8``, ``not_json``, ``too_deep``) when nothing can
    be read, and ``too_many_alerts`` for more than ``most`` lines.
    """
    if value.isspace():
        raise RejectedError("empty", "nothing but blanks")
    value = value.removeprefix(_BOM)
    document = _document_of(value)
    if isinstance(document, Document):
        return [document]
    lines = [line for line in value.splitlines() if line.strip()]
    if len(lines) > 1:
        documents = [_line_of(line) for line in lines[:most]]
        if any(type(line.content) is dict for line in documents):
            if len(lines) > most:
                raise RejectedError("too_many_alerts", f"{len(lines)} lines, at most {most} are read")
            return documents
    raise _reason(value, document)


def _line_of(line: bytes) -> Document:
    document = _document_of(line)
    return document if isinstance(document, Document) else Document(_reason(line, document))


def _document_of(value: bytes) -> Document | str:
    """The one document of ``value``, or what the parser says."""
    try:
        return Document(orjson.loads(value))
    except orjson.JSONDecodeError as error:
        message = str(error)
    if _MENDABLE.search(value):
        try:
            loose = json.dumps(json.loads(value, parse_constant=str), ensure_ascii=False)
            return Document(orjson.loads(_HALF_PAIR.sub("\ufffd", loose)), mended=True)
        except (ValueError, RecursionError):
            pass
    return message


def _reason(value: bytes, message: str) -> RejectedError:
    """Why the bytes are not JSON."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return RejectedError("not_utf8", f"not UTF-8 at byte {error.start}")
    level = 0
    for bracket in _STRING.sub(b"", value).translate(None, _NOT_BRACKETS):
        level += 1 if bracket in b"{[" else -1
        if level > _PARSER_DEPTH:
            return RejectedError("too_deep", f"nested deeper than {_PARSER_DEPTH}")
    return RejectedError("not_json", message)
