"""Prometheus Alertmanager's webhook, versions 3 and 4: a group of alerts under one envelope.

Every group repeats all of its alerts at each ``repeat_interval``, so an alert that is there again is passed on,
and one that is not there any more is not taken for resolved. The sender's ``fingerprint`` is not used: it covers
the severity and the replica labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from correlator.dialects.dialect import Outcome, read_each
from correlator.dialects.normalise import Normaliser
from correlator.errors import RejectedError
from correlator.model import Alert

__all__ = ["ALERTMANAGER", "native_fields"]

_ENVELOPE: Final = ("groupKey", "groupLabels", "commonLabels")


def native_fields(item: dict[str, Any], status: Any, source: Any) -> dict[str, Any]:
    """The fields of one Alertmanager alert under their native names."""
    labels, annotations, generator = item.get("labels"), item.get("annotations"), item.get("generatorURL")
    if generator and (annotations is None or type(annotations) is dict):
        annotations = {**(annotations or {}), "generator_url": generator}
    return {
        "name": labels.get("alertname") if type(labels) is dict else None,
        "status": status,
        "starts_at": item.get("startsAt"),
        "ends_at": item.get("endsAt"),
        "labels": labels,
        "annotations": annotations,
        "source": source,
    }


class _Alertmanager:
    name = "alertmanager"

    def detect(self, document: Any) -> bool:
        if type(document) is not dict or type(alerts := document.get("alerts")) is not list:
            return False
        if any(field in document for field in _ENVELOPE):
            return True
        return bool(alerts) and type(alerts[0]) is dict and "startsAt" in alerts[0]

    def decode(self, document: Any, normaliser: Normaliser, arrival: float | None, topic: str) -> Sequence[Outcome]:
        alerts = document.get("alerts") if type(document) is dict else None
        if type(alerts) is not list:
            raise RejectedError("wrong_type", "a webhook body is an object with a list of alerts")
        status, source = document.get("status"), document.get("externalURL")
        truncated = document.get("truncatedAlerts")
        notes = ("truncated_group",) if type(truncated) is int and truncated > 0 else ()

        def read(item: dict[str, Any]) -> Alert:
            fields = native_fields(item, item.get("status") or status, source)
            return normaliser.alert(fields, arrival, topic, notes)

        return read_each(alerts, normaliser, read)


ALERTMANAGER: Final = _Alertmanager()
