"""What an alert says: a kind for its name and direction, from a keyword table that the user can extend.

Kinds are ordered by what they prove. ``fault`` (it broke here), ``change`` (somebody touched it), ``saturation`` (a
resource ran out), ``error`` and ``latency`` (it serves badly: a cause or a symptom), ``idle`` (nothing arrives: mostly
a victim of its callers), ``harmless`` (a deviation in the harmless direction, or in load alone), ``other`` (nothing).


A name is split into lower-case words ("HighRequestLatency", "cpu_usage down"); the first row that matches decides, rows
of the user before all others. The direction is given by the source, or read from the name, and decides between harm
and harmlessness: less traffic is ``idle``, more is ``harmless``; less CPU is ``harmless``; a high success rate too.

Alerts of one *family* measure the same thing twice (``p50`` and ``p99``, ``mem_rss`` and ``mem_cache``); the second one
proves less than the first (:mod:`correlator.engine.evidence`).

>>> Kinds().of("HighRequestLatency"), Kinds().of("cpu_usage", "down")
(Kind('latency', 'high request latency'), Kind('harmless', 'cpu'))
>>> Kinds([("error", r"\\bcargo lost\\b")]).of("CargoLost").name
'error'
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

__all__ = ["CAUSES", "EFFECTS", "NAMES", "SYMPTOMS", "Kind", "Kinds", "direction", "number"]

NAMES: Final = ("fault", "change", "saturation", "error", "latency", "idle", "harmless", "other")
#: Kinds that a failing dependency produces in its callers.
SYMPTOMS: Final = frozenset(("error", "latency"))
#: Kinds that a failing caller produces in its dependencies, and that explain nothing on their own.
EFFECTS: Final = frozenset(("idle", "harmless"))
#: Kinds that need a cause: neither less nor more load from a caller makes a service fail so.
CAUSES: Final = frozenset(("fault", "change", "error", "other"))

_MOST_NAMES = 20_000

_ROWS: Final = (
    (
        "fault",
        r"crash|restart|reboot|\boom\b|out ?of ?memory|\bkill|evict|not ?ready|containers? ?waiting|back ?off|stuck"
        r"|fail(ed|ing|ure)? ?(pod|job|schedul|mount|probe)|unreachable|no ?space|deadlock|panic|segfault|corrupt"
        r"|^down$|(pod|node|host|instance|process|container|target|server|service|probe|endpoint|broker|replica|member)s?"
        r" ?(is )?(down|fail|unavail|lost|missing|mismatch)|(disk|volume|filesystem) ?full",
    ),
    (
        "change",
        r"\bdeploy(ed|ment|ing)?\b|rollout|roll ?back|config|feature ?flag|release|upgrade|certificate|\bcert\b",
    ),
    ("idle", r"^(no|missing|zero) ?(request|data|database|traffic|operation|message|call|metric|connection)|absent"),
    ("good", r"availab|success|apdex|health"),
    (
        "error",
        r"error|http ?[45]\d\d|\b[45]xx|exception|fail|refus|reject|abort|\berr\b|\bslo\b|burn ?rate|\bretr(y|ies)",
    ),
    ("latency", r"latenc|slow|\bp\d\d+\b|duration|response ?time|\brt\b|delay|time(d)? ?out|elapsed|\blag\b"),
    ("saturation", r"packet ?(loss|drop)|retrans|drop(ped|s)? ?packet"),
    (
        "flow",
        r"packet|\bnet|network|bandwidth|\btcp|bytes|transmit|receive|qps|\brps\b|\btps\b|request|traffic|throughput"
        r"|\brate\b|count|calls|\bops\b",
    ),
    (
        "saturation",
        r"cpu|mem|heap|\bgc\b|thread|disk|\bfs\b|inode|\bio\b|iowait|load|throttl|quota|pool|connection|saturat|usage"
        r"|util|queue|backlog|swap|volume|storage|descriptor|exhaust",
    ),
)
#: Faults of which the name says that they began here, and not that something else could not be reached.
_INNER: Final = re.compile(
    r"\boom\b|out ?of ?memory|no ?space|(disk|volume|filesystem) ?full|crash|restart|reboot|\bkill|evict|panic|segfault"
    r"|corrupt|deadlock"
)
#: Says that nothing is seen of a service, and not how it is.
_BLIND: Final = re.compile(
    r"absent|^(no|missing) ?(data|metric|series|sample)s?\b|stale"
    r"|(probe|target|scrape|exporter|endpoint)s? ?(is )?(down|fail|unavail|lost|missing)"
)
_UP: Final = re.compile(r"\b(up|high|above|increas|spike|too many)")
_DOWN: Final = re.compile(r"\b(down|low|below|decreas|drop)")
#: Rows that are not kinds themselves, and rows whose opposite is harmless: kind when up, kind when down.
_TURN: Final = {"good": ("harmless", "error"), "flow": ("harmless", "idle")}
_ONE_WAY: Final = frozenset(("error", "latency", "saturation"))


class Kind(NamedTuple):
    """A kind and the family of the alert, words that are equal for alerts that measure the same.

    ``inner``: a fault that began here. ``blind``: it says that nothing is seen of the service.
    """

    name: str
    family: str
    inner: bool = False
    blind: bool = False

    def __repr__(self) -> str:
        return f"Kind({self.name!r}, {self.family!r})"


def number(value: object) -> float | None:
    """A finite number, given as one or as text; None for anything else.

    >>> number("-2.5"), number("high"), number(True)
    (-2.5, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def direction(labels: Mapping[str, object]) -> str:
    """The direction that the source states: ``up``, ``down`` or '', from ``direction`` or the sign of ``z``."""
    stated = labels.get("direction")
    if stated in ("up", "down"):
        return str(stated)
    z = number(labels.get("z")) or 0.0
    return "up" if z > 0 else "down" if z < 0 else ""


class Kinds:
    """The table. ``rows`` are (kind, regular expression over the words) and come first; ValueError if one is bad.

    Answers are remembered for a bounded number of names, then forgotten together.
    """

    def __init__(self, rows: Iterable[tuple[str, str]] = ()) -> None:
        own = []
        for name, pattern in rows:
            if name not in NAMES:
                raise ValueError(f"kind is {name!r}; allowed: {', '.join(NAMES)}")
            try:
                own.append((name, re.compile(pattern)))
            except re.error as error:
                raise ValueError(f"pattern of kind {name!r} is {pattern!r}: {error}") from None
        self._own = own
        self._rows = [(name, re.compile(pattern)) for name, pattern in _ROWS]
        self._known: dict[tuple[str, str], Kind] = {}

    def of(self, name: str, direction: str = "") -> Kind:
        """The kind of an alert called ``name``; ``direction`` is up, down or '' for what the name says."""
        known = self._known.get((name, direction))
        if known is None:
            if len(self._known) >= _MOST_NAMES:
                self._known.clear()
            known = self._known[name, direction] = self._decide(_words(name), direction)
        return known

    def _decide(self, words: str, direction: str) -> Kind:
        family = re.sub(r"\b(mem(ory)?|cpu|disk|heap)\b \w+( up| down)?", r"\1", re.sub(r"\bp\d\d+\b", "p", words))
        blind = bool(_BLIND.search(words))
        for name, pattern in self._own:
            if pattern.search(words):
                return Kind(name, family, name == "fault", blind)
        down = direction == "down" or (not direction and not _UP.search(words) and bool(_DOWN.search(words)))
        up = direction == "up" or (not direction and bool(_UP.search(words)))
        name = next((name for name, pattern in self._rows if pattern.search(words)), "other")
        if name in _TURN:
            name = _TURN[name][down] if name == "flow" else _TURN[name][not up]
        elif name in _ONE_WAY and down:
            name = "harmless"
        return Kind(name, family, name == "fault" and bool(_INNER.search(words)), blind)


def _words(name: str) -> str:
    return re.sub(r"[_\-/.:]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).lower()
