"""What every dialect shares: the fields of one alert in, one :class:`~correlator.model.Alert` out.

The native alert is the common form. A dialect says which of its fields is which, as a dict with the field names
of our own JSON alert (``schemas/alert.schema.json``); this module says what each field may be, and mends or
rejects it.

There are two ways to the same result. ``_mended`` looks at each value. ``_plain`` recognises the alert that needs
no mending by a few calls that run in C over all its strings at once, and leaves every other one to ``_mended``;
it takes a third of the time, and a property test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from orjson import dumps

from correlator.dialects.fields import PLAIN_SEVERITIES, grade_of, source_of, status_of, with_links, word_of
from correlator.dialects.fingerprint import of_key, of_labels
from correlator.dialects.labels import Labels
from correlator.dialects.limits import Limits, mark
from correlator.dialects.shapes import Shapes
from correlator.dialects.text import text_of
from correlator.dialects.times import Times, epoch_of
from correlator.errors import RejectedError
from correlator.model import FIRING, RESOLVED, Alert

__all__ = ["Normaliser"]

_iso_moment: Final = datetime.fromisoformat
_FINGERPRINT: Final = re.compile("[0-9a-f]{16}")


class Normaliser:
    """The rules of one reader. Its only memory is a table of derived values, so the order of calls has no effect."""

    __slots__ = ("_labels", "_name_size", "_shapes", "_text_size", "_times", "limits")

    def __init__(self, ignore_labels: Iterable[str], service_labels: Iterable[str], limits: Limits) -> None:
        self.limits = limits
        self._shapes = Shapes(ignore_labels, service_labels, limits)
        self._labels = Labels(self._shapes, limits)
        self._times = Times(limits)
        self._name_size = limits.max_name_bytes
        self._text_size = min(limits.max_label_bytes, limits.max_annotation_bytes)

    def alert(self, fields: Mapping[str, Any], arrival: float | None, topic: str, notes: tuple[str, ...] = ()) -> Alert:
        """One alert from native ``fields``; ``arrival`` is the record's broker time in epoch seconds.

        ``topic`` stands in for an absent source, ``notes`` are those of the dialect. Raises RejectedError
        (``missing_field``, ``wrong_type``, ``too_deep``) when name, service, status, labels, key or all times
        cannot be used; everything else is mended, with a note.
        """
        return self._plain(fields, arrival, topic, notes) or self._mended(fields, arrival, topic, notes)

    def _plain(
        self, fields: Mapping[str, Any], arrival: float | None, topic: str, notes: tuple[str, ...]
    ) -> Alert | None:
        get = fields.get
        labels, annotations, name = get("labels") or {}, get("annotations") or {}, fields.get("name", "")
        source, key, status = get("source") or topic, get("key"), get("status")
        try:
            if number := get("id"):
                annotations = {**annotations, "id": number}
            shape = self._shapes.known[tuple(labels)]
            service = get("service") or labels[shape.service_label]
            severity = PLAIN_SEVERITIES[get("severity") or labels["severity"]]
            text = "".join([name, service, source, *labels.values(), *annotations.values()])
            start = get("starts_at") or get("ts")
            if type(start) is str and (moment := _iso_moment(start)).tzinfo is UTC:
                start = moment.timestamp()
            elif type(start) is not float or start >= 1e11:
                start = epoch_of(start)
            plain = shape.plain and (not annotations or self._shapes.known[tuple(annotations)].plain)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        size, most = len(text), self._name_size
        if (
            size > self._text_size
            or (size > most and (len(name) > most or len(service) > most or len(source) > most))
            or not (plain and text.isascii() and "\x7f" not in text)
            # A character that JSON does not escape is printable.
            or not (len(dumps(text)) == size + 2 or text.isprintable())
            or not all(labels.values())
            or not (name := name.strip())
            or not (service := service.strip())
            or start is None
            or not self._times.plausible(start, arrival)
            or (status != FIRING and status != RESOLVED)
            or (key and type(key) is not str)
            or ("links" in fields or "fingerprint" in fields)
        ):
            return None
        identity = labels if key or shape.whole else {label: labels[label] for label in shape.identifying}
        digits = of_key(key) if key else of_labels(service, name, identity)
        end = get("ends_at") or None
        if end or status == RESOLVED:
            marks = list(notes)
            end = self._times.end(status, end, get("ts"), start, arrival, marks)
            notes = tuple(marks)
        source = source.strip() or topic
        row = (digits, service, name, severity, status, start, end, labels, annotations, source, notes)
        return tuple.__new__(Alert, row)  # what Alert(...) does, in a third of the time

    def _mended(self, fields: Mapping[str, Any], arrival: float | None, topic: str, given: tuple[str, ...]) -> Alert:
        size, notes = self._name_size, list(given)
        # Null, false, zero and empty all say "absent".
        here = {field: value for field, value in fields.items() if value}
        get = here.get
        whole = self._labels.whole(get("labels"))
        shape = self._shapes.of(whole)
        name = word_of(get("name"), "name", size, notes)
        if not name:
            raise RejectedError("missing_field", "no name")
        service = word_of(get("service"), "service", size, notes)
        if not service and shape.service_label:
            service = word_of(whole[shape.service_label], shape.service_label, size, notes)
        if not service:
            service = "unknown"
            mark(notes, "no_service")
        grade = get("severity", whole.get("severity"))
        status = status_of(get("status"), grade, notes)
        moment, end = get("ts"), get("ends_at")
        start = self._times.start(status, get("starts_at") or moment, end, moment, arrival, notes)
        key = _key_of(get("key"), get("fingerprint"), notes)
        identity = {label: whole[label] for label in shape.identifying}
        return Alert(
            key or of_labels(service, name, identity),
            service,
            name,
            grade_of(grade, status, notes),
            status,
            start,
            self._times.end(status, end, moment, start, arrival, notes),
            self._labels.kept(whole, notes),
            self._labels.annotations(with_links(here, notes), notes),
            source_of(get("source"), size, notes) or topic,
            tuple(notes),
        )


def _key_of(key: Any, digits: Any, notes: list[str]) -> str:
    """Fingerprint by the sender's own dedup key or fingerprint, or "" when it gave none."""
    if key is not None:
        if isinstance(key, bool) or not isinstance(key, str | int | float):
            raise RejectedError("wrong_type", f"key must be text, not {type(key).__name__}")
        return of_key(text_of(key, 0))
    if isinstance(digits, str) and _FINGERPRINT.fullmatch(digits):
        return digits
    if digits is not None:
        mark(notes, "bad_fingerprint")
    return ""
