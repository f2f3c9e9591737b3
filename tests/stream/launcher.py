"""The program with a bug in its engine: it raises on every alert that is named ``PoisonPill``."""

from __future__ import annotations

from typing import Any

from correlator.engine import dedup

POISON = "PoisonPill"


def poisoned(fire: Any = dedup.fire) -> Any:
    """``dedup.fire`` with the bug."""

    def wrong(store: Any, row: list[Any], kind: str) -> str:
        if row[6] == POISON:
            raise ZeroDivisionError(f"the engine does not like {row[5]}")
        answer: str = fire(store, row, kind)
        return answer

    return wrong


if __name__ == "__main__":
    from correlator.__main__ import main

    dedup.fire = poisoned()
    main(prog_name="correlator")
