r"""The entries of a saved state: their keys, and how they are sorted by shard.

Keys are ``shard \x1f kind \x1f key``. Kinds: ``a`` alerts, ``c`` changes, ``g`` inferred services, ``h`` what was
learned by service, ``i`` incidents, ``l`` what is remembered of closed ones, ``o`` where an incident that came from
another partition is published, ``p`` assigned places by service, ``s`` sources, ``t`` tombstones to come, ``u``
suspected changes by incident, ``v`` reviews of hidden alerts, ``w`` windows, ``m`` what belongs to the shard as a
whole. Under an empty shard name are the windows of all shards, and the parts (``n``) of a move that is under way; the
marker is a key of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from correlator.engine.state import SCHEMA_VERSION
from correlator.errors import StateError

__all__ = [
    *("MARKER", "by_shard", "entry_key", "entry_value"),
    *("HISTORY", "PATTERN", "is_shard", "kind_of", "marker_of", "window_key", "window_of"),
]

#: Key of the entry that holds the applied offset and what belongs to the partition as a whole.
MARKER: Final = b"@"
_SEPARATOR: Final = "\x1f"
#: Kinds of what is learned by service, and of what is remembered of an incident.
HISTORY: Final = "h"
PATTERN: Final = "l"
#: What a marker of every schema holds.
_MARKED: Final[dict[str, type]] = {
    "schema": int,
    "applied": int,
    "graph": str,
    "rules": dict,
    "watermarks": dict,
    "partitions": int,
}


def entry_key(shard: str, kind: str, key: str = "") -> bytes:
    """The key of an entry of a shard."""
    return _SEPARATOR.join((shard, kind, key)).encode()


def entry_value(content: Any) -> bytes:
    """The value of an entry: JSON in as many bytes of memory as it has.

    The serialiser leaves the room in which it wrote behind its result, up to ten times what an alert takes; these
    values are kept, one for every alert.
    """
    return bytes(memoryview(orjson.dumps(content)))


def kind_of(key: bytes) -> tuple[str, str, str] | None:
    """Shard, kind and key of the entry of a shard; None for any other entry."""
    shard, *rest = key.decode(errors="replace").split(_SEPARATOR, 2)
    return (shard, rest[0], rest[1]) if shard and len(rest) == 2 else None


def window_key(id: str) -> bytes:
    """The key of the entry of a maintenance window of all shards."""
    return entry_key("", "w", id)


def window_of(key: bytes) -> str | None:
    """The id of the window of all shards that an entry holds; None for any other entry."""
    return key.removeprefix(_WINDOWS).decode() if key.startswith(_WINDOWS) else None


_WINDOWS: Final = window_key("")


def is_shard(name: str) -> bool:
    """Whether alerts can be in a shard of this name: its entries have a key of their own."""
    return bool(name) and _SEPARATOR not in name


def marker_of(entries: Mapping[bytes, bytes]) -> dict[str, Any] | None:
    """The marker of a state, None without. Of a newer schema nothing but the number of the schema is certain.

    Raises :class:`StateError` where it cannot be read.
    """
    if MARKER not in entries:
        return None
    marker = _loaded(MARKER, entries[MARKER])
    if not isinstance(marker, dict):
        raise StateError("the marker of the state is not a JSON object")
    newer = type(marker.get("schema")) is int and marker["schema"] > SCHEMA_VERSION
    for name, kind in () if newer else _MARKED.items():
        if type(marker.get(name)) is not kind:
            raise StateError(
                f"the marker of the state has {name} = {marker.get(name)!r:.80}; it must be {kind.__name__}"
            )
    return marker


def by_shard(items: Iterable[tuple[bytes, bytes]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Entries other than the marker, decoded: shard -> kind -> key. O(entries).

    Raises :class:`StateError` with the key of an entry that cannot be read.
    """
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for key, value in items:
        if key != MARKER:
            try:
                shard, kind, name = key.decode().split(_SEPARATOR, 2)
            except ValueError:
                raise StateError(f"the state has an entry that is not of this program: {key[:80]!r}") from None
            table = tables.get((shard, kind))
            if table is None:
                table = tables[shard, kind] = {}
            table[name] = _loaded(key, value)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (shard, kind), table in tables.items():
        found.setdefault(shard, {})[kind] = table
    return found


def _loaded(key: bytes, value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise StateError(f"the entry {key[:80]!r} of the state is not JSON: {error}") from None
