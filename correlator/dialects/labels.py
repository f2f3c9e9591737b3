"""Labels and annotations within their limits, value by value."""

from __future__ import annotations

from typing import Any

from correlator.dialects.limits import Limits, mark
from correlator.dialects.shapes import Shapes
from correlator.dialects.text import clean, clean_lines, cut, text_of
from correlator.errors import RejectedError

__all__ = ["Labels"]


class Labels:
    """Reads labels and annotations. Leaves its inputs as they are."""

    __slots__ = ("_limits", "_shapes")

    def __init__(self, shapes: Shapes, limits: Limits) -> None:
        self._shapes = shapes
        self._limits = limits

    def whole(self, raw: Any) -> dict[str, str]:
        """All labels as text, none empty, none cut: what the alert is identified by.

        Raises RejectedError: ``wrong_type`` when ``raw`` is neither an object nor null, ``too_deep``.
        """
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            raise RejectedError("wrong_type", f"labels must be an object, not {type(raw).__name__}")
        depth = self._limits.max_depth
        return {name: text for name, value in raw.items() if name and (text := text_of(value, depth))}

    def kept(self, whole: dict[str, str], notes: list[str]) -> dict[str, str]:
        """The labels to keep of ``whole``: identifying ones first, sorted, when there are too many."""
        limits = self._limits
        names = list(whole)
        if len(names) > limits.max_labels:
            identifying = frozenset(self._shapes.of(whole).identifying)
            names = sorted(names, key=lambda name: (name not in identifying, name))[: limits.max_labels]
            mark(notes, "labels_cut")
        kept: dict[str, str] = {}
        for name in names:
            label, line = clean(name), clean(whole[name])
            if label != name or line != whole[name]:
                mark(notes, "control_characters")
            if cut(label, limits.max_name_bytes) != label:
                mark(notes, "labels_cut")
                continue
            kept[label] = cut(line, limits.max_label_bytes)
            if kept[label] != line:
                mark(notes, "value_cut")
        return kept

    def annotations(self, raw: Any, notes: list[str]) -> dict[str, str]:
        """The annotations to keep, in the order given; {} for what is not an object. Rejects nothing."""
        if not isinstance(raw, dict):
            if raw is not None:
                mark(notes, "bad_annotations")
            return {}
        limits = self._limits
        self._shapes.of(raw)
        kept: dict[str, str] = {}
        for name, value in raw.items():
            try:
                text = text_of(value, limits.max_depth)
            except RejectedError:
                mark(notes, "annotations_cut")
                continue
            label, lines = clean(name), clean_lines(text)
            if label != name or lines != text:
                mark(notes, "control_characters")
            if not label or len(kept) >= limits.max_labels or cut(label, limits.max_name_bytes) != label:
                mark(notes, "annotations_cut")
                continue
            kept[label] = cut(lines, limits.max_annotation_bytes)
            if kept[label] != lines:
                mark(notes, "annotations_cut")
        return kept
