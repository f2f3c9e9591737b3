"""The commands that say what would have been: compare, and what replay --compare does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson
from rich.console import Console

from correlator.assemble import load_graph
from correlator.backtest.difference import differences, summary
from correlator.backtest.outcome import Gathering, Outcome
from correlator.backtest.words import Rule, failures
from correlator.cli_inputs import PATH, Complaints, Inputs, settings_of
from correlator.cli_replays import replayed, values
from correlator.engine.partition import Output
from correlator.errors import FailOnError
from correlator.report import many
from correlator.report_backtest import difference_table

__all__ = ["COMPARE", "compare_replays", "fail_on_option", "say"]

_FORM: Final = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)


def fail_on_option(parse: Callable[[str], Rule]) -> Callable[[Any], Any]:
    """The option ``--fail-on``: rules, checked before anything is read."""

    def checked(ctx: click.Context, option: click.Parameter, given: Sequence[str]) -> list[Rule]:
        try:
            return [parse(part.strip()) for text in given for part in text.split(",") if part.strip()]
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, option) from None

    return click.option(
        "--fail-on", multiple=True, callback=checked, help="Rule that makes the exit code 9; repeat, or use commas."
    )


def say(line: str) -> None:
    """One line for people, on stderr."""
    click.echo(f"correlator: {line}", err=True)


# -- outcomes -------------------------------------------------------------------------------------------------


def _gathered(outputs: Iterable[Output]) -> Outcome:
    """The outcome of a replay."""
    gathering = Gathering()
    for output in outputs:
        for receipts in output.decisions.values():
            for receipt in receipts:
                gathering.receipt(receipt)
        for _, incident in output.incidents:
            if incident is not None:
                gathering.incident(incident)
    return gathering.outcome()


def _recorded(paths: Sequence[Path], unread: Complaints) -> Gathering:
    gathering = Gathering()
    for path in paths:
        for number, value in enumerate(values(path, unread), 1):
            if not gathering.take(value):
                unread(f"{path}: value {number}: neither an incident nor a receipt")
    return gathering


# -- differences ----------------------------------------------------------------------------------------------


def _report(a: Outcome, b: Outcome, form: str, fail_on: Sequence[Rule], everything: bool) -> None:
    found = differences(a, b)
    totals = summary(a, b, found)
    counts = {"incidents": len(b.incidents), "pages": b.pages}
    failed = failures(fail_on, ((d.all_words, d.delay) for d in found), counts)
    shown = [d for d in found if everything or d.change != "same"]
    if form == "json":
        lines = [*(d.plain() for d in shown), {"summary": {**totals, "failed": failed}}]
        click.echo(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines), nl=False)
    else:
        difference_table(shown, totals, Console())
    if failed:
        raise FailOnError(failed)


def compare_replays(
    files: tuple[Path, ...],
    inputs: Inputs,
    config: Path | None,
    topology: tuple[Path, ...],
    options: dict[str, Any],
    form: str,
    fail_on: Sequence[Rule],
) -> None:
    """Replay the files twice and say what differs.

    B has the settings ``config``, else those of A, and the graph ``topology``, else the one given for A, else that of
    its own settings. Of a dump of the log, what is not given stays as the log says.
    """
    other = _other(inputs, config, topology, options)
    after = max(inputs.after, other.after)  # as long for both, or the end of the file would make a difference
    outcomes = []
    for side in (inputs, other):
        unread = Complaints()
        _, outputs = replayed(files, side._replace(after=after), unread)
        outcomes.append(_gathered(outputs))
        unread.close()
    _report(outcomes[0], outcomes[1], form, fail_on, False)


def _other(inputs: Inputs, config: Path | None, topology: tuple[Path, ...], options: dict[str, Any]) -> Inputs:
    settings = inputs.settings
    if config is not None:
        settings = settings_of(config, options["topology_format"], options["direction"], options["dialect"])
    graph = inputs.graph
    given = topology or options["topology"]
    if topology or (config is not None and not given):
        graph = load_graph(settings, given).graph_or_raise()
    engine = settings.engine
    after = engine.settle + engine.repage_after if options["after"] is None else options["after"]
    instead_graph = bool(topology or (config is not None and settings.topology.file and not given))
    return Inputs(settings, graph, inputs.given, inputs.placed, after, instead_graph, config is not None)


@click.command()
@click.argument("a", type=PATH, metavar="A")
@click.argument("b", type=PATH, metavar="B")
@click.option("--decisions-a", multiple=True, type=PATH, help="Receipts of A, where A itself has none.")
@click.option("--decisions-b", multiple=True, type=PATH, help="Receipts of B, where B itself has none.")
@_FORM
@click.option("--all", "everything", is_flag=True, help="In JSON, incidents that are the same, too.")
@fail_on_option(Rule.of_difference)
def compare(
    a: Path,
    b: Path,
    decisions_a: tuple[Path, ...],
    decisions_b: tuple[Path, ...],
    form: str,
    everything: bool,
    fail_on: Sequence[Rule],
) -> None:
    """Say what differs between two recorded outcomes, incident by incident.

    A and B hold incidents, one JSON value per line, as `replay --format json` or `dump` write them, and receipts
    where there are any, as `replay --decisions` does. They may come from different versions of the program.
    """
    unread = Complaints()
    sides = [_recorded((path, *more), unread) for path, more in ((a, decisions_a), (b, decisions_b))]
    unread.close()
    listed = not all(side.exact for side in sides)
    outcomes = [side.outcome(listed=listed) for side in sides]
    for path, outcome in zip((a, b), outcomes, strict=True):
        if outcome.cut:
            what = many(outcome.cut, "incident")
            say(f"{path}: {what} with more alerts than are listed; give the receipts of both sides, too")
    _report(outcomes[0], outcomes[1], form, fail_on, everything)


COMPARE = (compare,)
