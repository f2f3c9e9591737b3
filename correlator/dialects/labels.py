"""Labels and annotations within their limits.

The frequent case, a small object of printable strings, is recognised by a few calls that run in C and passed on
as it is; only what fails that test is looked at value by value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from correlator.dialects.limits import Limits
from correlator.dialects.text import clean, clean_lines, cut, text_of
from correlator.errors import RejectedError

__all__ = ["Labels", "mark"]


def mark(notes: list[str], note: str) -> None:
    """Add ``note`` unless it is there."""
    if note not in notes:
        notes.append(note)


class Labels:
    """Reads labels and annotations. ``identifies`` tells which labels go first when there are too many."""

    __slots__ = ("_identifies", "_limits", "_plain_annotation", "_plain_label", "_plain_name")

    def __init__(self, limits: Limits, identifies: Callable[[str], bool]) -> None:
        self._limits = limits
        self._identifies = identifies
        # A character is at most four bytes, so a text of this many characters is within its limit.
        self._plain_annotation = limits.max_annotation_bytes // 4
        self._plain_label = limits.max_label_bytes // 4
        self._plain_name = limits.max_name_bytes // 4

    def labels(self, raw: Any, notes: list[str]) -> tuple[dict[str, str], dict[str, str]]:
        """The labels to keep, and those to identify the alert by: all of them, whole, as text, none empty.

        Raises RejectedError (``wrong_type``) when ``raw`` is neither an object nor null.
        """
        if type(raw) is not dict:
            if raw is None:
                return {}, {}
            raise RejectedError("wrong_type", f"labels must be an object, not {type(raw).__name__}")
        if not raw or self._plain(raw, self._plain_label):
            return raw, raw
        whole = {name: text for name, value in raw.items() if name and (text := text_of(value))}
        return self._mended(whole, notes), whole

    def annotations(self, raw: Any, notes: list[str]) -> dict[str, str]:
        """The annotations to keep, in the order given, without empty ones; {} for what is not an object."""
        if type(raw) is not dict:
            if raw is not None:
                notes.append("bad_annotations")
            return {}
        if not raw or self._plain(raw, self._plain_annotation):
            return raw
        limits = self._limits
        kept: dict[str, str] = {}
        for name, value in raw.items():
            text = text_of(value)
            if not text:
                continue
            label, lines = clean(name), clean_lines(text)
            if label != name or lines != text:
                mark(notes, "control_characters")
            if len(kept) >= limits.max_labels or cut(label, limits.max_name_bytes) != label:
                mark(notes, "annotations_cut")
                continue
            kept[label] = cut(lines, limits.max_annotation_bytes)
            if kept[label] != lines:
                mark(notes, "annotations_cut")
        return kept

    def _plain(self, raw: dict[str, Any], size: int) -> bool:
        values = raw.values()
        try:
            text = "".join(values)
        except TypeError:
            return False
        return (
            (len(text) <= size or max(map(len, values)) <= size)
            and text.isprintable()
            and all(values)
            and "" not in raw
            and len(raw) <= self._limits.max_labels
            and max(map(len, raw)) <= self._plain_name
            and "".join(raw).isprintable()
        )

    def _mended(self, whole: dict[str, str], notes: list[str]) -> dict[str, str]:
        limits = self._limits
        names = list(whole)
        if len(names) > limits.max_labels:
            names = sorted(names, key=lambda name: (not self._identifies(name), name))[: limits.max_labels]
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
