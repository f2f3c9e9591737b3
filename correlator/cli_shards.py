"""``correlator shards``: what another layout would move, and the move."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from correlator.assemble import load_graph
from correlator.cli_inputs import PATH, config_option
from correlator.config import Settings, load_settings
from correlator.tables import Row, show
from topology import ServiceGraph

__all__ = ["shards"]

_COLUMNS = ("from", "to", "alerts", "firing", "incidents")
_to = click.option("--to", type=PATH, help="Settings file of the layout to move to; none: that of --config.")


@click.group()
def shards() -> None:
    """Say what another shard key, graph or number of partitions would move, and move it."""


@shards.command()
@config_option
@_to
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def plan(config: Path | None, to: Path | None, form: str) -> None:
    """Say what would move if the settings and their graph held: alerts, incidents, topics, and pages that may follow.

    Changes nothing, and may be asked at any time. Exit code 0: nothing to move, 1: something.
    """
    from correlator.stream.plan import planned

    settings, graph = _inputs(config, to)
    found = asyncio.run(planned(settings, graph))
    if form == "json":
        click.echo(orjson.dumps(found))
    else:
        _show(found)
    if found["needed"]:
        sys.exit(1)


@shards.command()
@config_option
@_to
def move(config: Path | None, to: Path | None) -> None:
    """Move alerts and incidents to where the settings and their graph want them; finish a move that was interrupted.

    All workers must be stopped, and the raw topics drained.
    """
    from correlator.stream.move import move as work

    settings, graph = _inputs(config, to)

    async def do() -> None:
        async for line in work(settings, graph):
            click.echo(line, err=True)

    asyncio.run(do())


def _inputs(config: Path | None, to: Path | None) -> tuple[Settings, ServiceGraph]:
    """The settings to move to and their graph. Raises UsageError for those of another installation."""
    settings = load_settings(config, os.environ)
    if to is not None:
        now, settings = settings, load_settings(to, os.environ)
        names = {name: getattr(now.topics, name) for name in ("placed", "incidents", "topology", "raw")}
        if now.worker.application != settings.worker.application or any(
            getattr(settings.topics, name) != value for name, value in names.items()
        ):
            raise click.UsageError("--to is for another installation: worker.application or the topics differ")
    return settings, load_graph(settings).graph_or_raise()


def _show(found: dict[str, Any]) -> None:
    if not found["needed"]:
        click.echo(f"nothing to move: layout {found['layout']['number'] - 1} is in force")
        return
    rows = [
        Row(
            (
                f"{leg['from_shard']} ({leg['from_partition']})",
                f"{leg['to_shard']} ({leg['to_partition']})",
                *(str(leg[name]) for name in _COLUMNS[2:]),
            )
        )
        for leg in found["legs"]
    ]
    if rows:
        show(_COLUMNS, rows, Console(), whole=("from", "to"))
    for line in _lines(found):
        click.echo(line)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for name, (has, wants) in found["topics"].items():
        yield f"{name}: {has} partitions, {wants} wanted: {wants - has} are added, and stay"
    for cut in found["cut"]:
        parts = ", ".join(f"{id} in {shard}" for shard, id in cut["parts"].items())
        yield f"incident {cut['id']} ({cut['root']}) is cut: it stays in {cut['shard']}; the rest is {parts}"
    for gone in found["merged"]:
        yield f"incident {gone['id']} ({gone['root']}) becomes part of {gone['into']}"
    if found["joined"]:
        yield f"{found['joined']} alerts are known in two shards: of each pair the one that fires, or the later, stays"
    for incident in found["pages"]:
        yield f"incident {incident['id']} ({incident['root']}) pages: {incident['reason']}"
    if not found["pages"]:
        yield "no page follows from it"
    if found["due"]:
        yield f"{found['due']} incidents are due to page anyway"
    for line in found["obstacles"]:
        yield f"not now: {line}"
