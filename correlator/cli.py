"""The command line: one group, and what becomes of errors.

Commands on files are in ``cli_offline``, ``cli_backtest`` and ``cli_shadow``, those that talk to a broker in
``cli_online``, ``cli_verdicts``, ``cli_maintenance`` and ``cli_shards``. An error raised on purpose is one line per
problem on stderr and an exit code, never a traceback: 2 for a wrong call, wrong settings or a wrong topology, else what
:data:`correlator.errors.EXIT_CODES` says of its reason, else 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import click

from correlator.cli_backtest import COMPARE
from correlator.cli_maintenance import maintenance
from correlator.cli_offline import OFFLINE
from correlator.cli_online import ONLINE
from correlator.cli_shadow import SHADOW
from correlator.cli_shards import shards
from correlator.cli_verdicts import VERDICTS
from correlator.errors import EXIT_CODES, CorrelatorError, SettingsError
from correlator.program import compiled, version
from topology import TopologyError

__all__ = ["Commands", "main"]


class _Failure(click.ClickException):
    """Ends the command: its lines on stderr and the exit code."""

    def __init__(self, lines: Iterable[str], exit_code: int) -> None:
        super().__init__("\n".join(lines))
        self.exit_code = exit_code

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"correlator: {line}", err=True, file=file)


class Commands(click.Group):
    """A group whose commands may raise our errors."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise _Failure(error.problems, 2) from error
        except CorrelatorError as error:
            raise _Failure([str(error)], EXIT_CODES.get(error.reason, 1)) from error
        except TopologyError as error:
            raise _Failure((str(p) for p in error.problems if p.severity == "error"), 2) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(f"{version()}{', engine compiled' if compiled() else ''}", prog_name="correlator")
def main() -> None:
    """Turn an alert storm into incidents along the service dependency graph."""


for _command in (*OFFLINE, *COMPARE, *SHADOW, *ONLINE, *VERDICTS, maintenance, shards):
    main.add_command(_command)
