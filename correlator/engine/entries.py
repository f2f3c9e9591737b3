r"""The entries of a saved state: their keys, and how they are sorted by shard.

Keys are ``shard \x1f kind \x1f key``. Kinds: ``a`` alerts, ``c`` changes, ``g`` inferred services, ``h`` what was
learned by service, ``i`` incidents, ``o`` where an incident that came from another partition is published, ``p``
assigned places by service, ``s`` sources, ``t`` tombstones to come, ``u`` suspected changes by incident, ``v`` reviews
of hidden alerts, ``w`` windows, ``m`` what belongs to the shard as a whole. Under an empty shard name are the windows
of all shards, and the parts (``n``) of a move that is under way; the marker is a key of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

__all__ = ["MARKER", "by_shard", "entry_key", "history_shard", "window_key", "window_of"]

#: Key of the entry that holds the applied offset and what belongs to the partition as a whole.
MARKER: Final = b"@"
_SEPARATOR: Final = "\x1f"


def entry_key(shard: str, kind: str, key: str = "") -> bytes:
    """The key of an entry of a shard."""
    return _SEPARATOR.join((shard, kind, key)).encode()


def history_shard(key: bytes, service: str) -> str | None:
    """The shard whose entry with what was learned about ``service`` this is; None for any other entry."""
    parts = key.decode(errors="replace").split(_SEPARATOR, 2)
    return parts[0] if parts[1:] == ["h", service] else None


def window_key(id: str) -> bytes:
    """The key of the entry of a maintenance window of all shards."""
    return entry_key("", "w", id)


def window_of(key: bytes) -> str | None:
    """The id of the window of all shards that an entry holds; None for any other entry."""
    return key.removeprefix(_WINDOWS).decode() if key.startswith(_WINDOWS) else None


_WINDOWS: Final = window_key("")


def by_shard(items: Iterable[tuple[bytes, bytes]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Entries other than the marker, decoded: shard -> kind -> key. O(entries)."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for key, value in items:
        if key != MARKER:
            shard, kind, name = key.decode().split(_SEPARATOR, 2)
            table = tables.get((shard, kind))
            if table is None:
                table = tables[shard, kind] = {}
            table[name] = orjson.loads(value)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (shard, kind), table in tables.items():
        found.setdefault(shard, {})[kind] = table
    return found
