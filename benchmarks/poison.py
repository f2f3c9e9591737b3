"""The program with a bug in its engine: it raises on alerts named ``PoisonPill`` and on windows of that id."""

from __future__ import annotations

from typing import Any

from correlator.engine import controls, dedup

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


if __name__ == "__main__":
    from correlator.__main__ import main

    dedup.fire = poisoned()
    controls.apply = poisoned_control()
    main(prog_name="correlator")
