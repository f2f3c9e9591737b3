"""How the commands replay files: alerts or a dump of the deciding log, by the settings and graph that were given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson

from correlator.assemble import placer_for, reader_for, rules_for
from correlator.cli_inputs import Complaints, Inputs
from correlator.engine.partition import Output
from correlator.recordings import documents, read_alerts
from correlator.replay import Replay, file_rules, placed_alerts, replay_placed

__all__ = ["replayed", "values"]


def replayed(files: tuple[Path, ...], inputs: Inputs, unread: Complaints) -> tuple[Replay, Iterator[Output]]:
    """A replay of the files and what it says, record by record. What cannot be read goes to ``unread``."""
    settings = inputs.settings
    if inputs.placed:
        if len(files) != 1:
            raise click.UsageError("--placed takes one file")
        replay, outputs = replay_placed(
            files[0],
            graph=inputs.graph,
            rules=rules_for(settings) if inputs.given else None,
            topics=settings.topics,
            unread=unread,
            instead_graph=inputs.graph if inputs.instead_graph else None,
            instead_rules=rules_for(settings) if inputs.instead_rules else None,
        )
    else:
        replay = Replay(inputs.graph, file_rules(rules_for(settings)))
        arrivals = read_alerts(files, reader_for(settings, ""), unread)
        records = placed_alerts(arrivals, placer_for(settings, inputs.graph), after=inputs.after)
        outputs = replay.run(records)
    return replay, _watched(outputs, unread)


def _watched(outputs: Iterator[Output], unread: Complaints) -> Iterator[Output]:
    for output in outputs:
        for put_aside in output.quarantined:
            if put_aside.row:
                unread.decided += 1
                where = f"{put_aside.source} at {put_aside.row[0]}, alert {put_aside.row[1]}"
                unread(f"{where}: {put_aside.reason}: {put_aside.error}")
            else:
                unread(f"offset {put_aside.offset}: {put_aside.reason}: {put_aside.error}")
        yield output


def values(path: Path, unread: Complaints) -> Iterator[Any]:
    """The JSON values of a file, one per line or the whole."""
    for line, content in documents(path):
        try:
            yield orjson.loads(content)
        except orjson.JSONDecodeError as error:
            unread(f"{path}:{line}: not JSON: {error}")
