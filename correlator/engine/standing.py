"""The maintenance windows of all shards: what a shard that is still to come has to be told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from correlator.engine import maintenance
from correlator.engine.entries import entry_value, window_key
from correlator.errors import ControlError

__all__ = ["Standing"]


class Standing:
    """Maintenance controls for all shards by id; some may be over. Each is saved as an entry of its own."""

    def __init__(self) -> None:
        self._all: dict[str, dict[str, Any]] = {}
        self._dirty: set[str] = set()
        self._until = math.inf  # none of them is over before

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The controls, by id."""
        return (control for _, control in sorted(self._all.items()))

    @property
    def known(self) -> Mapping[str, dict[str, Any]]:
        """The controls by id."""
        return self._all

    def take(self, control: dict[str, Any], time: float, limit: int) -> None:
        """Remember a window, at most ``limit`` of them, or forget one that was ended.

        Those that are over at ``time`` go with it. What makes no sense is not remembered: no shard would take it.
        """
        if self._until <= time:
            for key in [key for key, window in self._all.items() if maintenance.over(window, time)]:
                self._drop(key)
            self._until = min((window["ends_at"] for window in self._all.values()), default=math.inf)
        key = str(control.get("id", ""))
        if control["type"] == "maintenance_end":
            self._drop(key)
            return
        try:
            window = maintenance.read(control)
        except ControlError:
            return
        if window.ends_at <= time:
            self._drop(key)
        elif key in self._all or len(self._all) < limit:
            self._all[key] = control
            self._dirty.add(key)
            self._until = min(self._until, window.ends_at)

    def _drop(self, key: str) -> None:
        if self._all.pop(key, None) is not None:
            self._dirty.add(key)

    def save(self, entries: dict[bytes, bytes | None]) -> None:
        """Add what changed to ``entries``."""
        for key in sorted(self._dirty):
            control = self._all.get(key)
            entries[window_key(key)] = None if control is None else entry_value(control)

    def discard(self) -> None:
        """What changed is taken."""
        self._dirty.clear()

    def restore(self, saved: Mapping[str, dict[str, Any]], *, dirty: bool = False) -> None:
        """Continue from saved controls; ``dirty`` says that they are not yet entries of their own."""
        self._all = dict(saved)
        self._dirty = set(saved) if dirty else set()
        self._until = -math.inf  # not known; those of before schema version 2 may be over, or make no sense
