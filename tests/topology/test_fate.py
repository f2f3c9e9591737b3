"""What services share by their labels becomes nodes that they depend on."""

from __future__ import annotations

import orjson

from topology import CUT, OBSERVER, SHARED_FATE, Edge, Node, ServiceGraph, is_made, with_shared_fate


def racks(**racks: str) -> ServiceGraph:
    """Services in racks, without dependencies."""
    return ServiceGraph.build({name: Node(labels={"rack": rack}) for name, rack in racks.items()}, {})


def test_a_value_that_three_share_is_a_node_and_others_are_none() -> None:
    graph = with_shared_fate(racks(a="r1", b="r1", c="r1", d="r2", e="r2"), ["rack"])
    assert [name for name in graph if "=" in name] == ["rack=r1"]
    assert graph.dependents("rack=r1") == ("a", "b", "c")
    assert graph.edge("a", "rack=r1") == Edge()


def test_a_value_that_all_share_says_nothing() -> None:
    graph = racks(a="r1", b="r1", c="r1")
    assert with_shared_fate(graph, ["rack"]) is graph


def test_a_service_of_that_name_stays_as_it_is() -> None:
    nodes = {name: Node(labels={"rack": "r1"}) for name in "abc"} | {"r": Node(aliases=("rack=r1",)), "d": Node()}
    graph = ServiceGraph.build(nodes, {})
    assert with_shared_fate(graph, ["rack"]) is graph


def test_adding_twice_changes_nothing() -> None:
    graph = with_shared_fate(racks(a="r1", b="r1", c="r1", d="r2"), ["rack"], ["rack"])
    again = with_shared_fate(graph, ["rack", SHARED_FATE], ["rack", OBSERVER])
    assert again.version == graph.version


def test_it_is_published_like_any_graph() -> None:
    graph = with_shared_fate(racks(a="r1", b="r1", c="r1", d="r2"), ["rack"])
    read = ServiceGraph.from_native(orjson.loads(orjson.dumps(graph.to_native())))
    assert (read.version, read.node("rack=r1").labels) == (graph.version, {SHARED_FATE: "rack"})


def test_who_answers_for_all_of_it_answers_for_it() -> None:
    nodes = {name: Node(team="dc", on_call=name, labels={"probe": "p"}) for name in "abc"} | {"d": Node()}
    made = with_shared_fate(ServiceGraph.build(nodes, {}), [], ["probe"]).node("probe=p")
    assert (made.team, made.on_call, made.labels) == ("dc", None, {OBSERVER: "probe"})


def test_the_network_between_two_places_is_what_reaches_across_needs() -> None:
    """Three services do, from either side; two are too few, and who stays at home needs none."""
    sites = dict.fromkeys("abcd", "ams") | dict.fromkeys("xyz", "fra") | {"p": "par", "n": ""}
    nodes = {name: Node(labels={"site": site} if site else {}) for name, site in sites.items()}
    pairs = [("a", "x"), ("b", "x"), ("x", "y"), ("z", "c"), ("d", "c"), ("a", "p"), ("b", "p"), ("n", "x")]
    made = with_shared_fate(ServiceGraph.build(nodes, dict.fromkeys(pairs, Edge())), [], [], ["site"])
    assert [name for name in made if is_made(made.node(name))] == ["site=ams|fra"]
    assert made.dependents("site=ams|fra") == ("a", "b", "z")
    assert made.node("site=ams|fra").labels == {CUT: "site"}
    assert with_shared_fate(made, [], [], ["site"]) is made
