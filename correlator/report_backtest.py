"""What the backtest commands print for people: differences of two outcomes, lost pages first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from correlator.backtest.difference import Difference
from correlator.backtest.outcome import Incident
from correlator.backtest.words import later
from correlator.engine.render import iso
from correlator.report import many
from correlator.tables import Row, show

__all__ = ["difference_table", "moment"]

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
