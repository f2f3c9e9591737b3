"""When saved state and log do not fit together: what is wrong, what can be done about it, and what that costs.

One place decides for the worker, which refuses to start, and for ``correlator repair``, which explains and mends.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from correlator.engine.state import SCHEMA_VERSION
from correlator.errors import StateError

__all__ = [
    *("ACCEPT_LOSS", "FORGET_STATE", "Bounds", "Refusal", "command"),
    *("hole", "made_anew", "raw_anew", "refusal", "unreadable"),
]

ACCEPT_LOSS: Final = "accept-loss"
FORGET_STATE: Final = "forget-state"


class Bounds(NamedTuple):
    """Where a log starts and ends. ``exact`` is False for a broker that may report an end that is too low."""

    first: int
    end: int
    exact: bool


class Refusal(NamedTuple):
    """Why a partition is not worked on. ``choices`` maps each repair that is possible to its consequence."""

    reason: str  # ahead | eaten | no_marker | unreadable | newer_schema | no_graph | raw_anew
    text: str
    advice: str
    choices: dict[str, str]

    def error(self, number: int | None) -> StateError:
        """As the one line with which a worker ends."""
        commands = " or ".join(f"`{command(number, choice)}`" for choice in self.choices)
        return StateError(f"{self.text}. {self.advice}; `correlator repair` explains, {commands} goes on without")


def command(number: int | None, choice: str) -> str:
    """The exact command of a repair."""
    which = "" if number is None else f"--partition {number} "
    return f"correlator repair {which}--{choice} --apply"


_FORGET: Final = (
    "the state is given up and made again from the log, from its start at offset {first} on: alerts that fired before "
    "that and are not repeated are forgotten, acknowledgements and maintenance windows too, and incidents that opened "
    "before it are closed as unknown"
)


def refusal(
    topic: str, number: int, marker: dict[str, Any] | None, entries: int, bounds: Bounds, graphs: set[str] | None = None
) -> Refusal | None:
    """Why the state of ``entries`` entries with this marker cannot be continued on this log; None when it can.

    ``topic`` is the placed topic. ``graphs`` are the versions that are known; None leaves that question out.
    """
    if not entries:
        return None
    where, forget = f"{topic}/{number}", {FORGET_STATE: _FORGET.format(first=bounds.first)}
    if marker is None:
        text = f"{where}: the state has {entries} entries but no marker with the applied offset"
        return Refusal("no_marker", text, "Restore the changelog", forget)
    if marker.get("schema", SCHEMA_VERSION + 1) > SCHEMA_VERSION:
        text = (
            f"{where}: the state has schema version {marker.get('schema')}, this program reads up to {SCHEMA_VERSION}"
        )
        return Refusal("newer_schema", text, "Run a newer version", forget)
    applied = marker["applied"]
    if applied >= bounds.end and (bounds.exact or bounds.end == 0):
        return made_anew(where, applied, bounds.end, forget)
    if bounds.first > applied + 1:
        return hole(where, applied + 1, bounds.first)
    if graphs is not None and marker["graph"] not in graphs:
        text = f"{where}: the state needs graph {marker['graph']}, which the topic of graphs does not have"
        return Refusal("no_graph", text, "Put the topology file of that version back and start a worker", forget)
    return None


def unreadable(topic: str, number: int, error: StateError, first: int = 0) -> Refusal:
    """Entries of the state are damaged, of another program, or of different checkpoints."""
    choices = {FORGET_STATE: _FORGET.format(first=first)}
    return Refusal("unreadable", f"{topic}/{number}: {error}", "Restore the changelog", choices)


def made_anew(where: str, applied: int, end: int, choices: dict[str, str]) -> Refusal:
    """The log has fewer records than were applied. Going on with the state would publish revisions that go back."""
    text = f"{where}: the state is at offset {applied}, but the log ends at {end - 1}: the topic was made anew"
    return Refusal("ahead", text, "Restore the log", choices)


def hole(where: str, position: int, first: int) -> Refusal:
    """Records after the applied one are gone."""
    missing = first - position
    text = f"{where}: {missing} records from offset {position} on are gone: retention has eaten them"
    choices = {
        ACCEPT_LOSS: (
            f"the state is kept and goes on at offset {first}: alerts in the {missing} records are not counted, and "
            "what was resolved in them stays until it is repeated or its time to live is over"
        ),
        FORGET_STATE: _FORGET.format(first=first),
    }
    return Refusal("eaten", text, "Raise topics.placed_retention", choices)


def raw_anew(where: str, read: int, end: int) -> Refusal:
    """The raw topic has fewer records than were read."""
    text = f"{where}: read up to offset {read - 1}, but the log ends at {end - 1}: it was made anew"
    loss = (
        "reading begins at the start of the new log, and the engine forgets how far it had counted the old one; what "
        "was in the old one and not read yet is lost"
    )
    return Refusal("raw_anew", text, "Restore the log", {ACCEPT_LOSS: loss})
