"""The fields of one change: what each may be, and what stands in for it when it is absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from correlator.dialects.fields import word_of
from correlator.dialects.fingerprint import digest
from correlator.dialects.limits import Limits
from correlator.dialects.text import clean, cut, text_of
from correlator.dialects.times import epoch_of
from correlator.errors import RejectedError
from correlator.model import CHANGE_KINDS, Change, ChangeKind

__all__ = ["AUTHORS", "LINKS", "SERVICES", "Maker", "first", "kind_of", "last_part"]

#: Keys under which senders of free-form details name these, best first.
SERVICES: Final = ("service", "service_name", "app", "application", "component", "deployment", "workload")
AUTHORS: Final = ("author", "user", "actor", "changed_by", "deployed_by", "triggered_by")
LINKS: Final = ("link", "url", "html_url", "href")
#: A part of a word that tells the kind of a change, in the order in which they are looked for.
_HINTS: Final[tuple[tuple[str, ChangeKind], ...]] = (
    *((part, "feature_flag") for part in ("flag", "toggle", "experiment")),
    *((part, "configuration") for part in ("config", "setting", "secret", "parameter")),
    *((part, "deployment") for part in ("deploy", "release", "rollout", "rollback", "roll back", "upgrade", "version")),
    *((part, "infrastructure") for part in ("infra", "terraform", "scal", "migrat", "network", "firmware", "dns")),
)
_SUMMARY_BYTES: Final = 512
_LINK_BYTES: Final = 2_048


class Maker:
    """Makes changes within ``limits``; ``arrival`` is the broker's time of the record in epoch seconds, or None."""

    def __init__(self, limits: Limits, arrival: float | None) -> None:
        self._limits, self._arrival = limits, arrival

    def change(
        self,
        *,
        service: Any,
        summary: Any,
        kind: str = "",
        at: Any = None,
        id: Any = None,
        author: Any = None,
        link: Any = None,
        labels: Any = None,
    ) -> Change:
        """A change of these fields, checked. A summary tells the kind where ``kind`` does not.

        Raises RejectedError: ``missing_field`` without service or summary, ``wrong_type`` for a field of another type
        or a time that cannot be true: a change at a wrong time would be suspected wrongly.
        """
        size = self._limits.max_name_bytes
        name = self._word(service, "service", size)
        text = self._word(summary, "summary", _SUMMARY_BYTES)
        for field, value in (("service", name), ("summary", text)):
            if not value:
                raise RejectedError("missing_field", f"a change needs a {field}")
        found = kind_of(kind) if kind else kind_of(text)
        time = self._time(at)
        own = self._word(id, "id", size) or digest(orjson.dumps([name, found, text, time]))
        by = self._word(author, "author", size)
        return Change(own, found, name, text, time, by, _link(link), self._labels(labels))

    def _word(self, raw: Any, field: str, size: int) -> str:
        return word_of(raw, field, size, [])

    def _time(self, raw: Any) -> float:
        arrival = self._arrival
        if raw is None or raw == "":
            if arrival is None:
                raise RejectedError("missing_field", "no time of the change, and no arrival to stand in for it")
            return arrival
        time = epoch_of(raw)
        latest = None if arrival is None else arrival + self._limits.future_skew
        if time is None or time <= 0.0 or (latest is not None and time > latest):
            raise RejectedError("wrong_type", f"the time of a change cannot be {str(raw)[:80]!r}")
        return time

    def _labels(self, raw: Any) -> dict[str, str]:
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            raise RejectedError("wrong_type", f"labels must be an object, not {type(raw).__name__}")
        limits = self._limits
        kept = {clean(k): v for k, v in raw.items() if k and isinstance(v, str | int | float) and v not in ("", None)}
        names = sorted(kept)[: limits.max_labels]
        return {name: cut(clean(text_of(kept[name], 0)), limits.max_label_bytes) for name in names}


def _link(raw: Any) -> str:
    """A web address; anything else is left out, because somebody will click on it."""
    text = raw.strip() if isinstance(raw, str) else ""
    web = text.startswith(("https://", "http://")) and text.isprintable() and " " not in text
    return text if web and len(text.encode()) <= _LINK_BYTES else ""


def kind_of(word: str) -> ChangeKind:
    """The kind of a change that a sender's words tell; ``other`` where they do not.

    >>> kind_of("feature_flag"), kind_of("com.example.rollout.finished"), kind_of("coffee")
    ('feature_flag', 'deployment', 'other')
    """
    text = word.strip().lower()
    for kind in CHANGE_KINDS:
        if text.replace("-", "_").replace(" ", "_") == kind:
            return kind
    return next((kind for part, kind in _HINTS if part in text), "other")


def first(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first of these fields that is there and not empty."""
    return next((fields[name] for name in names if fields.get(name) not in (None, "", [], {})), None)


def last_part(path: Any) -> Any:
    """The last part of a path such as ``/cluster/eu/service/checkout``; what is no text as it is."""
    return path.rstrip("/").rpartition("/")[2] if isinstance(path, str) else path
