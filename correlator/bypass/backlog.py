"""Critical alerts that nobody has proven to be decided, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from correlator.engine.rules import Rules
from correlator.model import RESOLVED, Alert, severity_rank

__all__ = ["Backlog", "Excess", "Key", "Waiting", "key_of"]

#: Alerts that the correlator has, remembered so that a repeat of one is not taken for news.
_KNOWN: Final = 200_000

#: Whose alert it is: the tenant, if tenants are kept apart, and the team or source.
Key = tuple[str, str]


class Waiting(NamedTuple):
    """An alert that would page: its raw partition, offset, number in that record, and the broker's time of it."""

    alert: Alert
    key: Key
    source: str
    offset: int
    number: int
    received_at: float


class Excess:
    """Alerts of one key that found no room: the first, how many, and the highest offset by raw partition."""

    def __init__(self, first: Waiting) -> None:
        self.first, self.count = first, 0
        self.upto: dict[str, int] = {}


def key_of(alert: Alert, team_label: str, tenant_label: str | None) -> Key:
    """Whose alert it is: its team label, else its source."""
    tenant = alert.labels.get(tenant_label, "") if tenant_label else ""
    team = alert.labels.get(team_label, "")
    return tenant, f"team {team}" if team else f"source {alert.source}"


class Backlog:
    """Alerts by fingerprint, oldest first: those without proof (``waiting``), and which ones the correlator has."""

    def __init__(self, rules: Rules, limit: int, team_label: str, tenant_label: str | None) -> None:
        self._rules, self._limit = rules, limit
        self._labels = team_label, tenant_label
        self._known: dict[str, float] = {}
        self.waiting: dict[str, Waiting] = {}
        self.excess: dict[Key, Excess] = {}

    def take(
        self, source: str, offset: int, found: Iterable[tuple[int, Alert]], received_at: float
    ) -> tuple[list[Alert], int]:
        """Take the alerts of one raw record, each with its index: those that ended, and how many found no room."""
        ended, dropped = [], 0
        for index, alert in found:
            if alert.status == RESOLVED:
                if self._ends(alert):
                    ended.append(alert)
            elif self.pages(alert) and not self._repeats(alert, received_at):
                key = key_of(alert, *self._labels)
                waiting = Waiting(alert, key, source, offset, index, received_at)
                if len(self.waiting) < self._limit:
                    self.waiting[alert.fingerprint] = waiting
                    continue
                excess = self.excess.setdefault(key, Excess(waiting))
                excess.count += 1
                excess.upto[source] = offset
                dropped += 1
        return ended, dropped

    def pages(self, alert: Alert) -> bool:
        """Whether the alert by itself is one to wake somebody for; maintenance is not known here."""
        rules, about = self._rules, (alert.service, alert.name, alert.severity, alert.source, alert.labels)
        if any(matcher.matches(*about) for matcher in (*rules.heartbeat, *rules.test)):
            return False
        return severity_rank(alert.severity) >= rules.page_rank or any(m.matches(*about) for m in rules.never_suppress)

    def _ends(self, alert: Alert) -> bool:
        """Whether a resolve is about the current episode: an old one never ends a newer."""
        found = self.waiting.get(alert.fingerprint)
        if found is not None and alert.ends_at is not None and alert.ends_at < found.alert.starts_at:
            return False
        self.waiting.pop(alert.fingerprint, None)
        self._known.pop(alert.fingerprint, None)
        return True

    def _repeats(self, alert: Alert, at: float) -> bool:
        if alert.fingerprint in self.waiting:
            return True
        seen = self._known.get(alert.fingerprint)
        if seen is None or at - seen > self._rules.ttl:
            return False
        self._known[alert.fingerprint] = at
        return True

    def decided(self, upto: Mapping[str, int]) -> None:
        """Everything before these raw offsets is decided: it waits no longer. O(waiting)."""
        done = [print_ for print_, w in self.waiting.items() if w.offset < upto.get(w.source, 0)]
        for fingerprint in done:
            self._known.pop(fingerprint, None)
            self._known[fingerprint] = self.waiting.pop(fingerprint).received_at
        while len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
        for key, excess in list(self.excess.items()):
            if all(offset < upto.get(source, 0) for source, offset in excess.upto.items()):
                del self.excess[key]
