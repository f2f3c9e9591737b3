"""The commands that work on files and need no broker: replay, explain, check."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import click
import orjson
from rich.console import Console

from correlator import check as checks
from correlator.assemble import load_graph
from correlator.backtest.words import Rule
from correlator.cli_backtest import compare_replays, fail_on_option
from correlator.cli_inputs import PATH, Complaints, graph_options, inputs_of, replay_options, settings_of
from correlator.cli_replays import replayed, values
from correlator.config import Settings
from correlator.engine.likeness import Part
from correlator.engine.partition import Output
from correlator.errors import CorrelatorError, SettingsError
from correlator.explain import Query, answer, parse
from correlator.recordings import FileError
from correlator.replay import final
from correlator.report import explanation, incident_table, many, summary
from correlator.report_history import learned

__all__ = ["OFFLINE"]


# -- replay ---------------------------------------------------------------------------------------------------


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@replay_options
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--revisions", is_flag=True, help="Every published revision and not only the last one.")
@click.option("--decisions", type=PATH, help="Write the receipts to this file, one per line.")
@click.option("--compare", type=PATH, metavar="CONFIG_B", help="Say what other settings (TOML) would change.")
@click.option("--compare-topology", multiple=True, type=PATH, help="Say what another service graph would change.")
@fail_on_option(Rule.of_difference)
def replay(
    files: tuple[Path, ...],
    form: str,
    revisions: bool,
    decisions: Path | None,
    compare: Path | None,
    compare_topology: tuple[Path, ...],
    fail_on: list[Rule],
    **options: Any,
) -> None:
    """Correlate alerts from files, on the files' own time and without a broker.

    Files hold one alert per line, an array, or one body of any dialect; gzip or not. An alert arrives at its `ts` or
    `received_at`, else when it starts. Lines that cannot be read are reported and counted.
    """
    inputs = inputs_of(**options)
    if compare is not None or compare_topology:
        if revisions or decisions:
            raise click.UsageError("--compare prints differences only: no --revisions, no --decisions")
        compare_replays(files, inputs, compare, compare_topology, options, form, fail_on)
        return
    if fail_on:
        raise click.UsageError("--fail-on needs --compare or --compare-topology")
    unread = Complaints()
    with ExitStack() as stack:
        receipts = stack.enter_context(_created(decisions)) if decisions else None
        run, outputs = replayed(files, inputs, unread)
        if receipts is not None:
            outputs = _kept(outputs, receipts)
        if revisions:
            shown = [incident for output in outputs for _, incident in output.incidents if incident is not None]
        else:
            shown = list(final(outputs).values())
    unread.close()
    if form == "json":
        lines = (orjson.dumps(incident, option=orjson.OPT_APPEND_NEWLINE) for incident in shown)
        click.echo(b"".join(lines), nl=False)
        return
    incident_table(shown, Console())
    last = list({incident["id"]: incident for incident in shown}.values())
    before = 0 if inputs.placed else unread.count - unread.decided  # rejected before the engine saw them
    click.echo(summary(run.alerts + before, before + unread.decided, last))


def _created(path: Path) -> IO[bytes]:
    try:
        return path.open("wb")
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error


def _kept(outputs: Iterable[Output], receipts: IO[bytes]) -> Iterator[Output]:
    for output in outputs:
        for found in output.decisions.values():
            receipts.writelines(orjson.dumps(receipt, option=orjson.OPT_APPEND_NEWLINE) for receipt in found)
        yield output


# -- explain --------------------------------------------------------------------------------------------------


@click.command()
@click.option("--alert", help="Name of an alert, NAME on SERVICE, or a part of it.")
@click.option("--fingerprint", help="Fingerprint of an alert.")
@click.option("--incident", help="Id of an incident.")
@click.option("--service", help="Name of a service as the graph has it.")
@click.option("--history", metavar="SERVICE", help="Say what was learned about the alerts of a service instead.")
@click.option("--replay", "files", multiple=True, type=PATH, help="Replay these alerts to find out.")
@click.option("--decisions", multiple=True, type=PATH, help="Read receipts, and incidents if there are any, from here.")
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, help="Most alerts to explain.")
@replay_options
def explain(
    history: str | None, files: tuple[Path, ...], decisions: tuple[Path, ...], limit: int, **options: Any
) -> None:
    """Say why an alert paged or did not: verdict, root, path, rule, and what would have made it page.

    Answers from a replay, from dumped receipts, or, with neither, from the topics of the broker in the settings.
    """
    asked = {kind: options.pop(kind) for kind in ("alert", "fingerprint", "incident", "service")}
    queries = [Query(kind, text) for kind, text in asked.items() if text]  # type: ignore[arg-type]
    if len(queries) + (history is not None) != 1:
        raise click.UsageError("ask for one of --alert, --fingerprint, --incident, --service, --history")
    if files and decisions:
        raise click.UsageError("give --replay FILE or --decisions FILE, not both; with neither the broker is asked")
    unread = Complaints()
    if history is not None:
        if decisions:
            raise click.UsageError("--history is in no receipt: give --replay FILE, or nothing to ask the broker")
        click.echo(learned(history, _learned(history, files, unread, **options)))
        return
    receipts: list[Any] = []
    if files:
        _, outputs = replayed(files, inputs_of(**options), unread)
        incidents = final(_gathered(outputs, receipts))
    elif decisions:
        receipts, incidents = parse(value for path in decisions for value in values(path, unread))
    else:
        receipts, incidents = parse(asyncio.run(_published(settings_of(options["config"], None, None))))
    unread.close()
    found = answer(queries[0], receipts, incidents, limit=limit)
    if not found:
        raise CorrelatorError(f"no receipt is about {queries[0].kind} {queries[0].text!r}")
    click.echo(explanation(found))


def _learned(
    service: str, files: tuple[Path, ...], unread: Complaints, **options: Any
) -> dict[str, tuple[list[Any], Part]]:
    """What each shard knows about the alerts of a service, from a replay or from the saved state."""
    if not files:
        from correlator.stream.learned import history

        return asyncio.run(history(settings_of(options["config"], None, None), service))
    run, outputs = replayed(files, inputs_of(**options), unread)
    for _ in outputs:
        pass
    unread.close()
    return run.history(service)


async def _published(settings: Settings) -> list[Any]:
    """What the topics of decisions and incidents hold now."""
    from correlator.stream.rejected import dump

    topics = (settings.topics.decisions, settings.topics.incidents)
    return [row for topic in topics async for row in dump(settings, topic)]


def _gathered(outputs: Iterable[Output], receipts: list[Any]) -> Iterator[Output]:
    for output in outputs:
        for found in output.decisions.values():
            receipts += found
        yield output


# -- check ----------------------------------------------------------------------------------------------------


@click.command()
@graph_options
@click.option("--print", "show", is_flag=True, help="Write the effective settings as TOML; secrets are masked.")
def check(
    config: Path | None, topology: tuple[Path, ...], topology_format: str | None, direction: str | None, show: bool
) -> None:
    """Look for problems in settings and topology; exit code 1 where one of them is an error."""
    findings: list[checks.Finding] = []
    try:
        settings = settings_of(config, topology_format, direction)
    except SettingsError as error:
        findings += (checks.Finding("error", str(config or "environment"), problem) for problem in error.problems)
        settings = Settings()
    findings += checks.check_settings(settings)
    findings += checks.check_calendars(settings, time.time())
    if not any(finding.place == "topology.format" for finding in findings):
        loaded = load_graph(settings, topology)
        findings += checks.check_topology(loaded)
        if loaded.graph is not None:
            findings += checks.check_together(settings, loaded.graph)
    for finding in findings:
        click.echo(str(finding), err=show)
    totals = [(sum(f.severity == word for f in findings), word) for word in ("error", "warning", "notice")]
    click.echo(", ".join(many(*total) for total in totals), err=show)
    if show:
        click.echo(settings.to_toml(), nl=False)
    if any(finding.severity == "error" for finding in findings):
        sys.exit(1)


OFFLINE = (replay, explain, check)
