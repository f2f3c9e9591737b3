"""YAML as plain data with the line of every value, built from parser events.

Safe by construction: no tag is ever turned into an object, and depth and size (with aliases written out) are
limits that hold while reading, so a small file cannot grow. Values follow the YAML 1.2 core schema, where
``no`` and ``on`` are text; a number counts as a number only if it prints as it was written, so ``1.10`` and
``007`` stay text. Keys are always text. A value that occurs twice under one key is kept in ``repeated``.
"""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn

import yaml

from topology.draft import Path
from topology.formats.source import Source, SourceError

__all__ = ["MAX_DEPTH", "MAX_NODES", "YamlDocument", "read_yaml"]

MAX_DEPTH: Final = 32
#: Values in one document, aliases written out. 50,000 services with 120,000 edges have about a million.
MAX_NODES: Final = 5_000_000

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_STANDARD: Final = "tag:yaml.org,2002:"


class YamlDocument:
    """Plain data, where it stands in the file, and the paths of keys that occur more than once."""

    def __init__(self, name: str) -> None:
        self.data: object = None
        self.repeated: list[Path] = []
        self.lines: dict[int, dict[Any, int]] = {}
        self._name = name

    def where(self, path: Path) -> str:
        """Return ``file:line`` of the value at a path, or of the nearest value above it. O(len(path))."""
        line, value = 1, self.data
        for step in path:
            line = self.lines.get(id(value), {}).get(step, line)
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int):
                value = value[step]
        return f"{self._name}:{line}"


def read_yaml(source: Source, *, max_depth: int = MAX_DEPTH, max_nodes: int = MAX_NODES) -> YamlDocument:
    """Return the one document of a YAML file; SourceError tells line and column of what is wrong."""
    builder = _Builder(source, max_depth, max_nodes)
    text = source.text
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f"{source.name}:{mark.line + 1}:{mark.column + 1}" if mark else source.name
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SourceError(place, "bad_syntax", f"{at}not YAML: {exc.problem or exc.context}") from exc
    except yaml.reader.ReaderError as exc:
        # Its position counts bytes with libyaml and characters without, so the character is looked up again.
        match = yaml.reader.Reader.NON_PRINTABLE.search(text)
        source.fail(text[: match.start()] if match else "", "bad_syntax", f"not YAML: {exc.reason}")
    return builder.document


class _Frame:
    """A mapping or list that is still open: what it holds, the key that waits for a value, its size so far."""

    __slots__ = ("anchor", "box", "key", "lines", "size")

    def __init__(self, box: dict[str, object] | list[object], anchor: str | None) -> None:
        self.box = box
        self.anchor = anchor
        self.key: str | None = None
        self.lines: dict[Any, int] = {}
        self.size = 1


class _Builder:
    """Takes events one by one and builds the document. Not recursive, so depth costs no stack."""

    def __init__(self, source: Source, max_depth: int, max_nodes: int) -> None:
        self.document = YamlDocument(source.name)
        self._source = source
        self._max_depth = max_depth
        self._max_nodes = max_nodes
        self._open: list[_Frame] = []
        self._anchors: dict[str, tuple[object, int]] = {}
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Use one event."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end(event)
        elif isinstance(event, yaml.AliasEvent):
            known = self._anchors.get(event.anchor or "")
            if known is None:
                self._fail(event, "bad_syntax", f"alias *{event.anchor} stands for nothing before it")
            self._put(event, *known)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._fail(event, "bad_syntax", "the file holds a second document; one is allowed")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        frame = self._open[-1] if self._open else None
        if frame is not None and frame.key is None and isinstance(frame.box, dict):
            self._key(frame, event)
            return
        value = self._value(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._put(event, value, 1)

    def _key(self, frame: _Frame, event: yaml.ScalarEvent) -> None:
        key: str = event.value
        if key == "<<" and event.implicit[0]:
            self._fail(event, "bad_syntax", "merge keys (<<) are not read; use defaults")
        if event.anchor:
            self._anchors[event.anchor] = (key, 1)
        if key in frame.box:
            keys: list[Any] = [other.key if isinstance(other.box, dict) else len(other.box) for other in self._open]
            self.document.repeated.append((*keys[:-1], key))
        frame.key = key
        frame.lines[key] = _line(event)

    def _value(self, event: yaml.ScalarEvent) -> object:
        text: str = event.value
        if event.tag is not None and event.tag not in ("!", f"{_STANDARD}str"):
            self._fail(event, "bad_syntax", f"tag {event.tag!r} is not allowed")
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text) and repr(float(text)) == text:
            return float(text)
        return text

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if event.tag is not None and event.tag not in (f"{_STANDARD}map", f"{_STANDARD}seq", "!"):
            self._fail(event, "bad_syntax", f"tag {event.tag!r} is not allowed")
        if len(self._open) >= self._max_depth:
            self._fail(event, "too_deep", f"nested deeper than {self._max_depth} levels")
        frame = self._open[-1] if self._open else None
        if frame is not None and frame.key is None and isinstance(frame.box, dict):
            self._fail(event, "bad_syntax", "a key must be text, not a list or mapping")
        box: dict[str, object] | list[object] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._note_line(event)
        self._open.append(_Frame(box, event.anchor))

    def _end(self, event: yaml.Event) -> None:
        frame = self._open.pop()
        self.document.lines[id(frame.box)] = frame.lines
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.box, frame.size)
        self._put(event, frame.box, frame.size)

    def _note_line(self, event: yaml.Event) -> None:
        if self._open and isinstance(self._open[-1].box, list):
            self._open[-1].lines[len(self._open[-1].box)] = _line(event)

    def _put(self, event: yaml.Event, value: object, size: int) -> None:
        if not self._open:
            self.document.data = value
            return
        frame = self._open[-1]
        frame.size += size
        if frame.size > self._max_nodes:
            message = f"more than {self._max_nodes} values, with aliases written out"
            self._fail(event, "too_many_nodes", message)
        if isinstance(frame.box, list):
            frame.lines.setdefault(len(frame.box), _line(event))
            frame.box.append(value)
        elif frame.key is None:
            self._fail(event, "bad_syntax", "a key must be text, not an alias")
        else:
            frame.box[frame.key] = value
            frame.key = None

    def _fail(self, event: yaml.Event, code: str, message: str) -> NoReturn:
        line, column = _line(event), event.start_mark.column + 1 if event.start_mark else 1
        place = f"{self._source.name}:{line}:{column}"
        raise SourceError(place, code, f"line {line}, column {column}: {message}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
