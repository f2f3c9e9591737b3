"""What was learned about the alerts of a service, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from correlator.engine.history import HALF_LIFE, History
from correlator.engine.likeness import Part

__all__ = ["learned"]


def learned(service: str, rows: Mapping[str, tuple[Sequence[Any], Part]]) -> str:
    """How usual each alert of ``service`` is, by shard; ``rows`` are those of :class:`History` and :class:`Patterns`.

    >>> print(learned("db", {"all": ([7.0, 3.0, {"Slow": 4.0, "CpuHigh": 0.2}], Part(12, 10, 5, 2.25))}))
    db in shard all: had reason to alert in 7.0 incidents, to blame in 3.0 of them
      in 10 of the last 12 incidents there, root of 5, which count as 2.2 different ones
      83%  Slow, seen in 4.0 of the other 4.0
      20%  CpuHigh, seen in 0.2 of the other 4.0
      17%  any other alert
    """
    if not rows:
        return f"nothing was learned about {service} yet: none of its incidents, and none near it, has closed"
    return "\n".join(line for shard, known in rows.items() for line in _lines(service, shard, *known))


def _lines(service: str, shard: str, row: Sequence[Any], part: Part) -> Iterator[str]:
    exposed, blamed, seen = row
    history = History()
    history.restore({service: row})
    yield (
        f"{service} in shard {shard}: had reason to alert in {exposed:.1f} incidents, to blame in {blamed:.1f} of them"
        + (f"; older ones fade by half over {HALF_LIFE:.0f}" if exposed > HALF_LIFE / 10 else "")
    )
    if part.remembered:
        alike = f", which count as {part.worth:.1f} different ones" if part.rooted > 1 else ""
        yield f"  in {part.present} of the last {part.remembered} incidents there, root of {part.rooted}{alike}"
    for key in sorted(seen, key=lambda key: (-seen[key], key)):
        usual = history.usual(service, key)
        name, _, caller = key.partition("|")
        called = f" (calls of {caller.replace('|', ' ').strip()})" if caller else ""
        yield f"{usual:5.0%}  {name}{called}, seen in {seen[key]:.1f} of the other {max(0.0, exposed - blamed):.1f}"
    yield f"{history.usual(service, ''):5.0%}  any other alert"
