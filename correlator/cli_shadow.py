"""The command that joins what we would have paged with what was paged: shadow-report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from correlator.assemble import reader_for
from correlator.backtest.ours import Ours, Watch
from correlator.backtest.paged import COLUMNS, Paged, Reading, read_csv, read_values
from correlator.backtest.shadow import OUTCOMES, Judged, judged, teams
from correlator.backtest.words import Rule, failures
from correlator.cli_backtest import fail_on_option, say
from correlator.cli_inputs import DURATION, PATH, Complaints, Inputs, inputs_of, replay_options
from correlator.cli_replays import replayed, values
from correlator.engine.rules import ALL_TEAMS
from correlator.errors import FailOnError
from correlator.recordings import FileError, whole
from correlator.report_backtest import shadow_table

__all__ = ["SHADOW"]


def _rule(text: str) -> Rule:
    return Rule.parse(text, OUTCOMES, ("later", "earlier"), ("paged", "ours"))


def _columns(ctx: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        field, equals, header = text.partition("=")
        if not equals or field not in COLUMNS:
            raise click.BadParameter(f"{text!r} is not FIELD=HEADER; fields: {', '.join(COLUMNS)}", ctx, option)
        found[field] = header
    return found


@click.command(name="shadow-report")
@click.option("--paged", multiple=True, required=True, type=PATH, help="What was paged: JSON or CSV; gzip or not.")
@click.option("--history", multiple=True, type=PATH, help="What we would have paged: dumps of incidents and receipts.")
@click.option("--replay", "files", multiple=True, type=PATH, help="The same from a replay of these alerts.")
@click.option("--window", type=DURATION, default="15m", show_default=True, help="Longest time between two that match.")
@click.option("--tolerance", type=DURATION, default="1m", show_default=True, help="Difference that counts as none.")
@click.option("--strict", is_flag=True, help="A page before the window does not count, although its incident goes on.")
@click.option("--team", "only", multiple=True, help="Only pages of this team.")
@click.option("--column", "columns", multiple=True, callback=_columns, metavar="FIELD=HEADER", help="Column of CSV.")
@click.option("--low-urgency", is_flag=True, help="Pages of low urgency count, too.")
@click.option("--all", "everything", is_flag=True, help="In the table, pages that are the same or avoided, too.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@fail_on_option(_rule)
@replay_options
def shadow_report(
    paged: tuple[Path, ...],
    history: tuple[Path, ...],
    files: tuple[Path, ...],
    window: float,
    tolerance: float,
    strict: bool,
    only: tuple[str, ...],
    columns: dict[str, str],
    low_urgency: bool,
    everything: bool,
    form: str,
    fail_on: Sequence[Rule],
    **options: Any,
) -> None:
    """Join what we would have paged with what was paged: same, avoided, earlier, later or missed, per team.

    Ours comes from a replay, in which suppression is enabled for every team, or from the history of an installation.
    What was paged is read from webhook bodies of Alertmanager, incidents or log entries of PagerDuty, or CSV.
    """
    if bool(history) == bool(files):
        raise click.UsageError("give --history FILE or --replay FILE")
    inputs, unread = inputs_of(**options), Complaints()
    ours = _replayed(files, inputs, unread) if files else _recorded(history, unread)
    sent = _sent(paged, inputs, columns, low_urgency, unread)
    unread.close()
    graph = inputs.graph
    found = judged(
        sent,
        ours,
        window=window,
        tolerance=tolerance,
        strict=strict,
        place=graph.place,
        team_of=lambda service: graph.node(service).team if service in graph else None,
    )
    _report([one for one in found if not only or one.team in only], ours, form, everything, fail_on)


def _report(found: Sequence[Judged], ours: Ours, form: str, everything: bool, fail_on: Sequence[Rule]) -> None:
    totals = teams(found, ours.shadow)
    counts = {"paged": totals[-1].sent, "ours": totals[-1].ours}
    failed = failures(fail_on, (([one.outcome], one.delay) for one in found), counts)
    if form == "json":
        summary = {"teams": [team.plain() for team in totals], "failed": failed}
        lines = [*(one.plain() for one in found), {"summary": summary}]
        click.echo(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines), nl=False)
    else:
        shown = [one for one in found if everything or one.outcome not in ("same", "avoided")]
        shadow_table(shown, totals, Console())
    if failed:
        raise FailOnError(failed)


# -- ours -----------------------------------------------------------------------------------------------------


def _replayed(files: tuple[Path, ...], inputs: Inputs, unread: Complaints) -> Ours:
    """Ours with suppression for every team: the question is what it would do."""
    settings = inputs.settings
    engine = settings.engine.model_copy(update={"suppress_teams": (ALL_TEAMS,)})
    enabled = inputs._replace(settings=settings.model_copy(update={"engine": engine}), instead_rules=True)
    watch = Watch()
    _, outputs = replayed(files, enabled, unread)
    for output in outputs:
        for receipts in output.decisions.values():
            for receipt in receipts:
                watch.receipt(receipt)
        for _, incident in output.incidents:
            if incident is not None:
                watch.incident(incident)
    return watch.ours()


def _recorded(paths: Sequence[Path], unread: Complaints) -> Ours:
    watch = Watch()
    for path in paths:
        for number, value in enumerate(values(path, unread), 1):
            if not watch.take(value):
                unread(f"{path}: value {number}: neither an incident nor a receipt")
    return watch.ours()


# -- theirs ---------------------------------------------------------------------------------------------------


def _sent(
    paths: Sequence[Path], inputs: Inputs, columns: dict[str, str], low_urgency: bool, unread: Complaints
) -> list[Paged]:
    readings = [_reading(path, inputs, columns, low_urgency, unread) for path in paths]
    low = sum(reading.low for reading in readings)
    if low:
        say(f"{low} pages of low urgency left out; count them with --low-urgency")
    return [page for reading in readings for page in reading.pages]


def _reading(path: Path, inputs: Inputs, columns: dict[str, str], low_urgency: bool, unread: Complaints) -> Reading:
    text = _csv_text(path)
    if text is None:
        found = ((f"{path}:{number}", value) for number, value in enumerate(values(path, unread), 1))
        return read_values(found, reader_for(inputs.settings, ""), low_urgency=low_urgency, unread=unread)
    try:
        return read_csv(str(path), text, columns, low_urgency=low_urgency, unread=unread)
    except ValueError as error:
        raise FileError(str(error)) from None


def _csv_text(path: Path) -> str | None:
    """The text of a file that is not JSON; None for one that is. Raises :class:`FileError`."""
    text = whole(path).decode("utf-8-sig", errors="replace")
    return None if text.lstrip()[:1] in ("{", "[", "") else text


SHADOW = (shadow_report,)
