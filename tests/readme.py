"""The parts of the README that are made from the code. ``python tests/readme.py`` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from correlator.cli import main
from correlator.config import Settings, settings_markdown
from correlator.metrics import metrics_markdown
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


def blocks() -> dict[str, str]:
    """Text by the name of its markers."""
    return {
        "topology.example": _example(),
        "topics": _topics(),
        "cli": _cli(),
        "settings": settings_markdown().strip(),
        "metrics": metrics_markdown().strip(),
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
