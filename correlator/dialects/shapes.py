"""What the names of an alert's labels imply, worked out once per set of names.

Senders use few sets of label names and millions of sets of values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from correlator.dialects.limits import Limits

__all__ = ["ATTRIBUTES", "Shape", "Shapes"]

#: Labels that say how an alert is, not which one it is: a warning that turns critical is the same alert.
ATTRIBUTES: Final = frozenset({"severity", "alertstate"})
#: Shapes kept, and labels of a kept shape: a hostile stream of ever new names must not fill the memory.
_MAX_SHAPES: Final = 4_096
_MAX_LABELS: Final = 64


class Shape(NamedTuple):
    """What a set of label names implies.

    ``identifying`` are the labels of the fingerprint, ``whole`` says that these are all. ``plain`` says that neither
    a name nor the number of labels has to be mended. ``service_label`` is the one to name the service by, or "".
    """

    identifying: tuple[str, ...]
    whole: bool
    plain: bool
    service_label: str


class Shapes:
    """Shapes by label names in the sender's order.

    A shape depends on nothing but the names and the settings, so it never goes stale; the table is emptied when
    it is full. ``known`` is the table, to look up without a call.
    """

    __slots__ = ("_ignored", "_limits", "_service_labels", "known")

    def __init__(self, ignored: Iterable[str], service_labels: Iterable[str], limits: Limits) -> None:
        self._ignored = ATTRIBUTES.union(ignored)
        self._limits = limits
        self._service_labels = tuple(service_labels)
        self.known: dict[tuple[str, ...], Shape] = {}

    def of(self, labels: dict[str, Any]) -> Shape:
        """The shape of a set of labels."""
        names = tuple(labels)
        return self.known.get(names) or self._add(names)

    def _add(self, names: tuple[str, ...]) -> Shape:
        identifying = tuple(name for name in names if name not in self._ignored)
        limit = self._limits.max_name_bytes
        plain = len(names) <= self._limits.max_labels and all(
            name.isascii() and name.isprintable() and 0 < len(name) <= limit for name in names
        )
        service = next((label for label in self._service_labels if label in names), "")
        shape = Shape(identifying, len(identifying) == len(names), plain, service)
        if len(names) <= _MAX_LABELS:
            if len(self.known) >= _MAX_SHAPES:
                self.known.clear()
            self.known[names] = shape
        return shape
