"""A file as text: read within limits, decoded, and parsed with the line and column of what is wrong."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import PurePath
from typing import BinaryIO, Final, NoReturn

import orjson

from topology.draft import Path, path_text
from topology.errors import Problem

__all__ = ["MAX_BYTES", "Source", "SourceError", "read_at_most"]

#: Largest file that is read, in bytes (256 MiB).
MAX_BYTES: Final = 256 * 1024 * 1024

_CHUNK: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"


def read_at_most(file: BinaryIO, size: int) -> bytes:
    """The rest of a file, but at most ``size`` bytes. Room is made for what is there, not for what might be."""
    parts: list[bytes] = []
    while size > 0 and (part := file.read(min(size, _CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class SourceError(Exception):
    """The file cannot be read any further. Carries the one problem that says why."""

    def __init__(self, place: str, code: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem("error", place, code, message)


class Source:
    """The content of one file. ``text`` and ``json`` are made when asked for, and raise SourceError."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content.removeprefix(_BOM)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Source:
        """Read a file of at most ``max_bytes``; raises SourceError ``unreadable`` or ``too_large``."""
        name = os.fspath(path)
        try:
            with open(path, "rb") as file:
                content = read_at_most(file, max_bytes + 1)
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise SourceError(name, "unreadable", f"the file cannot be read: {reason}") from exc
        if len(content) > max_bytes:
            raise SourceError(name, "too_large", f"the file is larger than {max_bytes} bytes")
        return cls(name, content)

    @property
    def suffix(self) -> str:
        """The end of the file name in small letters, with its dot."""
        return PurePath(self.name).suffix.lower()

    def where(self, path: Path) -> str:
        """Return the place of a path: the file, a colon and the path."""
        return f"{self.name}:{path_text(path)}" if path else self.name

    @cached_property
    def text(self) -> str:
        """The content as text; SourceError ``not_utf8`` names line and column of the first bad byte."""
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError as exc:
            before = self.content[: exc.start].decode("utf-8")
            self.fail(before, "not_utf8", f"byte 0x{self.content[exc.start]:02x} is not UTF-8 ({exc.reason})")

    @cached_property
    def json(self) -> object:
        """The content as plain data; SourceError ``bad_syntax`` or ``too_deep`` names line and column."""
        try:
            parsed: object = orjson.loads(self.content)
        except orjson.JSONDecodeError as exc:
            text = self.text
            code = "too_deep" if "limit" in exc.msg else "bad_syntax"
            self.fail(text[: exc.pos], code, f"not JSON: {exc.msg.partition(': line ')[0]}")
        return parsed

    def fail(self, before: str, code: str, message: str) -> NoReturn:
        """Raise SourceError at the end of ``before``, the text up to the fault."""
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        raise SourceError(f"{self.name}:{line}:{column}", code, f"line {line}, column {column}: {message}")
