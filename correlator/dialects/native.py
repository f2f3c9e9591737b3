"""Our own JSON alert (``schemas/alert.schema.json``): one object, an array, ``{"alerts": [...]}``, or one per line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from correlator.dialects.dialect import Outcome, read_each, sample_of
from correlator.dialects.normalise import Normaliser
from correlator.errors import RejectedError

__all__ = ["NATIVE"]

#: Two of these in an object make it an alert of ours, even when the name is missing.
_FIELDS: Final = frozenset({"name", "service", "severity", "status", "starts_at", "ts", "key"})


class _Native:
    name = "native"

    def detect(self, document: Any) -> bool:
        if type(document) is dict and "name" in document and "service" in document:
            return True
        if type(document) is dict and type(document.get("alerts")) is list:
            document = document["alerts"]
        sample = sample_of(document)
        return len(_FIELDS & sample.keys()) > 1 if sample is not None else document == []

    def decode(self, document: Any, normaliser: Normaliser, arrival: float | None, topic: str) -> Sequence[Outcome]:
        if type(document) is dict and "alerts" not in document:
            try:
                return [normaliser.alert(document, arrival, topic)]
            except RejectedError as error:
                return [error]
        items = document["alerts"] if type(document) is dict else document
        if type(items) is not list:
            raise RejectedError("wrong_type", f"expected an alert or a list of alerts, not {type(items).__name__}")
        return read_each(items, normaliser, lambda fields: normaliser.alert(fields, arrival, topic))


NATIVE: Final = _Native()
