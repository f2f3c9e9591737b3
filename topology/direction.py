"""Which end of a stated edge depends on which: always said by the file or by the caller, never guessed."""

from __future__ import annotations

from typing import Final, Literal

from topology.draft import Draft, Path

__all__ = ["DIRECTIONS", "Direction", "is_direction", "oriented", "settled"]

#: ``depends_on``: the source depends on the target. ``serves``: the target depends on the source.
#: ``both``: links without direction, each of which counts as two edges.
Direction = Literal["depends_on", "serves", "both"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("depends_on", "serves", "both")


def is_direction(value: object) -> bool:
    """True for one of the words in ``DIRECTIONS``."""
    return isinstance(value, str) and value in DIRECTIONS


def settled(stated: Direction | None, option: Direction | None, at: Path, draft: Draft, *, how: str) -> Direction:
    """Return the direction on which file and option agree.

    Reports ``direction_conflict`` when they differ and ``direction_missing`` when neither says it; ``how``
    tells what to write. After an error some direction is returned, so that the rest can still be read.
    """
    if stated is None and option is None:
        draft.error(at, "direction_missing", f"the direction of the edges is not stated; {how}")
    elif stated is not None and option is not None and stated != option:
        draft.error(at, "direction_conflict", f"the file says {stated!r} and the option says {option!r}")
    return stated or option or "depends_on"


def oriented(source: str, target: str, direction: Direction) -> tuple[tuple[str, str], ...]:
    """Return the edges (u, v), u depends on v, that one stated edge stands for.

    >>> oriented("a", "b", "serves")
    (('b', 'a'),)
    """
    if direction == "depends_on":
        return ((source, target),)
    if direction == "serves":
        return ((target, source),)
    return ((source, target), (target, source))
