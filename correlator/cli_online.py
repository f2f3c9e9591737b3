"""The commands that talk to a broker: run, bypass, topics, repair, rejected, control, change, dump, demo."""

from __future__ import annotations

import asyncio
import base64
import getpass
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import click
import orjson

from correlator.cli_inputs import config_option
from correlator.config import load_settings
from correlator.engine.render import iso
from correlator.model import CHANGE_KINDS

__all__ = ["ONLINE"]


def _log(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("aiokafka", "faust", "mode"):
        logging.getLogger(noisy).setLevel(level if level == "DEBUG" else "ERROR")
    # For debugging it repeats whole requests, and that of the login has the password in it.
    logging.getLogger("aiokafka.conn").setLevel("INFO" if level == "DEBUG" else "ERROR")


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@config_option
@click.option("--create-topics", is_flag=True, help="Create missing topics first.")
def run(config: Path | None, create_topics: bool) -> None:
    """Run one worker: intake and correlation, until SIGTERM.

    SIGHUP reads settings and topology again. Exit codes: 0 stopped, 2 settings, 3 broker, 4 state and log do not fit,
    5 another worker took the partition, 6 no progress, 7 the engine failed, 8 the HTTP port is taken.
    """
    from correlator.stream.run import run as serve

    settings = load_settings(config, os.environ)
    _log(settings.worker.log_level.upper())
    asyncio.run(serve(settings, config, os.environ, create_topics=create_topics, say=_say))


@click.command()
@config_option
def bypass(config: Path | None) -> None:
    """Page critical alerts while the correlator is silent: a process of its own, until SIGTERM.

    Run it on another host than the workers. Exit codes: 0 stopped, 2 settings, 3 broker, 8 the HTTP port is taken.
    """
    from correlator.bypass.run import run as serve

    settings = load_settings(config, os.environ)
    _log(settings.worker.log_level.upper())
    asyncio.run(serve(settings, say=_say))


@click.command()
@config_option
@click.option("--create", is_flag=True, help="Create what is missing.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def topics(config: Path | None, create: bool, form: str) -> None:
    """Show the topics, create missing ones, refuse those that differ (exit code 1)."""
    from correlator.stream.topics import create as make
    from correlator.stream.topics import inspect

    settings = load_settings(config, os.environ)
    states = asyncio.run(inspect(settings))
    if create:
        for name in asyncio.run(make(settings, states)):
            click.echo(f"created {name}", err=True)
        states = asyncio.run(inspect(settings))
    for state in states:
        plan = state.plan
        status = "missing" if state.partitions is None else "; ".join(state.differences) or "ok"
        if form == "json":
            row = {
                "topic": plan.name,
                "purpose": plan.purpose,
                "partitions": state.partitions,
                "wanted": plan.partitions,
                "configs": plan.configs,
                "status": status,
            }
            click.echo(orjson.dumps(row))
        else:
            click.echo(f"{plan.name:28} {state.partitions or '-':>4}  {status:40} {plan.purpose}")
    if any(s.partitions is None or s.differences for s in states):
        sys.exit(1)


@click.command()
@config_option
@click.option("--reason", help="Only those with this reason.")
@click.option("--replay", "again", is_flag=True, help="Send them back to the raw topics they came from.")
@click.option("--since", type=float, default=0.0, help="Only those rejected after this time (epoch seconds).")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def rejected(config: Path | None, reason: str | None, again: bool, since: float, form: str) -> None:
    """List what could not be read, or feed it back once the cause is mended."""
    from correlator.stream import rejected as module

    settings = load_settings(config, os.environ)

    async def show() -> int:
        count = 0
        async for reject in module.rejects(settings, reason=reason):
            if reject.at < since:
                continue
            count += 1
            index = "" if reject.alert is None else f"[{reject.alert}]"
            source = f"{reject.topic}/{reject.partition}/{reject.offset}{index}"
            if form == "json":
                value = None if reject.value is None else base64.b64encode(reject.value).decode()
                row = {"source": source, "reason": reject.reason, "message": reject.message, "at": iso(reject.at)}
                row |= {"dialect": reject.dialect, "place": reject.place, "traceback": reject.trace}
                click.echo(orjson.dumps(row | {"value": value}))
            else:
                click.echo(f"{iso(reject.at)}  {source:32} {reject.reason:16} {reject.message}")
        return count

    if again:
        click.echo(f"{asyncio.run(module.replay(settings, reason=reason, since=since))} records sent back", err=True)
    else:
        click.echo(f"{asyncio.run(show())} rejected", err=True)


@click.command()
@config_option
@click.option("--partition", "only", type=int, multiple=True, help="Mend this partition only; may be repeated.")
@click.option("--accept-loss", "choice", flag_value="accept-loss", help="Go on after records that are gone.")
@click.option("--forget-state", "choice", flag_value="forget-state", help="Make the state again from the log.")
@click.option("--apply", "do", is_flag=True, help="Do it; else only say what would be done.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def repair(config: Path | None, only: tuple[int, ...], choice: str | None, do: bool, form: str) -> None:
    """Say whether state and log fit together, what can be done where not, and do it on request.

    Without --apply nothing is changed; exit code 1 says that something is wrong.
    """
    from correlator.stream import mend
    from correlator.stream import repair as module

    if do and choice is None:
        raise click.UsageError("--apply needs --accept-loss or --forget-state")
    settings = load_settings(config, os.environ)
    seen = asyncio.run(module.look(settings))
    for line in module.lines(seen) if form == "table" else [orjson.dumps(f.row()).decode() for f in seen.partitions]:
        click.echo(line)
    if do and choice is not None:
        for line in asyncio.run(mend.apply(settings, seen, choice, only)):
            _say(line)
    elif seen.raw or any(found.refusal for found in seen.partitions):
        sys.exit(1)


@click.command()
@config_option
@click.argument("text", metavar="JSON|-")
def control(config: Path | None, text: str) -> None:
    """Send a control: a maintenance window or silence, its end, an acknowledgement, a verdict or a reset of history.

    \b
    correlator control '{"type": "acknowledge", "incident": "0f3c...", "by": "ana"}'
    correlator control '{"type": "maintenance", "id": "CHG-7", "subtree": "ledger-db",
                         "starts_at": 1767225600, "ends_at": 1767232800, "author": "ana", "reason": "upgrade"}'
    """
    from correlator.stream.controls import read, send

    settings = load_settings(config, os.environ)

    async def work() -> None:
        await send(settings, read((sys.stdin.read() if text == "-" else text).encode()))

    asyncio.run(work())
    click.echo(f"sent to {settings.topics.controls}", err=True)


@click.command()
@config_option
@click.argument("service")
@click.argument("summary")
@click.option("--kind", type=click.Choice(CHANGE_KINDS), help="What was changed; none: the words of the summary tell.")
@click.option("--at", help="When it took effect: RFC 3339 or epoch seconds; none: now.")
@click.option("--author", help="Who did it; none: the user of this shell.")
@click.option("--link", help="Where to read more: a web address.")
@click.option("--id", "id", help="Names the change; the same again replaces what was said before.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Decides about the shard, where set so.")
def change(config: Path | None, service: str, summary: str, labels: tuple[str, ...], **said: str | None) -> None:
    """Tell of a deployment or another change by hand.

    \b
    correlator change checkout "deployed v2.3.1" --author ana --link https://ci.example.org/builds/4711
    """
    from correlator.stream.changes import send

    settings = load_settings(config, os.environ)
    if bad := [label for label in labels if "=" not in label]:
        raise click.BadParameter(f"{bad[0]!r} is not NAME=VALUE", param_hint="--label")
    about: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    about = {"author": getpass.getuser(), "at": time.time(), **about, "service": service, "summary": summary}
    asyncio.run(send(settings, {**about, "labels": dict(label.split("=", 1) for label in labels)}))
    click.echo(f"sent to {settings.topics.changes[0]}", err=True)


@click.command()
@config_option
@click.argument("topic", nargs=-1)
def dump(config: Path | None, topic: tuple[str, ...]) -> None:
    """Write topics as JSON lines, as `replay --placed` and `explain --decisions` read them.

    Without a topic: the deciding log and the graphs, which together are what a replay needs.
    """
    from correlator.stream import rejected as module

    settings = load_settings(config, os.environ)

    async def work() -> None:
        for name in topic or (settings.topics.topology, settings.topics.placed):
            async for row in module.dump(settings, name):
                click.echo(orjson.dumps(row))

    asyncio.run(work())


@click.command()
@click.option("--alerts", type=click.IntRange(1_000, 1_000_000), default=25_000, show_default=True)
@click.option("--services", type=click.IntRange(50, 50_000), default=5_000, show_default=True)
@click.option("--variant", type=click.Choice(["a", "b", "c"]), default="a", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--broker", help="HOST:PORT of a broker; none: the embedded one is started.")
def demo(alerts: int, services: int, variant: str, seed: int, broker: str | None) -> None:
    """Start a broker and a worker, publish a storm, and show what comes out."""
    from correlator.demo import demo as show

    started = time.monotonic()
    asyncio.run(show(alerts=alerts, services=services, variant=variant, seed=seed, address=broker, started=started))


ONLINE = (run, bypass, topics, repair, rejected, control, change, dump, demo)
