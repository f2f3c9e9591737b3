"""From one record of a topic of changes to changes, whatever form they are written in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from correlator.changes.cdevents import CDEVENTS
from correlator.changes.cloudevents import CLOUDEVENTS, from_headers
from correlator.changes.fields import Maker
from correlator.changes.form import Form
from correlator.changes.native import NATIVE
from correlator.changes.pagerduty import PAGERDUTY
from correlator.dialects.limits import Limits
from correlator.dialects.payload import documents_of
from correlator.errors import RejectedError
from correlator.model import Change

__all__ = ["ChangeReader", "ChangeReading", "Headers", "forms"]

#: In the order in which they are asked: a CDEvent may come as a CloudEvent.
_FORMS: Final[tuple[Form, ...]] = (CDEVENTS, CLOUDEVENTS, PAGERDUTY, NATIVE)

#: A header of Kafka may have no value.
Headers = Sequence[tuple[str, bytes | None]]


class ChangeReading(NamedTuple):
    """What one record held.

    ``changes`` are (position, change), ``rejects`` (position, reason), both counted from 0 over all events of the
    record; None stands for the whole record. ``ignored`` counts events that change no running service. ``form`` is the
    form of the first event, "" when none was recognised.
    """

    changes: list[tuple[int, Change]]
    rejects: list[tuple[int | None, RejectedError]]
    ignored: int
    form: str


def forms() -> tuple[str, ...]:
    """Names of all forms, in the order in which they are asked to recognise an event."""
    return tuple(form.name for form in _FORMS)


class ChangeReader:
    """Reads records of changes within ``limits``. A record holds one event, a list of them, or one per line."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def read(self, value: bytes | None, headers: Headers = (), *, received_at: float | None) -> ChangeReading:
        """The changes of a record, and what of it could not be read. Raises nothing, whatever the bytes are.

        ``headers`` are the record's: with ``ce_`` headers the value is the data of a CloudEvent. ``received_at`` is the
        broker's time in epoch seconds, which stands in for a time that is not given; None is unknown.
        """
        arrival = received_at if received_at is not None and 0.0 < received_at < 1e11 else None
        make, reading = Maker(self._limits, arrival), ChangeReading([], [], 0, "")
        try:
            events = self._events(value, headers)
        except RejectedError as error:
            return reading._replace(rejects=[(None, error)])
        for position, event in enumerate(events):
            try:
                form = _form_of(event)
                reading = reading if reading.form else reading._replace(form=form.name)
                change = form.read(event, make)
            except RejectedError as error:
                reading.rejects.append((position, error))
                continue
            if change is None:
                reading = reading._replace(ignored=reading.ignored + 1)
            else:
                reading.changes.append((position, change))
        return reading

    def _events(self, value: bytes | None, headers: Headers) -> list[Any]:
        limits = self._limits
        if value is None:
            raise RejectedError("tombstone", "null value")
        if len(value) > limits.max_record_bytes:
            raise RejectedError("too_large", f"{len(value)} bytes, at most {limits.max_record_bytes} are read")
        binary = from_headers(headers, None)
        if not value and binary is None:
            raise RejectedError("empty", "no bytes")
        documents = documents_of(value, limits.max_alerts_per_record) if value else []
        if binary is not None:
            data = documents[0].content if documents else None
            return [{**binary, "data": data}]
        events: list[Any] = []
        for content, _ in documents:
            events += content if isinstance(content, list) else [content]
        if len(events) > limits.max_alerts_per_record:
            raise RejectedError("too_many_alerts", f"{len(events)} changes, at most {limits.max_alerts_per_record}")
        return events


def _form_of(event: Any) -> Form:
    if isinstance(event, RejectedError):
        raise event
    if type(event) is not dict:
        raise RejectedError("wrong_type", f"a change must be an object, not {type(event).__name__}")
    for form in _FORMS:
        if form.detect(event):
            return form
    raise RejectedError("unknown_dialect", f"none of {', '.join(forms())} recognises the change")
