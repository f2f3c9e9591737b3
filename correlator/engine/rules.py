"""The settings that decide: a frozen value, carried in the log, so that a replay decides the same.

A change of rules is a control record in ``alerts.placed``; the engine never reads a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Final, Self

from correlator.engine.kinds import Kinds
from correlator.model import Severity, severity_rank

__all__ = ["ALL_TEAMS", "Heartbeat", "Matcher", "Rules", "own_fields"]

#: Stands for every team, and for services without one.
ALL_TEAMS: Final = "*"
#: Fields of a row of kinds.
_ROW: Final = ("kind", "match")


def own_fields(service: str, name: str, severity: str, source: str) -> dict[str, str]:
    """The fields of an alert by the names that matchers give them instead of labels; Prometheus says ``alertname``."""
    return {"service": service, "name": name, "alertname": name, "severity": severity, "source": source}


@dataclass(frozen=True)
class Matcher:
    """All of ``match`` must match: label (or service, name, severity, source) -> regex over the whole value.

    ``alertname`` is another word for ``name``, as Prometheus has it.

    >>> Matcher({"name": "Disk.*", "env": "prod"}).matches("db", "DiskFull", "warning", "am", {"env": "prod"})
    True
    """

    match: Mapping[str, str]

    @cached_property
    def _patterns(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        return tuple((key, re.compile(pattern)) for key, pattern in sorted(self.match.items()))

    def matches(self, service: str, name: str, severity: str, source: str, labels: Mapping[str, str]) -> bool:
        """Whether every pattern matches. An absent label matches like an empty one. O(patterns)."""
        own = own_fields(service, name, severity, source)
        return all(p.fullmatch(own[key] if key in own else labels.get(key, "")) for key, p in self._patterns)

    def possible(self, name: str) -> bool:
        """Whether an alert of this name can match: most matchers are about one name."""
        return all(p.fullmatch(name) for key, p in self._patterns if key in ("name", "alertname"))

    def check(self) -> None:
        """Raise ``re.error`` now rather than at the first alert."""
        tuple(self._patterns)


@dataclass(frozen=True)
class Heartbeat(Matcher):
    """Alerts whose firing means health; silence longer than ``interval`` seconds means that the source is lost."""

    interval: float = 300.0


@dataclass(frozen=True)
class Rules:
    """What the engine does where a choice is the operator's. Durations are seconds.

    The meaning of each field is in the settings table of the README (section ``engine``).
    """

    settle: float = 60.0
    settle_top_tier: float = 0.0
    top_tier: int = 1
    page_severity: Severity = "critical"
    repage_after: float = 60.0
    bridge: int = 2
    storm_bridge: int = 6
    storm_share: float = 0.1
    storm_min_services: int = 50
    onset_tolerance: float = 60.0
    judge_interval: float = 1.0
    kinds: tuple[tuple[str, str], ...] = ()
    grace: float = 300.0
    reopen_window: float = 900.0
    gap_window: float = 300.0
    ttl: float = 16_200.0
    max_time_jump: float = 3_600.0
    late_window: float = 3_600.0
    flap_window: float = 3_600.0
    flap_threshold: int = 4
    flap_hold: float = 900.0
    members_listed: int = 100
    services_listed: int = 100
    path_limit: int = 32
    unplaced_burst: int = 20
    unplaced_window: float = 300.0
    incident_retention: float = 604_800.0
    max_active_alerts: int = 1_000_000
    max_deadlines_per_step: int = 20_000
    breaker_errors: int = 50
    breaker_window: float = 600.0
    breaker_retry: float = 60.0
    change_window: float = 3_600.0
    changes_kept: int = 1_000
    changes_listed: int = 10
    max_windows: int = 5_000
    trust_min_verdicts: int = 30
    trust_floor: float = 0.9
    trust_window: float = 900.0
    trust_memory: float = 2_592_000.0
    heartbeat: tuple[Heartbeat, ...] = ()
    test: tuple[Matcher, ...] = ()
    never_suppress: tuple[Matcher, ...] = ()
    suppress_teams: tuple[str, ...] = ("*",)
    not_a_cause: tuple[str, ...] = (r"(?i)expir|forecast|predict|ticket",)
    customer_facing_label: str = "customer_facing"
    tenant_label: str = "tenant"
    site_label: str = "site"

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Rules from plain data, as :meth:`plain` gives them and as a log record carries them.

        Unknown names are ignored: a record of a newer version must not stop an older reader.
        """
        known = {f.name for f in fields(cls)}
        given = {key: value for key, value in data.items() if key in known}
        for key, kind in (("heartbeat", Heartbeat), ("test", Matcher), ("never_suppress", Matcher)):
            if key in given:
                given[key] = tuple(m if isinstance(m, Matcher) else kind(**m) for m in given[key])
        for key in ("not_a_cause", "suppress_teams"):
            if key in given:
                given[key] = tuple(given[key])
        if "kinds" in given:
            given["kinds"] = tuple((row["kind"], row["match"]) for row in given["kinds"])
        return cls(**given)

    def plain(self) -> dict[str, Any]:
        """The same as plain data for JSON."""
        data = asdict(self)
        for key in ("heartbeat", "test", "never_suppress"):
            data[key] = [
                {"match": dict(m.match)} | ({"interval": m.interval} if isinstance(m, Heartbeat) else {})
                for m in getattr(self, key)
            ]
        data["not_a_cause"], data["suppress_teams"] = list(self.not_a_cause), list(self.suppress_teams)
        data["kinds"] = [dict(zip(_ROW, row, strict=True)) for row in self.kinds]
        return data

    def check(self) -> None:
        """Raise TypeError, ValueError or re.error for what a record that is not ours may hold."""
        for field in fields(self):
            value, usual = getattr(self, field.name), field.default
            if isinstance(usual, int | float) and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise TypeError(f"{field.name} is {value!r}; allowed: a number")
            if isinstance(usual, int | float) and not 0 <= value < float("inf"):
                raise ValueError(f"{field.name} is {value!r}; allowed: 0 or more")
        for matcher in (*self.heartbeat, *self.test, *self.never_suppress):
            matcher.check()
        if not all(isinstance(team, str) for team in self.suppress_teams):
            raise TypeError(f"suppress_teams is {list(self.suppress_teams)!r}; allowed: names of teams")
        _ = self.page_rank, self._harmless, Kinds(self.kinds)  # LookupError, re.error, ValueError

    @cached_property
    def page_rank(self) -> int:
        """Rank of the mildest severity that pages."""
        return severity_rank(self.page_severity)

    @cached_property
    def suppresses_all(self) -> bool:
        """Whether suppression is enabled for every team."""
        return ALL_TEAMS in self.suppress_teams

    @cached_property
    def _harmless(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(pattern) for pattern in self.not_a_cause)

    def can_cause(self, name: str) -> bool:
        """Whether an alert of this name can be the cause of another one.

        >>> Rules().can_cause("CertificateExpiresSoon"), Rules().can_cause("DiskFull")
        (False, True)
        """
        return not any(pattern.search(name) for pattern in self._harmless)
