"""Alerts and logs that were kept in files: one JSON document per line, an array, or one whole body; gzip or not."""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from correlator.dialects import Reader
from correlator.dialects.times import epoch_of
from correlator.errors import CorrelatorError
from correlator.model import RESOLVED, Alert
from topology.formats.source import read_at_most

__all__ = ["MAX_DOCUMENT", "Arrival", "Entry", "FileError", "documents", "read_alerts", "read_dump", "whole"]

#: Largest document of a file, in bytes, unpacked; a file of lines may be of any size.
MAX_DOCUMENT: Final = 256 * 1024 * 1024

#: Source of alerts that name none.
_SOURCE: Final = "file"
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"

#: Takes one line about something that could not be read: where, and why.
Unread = Callable[[str], None]


class FileError(CorrelatorError):
    """A file cannot be opened, or breaks off."""

    reason = "file"


class Arrival(NamedTuple):
    """One alert from a file. ``at`` is when it arrived, in epoch seconds; ``line`` and ``place`` where it stood."""

    alert: Alert
    at: float
    file: int
    line: int
    place: int


class Entry(NamedTuple):
    """One record of a topic from a dump. ``time`` is its broker timestamp in epoch seconds; ``value`` plain data."""

    place: str
    topic: str
    partition: int
    offset: int
    time: float
    key: str
    value: Any


def read_alerts(paths: Sequence[Path], reader: Reader, unread: Unread) -> Iterator[Arrival]:
    """All alerts of the files, in the order of files and lines. What cannot be read goes to ``unread``.

    The arrival is the field ``received_at`` or ``ts`` of the document; without it the alert's own start, of a resolved
    one its end. Raises :class:`FileError` for a file that cannot be read at all.
    """
    for number, path in enumerate(paths):
        for line, value in documents(path):
            for piece, index, place in _pieces(value):
                at = _arrival(piece)
                body = value if index is None else orjson.dumps([piece])
                reading = reader.read(body, received_at=at, topic=_SOURCE)
                for _, error in reading.rejects:
                    unread(f"{path}:{line}{place}: {error.reason}: {error}")
                for position, alert in zip(reading.indices, reading.alerts, strict=True):
                    yield Arrival(alert, at or _moment(alert), number, line, index or position)


def _pieces(value: bytes) -> Iterator[tuple[Any, int | None, str]]:
    """A document, or each item of a list: its content, its index in the list, and what that adds to its place."""
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        document = None  # the reader says what is wrong with it, or mends it
    if type(document) is not list:
        yield document, None, ""
        return
    for index, item in enumerate(document):
        yield item, index, f" item {index + 1}"


def _arrival(document: Any) -> float | None:
    if type(document) is not dict:
        return None
    time = epoch_of(document.get("received_at") or document.get("ts"))
    return time if time is not None and 0.0 < time < 1e11 else None


def _moment(alert: Alert) -> float:
    if alert.status == RESOLVED and alert.ends_at is not None:
        return alert.ends_at
    return alert.starts_at


def read_dump(path: Path, unread: Unread) -> Iterator[Entry]:
    """The records of a dump, one ``{"topic", "partition", "offset", "timestamp", "key", "value"}`` per line.

    ``timestamp`` is in milliseconds, ``value`` a JSON value. Raises :class:`FileError`.
    """
    for line, content in documents(path):
        place = f"{path}:{line}"
        try:
            fields = orjson.loads(content)
            topic, key = str(fields["topic"]), str(fields.get("key") or "")
            partition, offset, time = int(fields["partition"]), int(fields["offset"]), fields["timestamp"] / 1000
            yield Entry(place, topic, partition, offset, time, key, fields["value"])
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            unread(f"{place}: not a record of a dump: {type(error).__name__}: {error}")


def documents(path: Path, *, most: int = MAX_DOCUMENT) -> Iterator[tuple[int, bytes]]:
    """The documents of a file with their line numbers: its lines, or the whole where that is one JSON document.

    Only the beginning of a file of lines is held. Raises :class:`FileError`, also for more than ``most`` bytes in one.
    """
    with _opened(path) as file:
        lines = ((number, line) for number, line in enumerate(_lines(path, file, most), 1) if line.strip())
        number, first = next(lines, (0, b""))
        if first and not _is_json(first):
            content = _bounded(path, number, first + read_at_most(file, most + 1), most)
            if _is_json(content):
                yield number, content
                return
            again = enumerate(content[len(first) :].splitlines(), number + 1)
            lines = ((later, line) for later, line in again if line.strip())
        if first:
            yield number, first
            yield from lines


def whole(path: Path, *, most: int = MAX_DOCUMENT) -> bytes:
    """A file as one document, unpacked. Raises :class:`FileError`, also for more than ``most`` bytes."""
    with _opened(path) as file:
        return _bounded(path, 1, read_at_most(file, most + 1), most)


def _lines(path: Path, file: io.BufferedReader[Any], most: int) -> Iterator[bytes]:
    for number in itertools.count(1):
        line = file.readline(most + 1)
        if not line:
            return
        yield _bounded(path, number, line, most)


def _bounded(path: Path, line: int, content: bytes, most: int) -> bytes:
    if len(content) > most:
        raise FileError(f"{path}:{line}: a document of more than {most} bytes is not read")
    return content


def _is_json(value: bytes) -> bool:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader[Any]]:
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP
            file: io.BufferedReader[Any] = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
            if file.peek(3)[:3] == _BOM:
                file.read(3)
            yield file
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise FileError(f"{path}: the compressed data breaks off or is damaged: {error}") from error
