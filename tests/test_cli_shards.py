"""correlator shards, as far as it needs no broker; and which settings a worker may start on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from correlator.config import Settings
from correlator.config_sections import Shards, Topics
from correlator.stream.layouts import layout_of, number_of, refusal
from topology import Node, ServiceGraph

Call = Callable[..., Result]

GRAPH = ServiceGraph.build({"web": Node(team="front"), "db": Node(team="back")}, {})
BY_TEAM = Settings(shards=Shards(attribute=("team",)))


@pytest.mark.parametrize("action", ["plan", "move"])
def test_another_installation_is_no_layout_to_move_to(call: Call, tmp_path: Path, action: str) -> None:
    """Its state is elsewhere: nothing of it can be compared with this one."""
    here, there = tmp_path / "here.toml", tmp_path / "there.toml"
    here.write_text('[worker]\napplication = "here"\n')
    there.write_text('[worker]\napplication = "there"\n')
    result = call("shards", action, "--config", str(here), "--to", str(there))
    assert (result.exit_code, "--to is for another installation" in result.output) == (2, True)


def why(current: dict[str, Any] | None, settings: Settings, graph: ServiceGraph = GRAPH) -> str | None:
    return refusal(current, {GRAPH.version: GRAPH}.__getitem__, settings, graph)


def in_force(settings: Settings, number: int = 3) -> dict[str, Any]:
    return {"version": GRAPH.version, "layout": layout_of(settings, number)}


def test_a_worker_starts_where_alerts_go_where_they_went_before() -> None:
    """On the layout in force, on one that gives the same shards, and where there is none yet."""
    assert number_of(None) == number_of({"version": GRAPH.version}) == 0
    assert number_of(in_force(BY_TEAM)) == 3
    for current in (None, {"version": GRAPH.version}, in_force(BY_TEAM)):
        assert why(current, BY_TEAM) is None
    more = ServiceGraph.build({"web": Node(team="front"), "db": Node(team="back"), "new": Node(team="front")}, {})
    assert why(in_force(BY_TEAM), BY_TEAM, more) is None


def test_a_worker_does_not_start_where_alerts_would_be_stranded() -> None:
    """By another key, graph or number of partitions, or while a move is under way; it says what to do."""
    moved = why(in_force(Settings()), BY_TEAM)
    assert moved is not None
    assert moved.startswith("3 services would move to another shard: db (all -> team=back), web (all -> team=front)")
    assert "correlator shards plan" in moved
    other = ServiceGraph.build({"web": Node(team="front"), "db": Node(team="front")}, {})
    assert "db (team=back -> team=front)" in (why(in_force(BY_TEAM), BY_TEAM, other) or "")
    more = Settings(topics=Topics(partitions=16), shards=BY_TEAM.shards)
    assert "topics.partitions is 16, but the state is laid out for 8" in (why(in_force(BY_TEAM), more) or "")
    moving = {**in_force(BY_TEAM), "move": layout_of(BY_TEAM, 4)}
    assert "a move to layout 4 is under way" in (why(moving, BY_TEAM) or "")
