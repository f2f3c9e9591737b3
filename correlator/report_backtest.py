"""What the backtest commands print for people: differences of two outcomes, and pages joined with those sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from correlator.backtest.difference import Difference
from correlator.backtest.outcome import Incident
from correlator.backtest.shadow import OUTCOMES, Judged, Team
from correlator.backtest.words import later
from correlator.engine.render import iso
from correlator.report import many
from correlator.tables import Row, show

__all__ = ["difference_table", "moment", "shadow_table"]

_COLUMNS: Final = ("change", "root", "severity", "alerts", "pages", "first page", "differs", "incident")
_BAD: Final = ("page-later", "root-changed", "severity-down", "pages-fewer", "members-gone")


def difference_table(found: Sequence[Difference], totals: Mapping[str, Any], console: Console) -> None:
    """Print lost pages, a row per difference with A -> B where they differ, and the totals."""
    lost = [d for d in found if "page-lost" in d.words and d.a is not None]
    for difference in lost:
        assert difference.a is not None
        console.print(Text(_lost(difference.a), style="bold red"), soft_wrap=True)
    rows = [_row(difference) for difference in found if difference.change != "same"]
    show(_COLUMNS, rows, console, right=("alerts",), whole=("change", "incident"))
    console.print("\n".join(_totals(totals)), highlight=False, soft_wrap=True)


def moment(time: float | None) -> str:
    """A time for people, UTC, to the second; a dash for none."""
    return "-" if time is None else iso(time)[:19].replace("T", " ")


def _lost(incident: Incident) -> str:
    paged = f"paged {moment(incident.first_page)}, {many(len(incident.members), 'alert')}"
    return f"PAGE LOST: {incident.title} ({incident.severity}, incident {incident.id}, {paged}): nobody is woken in B"


def _row(found: Difference) -> Row:
    a, b = found.a, found.b
    words = [word for word in found.words if word not in ("page-later", "page-earlier")]
    first = moment(a.first_page if a is not None and a.first_page is not None else b.first_page if b else None)
    timed = f", {later(found.delay)}" if found.delay else ""
    cells = (
        found.change,
        _both(a, b, "root"),
        _both(a, b, "severity"),
        _sides(*(None if side is None else str(len(side.members)) for side in (a, b))),
        _sides(*(None if side is None else str(side.pages) for side in (a, b))),
        f"{first}{timed}",
        ", ".join(words) or "-",
        _both(a, b, "id"),
    )
    style = "bold red" if "page-lost" in found.words else "yellow" if set(_BAD) & set(found.words) else ""
    return Row(cells, style)


def _both(a: Incident | None, b: Incident | None, field: str) -> str:
    return _sides(*(None if side is None else str(getattr(side, field)) for side in (a, b)))


def _sides(a: str | None, b: str | None) -> str:
    return (a or "-") if a == b else f"{a or '-'} -> {b or '-'}"


def _totals(totals: Mapping[str, Any]) -> Iterable[str]:
    sides = (
        f"{name}: {many(totals[key]['incidents'], 'incident')}, {many(totals[key]['pages'], 'page')}"
        for name, key in (("A", "a"), ("B", "b"))
    )
    yield "; ".join(sides)
    incidents = ", ".join(f"{count} {change}" for change, count in totals["incidents"].items() if count)
    members = ", ".join(f"{count} {what}" for what, count in totals["members"].items())
    yield f"incidents: {incidents or 'none'}; alerts: {members}"
    words = ", ".join(f"{word} {count}" for word, count in totals["words"].items())
    if words:
        yield f"differences: {words}"


# -- pages that were sent -------------------------------------------------------------------------------------

_PAGES: Final = ("outcome", "team", "paged", "service", "title", "ours", "for", "incident", "why")
_TEAMS: Final = (
    "team",
    "paged",
    "same",
    "earlier",
    "later",
    "avoided",
    "missed",
    "ours",
    "ours-only",
    "latest",
    "ready",
)
_STYLES: Final = {"missed": "bold red", "later": "yellow"}
_READY: Final = {"no": "bold red", "yes": "green", "unproven": "yellow"}


def shadow_table(found: Sequence[Judged], totals: Sequence[Team], console: Console) -> None:
    """Print the pages, missed ones in capitals, then the totals per team and what they mean."""
    ranked = sorted(found, key=lambda one: list(OUTCOMES).index(one.outcome))
    show(_PAGES, [_judged(one) for one in ranked], console, whole=("outcome",))
    if found and not console.is_terminal:
        console.print()
    rows = [Row(_totalled(team), styles={len(_TEAMS) - 1: _READY[team.ready]}) for team in totals]
    show(_TEAMS, rows, console, right=_TEAMS[1:-1])
    if not console.is_terminal:
        console.print()
    console.print("\n".join(_meaning(totals)), highlight=False, soft_wrap=True)


def _judged(one: Judged) -> Row:
    sent, page = one.paged, one.page
    ours = "-" if page is None else moment(page.at) + (f", {later(one.delay)}" if one.delay else "")
    cells = (
        one.outcome.upper() if one.outcome == "missed" else one.outcome,
        one.team or "-",
        "-" if sent is None else moment(sent.at),
        "-" if sent is None else ", ".join(sent.services[:3]) or "-",
        "-" if sent is None else sent.title[:60] or "-",
        ours,
        "-" if page is None else page.team or "-",
        "-" if page is None else page.incident,
        one.why or "-",
    )
    return Row(cells, _STYLES.get(one.outcome, ""))


def _totalled(team: Team) -> tuple[str, ...]:
    counts = team.counts
    latest = later(team.latest) if team.latest else "-"
    before = (team.name or "-", team.sent, counts["same"], counts["earlier"], counts["later"], counts["avoided"])
    return tuple(map(str, (*before, counts["missed"], team.ours, counts["ours-only"], latest, team.ready)))


def _meaning(totals: Sequence[Team]) -> Iterable[str]:
    everything = totals[-1]
    avoided, missed = everything.counts["avoided"], everything.counts["missed"]
    yield f"{many(everything.sent, 'page')} sent; {everything.ours} of ours, {avoided} avoided, {missed} MISSED"
    for ready, text in (
        ("yes", "ready, nothing was missed"),
        ("no", "not ready, pages were missed"),
        ("unproven", "unproven, nothing to go by"),
    ):
        names = [team.name or "(no team)" for team in totals[:-1] if team.ready == ready]
        if names:
            yield f"{text}: {', '.join(names)}"
