"""Options that the offline commands share, and what they are turned into."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from correlator.assemble import load_graph
from correlator.config import Settings, load_settings
from correlator.config_load import seconds
from correlator.dialects import dialects
from topology import DIRECTIONS, FORMATS, ServiceGraph

__all__ = [
    "DURATION",
    "PATH",
    "Complaints",
    "Inputs",
    "config_option",
    "graph_options",
    "inputs_of",
    "replay_options",
    "settings_of",
]

#: Complaints about one input that are written out; the rest is counted.
_SHOWN: Final = 20
_AUTO: Final = "auto"
F = TypeVar("F", bound=Callable[..., Any])


class _Duration(click.ParamType):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return seconds(value)
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 90s, 2m or 1h30m", param, ctx)


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator for several options, shown in this order."""
    return lambda command: reduce(lambda done, option: option(done), reversed(options), command)


DURATION: Final = _Duration()
PATH: Final = click.Path(path_type=Path)
config_option = click.option("--config", type=PATH, help="Settings file (TOML); none: defaults and environment.")
_topology = click.option(
    "--topology", multiple=True, type=PATH, help="File or folder of the service graph; several are merged."
)
graph_options = _together(
    _topology,
    click.option("--topology-format", type=click.Choice([_AUTO, *FORMATS]), help="Format of the topology files."),
    click.option("--direction", type=click.Choice(DIRECTIONS), help="What an edge a -> b means where no file says it."),
    config_option,
)
replay_options = _together(
    graph_options,
    click.option("--dialect", type=click.Choice([_AUTO, *dialects()]), help="Dialect of the alerts."),
    click.option("--placed", is_flag=True, help="The files are dumps of the deciding log, not alerts."),
    click.option("--after", type=DURATION, help="Time to let pass after the last alert; default: until all pages."),
)


class Inputs(NamedTuple):
    """Everything that a replay needs to know."""

    settings: Settings
    graph: ServiceGraph
    given: bool  # whether there is a settings file
    placed: bool
    after: float
    instead_graph: bool = False  # whether the graph holds in place of those that a log names
    instead_rules: bool = False  # the same of the settings


def inputs_of(
    config: Path | None,
    topology: tuple[Path, ...],
    topology_format: str | None,
    direction: str | None,
    dialect: str | None,
    placed: bool,
    after: float | None,
) -> Inputs:
    """What the replay options ask for. Raises :class:`SettingsError` and :class:`TopologyError`."""
    settings = settings_of(config, topology_format, direction, dialect)
    loaded = load_graph(settings, topology)
    warnings = sum(problem.severity == "warning" for problem in loaded.problems)
    graph = loaded.graph_or_raise()
    if warnings:
        _say(f"the topology has {warnings} warnings; see: correlator check")
    if not graph and not placed:
        _say("no topology: every alert will be an incident of its own; pass --topology FILE")
    engine = settings.engine
    wait = engine.settle + engine.repage_after if after is None else after
    return Inputs(settings, graph, config is not None, placed, wait)


def settings_of(config: Path | None, form: str | None, direction: str | None, dialect: str | None = None) -> Settings:
    """The settings of a file and the environment, with what the options put in their place."""
    settings = load_settings(config, os.environ)
    changes: dict[str, Any] = {}
    if form or direction:
        wanted = {"format": form, "direction": direction}
        changes["topology"] = settings.topology.model_copy(update={k: v for k, v in wanted.items() if v})
    if dialect:
        changes["dialects"] = settings.dialects.model_copy(update={"default": dialect, "by_topic": {}})
    return settings.model_copy(update=changes)


class Complaints:
    """Counts what could not be read, and writes the first lines about it to stderr."""

    def __init__(self) -> None:
        self.count = 0
        self.decided = 0  # of these, alerts that the engine has counted itself

    def __call__(self, line: str) -> None:
        self.count += 1
        if self.count <= _SHOWN:
            _say(line)

    def close(self) -> None:
        """Say how many lines were left out."""
        if self.count > _SHOWN:
            _say(f"{self.count - _SHOWN} more could not be read")


def _say(line: str) -> None:
    click.echo(f"correlator: {line}", err=True)
