"""Our own JSON alert (``schemas/alert.schema.json``): one object, an array, ``{"alerts": [...]}``, or one per line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from correlator.dialects.dialect import Outcome, read_each, sample_of
from correlator.dialects.normalise import Normaliser
from correlator.errors import RejectedError

__all__ = ["NATIVE"]

#: Two of these in an object make it an alert of ours, even when the name is missing.
_FIELDS: Final = frozenset({"name", "service", "severity", "status", "starts_at", "ts", "key", "labels", "alerts"})


class _Native:
    name = "native"

    def detect(self, document: Any) -> bool:
        sample = sample_of(document)
        if sample is None:
            return bool(document == [])
        if "name" in sample and ("service" in sample or "severity" in sample or "status" in sample):
            return True
        return type(sample.get("alerts")) is list or len(_FIELDS & sample.keys()) > 1

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
