"""The service graph as a value: what it answers, and what it refuses to be built from."""

from __future__ import annotations

import pickle

import networkx as nx
import pytest

from topology import Edge, Node, Redundancy, ServiceGraph, TopologyError

HARD = Edge()


def shop() -> ServiceGraph:
    nodes = {
        "shop": Node(tier=1, aliases=("shop.example.org",)),
        "payments": Node(owner="ada"),
        "search-1": Node(service="search"),
        "search-2": Node(service="search"),
        "db": Node(labels={"region": "eu"}),
    }
    edges = {
        ("shop", "payments"): HARD,
        ("shop", "search-1"): Edge(group="search", needs=1),
        ("shop", "search-2"): Edge(group="search"),
        ("payments", "db"): Edge(delay=30),
    }
    return ServiceGraph.build(nodes, edges)


def test_dependencies_and_dependents_are_direct_and_sorted() -> None:
    """Both directions of the edge are answered, in an order that does not depend on the file."""
    graph = shop()
    assert graph.dependencies("shop") == ("payments", "search-1", "search-2")
    assert graph.dependents("db") == ("payments",)
    assert graph.dependents("shop") == ()


def test_an_unknown_service_has_no_attributes_and_no_neighbours() -> None:
    """An alert about a service outside the graph is a normal case, not an error."""
    graph = shop()
    assert graph.node("nowhere") == Node()
    assert graph.dependencies("nowhere") == graph.dependents("nowhere") == ()
    assert graph.reach("nowhere", 3) == {}
    assert graph.redundancies("nowhere") == ()
    assert graph.service_of("nowhere") == "nowhere"
    assert not graph.in_cycle("nowhere")
    assert graph.place("nowhere") is None


def test_what_has_no_sensible_answer_raises_key_error() -> None:
    """Two unknown services must not seem to share a component, nor an absent edge to be hard."""
    graph = shop()
    with pytest.raises(KeyError):
        graph.component("nowhere")
    with pytest.raises(KeyError):
        graph.edge("db", "shop")


def test_a_name_is_placed_by_itself_first_and_by_alias_second() -> None:
    """Senders may use the name of the service or any of its aliases."""
    graph = shop()
    assert graph.place("shop") == "shop"
    assert graph.place("shop.example.org") == "shop"


def test_an_instance_folds_into_its_service() -> None:
    """Instances answer with the service they belong to, other services with themselves."""
    graph = shop()
    assert graph.service_of("search-2") == "search"
    assert graph.service_of("db") == "db"


def test_a_group_of_redundant_dependencies_says_how_many_it_needs() -> None:
    """One member may state needs for all; nobody stating it means one."""
    graph = shop()
    assert graph.redundancies("shop") == (Redundancy("search", ("search-1", "search-2"), 1),)
    edges = {("a", "b"): Edge(group="g", needs=2), ("a", "c"): Edge(group="g")}
    other = ServiceGraph.build(dict.fromkeys("abc", Node()), edges)
    assert other.redundancies("a")[0].needs == 2


@pytest.mark.parametrize(
    ("edge", "plain"), [(HARD, True), (Edge(delay=5), True), (Edge("soft"), False), (Edge(group="g"), False)]
)
def test_a_graph_is_plain_when_every_edge_is_hard_and_alone(edge: Edge, plain: bool) -> None:
    """The engine may take a shorter way on plain graphs, so plain must not lie."""
    assert ServiceGraph.build({"a": Node(), "b": Node()}, {("a", "b"): edge}).plain is plain


def test_reach_counts_hops_and_stops_at_the_bound() -> None:
    """Bounded reachability answers with the distance, the service itself included."""
    graph = shop()
    assert graph.reach("shop", 0) == {"shop": 0}
    assert graph.reach("shop", 1) == {"shop": 0, "payments": 1, "search-1": 1, "search-2": 1}
    assert graph.reach("shop", 9)["db"] == 2
    assert graph.reach("db", 2, direction="dependents") == {"db": 0, "payments": 1, "shop": 2}
    with pytest.raises(ValueError, match="hops is -1"):
        graph.reach("shop", -1)


def test_cycles_are_components_with_more_than_one_service() -> None:
    """Services that depend on each other in a circle share a component, others have one each."""
    edges = {("a", "b"): HARD, ("b", "c"): HARD, ("c", "a"): HARD, ("d", "a"): HARD}
    graph = ServiceGraph.build(dict.fromkeys("abcd", Node()), edges)
    assert graph.cycles == (("a", "b", "c"),)
    assert graph.component("a") == graph.component("c") == 0
    assert graph.component("d") == 1
    assert graph.members(0) == ("a", "b", "c")
    assert graph.members(1) == ("d",)
    assert graph.in_cycle("b")
    assert not graph.in_cycle("d")


def test_a_graph_counts_iterates_and_compares() -> None:
    """The graph behaves as a sorted collection of its services, and equals a graph of equal content."""
    graph = shop()
    assert len(graph) == 5
    assert graph.edge_count == 4
    assert list(graph) == list(graph.services) == ["db", "payments", "search-1", "search-2", "shop"]
    assert "db" in graph
    assert "nowhere" not in graph
    assert graph == shop()
    assert hash(graph) == hash(shop())
    assert graph != ServiceGraph.empty()
    assert graph != "graph"
    assert "5 services, 4 dependencies" in repr(graph)


def test_the_empty_graph_is_a_graph() -> None:
    """Without any topology everything still answers."""
    graph = ServiceGraph.empty()
    assert (len(graph), graph.edge_count, graph.cycles, graph.plain) == (0, 0, (), True)
    assert len(graph.version) == 16


def test_the_networkx_view_cannot_be_changed() -> None:
    """Who asks for the networkx graph gets the structure and cannot change ours."""
    digraph = shop().digraph
    assert set(digraph.edges) == {("shop", "payments"), ("shop", "search-1"), ("shop", "search-2"), ("payments", "db")}
    with pytest.raises(nx.NetworkXError, match="Frozen graph"):
        digraph.add_edge("db", "shop")


def test_what_a_graph_was_built_from_can_change_without_effect() -> None:
    """The graph keeps copies of the mappings that it was given."""
    nodes, edges, labels = {"a": Node(), "b": Node()}, {("a", "b"): HARD}, {"region": "eu"}
    nodes["a"] = Node(labels=labels)
    graph = ServiceGraph.build(nodes, edges)
    nodes.clear()
    edges.clear()
    labels["region"] = "us"
    assert graph.dependencies("a") == ("b",)
    assert graph.node("a").labels == {"region": "eu"}


def test_a_graph_survives_pickling() -> None:
    """A graph can be handed to another process."""
    graph = shop()
    again = pickle.loads(pickle.dumps(graph))
    assert again == graph
    assert again.version == graph.version


@pytest.mark.parametrize(
    ("nodes", "edges", "code", "place"),
    [
        ({"a": Node()}, {("a", "b"): HARD}, "unknown_service", "a -> b"),
        ({"a": Node()}, {("a", "a"): HARD}, "self_loop", "a -> a"),
        ({"a": Node(aliases=("b",)), "b": Node()}, {}, "alias_collision", "a"),
        ({"a": Node(aliases=("x",)), "b": Node(aliases=("x",))}, {}, "alias_collision", "b"),
        ({"a": Node(), "b": Node()}, {("a", "b"): Edge(group="g", needs=2)}, "needs_too_many", "a -> b"),
        (
            dict.fromkeys("abc", Node()),
            {("a", "b"): Edge(group="g", needs=1), ("a", "c"): Edge(group="g", needs=2)},
            "needs_conflict",
            "a -> c",
        ),
    ],
)
def test_build_refuses_what_cannot_be_a_graph(
    nodes: dict[str, Node], edges: dict[tuple[str, str], Edge], code: str, place: str
) -> None:
    """Errors of the whole raise with the place and a stable code."""
    with pytest.raises(TopologyError) as caught:
        ServiceGraph.build(nodes, edges)
    assert [(problem.code, problem.place) for problem in caught.value.problems] == [(code, place)]
    assert caught.value.reason == "topology"


def test_an_alias_that_is_the_own_name_is_no_collision() -> None:
    """A sender's list of names may well hold the name itself."""
    assert ServiceGraph.build({"a": Node(aliases=("a",))}, {}).place("a") == "a"


@pytest.mark.parametrize("tier", [-1, 100, True, 1.0, "1"])
def test_a_tier_out_of_range_cannot_be_built(tier: object) -> None:
    """Values that make no sense are refused where they are made."""
    with pytest.raises(ValueError, match="tier is"):
        Node(tier=tier)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "firm"},
        {"group": "g", "needs": 0},
        {"group": "g", "needs": True},
        {"needs": 1},
        {"group": ""},
        {"delay": -1},
        {"delay": float("nan")},
        {"delay": float("inf")},
    ],
)
def test_an_edge_that_makes_no_sense_cannot_be_built(values: dict[str, object]) -> None:
    """Values that make no sense are refused where they are made."""
    with pytest.raises(ValueError, match=r"allowed|without a group"):
        Edge(**values)  # type: ignore[arg-type]


def test_aliases_and_delays_have_one_form() -> None:
    """Order and repeats of aliases, and 30 for 30.0, make no other graph."""
    assert Node(aliases=("b", "a", "b")) == Node(aliases=("a", "b"))
    assert hash(Node(labels={"a": "b"})) == hash(Node(labels={"a": "b"}))
    assert repr(Edge(delay=30)) == repr(Edge(delay=30.0))
    assert str(Edge(delay=-0.0).delay) == "0.0"


def test_data_in_our_own_format_raises_with_every_problem() -> None:
    """from_native reports all problems with the path of each, warnings included."""
    data = {
        "version": 1,
        "direction": "depends_on",
        "services": {"a": {"tier": "x", "depends_on": ["a", "b"]}, "c": {"colour": 1}},
    }
    with pytest.raises(TopologyError) as caught:
        ServiceGraph.from_native(data)
    found = [(problem.place, problem.code) for problem in caught.value.problems]
    assert found == [
        ("services.a.tier", "bad_type"),
        ("services.a.depends_on[0]", "self_loop"),
        ("services.c.colour", "unknown_key"),
        ("services.a.depends_on[1]", "unknown_service"),
    ]
    assert "services.a.tier: error: tier must be a whole number, not 'x' [bad_type]" in str(caught.value)
    assert "self_loop" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "text", 1, {}, {"services": 5}, {1: 2}, {"services": {1: 2}}])
def test_data_of_any_shape_raises_a_topology_error_and_nothing_else(data: object) -> None:
    """What comes off a topic may be anything."""
    with pytest.raises(TopologyError):
        ServiceGraph.from_native(data)
