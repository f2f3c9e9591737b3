"""Several sources, one graph."""

from __future__ import annotations

from collections.abc import Callable

from topology import Edge, Loaded, Node, Problem, ServiceGraph, merge

Read = Callable[..., Loaded]


def source(nodes: dict[str, Node], edges: dict[tuple[str, str], Edge]) -> Loaded:
    return Loaded(ServiceGraph.build(nodes, edges))


def test_the_union_holds_all_services_and_dependencies(read: Read) -> None:
    """One source knows the owners, another the edges; together they are one graph."""
    owners = read("o.yaml", "version: 1\ndirection: serves\nservices: {a: {owner: ada}, c: }\n")
    edges = read("e.csv", "service,depends_on\na,b\n")
    graph = merge([("owners", owners), ("edges", edges)]).graph_or_raise()
    assert graph.services == ("a", "b", "c")
    assert graph.node("a").owner == "ada"
    assert graph.dependencies("a") == ("b",)


def test_the_first_source_holds_where_two_differ() -> None:
    """A conflict is a warning that names both values; what only one states is taken from it."""
    first = source({"a": Node(owner="ada", labels={"x": "1"}, aliases=("p",)), "b": Node()}, {("a", "b"): Edge()})
    second = source(
        {"a": Node(owner="bob", tier=1, labels={"x": "2", "y": "3"}, aliases=("q",)), "b": Node()},
        {("a", "b"): Edge("soft")},
    )
    merged = merge([("one", first), ("two", second)])
    graph = merged.graph_or_raise()
    assert graph.node("a") == Node(owner="ada", tier=1, labels={"x": "1", "y": "3"}, aliases=("p", "q"))
    assert graph.edge("a", "b") == Edge()
    assert [str(problem) for problem in merged.problems] == [
        "two:a.owner: warning: owner is 'bob' here and 'ada' at one:a; the first source holds [attribute_conflict]",
        "two:a.labels.x: warning: labels.x is '2' here and '1' at one:a; the first source holds [attribute_conflict]",
        "two:a.depends_on.b: warning: the edge has kind 'soft' here and kind 'hard' at one:a.depends_on.b; "
        "the first source holds [attribute_conflict]",
    ]


def test_sources_that_agree_merge_without_a_word() -> None:
    """The same source twice is that source."""
    one = source({"a": Node(tier=1), "b": Node()}, {("a", "b"): Edge("soft")})
    merged = merge([("one", one), ("two", one)])
    assert merged == Loaded(one.graph)


def test_an_alias_may_collide_only_once_sources_meet() -> None:
    """What is impossible in the whole is an error of the whole."""
    merged = merge([("one", source({"a": Node(aliases=("b",))}, {})), ("two", source({"b": Node()}, {}))])
    assert merged.graph is None
    assert [(problem.place, problem.code) for problem in merged.problems] == [("one:a", "alias_collision")]


def test_groups_are_checked_in_the_whole() -> None:
    """Each source may be right about needs, and both together wrong."""
    one = source({"a": Node(), "b": Node()}, {("a", "b"): Edge(group="g", needs=1)})
    two = source(
        dict.fromkeys("acd", Node()), {("a", "c"): Edge(group="g", needs=2), ("a", "d"): Edge(group="g", needs=2)}
    )
    merged = merge([("one", one), ("two", two)])
    assert {problem.code for problem in merged.problems} == {"needs_conflict"}
    assert merged.graph is None


def test_a_source_with_an_error_makes_the_whole_an_error() -> None:
    """Half of a topology would place alerts wrongly without saying so."""
    problem = Problem("error", "x.yaml:3", "bad_value", "text")
    merged = merge([("one", Loaded(None, (problem,))), ("two", source({"a": Node()}, {}))])
    assert merged == Loaded(None, (problem,))


def test_cycles_and_emptiness_are_said_of_the_whole(read: Read) -> None:
    """An empty source is no finding when another has services; a cycle may need two sources."""
    empty = read("e.csv", "service,depends_on\n")
    one, two = read("1.csv", "service,depends_on\na,b\n"), read("2.csv", "service,depends_on\nb,a\n")
    assert [problem.code for problem in merge([("e", empty), ("1", one), ("2", two)]).problems] == ["cycle"]
    assert [problem.code for problem in merge([]).problems] == ["empty"]


def test_merging_does_not_change_the_sources() -> None:
    """The graphs that went in are as they were."""
    one, two = source({"a": Node(owner="x")}, {}), source({"a": Node(labels={"k": "v"})}, {})
    before = (one.graph_or_raise().version, two.graph_or_raise().version)
    merge([("one", one), ("two", two)])
    assert (one.graph_or_raise().version, two.graph_or_raise().version) == before
    assert one.graph_or_raise().node("a").labels == {}
