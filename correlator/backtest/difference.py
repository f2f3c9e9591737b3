"""What differs between two outcomes A and B of the same alerts, incident by incident.

Incidents correspond by the members they share. Pairs are taken greedily, most shared members first; ties go to the
pair with the same id, then with the same root, then to the smaller pair of ids, so the answer is deterministic, and
the same with A and B swapped but for the words. Incidents whose alerts have all moved on in the end correspond, after
the others, by the alerts that they once held. An incident without a counterpart was merged (its alerts are elsewhere
in B), split off (they come from elsewhere in A), vanished or appeared.

Every member of either side is accounted for once: kept in a pair, moved to an incident that is not the counterpart of
its own, gone (in A only) or new (in B only).

Example: A has one incident of three alerts, B has two.

>>> from correlator.backtest.outcome import Incident, Member, Outcome
>>> def incident(id, *names):
...     held = frozenset(Member(name, 0) for name in names)
...     return Incident(id, id, "open", "fault", names[0], "critical", 1.0, "", 0.0, 1, 60.0, True, held, held)
>>> def outcome(*found):
...     return Outcome({i.id: i for i in found}, True, 0)
>>> a, b = outcome(incident("x", "db", "api", "web")), outcome(incident("x", "db", "api"), incident("y", "web"))
>>> for found in differences(a, b):
...     print(found.change, found.b.id, found.words)
changed x ('members-moved',)
split y ()
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from correlator.backtest.outcome import Incident, Member, Outcome
from correlator.backtest.words import CHANGES, WORDS, counted
from correlator.engine.render import iso
from correlator.model import severity_rank

__all__ = ["Difference", "differences", "summary"]

_IMPORTANCE: Final = {word: number for number, word in enumerate(WORDS)}
_UNMATCHED: Final = ("vanished", "merged", "split", "appeared", "changed", "same")


@dataclass(frozen=True)
class Difference:
    """What became of one incident. Of ``merged``, ``b`` is where it went; of ``split``, ``a`` is where it came from.

    ``delay`` is by how many seconds its first page is later in B, negative when earlier. ``kept`` members are in both;
    ``moved`` counts members of A by their incident of B, ``came`` those of B by their incident of A.
    """

    change: str
    words: tuple[str, ...]
    a: Incident | None
    b: Incident | None
    delay: float | None = None
    kept: int = 0
    moved: Mapping[str, int] = field(default_factory=dict)
    came: Mapping[str, int] = field(default_factory=dict)
    gone: int = 0
    new: int = 0

    @property
    def all_words(self) -> tuple[str, ...]:
        """What a rule may ask for: what differs, and what became of the incident."""
        return self.words if self.change in ("same", "changed") else (self.change, *self.words)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "change": self.change,
            "words": list(self.words),
            "a": _dated(self.a),
            "b": _dated(self.b),
            "page_later_seconds": self.delay,
            "members": {
                "kept": self.kept,
                "moved": dict(self.moved),
                "came": dict(self.came),
                "gone": self.gone,
                "new": self.new,
            },
        }


def _dated(incident: Incident | None) -> dict[str, Any] | None:
    if incident is None:
        return None
    first = incident.first_page
    dated = {"opened": iso(incident.opened), "first_page": None if first is None else iso(first)}
    return {**incident.plain(), **dated}


class _Side:
    """One outcome with its members by incident, and the incidents by members."""

    def __init__(self, outcome: Outcome) -> None:
        self.incidents = outcome.incidents
        self.home = outcome.members()
        self._ever: defaultdict[Member, list[Incident]] = defaultdict(list)
        for incident in outcome.incidents.values():
            if incident.first_page is not None:
                for member in incident.ever:
                    self._ever[member].append(incident)

    def paged_about(self, members: Iterable[Member]) -> float | None:
        """When the first incident that ever held one of these members paged; None when none did."""
        firsts = [i.first_page for m in members for i in self._ever.get(m, ()) if i.first_page is not None]
        return min(firsts, default=None)


def differences(a: Outcome, b: Outcome) -> list[Difference]:
    """Every incident of both sides, those with the most important differences first. O(members log members).

    Raises ValueError where only one of the sides has its members from receipts: they would not be the same members.
    """
    if a.exact != b.exact:
        raise ValueError("members from receipts on one side only")
    left, right = _Side(a), _Side(b)
    pairs = _pairs(left, right)
    back = {there: here for here, there in pairs.items()}
    found = [_paired(left, right, left.incidents[x], right.incidents[y]) for x, y in pairs.items()]
    for incident in left.incidents.values():
        if incident.id not in pairs:
            found.append(_left_over(incident, left, right))
    for incident in right.incidents.values():
        if incident.id not in back:
            found.append(_mirrored(_left_over(incident, right, left)))
    return sorted(found, key=_order)


def _order(difference: Difference) -> tuple[Any, ...]:
    worst = min((_IMPORTANCE[word] for word in difference.words), default=len(_IMPORTANCE))
    one = difference.a or difference.b
    assert one is not None
    other = difference.b or one
    return worst, _UNMATCHED.index(difference.change), one.opened, one.id, other.id


# -- correspondence -------------------------------------------------------------------------------------------


def _pairs(left: _Side, right: _Side) -> dict[str, str]:
    """Which incident of A corresponds to which of B."""
    shared = Counter((key, right.home[m]) for m, key in left.home.items() if m in right.home)
    pairs = _greedy(shared, left, right, {}, set())
    once: Counter[tuple[str, str]] = Counter()
    holders: defaultdict[Member, list[str]] = defaultdict(list)
    taken = set(pairs.values())
    for key, incident in right.incidents.items():
        if key not in taken:
            for member in incident.ever:
                holders[member].append(key)
    for key, incident in left.incidents.items():
        if key not in pairs:
            once.update((key, other) for m in incident.ever for other in holders.get(m, ()))
    emptied = {p: n for p, n in once.items() if not (left.incidents[p[0]].members and right.incidents[p[1]].members)}
    return _greedy(emptied, left, right, pairs, taken)


def _greedy(
    shared: Mapping[tuple[str, str], int], left: _Side, right: _Side, pairs: dict[str, str], taken: set[str]
) -> dict[str, str]:
    def rank(pair: tuple[str, str]) -> tuple[Any, ...]:
        x, y = left.incidents[pair[0]], right.incidents[pair[1]]
        return -shared[pair], x.id != y.id, x.root != y.root, sorted((x.id, y.id))

    for x, y in sorted(shared, key=rank):
        if x not in pairs and y not in taken:
            pairs[x] = y
            taken.add(y)
    return pairs


# -- what differs ---------------------------------------------------------------------------------------------


def _paired(left: _Side, right: _Side, a: Incident, b: Incident) -> Difference:
    words: set[str] = set()
    kept = len(a.members & b.members)
    moved, gone = _elsewhere(a.members - b.members, right)
    came, new = _elsewhere(b.members - a.members, left)
    for word, holds in (
        ("root-changed", a.root != b.root),
        ("team-changed", a.team != b.team),
        ("state-changed", a.state != b.state),
        ("wanted-changed", a.wanted != b.wanted),
        ("severity-up", severity_rank(b.severity) > severity_rank(a.severity)),
        ("severity-down", severity_rank(b.severity) < severity_rank(a.severity)),
        ("confidence-up", b.confidence > a.confidence),
        ("confidence-down", b.confidence < a.confidence),
        ("members-moved", bool(moved or came)),
        ("members-gone", gone > 0),
        ("members-new", new > 0),
    ):
        if holds:
            words.add(word)
    page, delay = _page(a, b, left, right)
    words |= page
    change = "changed" if words else "same"
    return Difference(change, _sorted(words), a, b, delay, kept, moved, came, gone, new)


def _page(a: Incident, b: Incident, left: _Side, right: _Side) -> tuple[set[str], float | None]:
    """What differs about the pages of a pair, and by how much the first one is later in B."""
    words = set()
    first, then = a.first_page, b.first_page
    if first is not None and then is not None:
        if b.pages != a.pages:
            words.add("pages-more" if b.pages > a.pages else "pages-fewer")
    elif first is not None:
        then = right.paged_about(a.ever)
        words.add("page-lost" if then is None else "page-moved")
    elif then is not None:
        first = left.paged_about(b.ever)
        words.add("page-gained" if first is None else "page-moved")
    return _timed(words, first, then)


def _timed(words: set[str], first: float | None, then: float | None) -> tuple[set[str], float | None]:
    delay = None if first is None or then is None else round(then - first, 3)
    if delay:
        words.add("page-later" if delay > 0 else "page-earlier")
    return words, delay


def _left_over(incident: Incident, here: _Side, there: _Side) -> Difference:
    """An incident without a counterpart, seen from its own side as A."""
    elsewhere, gone = _elsewhere(incident.members, there)
    into = min(elsewhere, key=lambda key: (-elsewhere[key], key), default=None)
    heir = None if into is None else there.incidents[into]
    words: set[str] = set()
    delay = None
    if incident.first_page is not None:
        then = heir.first_page if heir is not None else None
        then = there.paged_about(incident.ever) if then is None else then
        if then is None:
            words.add("page-lost")
        words, delay = _timed(words, incident.first_page, then)
    change = "vanished" if heir is None else "merged"
    return Difference(change, _sorted(words), incident, heir, delay, 0, elsewhere, {}, gone, 0)


def _mirrored(found: Difference) -> Difference:
    """The same with A and B swapped."""
    return Difference(
        CHANGES[found.change][1],
        _sorted(WORDS[word][1] for word in found.words),
        found.b,
        found.a,
        None if found.delay is None else 0.0 - found.delay,  # no -0.0 in JSON
        found.kept,
        found.came,
        found.moved,
        found.new,
        found.gone,
    )


def _elsewhere(members: Iterable[Member], side: _Side) -> tuple[dict[str, int], int]:
    """How many of the members are in which incident of a side, and how many in none."""
    count = Counter(side.home.get(member, "") for member in members)
    gone = count.pop("", 0)
    return dict(sorted(count.items())), gone


def _sorted(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(words, key=_IMPORTANCE.__getitem__))


# -- totals ---------------------------------------------------------------------------------------------------


def summary(a: Outcome, b: Outcome, found: Iterable[Difference]) -> dict[str, Any]:
    """Totals: both sides, incidents by what became of them, how often each word occurs, and every member once."""
    found = list(found)
    changes = Counter(difference.change for difference in found)
    return {
        "a": {"incidents": len(a.incidents), "pages": a.pages},
        "b": {"incidents": len(b.incidents), "pages": b.pages},
        "incidents": {change: changes[change] for change in CHANGES},
        "words": counted(difference.words for difference in found),
        "members": {
            "kept": sum(d.kept for d in found),
            "moved": sum(sum(d.moved.values()) for d in found),
            "gone": sum(d.gone for d in found),
            "new": sum(d.new for d in found),
        },
        "exact": a.exact,
    }
