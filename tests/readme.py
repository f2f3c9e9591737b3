"""The parts of the README that are made from the code. ``python tests/readme.py`` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import click
from click.testing import CliRunner

from correlator.backtest.shadow import OUTCOMES
from correlator.backtest.words import words_markdown
from correlator.cli import main
from correlator.config import Settings, settings_markdown
from correlator.metrics_catalogue import metrics_markdown
from correlator.stream.topics import plan

__all__ = ["README", "blocks", "rewrite"]

_ROOT = Path(__file__).resolve().parent.parent
README = _ROOT / "README.md"


def _topics() -> str:
    rows = ["| topic | holds | partitions | configuration |", "|---|---|---|---|"]
    for topic in plan(Settings()):
        configs = ", ".join(f"`{key}={value}`" for key, value in topic.configs.items())
        many = f"{topic.partitions}" + ("" if topic.fixed else " or any")
        rows.append(f"| `{topic.name}` | {topic.purpose} | {many} | {configs} |")
    return "\n".join(rows)


def _cli() -> str:
    rows = ["| command | options | what it does |", "|---|---|---|"]
    for name, command in _commands(main):
        found = []
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                found.append(f"`{parameter.opts[-1]}`")
            else:
                found.insert(0, f"`{str(parameter.metavar or parameter.name).upper()}`".replace("|", "\\|"))
        rows.append(f"| `{name}` | {' '.join(found)} | {command.get_short_help_str(200)} |")
    return "\n".join(rows)


def _commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """The commands by their whole names; a group stands for those in it."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _example() -> str:
    return f"```yaml\n{(_ROOT / 'deploy' / 'topology.example.yaml').read_text().rstrip()}\n```"


def _outcomes() -> str:
    return "\n".join(["| outcome | meaning |", "|---|---|", *(f"| `{w}` | {text} |" for w, text in OUTCOMES.items())])


def _session(*commands: str) -> str:
    """What a terminal shows of these commands, run where their files are. Standard error comes last."""
    shown = []
    with chdir(_ROOT / "deploy" / "backtest"):
        for command in commands:
            result = CliRunner().invoke(main, command.split()[1:])
            shown += [f"$ {command}", result.stdout.rstrip(), result.stderr.rstrip()]
    return "```console\n" + "\n".join(filter(None, shown)) + "\n```"


def blocks() -> dict[str, str]:
    """Text by the name of its markers."""
    return {
        "topology.example": _example(),
        "topics": _topics(),
        "cli": _cli(),
        "settings": settings_markdown().strip(),
        "metrics": metrics_markdown().strip(),
        "differences": words_markdown(),
        "outcomes": _outcomes(),
        "compare.example": _session(
            "correlator replay night.ndjson --topology shop.yaml --config today.toml --compare quieter.toml "
            "--fail-on page-lost,page-later=5m"
        ),
        "shadow.example": _session(
            "correlator shadow-report --paged pagerduty.csv --replay night.ndjson --config today.toml "
            "--topology shop.yaml --all"
        ),
    }


def rewrite(text: str) -> str:
    """The README with every block as the code says it now."""
    for name, block in blocks().items():
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
        found = pattern.search(text)
        if found is None:
            raise LookupError(f"README.md has no block {name!r}")
        text = f"{text[: found.start()]}{found[1]}{block}\n{found[2]}{text[found.end() :]}"
    return text


if __name__ == "__main__":
    README.write_text(rewrite(README.read_text()))
