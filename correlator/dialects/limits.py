"""Bounds on what one record may hold, and the words for what was mended on the way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["NOTES", "Limits", "mark"]

#: What a note on an alert says. An alert with a note was accepted; what could not be used is named here.
NOTES: Final[dict[str, str]] = {
    "acknowledged": "the sender reports the alert as acknowledged; read as firing",
    "annotations_cut": "annotations over the limit in number, size or depth were cut or left out",
    "bad_annotations": "the annotations are not an object and were left out",
    "bad_fingerprint": "the given fingerprint is not 16 hex digits; it was computed from the labels",
    "bad_links": "links that are neither an object nor a list of addresses were left out",
    "bad_source": "the source is not text; the topic stands in for it",
    "clamped_ends_at": "the end time was absurd; a firing alert then has none, a resolved one the nearest possible",
    "clamped_starts_at": "the start time was absurd; the arrival time, or the record's other time, stands in for it",
    "control_characters": "control characters were replaced by U+FFFD, line breaks and tabs by spaces",
    "labels_cut": "labels over the limit in number, or with a name over the limit, were left out",
    "mended_json": "NaN, Infinity or half a surrogate pair in the JSON was read as text",
    "no_service": "neither a service nor a label that names one; the service is 'unknown'",
    "no_severity": "no severity was given; read as warning",
    "no_starts_at": "no start time was given; the arrival time, or the record's other time, stands in for it",
    "pending": "the sender reports the alert as pending; read as firing",
    "suppressed": "the sender had suppressed the alert; read as firing",
    "text_cut": "a service, name or source over the limit was cut and ends in a hash of the whole",
    "truncated_group": "the sender left alerts of this group out of the record",
    "unknown_severity": "the severity is not a known word; read as warning",
    "value_cut": "a label value over the limit was cut; the fingerprint is of the whole value",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one raw record. Sizes are UTF-8 bytes, times are seconds.

    ``future_skew`` is how far a sender's clock may run ahead of the broker's, ``past_limit`` how long ago an
    alert may have started; a start outside of both is clamped. ``max_annotation_bytes`` bounds one annotation.
    ``max_labels`` bounds the labels of one alert, and its annotations. ``max_depth`` bounds objects and arrays in
    place of a label or annotation, which are kept as JSON text; what is not read may be as deep as the parser
    allows (1,024).
    """

    max_record_bytes: int = 10_000_000
    max_depth: int = 32
    max_alerts_per_record: int = 50_000
    max_labels: int = 64
    max_label_bytes: int = 1024
    max_name_bytes: int = 256
    max_annotation_bytes: int = 4096
    future_skew: float = 300.0
    past_limit: float = 366 * 86_400.0


def mark(notes: list[str], note: str) -> None:
    """Add ``note`` to the notes of an alert unless it is there."""
    if note not in notes:
        notes.append(note)
