"""What the alerts of one service prove about it.

The evidence of an alert is ``weight of its kind x surprise x deviation``. Surprise is 1 without history, and otherwise
the bits that are missing to certainty, ``-log2 p``: p is how usual the alert was for this service when it fired
(:mod:`correlator.engine.history`). A fifth of it is left aside and counts always: an alert that always fires is still
an alert. Deviation is 1 to 2, by the logarithm of ``z`` where the source gives one. Of a family of alerts the strongest
counts in full, the others half. Alerts that callers raise about a service count for the service.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Final, NamedTuple

from correlator.engine.history import UNKNOWN
from correlator.engine.kinds import CAUSES, EFFECTS, SYMPTOMS, Kinds, direction, number

__all__ = ["WEIGHTS", "Evidence", "Extract", "Pile", "Scales", "Sign", "key_of", "weigh"]

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
#: Surprise at an alert that always fires.
_FLOOR: Final = 0.2
_REASONS: Final = 3
#: Labels that say something.
_ORDER: Final = ("caller", "operation", "direction", "z")
_READ: Final = frozenset(_ORDER)
_MOST_KNOWN: Final = 20_000
#: Different alerts up to which the pile of a service is shared and kept as it grows.
_MOST_PILED: Final = 32
_FIRST: Final = itemgetter(0, 1)
_VARIABLE: Final = re.compile(r"[0-9a-f]{8,}|\d+")


class Sign(NamedTuple):
    """One alert: name, labels (``caller``, ``operation``, ``direction``, ``z`` are read), and how usual it was."""

    name: str
    labels: Mapping[str, object]
    usual: float = UNKNOWN


class Evidence(NamedTuple):
    """What the alerts of a service prove, in units of one latency alert of which nothing is known.

    ``symptoms``, ``errors``, ``idle``: the parts that error and latency, error and fault, idle alerts have in ``own``;
    ``outer``: that of faults of which none began here.
    ``effect``: all alerts are effects of a caller. ``cause``: an unusual alert needs a cause. ``inner``: an unusual one
    is a fault that began here. ``blind``: all say that nothing is seen of the service. ``reasons``: the strongest
    alerts in words. ``onset``: of the first alert, in epoch seconds, or up to ``ahead`` seconds before, where clocks
    are ahead; ``broke``: of the first that makes it ``inner``.
    """

    own: float
    symptoms: float
    errors: float
    idle: float
    outer: float
    effect: bool
    cause: bool
    inner: bool
    blind: bool
    reasons: tuple[str, ...]
    onset: float = 0.0
    ahead: float = 0.0
    broke: float = math.inf


def key_of(name: str, labels: Mapping[str, object]) -> str:
    """What identifies an alert of a service in the history: its name, and caller and operation without numbers."""
    caller = labels.get("caller")
    if caller is None:
        return name
    return f"{name}|{caller}|{_VARIABLE.sub('#', str(labels.get('operation', '')))}"


def weigh(service: str, signs: Iterable[Sign], kinds: Kinds) -> Evidence:
    """The evidence of the alerts of ``service``, of which there is at least one, without onset. O(alerts log alerts).

    Of several alerts with one key the most unusual counts.
    """
    return _sum([_read(service, sign, kinds) for sign in signs])


class _Proof(NamedTuple):
    """What one alert proves by itself; the most unusual one sorts first."""

    usual: float
    closeness: float  # less for a larger deviation
    key: str
    kind: str
    family: tuple[str, str, bool]
    value: float
    name: str
    inner: bool
    blind: bool


def _read(service: str, sign: Sign, kinds: Kinds) -> _Proof:
    kind, deviation = kinds.of(sign.name, direction(sign.labels)), _deviation(sign)
    value = WEIGHTS[kind.name] * _surprise(sign.usual) * deviation
    called = sign.labels.get("caller") not in (None, service)
    key, family = key_of(sign.name, sign.labels), (kind.name, kind.family, called)
    inner = kind.inner and sign.usual <= _UNUSUAL
    return _Proof(sign.usual, -deviation, key, kind.name, family, value, sign.name, inner, kind.blind)


def _sum(proofs: list[_Proof]) -> Evidence:
    families: dict[tuple[str, str, bool], list[tuple[float, float, str]]] = {}
    cause, seen = False, set()
    for usual, _, key, kind, family, value, name, *_ in sorted(proofs, key=_FIRST):
        if (key, kind) in seen:
            continue
        seen.add((key, kind))
        cause = cause or (kind in CAUSES and usual <= _UNUSUAL)
        found = families.get(family)
        if found is None:
            families[family] = [(value, usual, name)]
        else:
            found.append((value, usual, name))
    parts = []
    for (kind, _, called), values in families.items():
        value, usual, name = values[0] if len(values) == 1 else max(values)
        if len(values) > 1:
            value += _TWIN * (math.fsum([v for v, _, _ in values]) - value)
        parts.append((value, kind, name, called, usual))
    parts.sort(key=lambda part: (-part[0], *part[1:]))
    total: dict[str, list[float]] = {}
    for value, kind, *_ in parts:
        total.setdefault(kind, []).append(value)
    inner = any(proof.inner for proof in proofs)
    return Evidence(
        own=max(math.fsum([part[0] for part in parts]), 1e-9),
        symptoms=math.fsum([v for kind, values in total.items() if kind in SYMPTOMS for v in values]),
        errors=math.fsum([*total.get("error", ()), *total.get("fault", ())]),
        idle=math.fsum(total.get("idle", ())),
        outer=0.0 if inner else math.fsum(total.get("fault", ())),
        effect=total.keys() <= EFFECTS,
        cause=cause,
        inner=inner,
        blind=all(proof.blind for proof in proofs),
        reasons=tuple([_words(*part) for part in parts[:_REASONS]]),
    )


def _surprise(usual: float) -> float:
    return _FLOOR - (1.0 - _FLOOR) * math.log2(usual)


def _deviation(sign: Sign) -> float:
    z = number(sign.labels.get("z"))
    return 1.0 if z is None else min(_MOST_DEVIATION, 1 + _DEVIATION * math.log10(1 + abs(z)))


def _words(value: float, kind: str, name: str, called: bool, usual: float) -> str:
    who = ", seen by its callers" if called else ""
    rate = "" if usual == UNKNOWN else f", usual in {usual:.0%} of past incidents here"
    return f"{kind} '{name}'{who}{rate}: +{value:.1f}"


class Extract(NamedTuple):
    """What there is to read of an alert. ``number`` tells it from every other one of the same :class:`Scales`."""

    number: int
    proof: _Proof


class Pile:
    """Different extracts that are weighed together, shared by all services with the same ones while they are few.

    ``more``: what it becomes by one extract more, by its number. ``evidence``: without onset; None until asked for.
    """

    __slots__ = ("evidence", "extracts", "more")

    def __init__(self, extracts: tuple[Extract, ...]) -> None:
        self.extracts = extracts
        self.more: dict[int, Pile] = {}
        self.evidence: Evidence | None = None


class Scales:
    """Weighs the alerts of services, and remembers the result for equal ones: a storm has few different services.

    Never stale: a result follows from its extracts and the table of kinds, of which there is one. Bounded: what is
    remembered is forgotten together; numbers are never used again.
    """

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._count = 0
        self._extracts: dict[tuple[object, ...], Extract] = {}
        self._piles: dict[tuple[int, ...], Pile] = {}
        self.empty = Pile(())

    def extract(self, service: str, name: str, labels: Mapping[str, str], usual: float) -> Extract:
        """One alert of ``service``, to be weighed with others of it. O(labels)."""
        key: tuple[object, ...] = (name, usual)
        if not _READ.isdisjoint(labels):
            key = (*key, *[labels.get(label) for label in _ORDER], service if "caller" in labels else "")
        found = self._extracts.get(key)
        if found is None:
            if len(self._extracts) >= _MOST_KNOWN:
                self._extracts.clear()
            self._count += 1
            read = {label: labels[label] for label in _ORDER if label in labels}
            found = self._extracts[key] = Extract(self._count, _read(service, Sign(name, read, usual), self._kinds))
        return found

    def add(self, pile: Pile, extract: Extract) -> Pile | None:
        """The pile with one extract more, None where that is to be gathered when it is needed. O(1) if remembered."""
        found = pile.more.get(extract.number)
        if found is None and len(pile.extracts) < _MOST_PILED:
            found = pile.more[extract.number] = self.gather([*pile.extracts, extract])
        return found

    def gather(self, extracts: Iterable[Extract]) -> Pile:
        """The pile of these extracts; of equal ones there is one. O(extracts log extracts)."""
        different = dict(sorted({extract.number: extract for extract in extracts}.items()))
        if len(different) > _MOST_PILED:
            return Pile(tuple(different.values()))
        numbers = tuple(different)
        found = self._piles.get(numbers)
        if found is None:
            if len(self._piles) >= _MOST_KNOWN:
                self._forget()
            found = self._piles[numbers] = Pile(tuple(different.values()))
        return found

    def _forget(self) -> None:
        for pile in (self.empty, *self._piles.values()):
            pile.more.clear()
        self._piles.clear()

    def weigh(self, pile: Pile) -> Evidence:
        """The evidence of a pile that is not empty, without onset. O(1) where that is remembered."""
        if pile.evidence is None:
            pile.evidence = _sum([proof for _, proof in pile.extracts])
        return pile.evidence
