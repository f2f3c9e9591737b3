"""Our pages joined with those that were sent: what would have been the same, avoided, earlier, later, or missed.

A page that was sent is about alerts: those with its fingerprints or dedup key, else those of its service. It is matched
with a page of an incident that held one of them: the nearest one within the window, else, unless ``strict``, the last
one before it of an incident that had not ended. Where there is none it was MISSED. Of the pages that were sent and
match one of ours, the first one is the same, or ours came earlier or later; the others would have been avoided.

>>> from correlator.backtest.ours import About, Life, Ours, Page
>>> from correlator.backtest.paged import Paged
>>> life = Life("x", "Down on db", "db", "data", float("inf"), (Page(60.0, "x", 1, "data"),))
>>> held = {name: [About("x", 0.0, float("inf"), name)] for name in ("db", "web")}
>>> sent = [Paged(t, "", n, n, "", (), (n,)) for t, n in ((30.0, "db"), (90.0, "web"), (95.0, "mail"))]
>>> [(one.outcome, one.paged.id) for one in judged(sent, Ours({"x": life}, {}, held, frozenset()))]
[('same', 'db'), ('avoided', 'web'), ('missed', 'mail')]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from correlator.backtest.ours import About, Ours, Page
from correlator.backtest.paged import Paged
from correlator.backtest.words import later

__all__ = ["OUTCOMES", "Judged", "Team", "judged", "teams"]

#: What became of a page, most important first.
OUTCOMES: Final[dict[str, str]] = {
    "missed": "it was sent, and nothing of ours about it would have paged in the window",
    "later": "ours would have come later, by more than the tolerance",
    "ours-only": "ours; no page that was sent is covered by it",
    "earlier": "ours would have come earlier, by more than the tolerance",
    "same": "ours would have come at the same time, within the tolerance",
    "avoided": "one page of ours covers it and one that was sent before it",
}


@dataclass(frozen=True)
class Judged:
    """One page that was sent, or would have been. ``delay`` is by how many seconds ours comes later."""

    outcome: str
    team: str
    paged: Paged | None
    page: Page | None
    delay: float | None
    why: str

    @property
    def at(self) -> float:
        """When it was sent, or would have been."""
        if self.paged is not None:
            return self.paged.at
        assert self.page is not None
        return self.page.at

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "outcome": self.outcome,
            "team": self.team,
            "paged": None if self.paged is None else self.paged.plain(),
            "ours": None if self.page is None else self.page.plain(),
            "later_seconds": self.delay,
            "why": self.why,
        }


def judged(
    sent: Iterable[Paged],
    ours: Ours,
    *,
    window: float = 900.0,
    tolerance: float = 60.0,
    strict: bool = False,
    place: Callable[[str], str | None] = lambda name: name,
    team_of: Callable[[str], str | None] = lambda service: None,
) -> list[Judged]:
    """Every page that was sent and every one of ours once, by time.

    ``window`` and ``tolerance`` are seconds. ``place`` gives our name of a pager's service, None when there is none;
    ``team_of`` the team of a service of ours. O(pages x alerts of a service).
    """
    groups: defaultdict[Page, list[tuple[Paged, str]]] = defaultdict(list)
    found: list[Judged] = []
    for paged in sorted(sent):
        abouts = _abouts(paged, ours, window, place)
        services = [about.service for about in abouts] or [place(name) or name for name in paged.services]
        team = next(filter(None, map(team_of, services)), None) or paged.team or _incident_team(abouts, ours)
        page = _match(paged, abouts, ours, window, strict)
        if page is None:
            found.append(Judged("missed", team, paged, None, None, _why(paged, abouts, ours, window)))
        else:
            groups[page].append((paged, team))
    for page, group in groups.items():
        found += _same_page(page, group, tolerance)
    found += [Judged("ours-only", page.team, None, page, None, "") for page in ours.pages() if page not in groups]
    return sorted(found, key=lambda one: (one.at, list(OUTCOMES).index(one.outcome), one.paged or (), one.page or ()))


def _abouts(paged: Paged, ours: Ours, window: float, place: Callable[[str], str | None]) -> list[About]:
    """The alerts that the page is about, as far as they were there at its time."""
    near = [about for key in paged.fingerprints for about in ours.by_fingerprint.get(key, ())]
    near = [about for about in near if about.since - window <= paged.at <= about.until + window]
    if near:
        return near
    found = [about for name in paged.services for about in ours.by_service.get(place(name) or name, ())]
    return [about for about in found if about.since - window <= paged.at <= about.until + window]


def _match(paged: Paged, abouts: Sequence[About], ours: Ours, window: float, strict: bool) -> Page | None:
    lives = [ours.lives[key] for key in sorted({about.incident for about in abouts})]
    pages = [page for life in lives for page in life.pages]
    near = [page for page in pages if abs(page.at - paged.at) <= window]
    if near:
        return min(near, key=lambda page: (abs(page.at - paged.at), page))
    if strict:
        return None
    going = [page for life in lives if paged.at <= life.until + window for page in life.pages if page.at <= paged.at]
    return max(going, default=None)


def _why(paged: Paged, abouts: Sequence[About], ours: Ours, window: float) -> str:
    """Why nothing of ours paged about it."""
    if not abouts:
        about = ", ".join(paged.services[:3]) or paged.title
        return f"no alert of ours is about {about} at that time"
    life = ours.lives[abouts[0].incident]
    alert = f"the alert on {abouts[0].service}"
    said = f"{alert} is part of incident {life.id}, {life.title}"
    if not life.pages:
        return f"{said}, which did not page"
    nearest = min(life.pages, key=lambda page: abs(page.at - paged.at))
    return f"{said}, which paged {later(nearest.at - paged.at)}"


def _incident_team(abouts: Sequence[About], ours: Ours) -> str:
    return next((team for about in abouts if (team := ours.lives[about.incident].team)), "")


def _same_page(page: Page, group: Sequence[tuple[Paged, str]], tolerance: float) -> list[Judged]:
    """Of the pages that one of ours covers the first is compared with it, the others are avoided."""
    (first, team), *others = group
    delay = round(page.at - first.at, 3)
    outcome = "same" if abs(delay) <= tolerance else "later" if delay > 0 else "earlier"
    found = [Judged(outcome, team, first, page, delay, "")]
    for paged, other in others:
        found.append(Judged("avoided", other, paged, page, round(page.at - paged.at, 3), ""))
    return found


# -- teams ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Team:
    """Totals of one team, or of all: counts by outcome, and the longest that ours would have been later, in seconds.

    ``ready``: yes when pages were sent and none would have been missed; no when one would; unproven when none was sent,
    or when its alerts paged on their own in our run, so that nothing could be missed.
    """

    name: str
    counts: dict[str, int]
    latest: float
    ready: str

    @property
    def sent(self) -> int:
        """Pages that were sent."""
        return sum(count for outcome, count in self.counts.items() if outcome != "ours-only")

    @property
    def ours(self) -> int:
        """Pages of ours."""
        return sum(self.counts[outcome] for outcome in ("same", "earlier", "later", "ours-only"))

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        about = {"team": self.name, "paged": self.sent, "ours": self.ours, **self.counts}
        return {**about, "latest_seconds": self.latest, "ready": self.ready}


def teams(found: Iterable[Judged], shadow: Iterable[str] = ()) -> list[Team]:
    """Totals per team by name, then of all under the name ``all``. ``shadow`` are teams without suppression."""
    by_team: defaultdict[str, list[Judged]] = defaultdict(list)
    everything = list(found)
    for one in everything:
        by_team[one.team].append(one)
    rows = [_team(name, rows, name in set(shadow)) for name, rows in sorted(by_team.items())]
    return [*rows, _team("all", everything, False)]


def _team(name: str, found: Sequence[Judged], shadow: bool) -> Team:
    counts = dict.fromkeys(OUTCOMES, 0)
    for one in found:
        counts[one.outcome] += 1
    latest = max((one.delay or 0.0 for one in found if one.outcome == "later"), default=0.0)
    sent = len(found) - counts["ours-only"]
    ready = "no" if counts["missed"] else "unproven" if shadow or not sent else "yes"
    return Team(name, counts, latest, ready)
