"""What instances and hosts make of a graph."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topology import Edge, Node, ServiceGraph, with_folding
from topology.graph import HARD

NAMES = ("a", "b", "c", "d")


@st.composite
def graphs(draw: st.DrawFn) -> ServiceGraph:
    """A few nodes that name each other, or nobody known, as service and host; any edges."""
    known = st.sampled_from((None, *NAMES, "s", "h", "also a"))
    nodes = {name: Node(service=draw(known), hosted_on=draw(known)) for name in NAMES}
    nodes["a"] = Node(service=nodes["a"].service, hosted_on=nodes["a"].hosted_on, aliases=("also a",))
    pairs = st.sampled_from([(u, v) for u in NAMES for v in NAMES if u != v])
    return ServiceGraph.build(nodes, dict.fromkeys(draw(st.sets(pairs, max_size=5)), Edge(kind="soft")))


@given(graphs())
def test_what_is_stated_stays_and_twice_is_once(graph: ServiceGraph) -> None:
    """No edge is changed, none is added against one, every part has an edge to or from its whole, and that is all."""
    made = with_folding(graph)
    assert with_folding(made) is made
    assert all(graph.node(name) in (made.node(name), Node()) for name in graph)
    stated = {(u, v) for u in graph for v in graph.dependencies(u)}
    assert all(made.edge(*pair) == graph.edge(*pair) for pair in stated)
    added = {(u, v) for u in made for v in made.dependencies(u)} - stated
    assert not any((v, u) in stated for u, v in added)
    assert all(made.edge(u, v) == HARD and (made.is_instance(v, u) or made.runs_on(u, v)) for u, v in added)
    for name in graph:
        node = graph.node(name)
        for whole in (node.service, node.hosted_on):
            place = None if whole is None else made.place(whole)
            assert (place is None) == (whole is None)
            if place not in (None, name):
                assert place in (*made.dependencies(name), *made.dependents(name))


def test_instances_and_hosts_are_told_apart_from_other_neighbours() -> None:
    """A service may depend on others, and others on the host."""
    nodes = {"api": Node(), "api-1": Node(service="api", hosted_on="n1"), "db": Node(), "n1": Node(), "agent": Node()}
    made = with_folding(ServiceGraph.build(nodes, {("api", "db"): HARD, ("agent", "n1"): HARD}))
    assert (made.dependencies("api"), made.instances("api")) == (("api-1", "db"), ("api-1",))
    assert (made.dependents("n1"), made.hosted("n1")) == (("agent", "api-1"), ("api-1",))
    assert not made.instances("db")
    assert not made.hosted("db")


def test_a_whole_without_an_entry_has_what_all_of_its_parts_say() -> None:
    """Of labels, owner and tier; an alias is no new name."""
    parts = {
        "db-1": Node(service="db", hosted_on="n1", team="data", tier=1, labels={"region": "eu", "rack": "r1"}),
        "db-2": Node(service="db", hosted_on="n1", team="data", tier=2, labels={"region": "eu", "rack": "r2"}),
        "mq": Node(aliases=("queue",)),
        "mq-1": Node(service="queue"),
    }
    made = with_folding(ServiceGraph.build(parts, {}))
    assert made.node("db") == Node(team="data", labels={"region": "eu"})
    assert made.services == ("db", "db-1", "db-2", "mq", "mq-1", "n1")
    assert made.instances("mq") == ("mq-1",)


def test_an_instance_that_is_said_to_need_its_service_is_not_needed_by_it() -> None:
    """The stated direction holds, so that nobody makes a circle by saying more."""
    made = with_folding(ServiceGraph.build({"api": Node(), "api-1": Node(service="api")}, {("api-1", "api"): HARD}))
    assert (made.dependencies("api"), made.dependencies("api-1")) == ((), ("api",))
    assert made.cycles == ()


def test_others_may_depend_on_a_service_of_which_only_instances_are_listed() -> None:
    """That is no unknown service; nor is a host."""
    services: dict[str, object] = {"web": {"depends_on": ["api"]}, "agent": {"depends_on": ["n1"]}}
    services["api-1"] = {"service": "api", "hosted_on": "n1", "team": "shop"}
    made = with_folding(ServiceGraph.from_native({"version": 1, "direction": "depends_on", "services": services}))
    assert (made.dependencies("web"), made.dependencies("api"), made.hosted("n1")) == (("api",), ("api-1",), ("api-1",))
    assert made.node("api").team == "shop"
