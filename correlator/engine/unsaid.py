"""What shards that have left their partition still had to say when they left."""

from __future__ import annotations

from typing import Any

from correlator.engine import saved
from correlator.engine.entries import entry_key
from correlator.engine.store import Store

__all__ = ["Unsaid"]


class Unsaid:
    """Collected until it is taken. ``keys`` are those of entries that are gone, ``refused`` why controls were."""

    def __init__(self) -> None:
        self.incidents: list[tuple[str, dict[str, Any] | None]] = []
        self.decisions: dict[str, list[dict[str, Any]]] = {}
        self.homes: dict[str, int] = {}
        self.keys: list[bytes] = []
        self.refused: list[str] = []

    def leave(self, name: str, store: Store) -> None:
        """A shard leaves. Of what goes on, only where it arrives is told what became of it."""
        self.incidents += store.finals
        self.homes |= store.homes | store.departed
        self.decisions.setdefault(name, []).extend(store.receipts)
        gone = {*saved.keys(store), *store.dirty, ("m", "")}
        self.keys += [entry_key(name, kind, key) for kind, key in sorted(gone)]
        self.refused += [f"{name}: {line}" for line in store.refused]
