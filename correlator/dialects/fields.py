"""Words of one alert: status, severity, and names; what each may be, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from correlator.dialects.limits import mark
from correlator.dialects.text import clean, cut_marked, text_of
from correlator.errors import RejectedError
from correlator.model import FIRING, RESOLVED, SEVERITIES, Severity, severity_of

__all__ = [
    "OVER_SEVERITIES",
    "PLAIN_SEVERITIES",
    "STATUSES",
    "grade_of",
    "source_of",
    "status_of",
    "with_links",
    "word_of",
]

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
#: Severities by the words that senders use most, as they are written most.
PLAIN_SEVERITIES: Final[dict[str, Severity]] = {
    word: severity
    for word in (*SEVERITIES, "ok", "none", "page", "warn", "minor", "major", "high", "low")
    if (severity := severity_of(word)) is not None
}


def word_of(raw: Any, field: str, size: int, notes: list[str]) -> str:
    """A service, name or source as one line of at most ``size`` bytes, "" when absent.

    A number is text. Raises RejectedError (``wrong_type``) for other types.
    """
    if raw is None:
        return ""
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise RejectedError("wrong_type", f"{field} must be text, not {type(raw).__name__}")
    text = text_of(raw, 0)
    line = clean(text)
    if line != text:
        mark(notes, "control_characters")
    line = line.strip()
    word = cut_marked(line, size)
    if word != line:
        mark(notes, "text_cut")
    return word


def source_of(raw: Any, size: int, notes: list[str]) -> str:
    """The sending system as :func:`word_of`, "" for what is not text."""
    if raw is None or isinstance(raw, str):
        return word_of(raw, "source", size, notes)
    mark(notes, "bad_source")
    return ""


def status_of(raw: Any, severity: Any, notes: list[str]) -> str:
    """Firing or resolved. Without a status word, resolved when the severity says "ok", else firing.

    Raises RejectedError (``wrong_type``) for a word that is not in :data:`STATUSES`.
    """
    if raw is None:
        return RESOLVED if isinstance(severity, str) and severity.strip().lower() in OVER_SEVERITIES else FIRING
    if not isinstance(raw, str):
        raise RejectedError("wrong_type", f"status must be text, not {type(raw).__name__}")
    known = STATUSES.get(raw.strip().lower())
    if known is None:
        raise RejectedError("wrong_type", f"status {raw[:40]!r} is none of {', '.join(STATUSES)}")
    status, note = known
    if note:
        mark(notes, note)
    return status


def grade_of(raw: Any, status: str, notes: list[str]) -> Severity:
    """Canonical severity; "warning" when it is unknown, or absent from a firing alert."""
    severity = severity_of(raw)
    if severity is not None:
        return severity
    if isinstance(raw, str) and raw.strip().lower() in OVER_SEVERITIES:
        return "info"
    if raw is not None:
        mark(notes, "unknown_severity")
    elif status == FIRING:
        mark(notes, "no_severity")
    return "warning"


def with_links(fields: Mapping[str, Any], notes: list[str]) -> Any:
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
        mark(notes, "bad_links")
    if annotations is None or isinstance(annotations, dict):
        return {**(annotations or {}), **more}
    mark(notes, "bad_annotations")
    return more
