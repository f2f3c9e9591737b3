"""How usual each alert is for its service, learned from the incidents that closed.

The question is: of the incidents in which this service had reason to alert and was not to blame, in how many did this
alert fire? An alert that joins every incident of its neighbourhood proves little the next time; one that was never
seen among so many proves much. The answer is by Laplace's rule, (seen + 1) / (exposed + 2): one half without history.

A service is *exposed* to an incident that it, or something not further than two edges away, was part of. Where one
fault fell into several incidents, each counts for its share of the alerts, so that together they count once. Alerts of
a service that was to blame count by the doubt that is left, and so does its exposure: a root that recurs does not
become usual. The root of a small part of a fault is hardly to blame for all of it. An incident that is one more of the
same counts less than a new one (:mod:`correlator.engine.likeness`): what many different faults show is usual, and one
that recurs, perhaps under the wrong name, must not decide alone what that is.

Everything is kept by service, fades by half over HALF_LIFE exposures of it, and is bounded: MOST_KEYS alerts of a
service and MOST_SERVICES services, the least seen and the least exposed forgotten first. No clock: the same incidents
in the same order leave the same history.

>>> history = History()
>>> for _ in range(8):
...     _ = history.observe({"db": ["Slow"], "web": ["Slow"]}, {"db", "web"}, blamed="db")
>>> round(history.usual("web", "Slow"), 1), history.usual("db", "Slow"), round(history.usual("web", "Crash"), 1)
(0.9, 0.5, 0.1)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

__all__ = ["HALF_LIFE", "MOST_KEYS", "MOST_SERVICES", "UNKNOWN", "History"]

HALF_LIFE: Final = 300.0
MOST_KEYS: Final = 200
MOST_SERVICES: Final = 100_000
#: How usual an alert is of which nothing is known.
UNKNOWN: Final = 0.5

_NOTHING: Final[Mapping[str, float]] = {}
_FADE: Final = 0.5 ** (1.0 / HALF_LIFE)


class _Record:
    """Counts of one service: incidents it was exposed to, those it was to blame for, and its alerts in the others."""

    __slots__ = ("blamed", "exposed", "seen")

    def __init__(self, exposed: float = 0.0, blamed: float = 0.0, seen: dict[str, float] | None = None) -> None:
        self.exposed = exposed
        self.blamed = blamed
        self.seen = {} if seen is None else seen


class History:
    """The counts of all services of a shard. Mutable, with one owner; a row a service in the saved state."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def usual(self, service: str, key: str) -> float:
        """Share of incidents, in (0, 1), in which the alert fired on the service and it was not to blame. O(1)."""
        record = self._records.get(service)
        if record is None:
            return UNKNOWN
        seen = record.seen.get(key, 0.0)
        return (seen + 1.0) / (max(seen, record.exposed - record.blamed) + 2.0)

    def observe(
        self,
        alerts: Mapping[str, Iterable[str]],
        exposed: Iterable[str],
        blamed: str | None = None,
        *,
        certainty: float = 1.0,
        share: float = 1.0,
        weight: float = 1.0,
        own: Mapping[str, float] = _NOTHING,
    ) -> set[str]:
        """Count an incident that closed; the services whose row changed. O(alerts + exposed).

        ``alerts`` has the keys of each service that was part of it; ``blamed`` its root, with the ``certainty`` of
        that, 0 to 1; ``share`` is its part, above 0 to 1, of the alerts of the fault that it belongs to; ``weight``
        what it counts, above 0, and ``own`` what it counts for some services instead.
        """
        changed = {*alerts, *exposed}
        for service in sorted(changed):
            record = self._records.get(service)
            if record is None:
                record = self._records[service] = _Record()
            fade = _FADE**share
            count = own.get(service, weight)
            record.exposed = record.exposed * fade + share * count
            record.blamed *= fade
            for key in record.seen:
                record.seen[key] *= fade
            if service == blamed:
                guilt = certainty * share * count
                record.blamed += guilt
                count -= guilt
            if count > 0.0:
                for key in sorted(set(alerts.get(service, ()))):
                    record.seen[key] = record.seen.get(key, 0.0) + count
            if len(record.seen) > MOST_KEYS:
                _forget(record.seen)
        if len(self._records) > MOST_SERVICES:
            changed |= self._shrink()
        return changed

    def forget(self, service: str | None = None) -> list[str]:
        """Forget a service, or everything; the services whose row is gone."""
        gone = sorted(self._records) if service is None else [service] if service in self._records else []
        self._drop(gone)
        return gone

    def _shrink(self) -> set[str]:
        """Forget the quarter that was exposed least, so that this is rare."""
        order = sorted(self._records, key=lambda name: (self._records[name].exposed, name))
        gone = order[: len(order) - MOST_SERVICES * 3 // 4]
        self._drop(gone)
        return set(gone)

    def _drop(self, gone: Iterable[str]) -> None:
        for name in gone:
            del self._records[name]

    # -- saved form ------------------------------------------------------------------------------------------

    def row(self, service: str) -> list[Any] | None:
        """The saved form of a service: exposed, blamed, seen by key; None for one that is not known."""
        record = self._records.get(service)
        return None if record is None else [record.exposed, record.blamed, dict(sorted(record.seen.items()))]

    def restore(self, rows: Mapping[str, Collection[Any]]) -> None:
        """Take over saved rows. The order of them has no effect."""
        self._records = {service: _Record(*row) for service, row in rows.items()}


def _forget(seen: dict[str, float]) -> None:
    """Keep the most frequent three quarters."""
    for key in sorted(seen, key=lambda key: (seen[key], key))[: len(seen) - MOST_KEYS * 3 // 4]:
        del seen[key]
