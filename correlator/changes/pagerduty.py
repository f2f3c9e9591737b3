"""Change events as PagerDuty's Events API v2 takes them (``/v2/change/enqueue``).

They name no service of ours: that is a detail (``custom_details.service`` and other usual names), else the source. They
have no id either: the same text at the same time is the same change.
"""

from __future__ import annotations

from typing import Any, Final

from correlator.changes.fields import AUTHORS, SERVICES, Maker, first
from correlator.errors import RejectedError
from correlator.model import Change

__all__ = ["PAGERDUTY"]


class _PagerDuty:
    name = "pagerduty"

    def detect(self, event: dict[str, Any]) -> bool:
        payload = event.get("payload")
        return type(payload) is dict and "summary" in payload and "event_action" not in event

    def read(self, event: dict[str, Any], make: Maker) -> Change:
        payload = event["payload"]
        details = payload.get("custom_details")
        details = details if type(details) is dict else {}
        links = event.get("links") or []
        if not isinstance(links, list):
            raise RejectedError("wrong_type", f"links must be a list, not {type(links).__name__}")
        kind = first(details, ("kind", "change_type", "type"))
        return make.change(
            service=first(details, SERVICES) or payload.get("source"),
            summary=payload["summary"],
            kind=kind if isinstance(kind, str) else "",
            at=payload.get("timestamp"),
            author=first(details, AUTHORS),
            link=next((link.get("href") for link in links if type(link) is dict), None),
            labels={key: value for key, value in details.items() if isinstance(value, str | int | float)},
        )


PAGERDUTY: Final = _PagerDuty()
