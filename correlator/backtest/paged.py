"""What was paged in reality, read from what the pager or Alertmanager has kept.

* **Alertmanager**: bodies of its webhook (version 4), one per line, of the receiver that pages. A notification is a
  page when an alert fires in it that did not in the last one of its group: repeats are none. The bodies carry no time
  of their own; it is ``received_at``, ``ts`` or ``timestamp`` beside or around them (``{"received_at": ..., "body":
  {...}}``, or a record of a dump), else when the newest of those alerts started.
* **PagerDuty**: incidents (REST, one per line, a list, or ``{"incidents": [...]}``), log entries, or version 3
  webhooks. An incident is one page: when it was first notified if that is logged, else when it was created.
* **CSV** with a header: PagerDuty's export and any other. The columns are found by their usual names, or named.

Nothing is guessed beyond that: what has no time, or says neither service nor key, goes to ``unread``.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from correlator.dialects import Reader
from correlator.dialects.fingerprint import of_key
from correlator.dialects.times import epoch_of
from correlator.engine.render import iso
from correlator.model import FIRING

__all__ = ["COLUMNS", "Paged", "Reading", "read_csv", "read_values"]

Unread = Callable[[str], None]
Object = Mapping[str, Any]

#: Names under which a CSV column is looked for, lower case, without blanks and signs; best first.
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "time": ("paged_at", "triggered_at", "created_on", "created_at", "created", "timestamp", "time", "ts", "at"),
    "service": ("service_name", "service", "entity", "component", "host"),
    "key": ("incident_key", "dedup_key", "alert_key", "alias", "key"),
    "fingerprint": ("fingerprint",),
    "title": ("description", "title", "summary", "message", "name"),
    "team": ("team_name", "team", "teams", "responder_team"),
    "id": ("incident_number", "number", "incident_id", "id"),
    "urgency": ("urgency",),
}
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{16}")
_TIMES: Final = ("received_at", "ts", "timestamp")
_BODIES: Final = ("body", "payload", "value")


class Paged(NamedTuple):
    """One page that was sent. ``at`` is epoch seconds; ``fingerprints`` are ours, ``services`` the pager's names."""

    at: float
    place: str
    id: str
    title: str
    team: str
    fingerprints: tuple[str, ...]
    services: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        about = {"id": self.id, "title": self.title, "team": self.team, "services": list(self.services)}
        return {"at": iso(self.at), **about, "place": self.place}


class Reading(NamedTuple):
    """The pages of some files, and how many of low urgency were left out."""

    pages: list[Paged]
    low: int


def _fingerprints(key: str, fingerprint: str = "") -> tuple[str, ...]:
    """Under which fingerprints we may know what the pager calls ``key``."""
    found = [fingerprint] if fingerprint else []
    if key:
        found += [key, of_key(key)] if _FINGERPRINT.fullmatch(key) else [of_key(key)]
    return tuple(dict.fromkeys(found))


def _text(value: Any) -> str:
    """The name of a reference, or the text itself."""
    if isinstance(value, Mapping):
        value = value.get("summary") or value.get("name") or value.get("id")
    elif isinstance(value, list):
        value = next(iter(value), None)
        return _text(value) if value is not None else ""
    return "" if value is None else str(value)


def _first(values: Iterable[Any]) -> str:
    return next(filter(None, map(_text, values)), "")


def _object(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


# -- JSON -----------------------------------------------------------------------------------------------------


def read_values(found: Iterable[tuple[str, Any]], reader: Reader, *, low_urgency: bool, unread: Unread) -> Reading:
    """The pages in JSON values, each with its place, in the order of their time."""
    pages: list[Paged | None] = []
    firing: dict[str, set[str]] = {}
    entries: defaultdict[str, list[tuple[str, Object]]] = defaultdict(list)
    low = 0
    for place, value, around in _flat(found):
        match _kind_of(value):
            case "notification":
                pages.append(_notification(place, value, around, reader, firing, unread))
            case "incident" if value.get("urgency") == "low" and not low_urgency:
                low += 1
            case "incident":
                pages.append(_incident(place, value, unread))
            case "log":
                entries[_text(_object(value.get("incident")).get("id"))].append((place, value))
            case "":
                unread(f"{place}: neither a notification of Alertmanager nor an incident or log entry of PagerDuty")
    pages += (_logged(key, log) for key, log in entries.items())
    return Reading(sorted(page for page in pages if page is not None), low)


def _flat(found: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any, Object]]:
    """Single values, of lists and of pages of a list too, with what stands around them."""
    for place, value in found:
        if isinstance(value, list):
            yield from _flat((f"{place} item {n}", item) for n, item in enumerate(value, 1))
            continue
        if not isinstance(value, dict):
            yield place, value, {}
            continue
        listed = next((value[key] for key in ("incidents", "log_entries") if isinstance(value.get(key), list)), None)
        event = value.get("event")
        if listed is not None:
            yield from _flat((f"{place} item {n}", item) for n, item in enumerate(listed, 1))
        elif isinstance(event, dict) and event.get("event_type") == "incident.triggered":
            data = _object(event.get("data"))
            at = data.get("created_at") or event.get("occurred_at")
            yield place, {"incident_key": "", **data, "created_at": at}, {}
        elif isinstance(value.get("alerts"), list):
            yield place, value, {}
        else:
            yield place, next((value[key] for key in _BODIES if isinstance(value.get(key), dict)), value), value


def _kind_of(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("alerts"), list) and ("groupKey" in value or "receiver" in value):
        return "notification"
    if str(value.get("type", "")).endswith("_log_entry"):
        return "log"
    if "event" in value:
        return "other event"
    return "incident" if "incident_number" in value or "incident_key" in value else ""


def _notification(
    place: str, body: Object, around: Object, reader: Reader, firing: dict[str, set[str]], unread: Unread
) -> Paged | None:
    times = (epoch_of(holder[key]) for holder in (around, body) for key in _TIMES if key in holder)
    at = next((time for time in times if time is not None), None)
    reading = reader.read(orjson.dumps(body), received_at=at, topic="")
    for _, error in reading.rejects:
        unread(f"{place}: {error.reason}: {error}")
    now = {alert.fingerprint: alert for alert in reading.alerts if alert.status == FIRING}
    group = f"{body.get('receiver', '')}\x1f{body.get('groupKey', '')}"
    new = [alert for key, alert in now.items() if key not in firing.get(group, ())]
    firing[group] = set(now)
    if not new:
        return None
    common = _object(body.get("commonLabels"))
    about = _object(body.get("groupLabels")) or common
    return Paged(
        at if at is not None else max(alert.starts_at for alert in new),
        place,
        str(body.get("groupKey", "")),
        ", ".join(f"{key}={value}" for key, value in sorted(about.items())) or new[0].name,
        str(common.get("team", "")),
        tuple(alert.fingerprint for alert in new),
        tuple(dict.fromkeys(alert.service for alert in new)),
    )


def _incident(place: str, value: Object, unread: Unread) -> Paged | None:
    at = epoch_of(value.get("created_at") or value.get("created_on"))
    service, key = _text(value.get("service")), _text(value.get("incident_key"))
    if at is None or not (service or key):
        unread(f"{place}: an incident without a time, or without service and key")
        return None
    number = _text(value.get("incident_number") or value.get("id"))
    title = _text(value.get("title") or value.get("summary") or value.get("description"))
    return Paged(at, place, number, title, _text(value.get("teams")), _fingerprints(key), (service,) if service else ())


def _logged(key: str, log: Sequence[tuple[str, Object]]) -> Paged | None:
    """The page of an incident from its log entries: the first notification, else the trigger."""
    timed = [(time, place, entry) for place, entry in log if (time := epoch_of(entry.get("created_at"))) is not None]
    kinds = ("notify_log_entry", "trigger_log_entry")
    found = next((rows for kind in kinds if (rows := [one for one in timed if one[2]["type"] == kind])), None)
    if found is None:
        return None
    at, place, entry = min(found, key=lambda one: one[:2])
    entries = [row for _, _, row in timed]
    holders = (_object(one.get(name)) for one in entries for name in ("channel", "incident"))
    dedup = _first(holder.get("incident_key") for holder in holders)
    service, team = (_first(one.get(name) for one in entries) for name in ("service", "teams"))
    return Paged(
        at, place, key, _text(entry.get("incident")), team, _fingerprints(dedup), (service,) if service else ()
    )


# -- CSV ------------------------------------------------------------------------------------------------------


def read_csv(name: str, text: str, columns: Mapping[str, str], *, low_urgency: bool, unread: Unread) -> Reading:
    """The pages of a CSV file, in the order of their time.

    ``columns`` maps a field of :data:`COLUMNS` to the header of its column, as the file has it. Raises ValueError for a
    column that is not there, and for a file in which no column can be the time, or none the service or key.
    """
    rows = csv.DictReader(io.StringIO(text), delimiter=_delimiter(text))
    pages: list[Paged] = []
    try:
        low = _take_rows(name, rows, columns, pages, low_urgency, unread)
    except csv.Error as error:
        raise ValueError(f"{name}:{rows.reader.line_num}: not CSV: {error}") from None
    return Reading(sorted(pages), low)


def _take_rows(
    name: str,
    rows: csv.DictReader[str],
    columns: Mapping[str, str],
    pages: list[Paged],
    low_urgency: bool,
    unread: Unread,
) -> int:
    """Add the pages of all rows to ``pages``; how many were of low urgency. Raises ``csv.Error`` too."""
    headers = {_plain(header): header for header in rows.fieldnames or ()}
    chosen = {field: _column(field, columns, headers) for field in COLUMNS}
    if chosen["time"] is None or not any(chosen[field] for field in ("service", "key", "fingerprint")):
        known = ", ".join(rows.fieldnames or ())
        raise ValueError(f"{name}: needs a column for time and one for service, key or fingerprint; it has: {known}")
    low = 0
    for row in rows:
        place = f"{name}:{rows.line_num}"
        value = {field: (row.get(header) or "").strip() if header else "" for field, header in chosen.items()}
        if value["urgency"].lower() == "low" and not low_urgency:
            low += 1
            continue
        at = _time(value["time"])
        fingerprints = _fingerprints(value["key"], value["fingerprint"])
        if at is None or not (value["service"] or fingerprints):
            unread(f"{place}: no time ({value['time']!r}), or neither service nor key")
            continue
        services = (value["service"],) if value["service"] else ()
        pages.append(Paged(at, place, value["id"], value["title"], value["team"], fingerprints, services))
    return low


def _column(field: str, columns: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    if field in columns:
        found = headers.get(_plain(columns[field]))
        if found is None:
            raise ValueError(f"no column {columns[field]!r} for {field}; there are: {', '.join(headers.values())}")
        return found
    return next((headers[name] for name in COLUMNS[field] if name in headers), None)


def _plain(header: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")


def _delimiter(text: str) -> str:
    head = text.partition("\n")[0]
    return max(",;\t", key=head.count)


def _time(text: str) -> float | None:
    """Epoch seconds of a time as exports write it: also with a blank before the zone, or with UTC for it.

    >>> _time("2024-07-07 12:32:37 -0400") == _time("2024-07-07 16:32:37 UTC") == 1720369957.0
    True
    """
    text = re.sub(r"\s*\bUTC$", "Z", text)
    return epoch_of(re.sub(r"\s+([+-]\d\d:?\d\d)$", r"\1", text))
