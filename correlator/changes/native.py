"""Our own JSON change (``schemas/change.schema.json``)."""

from __future__ import annotations

from typing import Any, Final

from correlator.changes.fields import Maker
from correlator.errors import RejectedError
from correlator.model import CHANGE_KINDS, Change

__all__ = ["NATIVE"]


class _Native:
    name = "native"

    def detect(self, event: dict[str, Any]) -> bool:
        return "service" in event and ("summary" in event or "kind" in event)

    def read(self, event: dict[str, Any], make: Maker) -> Change:
        kind = event.get("kind")
        if kind is not None and kind not in CHANGE_KINDS:
            raise RejectedError("wrong_type", f"kind is {str(kind)[:40]!r}; allowed: {', '.join(CHANGE_KINDS)}")
        return make.change(
            service=event["service"],
            summary=event.get("summary"),
            kind=kind or "",
            at=event.get("at"),
            id=event.get("id"),
            author=event.get("author"),
            link=event.get("link"),
            labels=event.get("labels"),
        )


NATIVE: Final = _Native()
