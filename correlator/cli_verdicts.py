"""``correlator verdict`` and ``correlator sample``: what people say about incidents and hidden alerts, and what to ask
them about."""

from __future__ import annotations

import asyncio
import getpass
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import orjson
from rich.console import Console

from correlator.cli_inputs import PATH, Complaints, config_option
from correlator.cli_replays import values
from correlator.config import Settings, load_settings
from correlator.config_load import seconds
from correlator.dialects.times import epoch_of
from correlator.engine.account import DOES_NOT_ALERT as SILENT
from correlator.engine.trust import SAID
from correlator.engine.words import iso
from correlator.errors import ControlError
from correlator.explain import parse
from correlator.sample import Drawn, draw, hidden
from correlator.tables import Row, show

__all__ = ["VERDICTS"]

_COLUMNS: Final = ("rule", "alert", "fingerprint", "incident", "path", "at")


@click.command()
@config_option
@click.argument("incident")
@click.option("--root", metavar="SERVICE", help="This service is the root: it becomes so at once.")
@click.option("--not-explained", metavar="FINGERPRINT", help="The incident does not explain this alert: it leaves.")
@click.option("--rightly-hidden", metavar="FINGERPRINT", help="The incident rightly hides this alert.")
@click.option(
    "--sampled", is_flag=True, help="Chance chose the alert (correlator sample): it counts for the precision."
)
@click.option("--by", help="Who says so; none: the user of this shell.")
@click.option("--note", help="Why, in a few words.")
def verdict(config: Path | None, incident: str, sampled: bool, by: str | None, note: str | None, **said: Any) -> None:
    """Say what the root of INCIDENT is, or that it does, or does not, explain an alert.

    \b
    correlator verdict 0f3c2a7be1d94c55 --root ledger-db --note "disk was full"
    correlator verdict 0f3c2a7be1d94c55 --not-explained 19e402d017195425
    """
    from correlator.stream.controls import check, send

    control: dict[str, Any] = {"type": "verdict", "incident": incident, "by": by or getpass.getuser()}
    control |= {name: said[name] for name in SAID if said[name] is not None}
    control |= {"note": note} if note else {}
    control |= {"sampled": True} if sampled else {}
    check(control)
    settings = load_settings(config, os.environ)

    async def work() -> None:
        from correlator.stream.lookup import incident_of

        found = await incident_of(settings, incident)
        if found is None:
            raise ControlError(f"{settings.topics.incidents} has no incident {incident}")
        if said["root"] is not None:
            _check_root(found, said["root"])
        await send(settings, {**control, "incident": found["id"]})

    asyncio.run(work())
    click.echo(f"sent to {settings.topics.controls}", err=True)


def _check_root(incident: Mapping[str, Any], service: str) -> None:
    """Raise :class:`ControlError` for what the engine would refuse, as far as a published incident tells."""
    if incident["kind"] != "fault" or incident["state"] == "closed":
        raise ControlError(
            f"incident {incident['id']} is {incident['state']}, of kind {incident['kind']}: it keeps its root"
        )
    alerting = (c["service"] for c in incident["candidates"] if not c["reasons"][0].startswith(SILENT))
    known = dict.fromkeys([*incident["services"], *alerting])
    if service not in known and incident["counts"]["services"] <= len(incident["services"]):
        raise ControlError(f"{service!r} cannot be the root; allowed: {', '.join(known)}")


# -- samples ------------------------------------------------------------------------------------------------------


class _Since(click.ParamType):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if (at := epoch_of(value)) is not None:
            return at
        try:
            return time.time() - seconds(value)
        except ValueError:
            self.fail(f"{value!r} is neither a time such as 2026-01-31T02:00:00Z nor a duration such as 7d", param, ctx)


@click.command()
@config_option
@click.option("--n", "n", type=click.IntRange(1, 10_000), default=40, show_default=True, help="How many alerts.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed draws another sample.")
@click.option("--since", type=_Since(), help="Only those hidden since: a time, or a duration before now.")
@click.option("--decisions", multiple=True, type=PATH, help="Read receipts from here; none: the topic of the broker.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def sample(config: Path | None, n: int, seed: int, since: float | None, decisions: tuple[Path, ...], form: str) -> None:
    """Draw hidden alerts for review, stratified by rule, with the commands that say it was right or wrong.

    Look at each, and answer: `correlator verdict INCIDENT --rightly-hidden FINGERPRINT --sampled`, or the same with
    --not-explained. Without --since: from the topic, as far back as incidents are remembered; from files, all.
    """
    settings, unread = load_settings(config, os.environ), Complaints()
    if decisions:
        receipts, _ = parse(value for path in decisions for value in values(path, unread))
    else:
        receipts, _ = parse(asyncio.run(_published(settings)))
        since = time.time() - settings.engine.incident_retention if since is None else since
    unread.close()
    found = hidden(receipts, "" if since is None else iso(since))
    drawn = draw(found, n, seed)
    if form == "json":
        for one in drawn:
            click.echo(orjson.dumps(one.row()))
        return
    show(_COLUMNS, [Row(_cells(one)) for one in drawn], Console(), whole=("rule", "fingerprint", "incident"))
    click.echo(f"{len(drawn)} of {len(found)} hidden alerts, seed {seed}", err=True)
    if drawn:
        click.echo(f"such as: {drawn[0].right}\nor:      {drawn[0].wrong}", err=True)


def _cells(one: Drawn) -> tuple[str, ...]:
    path = one.path if len(one.path) <= 4 else (*one.path[:2], "...", one.path[-1])
    about = f"{one.name} on {one.service}"
    return one.rule, about, one.fingerprint, one.incident, " -> ".join(path), one.at[:19].replace("T", " ")


async def _published(settings: Settings) -> list[Any]:
    from correlator.stream.rejected import dump

    return [row async for row in dump(settings, settings.topics.decisions)]


VERDICTS = (verdict, sample)
