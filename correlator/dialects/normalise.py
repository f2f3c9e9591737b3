"""What every dialect shares: the fields of one alert in, one :class:`~correlator.model.Alert` out.

The native alert is the common form. A dialect says which of its fields is which, as a dict with the field names
of our own JSON alert (``schemas/alert.schema.json``); this module says what each field may be, and mends or
rejects it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from correlator.dialects.fingerprint import Fingerprints
from correlator.dialects.labels import Labels, mark
from correlator.dialects.limits import Limits
from correlator.dialects.text import clean, cut_marked, text_of
from correlator.dialects.times import Times
from correlator.errors import RejectedError
from correlator.model import FIRING, RESOLVED, SEVERITIES, Alert, Severity, severity_of

__all__ = ["OVER_SEVERITIES", "STATUSES", "Normaliser"]

#: Status words of senders: the status, and the note that the word leaves on the alert.
STATUSES: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys("firing problem active triggered trigger open alerting alarm raised".split(), (FIRING, "")),
    **dict.fromkeys("resolved ok recovery recovered cleared clear closed inactive normal".split(), (RESOLVED, "")),
    "pending": (FIRING, "pending"),
    "suppressed": (FIRING, "suppressed"),
    "acknowledged": (FIRING, "acknowledged"),
}
#: Severities that mean "it is over" when no status is given.
OVER_SEVERITIES: Final = frozenset({"ok", "clear", "cleared", "resolved"})

_SEVERITY: Final[dict[str, Severity]] = {severity: severity for severity in SEVERITIES}
_FINGERPRINT: Final = re.compile("[0-9a-f]{16}")


class Normaliser:
    """The rules of one reader. Its only memory is the label shapes, so the order of calls has no effect."""

    __slots__ = ("_fingerprints", "_labels", "_plain", "_service_labels", "_times", "limits")

    def __init__(self, ignore_labels: Iterable[str], service_labels: Iterable[str], limits: Limits) -> None:
        self.limits = limits
        self._fingerprints = Fingerprints(ignore_labels)
        self._labels = Labels(limits, self._fingerprints.identifies)
        self._plain = limits.max_name_bytes // 4
        self._service_labels = tuple(service_labels)
        self._times = Times(limits)

    def alert(self, fields: Mapping[str, Any], arrival: float | None, topic: str, given: Iterable[str] = ()) -> Alert:
        """One alert from native ``fields``; ``arrival`` is the record's broker time in epoch seconds.

        ``topic`` stands in for an absent source, ``given`` are notes of the dialect. Raises RejectedError
        (``missing_field``, ``wrong_type``) when name, service, status, labels, key or all times cannot be used;
        everything else is mended, with a note.
        """
        get = fields.get
        notes = list(given)
        labels, identity = self._labels.labels(get("labels"), notes)
        name = self._word(get("name"), "name", notes)
        if not name:
            raise RejectedError("missing_field", "no name")
        service = self._word(get("service"), "service", notes) or self._service_of(identity, notes)
        grade = get("severity") or identity.get("severity")
        status = _status_of(get("status"), grade, notes)
        start, end = self._span(status, get("starts_at"), get("ends_at"), get("ts"), arrival, notes)
        return Alert(
            self._given_fingerprint(get("key"), get("fingerprint"), notes)
            or self._fingerprints.of_labels(service, name, identity),
            service,
            name,
            _severity_of(grade, status, notes),
            status,
            start,
            end,
            labels,
            self._labels.annotations(_with_links(fields, notes), notes),
            self._source(get("source"), notes) or topic,
            tuple(notes),
        )

    def _span(
        self, status: str, starts_at: Any, ends_at: Any, moment: Any, arrival: float | None, notes: list[str]
    ) -> tuple[float, float | None]:
        """Start and end; ``moment`` is the message's own time: the start of a firing alert, the end of a resolved one."""
        if status == FIRING:
            other = ends_at if arrival is None and moment is None else moment
            start = self._times.start(starts_at or moment, other, arrival, notes)
            return start, None if ends_at is None else self._times.firing_end(ends_at, start, arrival, notes)
        start = self._times.start(starts_at or moment, ends_at or moment, arrival, notes)
        return start, self._times.resolved_end(ends_at, moment, start, arrival, notes)

    def _word(self, raw: Any, field: str, notes: list[str]) -> str:
        """A service, name or source as one line; "" when absent. A number is text; other types are rejected."""
        if type(raw) is str:
            if len(raw) <= self._plain and raw.isprintable():
                return raw.strip()
            line = clean(raw)
            if line != raw:
                mark(notes, "control_characters")
            word = cut_marked(line.strip(), self.limits.max_name_bytes)
            if word != line.strip():
                mark(notes, "text_cut")
            return word
        if raw is None:
            return ""
        if type(raw) is int or type(raw) is float:
            return text_of(raw)
        raise RejectedError("wrong_type", f"{field} must be text, not {type(raw).__name__}")

    def _source(self, raw: Any, notes: list[str]) -> str:
        if raw is None or type(raw) is str:
            return self._word(raw, "source", notes)
        notes.append("bad_source")
        return ""

    def _service_of(self, labels: dict[str, str], notes: list[str]) -> str:
        for label in self._service_labels:
            if label in labels and (service := self._word(labels[label], label, notes)):
                return service
        notes.append("no_service")
        return "unknown"

    def _given_fingerprint(self, key: Any, fingerprint: Any, notes: list[str]) -> str:
        """Fingerprint of the sender's own dedup key, or "" when it gave none."""
        if key is not None and key != "":
            if type(key) is str or type(key) is int or type(key) is float:
                return self._fingerprints.of_key(text_of(key))
            raise RejectedError("wrong_type", f"key must be text, not {type(key).__name__}")
        if fingerprint is None or fingerprint == "":
            return ""
        if type(fingerprint) is str and _FINGERPRINT.fullmatch(fingerprint):
            return fingerprint
        notes.append("bad_fingerprint")
        return ""


def _with_links(fields: Mapping[str, Any], notes: list[str]) -> Any:
    """The annotations, with the sender's id of the message as ``id`` and its links as ``link_<title or number>``."""
    annotations, links, number = fields.get("annotations"), fields.get("links"), fields.get("id")
    if links is None and number is None:
        return annotations
    more: dict[str, Any] = {} if number is None else {"id": number}
    if isinstance(links, list):
        links = dict(enumerate(links, start=1))
    if isinstance(links, dict):
        more.update((f"link_{title}", address) for title, address in links.items())
    elif links is not None:
        notes.append("bad_links")
    if annotations is None or annotations == {}:
        return more
    if isinstance(annotations, dict):
        return {**annotations, **more}
    notes.append("bad_annotations")
    return more


def _status_of(raw: Any, grade: Any, notes: list[str]) -> str:
    if raw is None or raw == "":
        over = type(grade) is str and grade.strip().lower() in OVER_SEVERITIES
        return RESOLVED if over else FIRING
    if type(raw) is not str:
        raise RejectedError("wrong_type", f"status must be text, not {type(raw).__name__}")
    known = STATUSES.get(raw) or STATUSES.get(raw.strip().lower())
    if known is None:
        raise RejectedError("wrong_type", f"status {raw[:40]!r} is none of {', '.join(STATUSES)}")
    status, note = known
    if note:
        mark(notes, note)
    return status


def _severity_of(grade: Any, status: str, notes: list[str]) -> Severity:
    if type(grade) is str:
        severity = _SEVERITY.get(grade) or severity_of(grade)
        if severity is not None:
            return severity
        if grade.strip().lower() in OVER_SEVERITIES:
            return "info"
        notes.append("unknown_severity")
    elif status == FIRING:
        notes.append("no_severity" if grade is None else "unknown_severity")
    return "warning"
