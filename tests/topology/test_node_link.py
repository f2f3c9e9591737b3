"""networkx node-link files: ours, those of networkx itself, and those of other exporters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networkx as nx
import pytest

from topology import Edge, Loaded, Node

Read = Callable[..., Loaded]

AB = [{"id": "a"}, {"id": "b"}]
EDGE = {"source": "a", "target": "b"}


def link(nodes: list[Any], edges: list[Any], **more: Any) -> dict[str, Any]:
    return {"directed": True, "multigraph": False, "graph": {}, "nodes": nodes, "edges": edges, **more}


@pytest.mark.parametrize("key", ["edges", "links"])
def test_what_networkx_writes_is_read(read: Read, key: str) -> None:
    """Both wire names of the edge list work, whichever version of networkx wrote the file."""
    digraph: nx.DiGraph[str] = nx.DiGraph(direction="depends_on")
    digraph.add_node("a", tier=1, region="eu")
    digraph.add_edge("a", "b", kind="soft", delay=5)
    graph = read("t.json", nx.node_link_data(digraph, edges=key)).graph_or_raise()
    assert graph.node("a") == Node(tier=1, labels={"region": "eu"})
    assert graph.edge("a", "b") == Edge("soft", delay=5)


@pytest.mark.parametrize(
    ("stated", "option", "expected"),
    [
        ("depends_on", None, ("b",)),
        ("serves", None, ()),
        (None, "depends_on", ("b",)),
        (None, "serves", ()),
        ("serves", "serves", ()),
    ],
)
def test_the_direction_comes_from_the_file_or_the_option(
    read: Read, stated: str | None, option: str | None, expected: tuple[str, ...]
) -> None:
    """depends_on keeps the edge, serves turns it round."""
    loaded = read("t.json", link(AB, [EDGE], graph={"direction": stated} if stated else {}), direction=option)
    assert loaded.graph_or_raise().dependencies("a") == expected


def test_a_file_without_direction_is_told_what_to_write(read: Read) -> None:
    """The error names the key and the option."""
    (problem,) = read("t.json", link(AB, [EDGE])).problems
    assert '"direction": "depends_on"' in problem.message
    assert "direction=depends_on" in problem.message


@pytest.mark.parametrize(("graph", "option"), [({}, "both"), ({"direction": "both"}, None)])
def test_an_undirected_file_needs_both(read: Read, graph: dict[str, str], option: str | None) -> None:
    """Only who says so gets two edges for each link."""
    made = read("t.json", link(AB, [EDGE], directed=False, graph=graph), direction=option).graph_or_raise()
    assert made.dependencies("a") == ("b",)
    assert made.dependencies("b") == ("a",)


def test_an_undirected_file_is_told_about_both(read: Read) -> None:
    """The error names the option that is missing."""
    (problem,) = read("t.json", link(AB, [EDGE], directed=False), direction="depends_on").problems
    assert "direction=both" in problem.message


def test_a_file_that_does_not_say_whether_it_is_directed_takes_the_direction(read: Read) -> None:
    """Files written by hand often hold nodes and edges only."""
    assert read("t.json", {"nodes": AB, "edges": [EDGE]}, direction="serves").graph_or_raise().dependencies("b") == (
        "a",
    )


def test_foreign_attributes_become_labels(read: Read) -> None:
    """Text, numbers and truth values are kept as text; what has no text is counted in a notice."""
    node = {"id": "a", "kind": "pod", "rack": 7, "load": 0.5, "spot": False, "none": None, "void": "", "pos": [1]}
    loaded = read("t.json", link([{**node, "labels": {"rack": "eight"}}], []), direction="depends_on")
    assert loaded.graph_or_raise().node("a").labels == {"kind": "pod", "rack": "eight", "load": "0.5", "spot": "false"}
    assert "pos (1)" in loaded.problems[0].message


def test_foreign_edge_kinds_are_hard_and_counted(read: Read) -> None:
    """Words of other programs are read as hard, and one notice says how many there are."""
    names = "abcdef"
    kinds = ["calls", "config", "calls", "soft", "hard"]
    edges = [{"source": "a", "target": v, "kind": kind} for v, kind in zip(names[1:], kinds, strict=True)]
    loaded = read("t.json", link([{"id": name} for name in names], edges), direction="depends_on")
    graph = loaded.graph_or_raise()
    assert [graph.edge("a", v).kind for v in names[1:]] == ["hard", "hard", "hard", "soft", "hard"]
    (problem,) = loaded.problems
    assert problem.severity == "notice"
    assert "3 edges" in problem.message
    assert "calls (2), config (1)" in problem.message


def test_numbers_as_node_names_become_text(read: Read) -> None:
    """networkx numbers nodes by default."""
    graph = read("t.json", link([{"id": 0}, {"id": 1}], [{"source": 0, "target": 1}]), direction="depends_on")
    assert graph.graph_or_raise().dependencies("0") == ("1",)


def test_parallel_edges_of_a_multigraph_become_one_with_a_warning(read: Read) -> None:
    """The stronger statement holds: hard over soft, alone over in a group, the longer delay."""
    edges = [
        {**EDGE, "key": 0, "kind": "soft", "group": "g", "delay": 5},
        {**EDGE, "key": 1, "kind": "calls", "delay": 9},
    ]
    loaded = read("t.json", link(AB, edges, multigraph=True), direction="depends_on")
    assert loaded.graph_or_raise().edge("a", "b") == Edge("hard", delay=9)
    assert [(problem.severity, problem.code) for problem in loaded.problems] == [
        ("warning", "duplicate_edge"),
        ("notice", "foreign_kind"),
    ]


@pytest.mark.parametrize("direction", ["depends_on", "serves"])
def test_edges_between_parts_and_wholes_have_their_own_direction(read: Read, direction: str) -> None:
    """A service depends on its instance, and what runs on a host on the host; the nodes know what they are."""
    edges = [
        {"source": "api", "target": "api-1", "kind": "has_instance"},
        {"source": "api-1", "target": "n1", "kind": "hosted_on"},
        {"source": "mail", "target": "n1", "kind": "hosted_on", "delay": 5},
        {"source": "mail", "target": "n2", "kind": "hosted_on"},
    ]
    nodes: list[dict[str, Any]] = [{"id": name} for name in ("api", "api-1", "mail", "n1", "n2")]
    loaded = read("t.json", link(nodes, edges), direction=direction)
    graph = loaded.graph_or_raise()
    assert loaded.problems == ()
    assert (graph.instances("api"), graph.hosted("n1"), graph.hosted("n2")) == (("api-1",), ("api-1", "mail"), ())
    assert graph.dependencies("mail") == ("n1", "n2")
    assert graph.edge("mail", "n1").delay == 5


def test_parallel_edges_in_one_group_stay_in_it(read: Read) -> None:
    """Two edges of the same group are one member, with the larger needs."""
    nodes = [*AB, {"id": "c"}]
    edges: list[dict[str, Any]] = [{**EDGE, "group": "g"}, {**EDGE, "group": "g", "needs": 2, "kind": "soft"}]
    edges.append({"source": "a", "target": "c", "group": "g"})
    graph = read("t.json", link(nodes, edges, multigraph=True), direction="depends_on").graph_or_raise()
    assert graph.edge("a", "b") == Edge("hard", "g", 2)


def test_the_format_option_reads_json_of_any_name(read: Read) -> None:
    """An export without a .json name is read when the format is stated."""
    assert read("t.export", link(AB, [EDGE]), format="node-link", direction="serves").graph is not None


def test_old_files_with_an_empty_list_as_graph_are_read(read: Read) -> None:
    """networkx 1 wrote the graph attributes as a list."""
    assert read("t.json", link(AB, [EDGE], graph=[]), direction="serves").graph is not None
