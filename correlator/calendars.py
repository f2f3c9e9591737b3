"""Maintenance windows from iCalendar files (RFC 5545): the one place that knows icalendar and recurring-ical-events.

An event is a window when it says what it covers, in the words of :func:`correlator.covers.covers_of`: in the property
``X-CORRELATOR-COVERS``, else in square brackets in its summary, else in its location or its categories. Other events
are none of ours: a calendar also holds lunches. The reason is the summary, the author the organizer, else the calendar.

Recurring events are expanded within a span of time: exceptions (EXDATE), moved occurrences (RECURRENCE-ID), time zones
and changes to summer time included. The id of a window is made of the file's name, the event's UID and the planned
begin of the occurrence, so that the same event always gives the same window, and a moved one keeps its id.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, tzinfo
from pathlib import Path
from typing import Any, Final

from correlator.covers import covers_of
from correlator.engine import maintenance
from correlator.errors import ControlError, SettingsError
from correlator.recurrence import steps

__all__ = [
    "MAX_BYTES",
    "MAX_STEPS",
    "MAX_WINDOWS",
    "PREFIX",
    "SUFFIX",
    "Expanded",
    "calendar_of",
    "expand",
    "files",
    "require",
]

#: Begins the id of every window from a calendar.
PREFIX: Final = "ical/"
SUFFIX: Final = ".ics"
#: Windows of one calendar within one span; an event that recurs each second must not fill the log.
MAX_WINDOWS: Final = 1_000
#: A megabyte takes two seconds to read.
MAX_BYTES: Final = 5_000_000
#: Steps to expand what recurs in one calendar, see :mod:`correlator.recurrence`: four seconds. An occurrence within the
#: span costs as much as so many steps.
MAX_STEPS: Final = 1_000_000
_OCCURRENCE: Final = 20
#: Characters kept of the words that say who and why.
_WORDS: Final = 1_000
_COVERS: Final = "X-CORRELATOR-COVERS"
_BRACKETS: Final = re.compile(r"\[([^\[\]]*=[^\[\]]*)\]")


@dataclass
class Expanded:
    """What a calendar holds within a span: windows as maintenance controls by id, and problems in words.

    ``ignored`` counts events that cover nothing of ours. ``readable`` is False where the file could not be read at
    all: then nothing is known about its windows.
    """

    windows: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    ignored: int = 0
    readable: bool = True


def require() -> None:
    """Raise :class:`SettingsError` where the libraries are not installed."""
    try:
        import icalendar  # noqa: F401
        import recurring_ical_events  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            [f"maintenance.calendars needs more packages ({error}): pip install 'alert-correlator[calendar]'"]
        ) from error


def files(paths: Sequence[Path]) -> list[Path]:
    """The calendars: files as they are named, of folders their ``*.ics``; by name, sorted, the first of a name.

    What cannot be looked into stands for itself, so that reading it says why.
    """
    found: dict[str, Path] = {}
    for path in paths:
        try:
            inside = [path / name for name in sorted(os.listdir(path)) if name.endswith(SUFFIX)]
        except OSError:
            inside = [path]
        for file in inside:
            found.setdefault(file.name, file)
    return [found[name] for name in sorted(found)]


def calendar_of(id: str) -> str | None:
    """The name of the file that a window comes from; None for a window of another origin."""
    return id.removeprefix(PREFIX).split("/", 1)[0] if id.startswith(PREFIX) else None


def expand(path: Path, start: float, end: float, zone: tzinfo) -> Expanded:
    """The windows of one calendar that are open between two times (epoch seconds).

    ``zone`` is that of days and of times without one. Raises nothing, whatever the file holds.
    """
    found, looked_at = Expanded(), 0
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        return Expanded(problems=[f"{path}: cannot be read: {error.strerror or error}"], readable=False)
    if len(content) > MAX_BYTES:
        return Expanded(problems=[f"{path}: more than {MAX_BYTES} bytes are not read"], readable=False)
    try:
        first, last = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
        for event in _occurrences(content, first, last, found):
            looked_at += 1
            if looked_at > MAX_WINDOWS:
                text = f"more than {MAX_WINDOWS} occurrences until {_utc(end)}: the rest is left out"
                found.problems.append(text)
                break
            _add(found, path.name, event, zone, end)
    except Exception as error:  # the libraries raise whatever they meet; a calendar is never worth a worker
        return Expanded(problems=[f"{path}: not a calendar: {type(error).__name__}: {error}"[:500]], readable=False)
    found.problems = [f"{path}: {line}" for line in found.problems]
    return found


def _occurrences(content: bytes, start: datetime, end: datetime, found: Expanded) -> Iterator[Any]:
    """Occurrences of the events that may be windows, in the order of their begin."""
    import icalendar
    import recurring_ical_events

    whole = [part for part in icalendar.Calendar.from_ical(content, multiple=True) if part.name == "VCALENDAR"]
    if not whole:
        raise ValueError("there is no whole VCALENDAR in it")
    for calendar in whole:
        events = calendar.walk("VEVENT")
        for event in filter(_may_cover, events):
            about = f"event {(_text(event, 'SUMMARY') or _text(event, 'UID'))!r}"
            found.problems += [f"{about}: {name}: {error}" for name, error in event.errors]
        ours = {_text(event, "UID") for event in events if _may_cover(event)}
        _leave_out_costly(calendar, ours, (_plain(start), _plain(end)), found)
        found.ignored += sum(_text(event, "UID") not in ours for event in events)
        calendar.subcomponents = [
            part for part in calendar.subcomponents if part.name != "VEVENT" or _text(part, "UID") in ours
        ]
        occurrences = recurring_ical_events.of(calendar, skip_bad_series=True).between(start, end)
        yield from sorted(occurrences, key=lambda event: (_plain(event["DTSTART"].dt), _text(event, "UID")))


def _leave_out_costly(calendar: Any, ours: set[str], span: tuple[datetime, datetime], found: Expanded) -> None:
    """Take the events out of ``ours`` whose rules, with those before them, take too many steps to expand."""
    rest: float = MAX_STEPS
    for event in calendar.walk("VEVENT"):
        uid, rules = _text(event, "UID"), _rules(event)
        if uid not in ours or not rules:
            continue
        cost, first = 0.0, _plain(event["DTSTART"].dt)
        for rule in rules:
            cost += steps(rule, first, span[1]) + _OCCURRENCE * steps(rule, max(first, span[0]), span[1])
        if cost <= rest:
            rest -= cost
            continue
        ours.discard(uid)
        about = (_text(event, "SUMMARY") or uid)[:_WORDS]
        found.problems.append(f"event {about!r}: recurs too often, or never: more than {MAX_STEPS} steps to expand it")


def _rules(event: Any) -> list[Mapping[str, Any]]:
    """The rules by which an event recurs, as far as they, and its begin, can be read."""
    rules = event.get("RRULE") if "DTSTART" in event and all(name != "DTSTART" for name, _ in event.errors) else None
    return [rule for rule in (rules if isinstance(rules, list) else [rules]) if isinstance(rule, Mapping)]


def _add(found: Expanded, name: str, event: Any, zone: tzinfo, end: float) -> None:
    """Take one occurrence over as a window, or say why not."""
    begins, ends = _epoch(event["DTSTART"].dt, zone), _epoch(event["DTEND"].dt, zone)
    if begins >= end or str(event.get("STATUS", "")).upper() == "CANCELLED":
        return
    summary, uid = _text(event, "SUMMARY"), _text(event, "UID")
    label = f"event {(summary or uid)!r} of {_utc(begins)}"
    try:
        covers = _covers(event, summary)
        if covers is None:
            found.ignored += 1
            return
        planned = _epoch(event["RECURRENCE-ID"].dt, zone) if "RECURRENCE-ID" in event else begins
        window = {
            "type": "maintenance",
            "id": f"{PREFIX}{name}/{uid}/{datetime.fromtimestamp(planned, UTC):%Y%m%dT%H%M%SZ}",
            **covers,
            "starts_at": begins,
            "ends_at": ends,
            "author": (_author(event) or name)[:_WORDS],
            "reason": (_BRACKETS.sub("", summary).strip() or name)[:_WORDS],
        }
        if ends <= begins:
            raise ControlError("it has no duration")
        if not uid:
            raise ControlError("it has no UID")
        if maintenance.read(window).vague():
            raise ControlError("it covers every alert that lacks its labels")
    except ControlError as error:
        found.problems.append(f"{label}: {error}")
        return
    found.windows[window["id"]] = window


def _may_cover(event: Any) -> bool:
    """Whether it is worth asking: expanding an event of no interest a thousand times costs seconds."""
    words = (_text(event, name) for name in (_COVERS, "SUMMARY", "LOCATION"))
    return any("=" in text for text in (*words, *map(str, getattr(event, "categories", ()))))


def _covers(event: Any, summary: str) -> dict[str, Any] | None:
    """What the event covers; None for one that is none of ours. Raises :class:`ControlError` for a slip."""
    own = _text(event, _COVERS)
    if own:
        return covers_of(re.sub(r"\\([,;\\])", r"\1", own))
    stated = _BRACKETS.search(summary)
    if stated:
        return covers_of(stated[1])
    categories = [str(word) for word in getattr(event, "categories", ()) if "=" in str(word)]
    for text in (_text(event, "LOCATION"), ", ".join(categories)):
        try:
            return covers_of(text)
        except ControlError:
            continue  # a meeting room
    return None


def _text(event: Any, name: str) -> str:
    value = event.get(name)
    return " ".join(str(value).split()) if value is not None else ""


def _author(event: Any) -> str:
    organizer = event.get("ORGANIZER")
    if organizer is None:
        return ""
    name = getattr(organizer, "params", {}).get("CN")
    return str(name or re.sub(r"(?i)^mailto:", "", str(organizer)))


def _epoch(moment: date | datetime, zone: tzinfo) -> float:
    """Epoch seconds; a day begins at midnight of ``zone``, and a time without zone is one of it."""
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _plain(moment: date | datetime) -> datetime:
    """The time of the day as it is written, whatever its zone."""
    return moment.replace(tzinfo=None) if isinstance(moment, datetime) else datetime.combine(moment, time())


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
