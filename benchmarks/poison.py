"""The program with a bug in its engine: it raises on alerts named ``PoisonPill`` and on windows of that id.

``python -m benchmarks.poison run --config FILE`` is a worker with the bug. A compiled engine cannot be given it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from correlator.engine import controls, dedup

__all__ = ["POISON", "injected", "poisoned", "poisoned_control"]

POISON = "PoisonPill"


def poisoned(fire: Any = dedup.fire) -> Any:
    """``dedup.fire`` with the bug."""

    def wrong(store: Any, row: list[Any], kind: str) -> str:
        if row[6] == POISON:
            raise ZeroDivisionError(f"the engine does not like {row[5]}")
        answer: str = fire(store, row, kind)
        return answer

    return wrong


def poisoned_control(apply: Any = controls.apply) -> Any:
    """``controls.apply`` with the bug."""

    def wrong(store: Any, control: dict[str, Any]) -> None:
        if control.get("id") == POISON:
            raise LookupError("the engine does not like this window")
        apply(store, control)

    return wrong


@contextmanager
def injected() -> Iterator[None]:
    """The bug is in the engine of this process."""
    before = dedup.fire, controls.apply
    dedup.fire, controls.apply = poisoned(before[0]), poisoned_control(before[1])
    try:
        yield
    finally:
        dedup.fire, controls.apply = before


if __name__ == "__main__":
    from correlator.__main__ import main

    with injected():
        main(prog_name="correlator")
