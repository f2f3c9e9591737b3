"""What the alerts of one service prove about it, and the history that says how unusual they are.

The evidence of an alert is ``weight of its kind x surprise x deviation``. Surprise is ``ln 2 / 2 - ln p``: p is the
share of past incidents in which this alert fired on this service while another one was to blame, by Laplace's rule
(seen + 1) / (incidents + 2), so that without history everything counts the same; an alert that always fires keeps half
of ln 2, and a recurring root stays visible. Deviation is 1 to 2, by the logarithm of ``z`` where the source gives one.
Of a family of alerts the strongest counts in full, the others half. Alerts that callers raise about a service count for
the service.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from correlator.engine.kinds import CAUSES, EFFECTS, SYMPTOMS, Kinds, direction

__all__ = ["WEIGHTS", "Evidence", "History", "Rates", "Sign", "key_of", "weigh"]

WEIGHTS: Final[Mapping[str, float]] = {
    "fault": 4.0,
    "change": 3.0,
    "saturation": 2.0,
    "error": 1.5,
    "latency": 1.0,
    "idle": 1.0,
    "other": 1.0,
    "harmless": 0.5,
}
#: Share of the weaker alerts of a family.
_TWIN: Final = 0.5
#: Growth of the evidence with each power of ten of the deviation, and its limit.
_DEVIATION, _MOST_DEVIATION = 0.3, 2.0
#: An alert that fires in at most this share of the incidents in which its service is not to blame is unusual.
_UNUSUAL: Final = 0.5
_FLOOR: Final = math.log(2) / 2
_REASONS: Final = 3
_VARIABLE: Final = re.compile(r"[0-9a-f]{8,}|\d+")


class Sign(NamedTuple):
    """One firing alert: name, labels (``caller``, ``operation``, ``direction``, ``z`` are read), onset in epoch s."""

    name: str
    labels: Mapping[str, object]
    onset: float = 0.0


class Rates(Protocol):
    """How usual alerts are."""

    def usual(self, service: str, key: str) -> float:
        """Share of incidents, in (0, 1), in which the alert fired on the service and the service was not to blame."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the alerts of a service prove, in units of one usual latency alert times its surprise.

    ``symptoms``, ``errors``, ``idle``: the parts that error and latency, error and fault, idle alerts have in ``own``.
    ``effect``: all alerts are effects of a caller. ``cause``: an unusual alert needs a cause. ``reasons``: the
    strongest alerts in words. ``onset``: of the first alert, epoch seconds.
    """

    own: float
    symptoms: float
    errors: float
    idle: float
    effect: bool
    cause: bool
    onset: float
    reasons: tuple[str, ...]


def key_of(service: str, sign: Sign) -> str:
    """What identifies an alert of a service in the history: its name, and caller and operation without numbers."""
    caller = sign.labels.get("caller")
    if caller is None:
        return sign.name
    return f"{sign.name}|{caller}|{_VARIABLE.sub('#', str(sign.labels.get('operation', '')))}"


def weigh(service: str, signs: Iterable[Sign], kinds: Kinds, rates: Rates | None = None) -> Evidence:
    """The evidence of the firing alerts of ``service``, of which there is at least one. O(alerts log alerts)."""
    families: dict[tuple[str, str, bool], list[tuple[float, float, str]]] = {}
    cause, onset, seen = False, math.inf, set()
    for sign in signs:
        onset = min(onset, sign.onset)
        key = key_of(service, sign)
        kind = kinds.of(sign.name, direction(sign.labels))
        if (key, kind.name) in seen:
            continue
        seen.add((key, kind.name))
        usual = 0.5 if rates is None else rates.usual(service, key)
        cause = cause or (kind.name in CAUSES and usual <= _UNUSUAL)
        value = WEIGHTS[kind.name] * (_FLOOR - math.log(usual)) * _deviation(sign)
        called = sign.labels.get("caller") not in (None, service)
        families.setdefault((kind.name, kind.family, called), []).append((value, usual, sign.name))
    parts = []
    for (kind_name, _, called), values in families.items():
        value, usual, name = max(values)
        value += _TWIN * (math.fsum(v for v, _, _ in values) - value)
        parts.append((value, kind_name, name, called, usual))
    parts.sort(key=lambda part: (-part[0], *part[1:]))
    total = {kind: math.fsum(v for v, k, *_ in parts if k == kind) for kind in {part[1] for part in parts}}
    return Evidence(
        own=max(math.fsum(part[0] for part in parts), 1e-9),
        symptoms=math.fsum(v for k, v in total.items() if k in SYMPTOMS),
        errors=total.get("error", 0.0) + total.get("fault", 0.0),
        idle=total.get("idle", 0.0),
        effect=total.keys() <= EFFECTS,
        cause=cause,
        onset=onset,
        reasons=tuple(_words(*part, known=rates is not None) for part in parts[:_REASONS]),
    )


def _deviation(sign: Sign) -> float:
    z = sign.labels.get("z")
    if not isinstance(z, int | float) or not math.isfinite(z):
        return 1.0
    return min(_MOST_DEVIATION, 1 + _DEVIATION * math.log10(1 + abs(z)))


def _words(value: float, kind: str, name: str, called: bool, usual: float, *, known: bool) -> str:
    who = ", seen by its callers" if called else ""
    rate = f", in {usual:.0%} of past incidents" if known else ""
    return f"{kind} '{name}'{who}{rate}: +{value:.1f}"


class History:
    """How often each alert fired in past incidents on a service that was not to blame. Deterministic, no clock.

    Counts fade with every incident, by half over ``half_life`` incidents. Bounded: ``most`` alerts over all services,
    the rarest forgotten first. ``observe`` is for an incident that closes; ``freeze`` gives the rates of now, which
    stay as they are, for an incident that opens.

    >>> history = History()
    >>> for _ in range(8):
    ...     history.observe({"db": [Sign("Slow", {})], "web": [Sign("Slow", {})]}, blamed="db")
    >>> round(history.usual("web", "Slow"), 1), history.usual("db", "Slow")
    (0.9, 0.5)
    """

    def __init__(self, *, half_life: float = 500.0, most: int = 200_000) -> None:
        self._fade = 0.5 ** (1.0 / half_life)
        self._most = most
        self._unit = 1.0  # what one incident counts now; grows instead of every count fading
        self._incidents = 0.0
        self._blamed: dict[str, float] = {}
        self._seen: dict[tuple[str, str], float] = {}

    def usual(self, service: str, key: str) -> float:
        """See :class:`Rates`. O(1)."""
        seen = self._seen.get((service, key), 0.0) / self._unit
        spared = max(seen, (self._incidents - self._blamed.get(service, 0.0)) / self._unit)
        return (seen + 1.0) / (spared + 2.0)

    def observe(
        self, signs: Mapping[str, Iterable[Sign]], blamed: str | None = None, *, certainty: float = 1.0
    ) -> None:
        """Count one closed incident: the alerts of its services, and the service to blame. O(alerts).

        ``certainty`` in [0, 1] is that of the blame: by so much the alerts of that service are not counted.
        """
        self._unit /= self._fade
        self._incidents += self._unit
        if blamed is not None:
            self._blamed[blamed] = self._blamed.get(blamed, 0.0) + self._unit * certainty
        for service in signs:
            count = self._unit * (1.0 - certainty if service == blamed else 1.0)
            if count > 0:
                for key in {key_of(service, sign) for sign in signs[service]}:
                    self._seen[service, key] = self._seen.get((service, key), 0.0) + count
        if self._unit > 1e12:
            self._rescale()
        if len(self._seen) > self._most:
            self._forget()

    def freeze(self) -> History:
        """A copy that does not change with this one. O(size)."""
        return History.from_data(self.to_data())

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON, the same for the same incidents. O(size log size)."""
        self._rescale()
        seen: dict[str, dict[str, float]] = {}
        for (service, key), count in sorted(self._seen.items()):
            seen.setdefault(service, {})[key] = count
        blamed = dict(sorted(self._blamed.items()))
        return {"fade": self._fade, "most": self._most, "incidents": self._incidents, "blamed": blamed, "seen": seen}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> History:
        """The history that ``to_data`` wrote. Raises KeyError or TypeError for other data."""
        history = cls(most=data["most"])
        history._fade, history._incidents = data["fade"], data["incidents"]
        history._blamed = dict(data["blamed"])
        history._seen = {(s, key): count for s, keys in data["seen"].items() for key, count in keys.items()}
        return history

    def _rescale(self) -> None:
        unit, self._unit = self._unit, 1.0
        self._incidents /= unit
        self._blamed = {service: count / unit for service, count in self._blamed.items()}
        self._seen = {key: count / unit for key, count in self._seen.items()}

    def _forget(self) -> None:
        """Keep the most frequent three quarters, so that this is rare."""
        kept = sorted(self._seen.items(), key=lambda item: (-item[1], item[0]))[: self._most * 3 // 4]
        self._seen = dict(kept)
