"""``correlator maintenance``: windows and silences, from the command line."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import orjson
from rich.console import Console

from correlator.cli_inputs import DURATION, PATH, config_option
from correlator.config import Settings, load_settings
from correlator.covers import covers_of
from correlator.dialects.fingerprint import digest
from correlator.dialects.times import epoch_of
from correlator.engine import maintenance as engine
from correlator.engine.words import iso
from correlator.errors import ControlError
from correlator.tables import Row, show

__all__ = ["maintenance"]

_format = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
_HOUR: Final = 3_600.0
_COLUMNS: Final = ("state", "from", "to", "id", "covers", "reason", "author")


class _Moment(click.ParamType):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        time = epoch_of(value)
        if time is None:
            self.fail(f"{value!r} is no time such as 2026-01-31T02:00:00Z", param, ctx)
        return time


@click.group()
def maintenance() -> None:
    """List, open and end maintenance windows; preview those of calendars."""


@maintenance.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="Those that are over and not yet forgotten, too.")
@_format
def list_(config: Path | None, everything: bool, form: str) -> None:
    """List the windows that are open or to come, as of the last checkpoint."""
    from correlator.stream.windows import saved_windows

    settings = load_settings(config, os.environ)
    found = asyncio.run(saved_windows(settings)).values()
    now = time.time()
    _show([window for window in found if everything or not engine.over(window, now)], form, now)


@maintenance.command()
@config_option
@click.argument("covers", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why.")
@click.option("--author", help="Who asked for it; none: the user of this shell.")
@click.option("--start", type=_Moment(), help="Begin: RFC 3339 or epoch seconds; none: now.")
@click.option("--end", type=_Moment(), help="End, likewise; or use --for.")
@click.option("--for", "lasts", type=DURATION, help="How long, such as 90m; none and no --end: one hour.")
@click.option("--id", "id", help="Names the window, and replaces one of that name; none: made from the rest.")
def add(
    config: Path | None,
    covers: tuple[str, ...],
    reason: str,
    author: str | None,
    start: float | None,
    end: float | None,
    lasts: float | None,
    id: str | None,
) -> None:
    """Open a window for what COVERS says, now or later; its id goes to stdout.

    COVERS is subtree=SERVICE (the service and all that suffers when it fails), or matchers as Alertmanager has them.

    \b
    correlator maintenance add subtree=ledger-db --for 2h --reason "upgrade to 17"
    correlator maintenance add 'service=~web-.*' env=test --start 2026-01-31T02:00:00Z --reason drill
    """
    from correlator.stream.controls import send

    settings = load_settings(config, os.environ)
    if end is not None and lasts is not None:
        raise click.UsageError("--end and --for say the same: give one of them")
    starts_at = time.time() if start is None else start
    ends_at = starts_at + (_HOUR if lasts is None else lasts) if end is None else end
    window = {"type": "maintenance", **covers_of(" ".join(covers)), "starts_at": starts_at, "ends_at": ends_at}
    window |= {"author": author or getpass.getuser(), "reason": reason}
    window["id"] = id or f"m-{digest(orjson.dumps(window))}"
    asyncio.run(send(settings, window))
    click.echo(window["id"])


@maintenance.command()
@config_option
@click.argument("id")
@click.option("--author", help="Who ends it; none: the user of this shell.")
def end(config: Path | None, id: str, author: str | None) -> None:
    """End the window ID now: what still fires comes out, and pages if it is worth a page."""
    from correlator.stream.controls import send

    settings = load_settings(config, os.environ)
    control = {"type": "maintenance_end", "id": id, "author": author or getpass.getuser()}
    asyncio.run(send(settings, control))
    click.echo(f"sent to {settings.topics.controls}", err=True)


@maintenance.command()
@config_option
@click.argument("paths", nargs=-1, type=PATH, metavar="FILE...")
@click.option("--from", "start", type=_Moment(), help="Begin of the span: RFC 3339 or epoch seconds; none: now.")
@_format
def preview(config: Path | None, paths: tuple[Path, ...], start: float | None, form: str) -> None:
    """Show the windows that calendars hold within maintenance.horizon, without a broker.

    FILE is an iCalendar file or a folder of them; none: maintenance.calendars. Exit code 1 where one has a problem.
    """
    from correlator import calendars

    settings = load_settings(config, os.environ)
    calendars.require()
    begin = time.time() if start is None else start
    windows, problems, ignored = _expanded(settings, paths or settings.maintenance.calendars, begin)
    _show(windows, form, begin)
    for line in problems:
        click.echo(f"correlator: {line}", err=True)
    click.echo(f"{len(windows)} windows, {ignored} events that cover nothing", err=True)
    if problems:
        sys.exit(1)


def _expanded(settings: Settings, paths: Iterable[Path], begin: float) -> tuple[list[dict[str, Any]], list[str], int]:
    from correlator import calendars

    about = settings.maintenance
    windows: list[dict[str, Any]] = []
    problems: list[str] = []
    ignored = 0
    for path in calendars.files(tuple(paths)):
        found = calendars.expand(path, begin, begin + about.horizon, about.zone)
        windows += found.windows.values()
        problems += found.problems
        ignored += found.ignored
    return windows, problems, ignored


def _show(windows: Iterable[Mapping[str, Any]], form: str, now: float) -> None:
    found = sorted(windows, key=lambda w: (w["starts_at"], w["id"]))
    if form == "json":
        for window in found:
            click.echo(orjson.dumps(window))
        return
    show(_COLUMNS, [_row(window, now) for window in found], Console(), whole=("state", "from", "to", "id"))


def _row(window: Mapping[str, Any], now: float) -> Row:
    try:
        covers = str(engine.read(window))
    except ControlError as error:
        covers = f"nothing: {error}"
    state = "over" if window["ends_at"] <= now else "open" if window["starts_at"] <= now else "to come"
    begin, end = (f"{iso(window[name])[:16]}Z" for name in ("starts_at", "ends_at"))
    return Row((state, begin, end, window["id"], covers, window.get("reason", ""), window.get("author", "")))
