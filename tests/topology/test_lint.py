"""Findings about graphs that are valid."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import Edge, Node, ServiceGraph, lint

HARD = Edge()


def found(graph: ServiceGraph) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.place, problem.code) for problem in lint(graph)]


def test_a_service_without_any_edge_is_noticed() -> None:
    """Such a service is never part of a larger incident, which may be an omission."""
    graph = ServiceGraph.build(dict.fromkeys("abc", Node()), {("a", "b"): HARD})
    assert found(graph) == [("notice", "c", "isolated")]


@pytest.mark.parametrize("tier", [0, 1])
def test_an_important_service_needs_somebody(tier: int) -> None:
    """Tier 0 and 1 without owner or on_call is a warning each; a team counts as an owner."""
    nodes = {"a": Node(tier=tier), "b": Node(tier=tier, team="t", on_call="x"), "c": Node(tier=2), "d": Node()}
    graph = ServiceGraph.build(nodes, {("a", "b"): HARD, ("c", "d"): HARD})
    assert found(graph) == [("warning", "a", "no_owner"), ("warning", "a", "no_on_call")]


def test_a_group_that_cannot_lose_a_member_is_no_redundancy() -> None:
    """Two of two, or one of one, is an AND that looks like an OR."""
    edges = {("a", "b"): Edge(group="g", needs=2), ("a", "c"): Edge(group="g"), ("b", "d"): Edge(group="h")}
    assert [
        place
        for _, place, code in found(ServiceGraph.build(dict.fromkeys("abcd", Node()), edges))
        if code == "no_redundancy"
    ] == ["a", "b"]


def test_the_longest_chain_is_shown() -> None:
    """A cycle counts as one step of it."""
    edges = {("a", "b"): HARD, ("b", "c"): HARD, ("c", "b"): HARD, ("c", "d"): HARD, ("x", "d"): HARD}
    (problem,) = lint(ServiceGraph.build(dict.fromkeys("abcdx", Node()), edges))
    assert problem.code == "deepest_chain"
    assert problem.message.endswith("3 services: a -> b -> d")


def test_what_most_services_depend_on_is_named() -> None:
    """Counted through others too; small graphs have no such finding."""
    names = [f"s{index:02}" for index in range(12)]
    edges = {(names[index], names[index + 1]): HARD for index in range(11)}
    shared = [
        problem
        for problem in lint(ServiceGraph.build(dict.fromkeys(names, Node()), edges))
        if problem.code == "widely_shared"
    ]
    assert [problem.place for problem in shared] == ["s11", "s10", "s09", "s08", "s07"]
    assert shared[0].message.startswith("11 of 12 services depend on 's11'")


def test_a_cycle_that_is_widely_shared_is_one_finding() -> None:
    """Whatever depends on one of a circle depends on all of it."""
    names = [f"s{index:02}" for index in range(12)]
    edges = {(names[index], names[(index + 1) % 12]): HARD for index in range(12)}
    (problem,) = lint(ServiceGraph.build(dict.fromkeys(names, Node()), edges))
    assert problem.message.startswith("11 of 12 services depend on 's00' and the 11 others of its circle")


def test_the_empty_graph_has_no_findings() -> None:
    """Nothing is there to be found."""
    assert lint(ServiceGraph.empty()) == ()


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 13), st.integers(0, 13)).filter(lambda pair: pair[0] != pair[1]), max_size=40))
def test_widely_shared_agrees_with_networkx(pairs: set[tuple[int, int]]) -> None:
    """A service is named exactly when more than half of the graph can reach it, or it is on a circle with one named."""
    edges = {(f"s{u:02}", f"s{v:02}"): HARD for u, v in pairs}
    graph = ServiceGraph.build({f"s{index:02}": Node() for index in range(14)}, edges)
    named = {problem.place for problem in lint(graph) if problem.code == "widely_shared"}
    expected = {name for name in graph if len(nx.ancestors(graph.digraph, name)) * 2 > len(graph)}
    first_of = {
        name: min(other for other in graph if graph.component(other) == graph.component(name)) for name in graph
    }
    assert named == {first_of[name] for name in expected}
