"""Laws of the service graph, over generated graphs."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import Edge, Node, ServiceGraph

Parts = tuple[dict[str, Node], dict[tuple[str, str], Edge]]

words = st.text("abcxyz-.é", min_size=1, max_size=6)
delays = st.none() | st.floats(0, 1e6, allow_nan=False)
edge_values = st.one_of(
    st.just(Edge()),
    st.builds(Edge, kind=st.sampled_from(("hard", "soft")), delay=delays),
    st.builds(Edge, group=st.sampled_from(("g", "h")), delay=delays),
)


@st.composite
def parts(draw: st.DrawFn) -> Parts:
    """Nodes and edges of a valid graph of up to 12 services, cycles and groups included."""
    names = draw(st.lists(words, unique=True, max_size=12))
    nodes = {
        name: Node(
            service=draw(st.none() | words),
            hosted_on=draw(st.none() | words),
            owner=draw(st.none() | words),
            tier=draw(st.none() | st.integers(0, 99)),
            labels=draw(st.dictionaries(words, words, max_size=2)),
            aliases=draw(st.sampled_from(((), (f"{name}!",), (f"{name}!", f"{name}?")))),
        )
        for name in names
    }
    pairs = [(u, v) for u in names for v in names if u != v]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=30)) if pairs else []
    return nodes, {pair: draw(edge_values) for pair in chosen}


def networkx_of(nodes: Mapping[str, Node], edges: Mapping[tuple[str, str], Edge]) -> nx.DiGraph[str]:
    digraph: nx.DiGraph[str] = nx.DiGraph()
    digraph.add_nodes_from(nodes)
    digraph.add_edges_from(edges)
    return digraph


@settings(max_examples=60, deadline=None)
@given(parts(), st.randoms(use_true_random=False))
def test_the_version_does_not_depend_on_insertion_order(made: Parts, rng: random.Random) -> None:
    """Equal content has an equal version, on every machine and in every order."""
    nodes, edges = made
    other_nodes, other_edges = list(nodes.items()), list(edges.items())
    rng.shuffle(other_nodes)
    rng.shuffle(other_edges)
    first, second = ServiceGraph.build(nodes, edges), ServiceGraph.build(dict(other_nodes), dict(other_edges))
    assert first.version == second.version
    assert first == second
    assert int(first.version, 16) >= 0
    assert len(first.version) == 16


@settings(max_examples=60, deadline=None)
@given(parts(), st.data())
def test_the_version_changes_with_the_content(made: Parts, data: st.DataObject) -> None:
    """Adding a service, or taking an edge away, is another version."""
    nodes, edges = made
    graph = ServiceGraph.build(nodes, edges)
    assert ServiceGraph.build({**nodes, "one more": Node()}, edges).version != graph.version
    if edges:
        gone = data.draw(st.sampled_from(sorted(edges)))
        rest = {pair: edge for pair, edge in edges.items() if pair != gone}
        assert ServiceGraph.build(nodes, rest).version != graph.version


@settings(max_examples=60, deadline=None)
@given(parts())
def test_plain_data_through_json_and_back_is_the_same_graph(made: Parts) -> None:
    """to_native loses nothing, and JSON in between changes nothing."""
    graph = ServiceGraph.build(*made)
    again = ServiceGraph.from_native(json.loads(json.dumps(graph.to_native())))
    assert again == graph
    assert again.version == graph.version


@settings(max_examples=60, deadline=None)
@given(parts())
def test_dependents_are_the_inverse_of_dependencies(made: Parts) -> None:
    """u is a dependent of v exactly when v is a dependency of u, and every edge is in both."""
    nodes, edges = made
    graph = ServiceGraph.build(nodes, edges)
    assert {(u, v) for u in graph for v in graph.dependencies(u)} == set(edges)
    assert {(u, v) for v in graph for u in graph.dependents(v)} == set(edges)
    assert all(graph.edge(*pair) == edge for pair, edge in edges.items())
    assert set(graph.digraph.edges) == set(edges)


@settings(max_examples=60, deadline=None)
@given(parts(), st.integers(0, 5))
def test_reach_agrees_with_shortest_paths(made: Parts, hops: int) -> None:
    """Bounded reachability gives the same services and distances as networkx, in both directions."""
    graph = ServiceGraph.build(*made)
    digraph = networkx_of(*made)
    for name in graph:
        assert graph.reach(name, hops) == dict(nx.single_source_shortest_path_length(digraph, name, hops))
        backwards = dict(nx.single_source_shortest_path_length(digraph.reverse(), name, hops))
        assert graph.reach(name, hops, direction="dependents") == backwards


@settings(max_examples=60, deadline=None)
@given(parts())
def test_components_agree_with_networkx(made: Parts) -> None:
    """Services share a component exactly when networkx says that they are strongly connected."""
    graph = ServiceGraph.build(*made)
    expected = {frozenset(component) for component in nx.strongly_connected_components(networkx_of(*made))}
    ours: dict[int, set[str]] = {}
    for name in graph:
        ours.setdefault(graph.component(name), set()).add(name)
    assert {frozenset(members) for members in ours.values()} == expected
    assert {frozenset(cycle) for cycle in graph.cycles} == {members for members in expected if len(members) > 1}
    assert all(graph.in_cycle(name) == any(name in cycle for cycle in graph.cycles) for name in graph)


@settings(max_examples=60, deadline=None)
@given(parts())
def test_redundant_members_are_dependencies(made: Parts) -> None:
    """Every member of a group is a direct dependency with that group, and no member is left out."""
    nodes, edges = made
    graph = ServiceGraph.build(nodes, edges)
    listed = {(u, v): group.name for u in graph for group in graph.redundancies(u) for v in group.members}
    assert listed == {pair: edge.group for pair, edge in edges.items() if edge.group is not None}
    assert graph.plain == all(edge.kind == "hard" and edge.group is None for edge in edges.values())
