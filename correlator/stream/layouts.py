"""Which layout is in force: the keys of the shards and the number of partitions, as the topic of graphs has them.

A layout has a number, which grows with every move. Workers start only on settings and a graph that put every service
where the layout in force has it, and not while a move is under way: see :mod:`correlator.stream.move`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from correlator.assemble import placer_for, placer_of
from correlator.config import Settings
from correlator.config_sections import Shards
from topology import ServiceGraph

__all__ = ["elsewhere", "layout_of", "number_of", "refusal"]

_NAMED: Final = 10
_HOW: Final = "`correlator shards plan` says what would move, `correlator shards move` moves it"


def layout_of(settings: Settings, number: int) -> dict[str, Any]:
    """The layout that settings ask for, as plain data."""
    return {
        "number": number,
        "shards": settings.shards.model_dump(mode="json"),
        "partitions": settings.topics.partitions,
    }


def number_of(current: Mapping[str, Any] | None) -> int:
    """The number of the layout in force; 0 before the first move."""
    layout = (current or {}).get("layout")
    return 0 if layout is None else int(layout["number"])


def elsewhere(moved: list[tuple[str, str, str]]) -> str:
    """What is said about services that another layout would put elsewhere."""
    listed = ", ".join(f"{service} ({old} -> {new})" for service, old, new in moved[:_NAMED])
    return f"{len(moved)} services would move to another shard: {listed}; {_HOW}"


def refusal(
    current: Mapping[str, Any] | None, graph_of: Callable[[str], ServiceGraph], settings: Settings, graph: ServiceGraph
) -> str | None:
    """Why a worker may not start on these settings and this graph; None where it may. O(services)."""
    if current is None:
        return None
    if current.get("move") is not None:
        return f"a move to layout {current['move']['number']} is under way: `correlator shards move` finishes it"
    layout = current.get("layout")
    if layout is None:
        return None
    if layout["partitions"] != settings.topics.partitions:
        wanted, has = settings.topics.partitions, layout["partitions"]
        return f"topics.partitions is {wanted}, but the state is laid out for {has}; {_HOW}"
    if layout_of(settings, layout["number"]) == layout and graph.version == current["version"]:
        return None
    before = placer_of(Shards.model_validate(layout["shards"]), graph_of(current["version"]))
    moved = before.moved(placer_for(settings, graph))
    return elsewhere(moved) if moved else None
