"""Alerts of the Alertmanager API v2: what Prometheus posts, what ``GET /api/v2/alerts`` lists, and single alerts.

Such an alert has no status word: it is resolved when ``endsAt`` is not after its arrival, and an ``endsAt`` still
to come is the sender's time to live. Without an arrival time ``updatedAt`` stands in for it; without both, the
alert is firing. Where a relay has added the webhook's status word, the word holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from correlator.dialects.alertmanager import native_fields
from correlator.dialects.dialect import Outcome, read_each, sample_of
from correlator.dialects.normalise import Normaliser
from correlator.dialects.times import epoch_of
from correlator.errors import RejectedError
from correlator.model import FIRING, RESOLVED, Alert

__all__ = ["ALERTMANAGER_V2"]

#: Scheme and host of a URL, without credentials.
_HOST: Final = re.compile(r"([a-z][a-z0-9+.-]*://)(?:[^/?#]*@)?([^/?#@]+)")
#: Labels that name the sender when there is no URL to take it from.
_SOURCE_LABELS: Final = ("prometheus", "monitor")


def _status_of(item: dict[str, Any], arrival: float | None) -> Any:
    status = item.get("status")
    if type(status) is str and status:
        return status
    now = epoch_of(item.get("updatedAt")) if arrival is None else arrival
    end = epoch_of(item.get("endsAt"))
    if end is not None and now is not None and 0.0 < end <= now:
        return RESOLVED
    return "suppressed" if type(status) is dict and status.get("state") == "suppressed" else FIRING


def _source_of(item: dict[str, Any]) -> Any:
    url = item.get("generatorURL")
    if type(url) is str and (host := _HOST.match(url)):
        return host[1] + host[2]
    labels = item.get("labels")
    if type(labels) is not dict:
        return None
    return next((labels[label] for label in _SOURCE_LABELS if labels.get(label)), None)


class _AlertmanagerV2:
    name = "alertmanager_v2"

    def detect(self, document: Any) -> bool:
        sample = sample_of(document)
        if sample is None or "labels" not in sample:
            return False
        labels = sample["labels"]
        return "startsAt" in sample or "generatorURL" in sample or (type(labels) is dict and "alertname" in labels)

    def decode(self, document: Any, normaliser: Normaliser, arrival: float | None, topic: str) -> Sequence[Outcome]:
        items = [document] if type(document) is dict else document
        if type(items) is not list:
            raise RejectedError("wrong_type", f"expected an alert or a list of alerts, not {type(items).__name__}")

        def read(item: dict[str, Any]) -> Alert:
            return normaliser.alert(native_fields(item, _status_of(item, arrival), _source_of(item)), arrival, topic)

        return read_each(items, normaliser, read)


ALERTMANAGER_V2: Final = _AlertmanagerV2()
