"""Files that hold a topology: which formats there are, and ``load``, which reads any of them.

A reader takes a source and the direction option, and returns a draft with everything it found. To add a format,
write such a module and name it in FORMATS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from topology.bulk import collection_paused
from topology.direction import DIRECTIONS, Direction
from topology.draft import Draft
from topology.errors import Problem
from topology.formats import csv_edges, native, node_link
from topology.formats.source import MAX_BYTES, Source, SourceError
from topology.loaded import Loaded, finished

__all__ = ["FORMATS", "MAX_BYTES", "load"]

#: Format name -> its reader.
FORMATS: Final[Mapping[str, Callable[[Source, Direction | None], Draft]]] = {
    "native": native.read,
    "node-link": node_link.read,
    "csv": csv_edges.read,
}
_BY_SUFFIX: Final = {".yaml": "native", ".yml": "native", ".csv": "csv"}


def load(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    direction: Direction | str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Loaded:
    """Load a topology from a file and report every problem with its place; nothing is raised.

    ``format`` is a key of FORMATS; by default the file name decides, and for .json the keys in it.
    ``direction`` is ``depends_on``, ``serves`` or, for links without direction, ``both``; it may repeat what the
    file says, and is needed when the file is silent. ``max_bytes`` bounds the file.
    The graph is None when any problem is an error.
    """
    name = os.fspath(path)
    bad = _bad_options(name, format, direction)
    if bad:
        return Loaded(None, tuple(bad))
    with collection_paused():
        try:
            source = Source.open(path, max_bytes=max_bytes)
            reader = FORMATS[format or _format_of(source)]
            draft = reader(source, next((known for known in DIRECTIONS if known == direction), None))
        except SourceError as exc:
            return Loaded(None, (exc.problem,))
        del source
        return finished(draft)


def _bad_options(name: str, format: str | None, direction: str | None) -> list[Problem]:
    problems = []
    if format is not None and format not in FORMATS:
        message = f"format is {format!r}; allowed: {', '.join(FORMATS)}"
        problems.append(Problem("error", name, "unknown_format", message))
    if direction is not None and direction not in DIRECTIONS:
        message = f"the option direction is {direction!r}; allowed: {', '.join(DIRECTIONS)}"
        problems.append(Problem("error", name, "bad_value", message))
    return problems


def _format_of(source: Source) -> str:
    known = _BY_SUFFIX.get(source.suffix)
    if known is not None:
        return known
    if source.suffix == ".json":
        keys = source.json if isinstance(source.json, dict) else {}
        if "nodes" in keys or "edges" in keys or "links" in keys:
            return "node-link"
        if "services" in keys or "version" in keys:
            return "native"
        message = "neither our own format (key 'services') nor node-link (keys 'nodes' and 'edges')"
    else:
        message = f"nothing is known about files that end in {source.suffix!r}"
    raise SourceError(source.name, "unknown_format", f"{message}; pass one of the formats {', '.join(FORMATS)}")
