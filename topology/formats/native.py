"""Our own format as a file: YAML, or JSON when the name ends in .json. What it says is in ``topology.native``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from topology.direction import Direction
from topology.draft import Draft, Path
from topology.formats.source import Source, SourceError
from topology.formats.yaml_document import read_yaml
from topology.native import read_native

__all__ = ["read"]


def read(source: Source, direction: Direction | None) -> Draft:
    """Return the draft of a file in our own format. Raises SourceError when it is not YAML or JSON."""
    if source.suffix == ".json":
        data, where = source.json, source.where
        try:
            repeated = _repeated(source.text)
        except RecursionError as exc:
            raise SourceError(source.name, "too_deep", "nested deeper than this program reads") from exc
    else:
        document = read_yaml(source)
        data, repeated, where = document.data, document.repeated, document.where
    draft = Draft(where)
    for path in repeated:
        code = "duplicate_node" if len(path) == 2 and path[0] == "services" else "duplicate_key"
        draft.error(path, code, f"{path[-1]!r} occurs more than once")
    read_native(data, draft, option=direction)
    return draft


def _repeated(text: str) -> list[Path]:
    """Return the paths of keys that occur more than once in one object; the JSON parsers keep the last, silently.

    The first pass only looks, and keeps nothing. The second one, made when there is something to find, also
    keeps the objects, to tell where it is.
    """
    seen = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal seen
        seen = seen or len(dict(pairs)) != len(pairs)

    json.loads(text, object_pairs_hook=look, parse_int=len)
    if not seen:
        return []
    keys: dict[int, list[str]] = {}

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        counted = Counter(key for key, _ in pairs) if len(made) != len(pairs) else {}
        keys[id(made)] = [key for key, count in counted.items() if count > 1]
        return made

    return _paths(json.loads(text, object_pairs_hook=keep, parse_int=len), keys)


def _paths(root: object, keys: dict[int, list[str]]) -> list[Path]:
    found: list[Path] = []
    waiting: list[tuple[Path, object]] = [((), root)]
    while waiting:
        at, value = waiting.pop()
        if isinstance(value, dict):
            found.extend((*at, key) for key in keys.get(id(value), ()))
            waiting.extend(((*at, key), item) for key, item in value.items())
        elif isinstance(value, list):
            waiting.extend(((*at, index), item) for index, item in enumerate(value))
    return found
