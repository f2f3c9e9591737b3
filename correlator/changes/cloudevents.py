"""CloudEvents 1.0 of any type whose data names the service, or whose subject does.

The kind is told by the event's type; attributes that the standard does not define count as labels.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import orjson

from correlator.changes.fields import AUTHORS, LINKS, SERVICES, Maker, first, kind_of, last_part
from correlator.errors import RejectedError
from correlator.model import Change

__all__ = ["CLOUDEVENTS", "data_of", "event_id", "from_headers"]

_PREFIX: Final = "ce_"
_ATTRIBUTES: Final = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64"}
)
_SUMMARIES: Final = ("summary", "message", "title", "description")


class _CloudEvents:
    name = "cloudevents"

    def detect(self, event: dict[str, Any]) -> bool:
        return "specversion" in event and "type" in event

    def read(self, event: dict[str, Any], make: Maker) -> Change:
        data = data_of(event)
        fields = data if type(data) is dict else {}
        named = str(event["type"])
        extensions = {key: value for key, value in event.items() if key not in _ATTRIBUTES}
        labels = fields.get("labels")
        stated = first(fields, ("kind",))
        return make.change(
            service=first(fields, SERVICES) or last_part(event.get("subject")),
            summary=first(fields, _SUMMARIES) or named,
            kind=stated if isinstance(stated, str) else _kind(named, first(fields, _SUMMARIES)),
            at=first(fields, ("at", "timestamp")) or event.get("time"),
            id=event_id(event),
            author=first(fields, AUTHORS),
            link=first(fields, LINKS),
            labels={**extensions, **labels} if type(labels) is dict else extensions,
        )


CLOUDEVENTS: Final = _CloudEvents()


def _kind(named: str, summary: Any) -> str:
    """The words that tell the kind: the type's, unless they say nothing."""
    return summary if kind_of(named) == "other" and isinstance(summary, str) else named


def event_id(event: dict[str, Any]) -> str | None:
    """What identifies the event: the standard says, source and id together."""
    id, source = event.get("id"), event.get("source")
    if not isinstance(id, str | int) or isinstance(id, bool) or id == "":
        return None
    return f"{source}#{id}" if isinstance(source, str) and source else str(id)


def data_of(event: dict[str, Any]) -> Any:
    """The data of a structured event, decoded. Raises RejectedError (``not_json``) where it cannot be."""
    coded = event.get("data_base64")
    if coded is None:
        return event.get("data")
    try:
        return orjson.loads(base64.b64decode(coded, validate=True))
    except (binascii.Error, orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise RejectedError("not_json", f"data_base64: {error}") from None


def from_headers(headers: Sequence[tuple[str, bytes | None]], data: Any) -> dict[str, Any] | None:
    """The event of a record in Kafka's binary mode; None where the headers do not make one."""
    event: dict[str, Any] = {
        name[len(_PREFIX) :]: value.decode(errors="replace")
        for name, value in headers
        if name.startswith(_PREFIX) and value is not None
    }
    if "specversion" not in event or "type" not in event:
        return None
    return {**event, "data": data}
