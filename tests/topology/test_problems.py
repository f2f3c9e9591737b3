"""Every problem code that loading can report, with its place; and that one load reports all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from topology import PROBLEM_CODES, Loaded, Problem, TopologyError

Findings = Callable[..., list[str]]

HEAD = "version: 1\ndirection: depends_on\nservices:\n"
ONE = {"directed": True, "graph": {"direction": "depends_on"}}


def link(nodes: list[Any], edges: list[Any], **more: Any) -> dict[str, Any]:
    return {**ONE, "nodes": nodes, "edges": edges, **more}


AB = [{"id": "a"}, {"id": "b"}]
AB_EDGE = {"source": "a", "target": "b"}

#: code, file name, content, options, the whole report
CASES: list[tuple[str, str, Any, dict[str, Any], list[str]]] = [
    ("too_large", "t.yaml", HEAD, {"max_bytes": 10}, ["error t.yaml too_large"]),
    ("not_utf8", "t.yaml", b"version: 1\nowner: \xff\n", {}, ["error t.yaml:2:8 not_utf8"]),
    ("not_utf8", "t.json", b'{"nodes": [],\n "a": "\xff"}', {}, ["error t.json:2:8 not_utf8"]),
    ("not_utf8", "t.csv", b"service,depends_on\na,\xe9\n", {}, ["error t.csv:2:3 not_utf8"]),
    ("bad_syntax", "t.yaml", "version: 1\nservices: [a\n", {}, ["error t.yaml:3:1 bad_syntax"]),
    ("bad_syntax", "t.yaml", "a: 1\n\x07b: 2\n", {}, ["error t.yaml:2:1 bad_syntax"]),
    ("bad_syntax", "t.yaml", "größe: 1\nx: \x07\n", {}, ["error t.yaml:2:4 bad_syntax"]),
    ("bad_syntax", "t.yaml", "a: *nothing\n", {}, ["error t.yaml:1:4 bad_syntax"]),
    ("bad_syntax", "t.yaml", "a: &x [*x]\n", {}, ["error t.yaml:1:8 bad_syntax"]),
    ("bad_syntax", "t.yaml", "a: 1\n---\nb: 1\n", {}, ["error t.yaml:2:1 bad_syntax"]),
    ("bad_syntax", "t.yaml", "? [a]\n: 1\n", {}, ["error t.yaml:1:3 bad_syntax"]),
    ("bad_syntax", "t.yaml", "a: &k b\n*k : 1\n", {}, ["error t.yaml:2:1 bad_syntax"]),
    ("bad_syntax", "t.yaml", "a: &x {b: 1}\nc:\n  <<: *x\n", {}, ["error t.yaml:3:3 bad_syntax"]),
    ("bad_syntax", "t.yaml", "a: !!python/object/apply:os.system [id]\n", {}, ["error t.yaml:1:4 bad_syntax"]),
    ("bad_syntax", "t.yaml", "a: !!binary aGk=\n", {}, ["error t.yaml:1:4 bad_syntax"]),
    ("bad_syntax", "t.json", '{"nodes": [],\n "edges": [}', {}, ["error t.json:2:12 bad_syntax"]),
    ("bad_syntax", "t.json", '{"nodes": [NaN]}', {}, ["error t.json:1:12 bad_syntax"]),
    ("bad_syntax", "t.csv", 'service,depends_on\na,"b"c\n', {}, ["error t.csv:2 bad_syntax"]),
    ("bad_syntax", "t.csv", "service,depends_on\na,b,c\n", {}, ["error t.csv:2 bad_syntax"]),
    ("too_deep", "t.yaml", "[" * 100, {}, ["error t.yaml:1:33 too_deep"]),
    ("too_deep", "t.json", "[" * 2000, {}, ["error t.json:1:1026 too_deep"]),
    ("unknown_format", "t.txt", "", {}, ["error t.txt unknown_format"]),
    ("unknown_format", "t.json", "{}", {}, ["error t.json unknown_format"]),
    ("unknown_format", "t.json", "[]", {}, ["error t.json unknown_format"]),
    ("unknown_format", "t.json", "{}", {"format": "graphml"}, ["error t.json unknown_format"]),
    ("missing_key", "t.yaml", "direction: serves\nservices:\n  a:\n", {}, ["error t.yaml:1 missing_key"]),
    ("missing_key", "t.yaml", "version: 1\ndirection: serves\n", {}, ["error t.yaml:1 missing_key"]),
    ("missing_key", "t.yaml", HEAD + "  a:\n    depends_on: [{kind: soft}]\n", {}, ["error t.yaml:5 missing_key"]),
    ("missing_key", "t.json", {**ONE, "nodes": []}, {}, ["error t.json missing_key"]),
    ("missing_key", "t.json", {**ONE, "links": []}, {}, ["error t.json missing_key"]),
    ("missing_key", "t.json", link([{}], []), {}, ["error t.json:nodes[0] missing_key"]),
    ("missing_key", "t.json", link(AB, [{"source": "a"}]), {}, ["error t.json:edges[0] missing_key"]),
    ("missing_key", "t.csv", "", {}, ["error t.csv:1 missing_key"]),
    ("missing_key", "t.csv", "service\na\n", {}, ["error t.csv:1 missing_key"]),
    ("unknown_key", "t.yaml", HEAD + "  a:\n    ownr: ada\n", {}, ["error t.yaml:5 unknown_key"]),
    ("unknown_key", "t.yaml", "servces: 1\n" + HEAD + "  a:\n", {}, ["error t.yaml:1 unknown_key"]),
    ("unknown_key", "t.yaml", "defaults: {aliases: [x]}\n" + HEAD + "  a:\n", {}, ["error t.yaml:1 unknown_key"]),
    (
        "unknown_key",
        "t.yaml",
        HEAD + "  b:\n  a:\n    depends_on: [{service: b, knd: soft}]\n",
        {},
        ["error t.yaml:6 unknown_key"],
    ),
    ("unknown_key", "t.csv", "service,depends_on,knd\na,b,\n", {}, ["error t.csv:1 unknown_key"]),
    ("unknown_key", "t.csv", "service,depends_on,target\na,b,\n", {}, ["error t.csv:1 unknown_key"]),
    ("unknown_key", "t.json", link([{"id": "a", "Tier": 1}], []), {}, ["notice t.json:nodes unknown_key"]),
    ("unknown_key", "t.json", link(AB, [], direction="serves"), {}, ["notice t.json:direction unknown_key"]),
    (
        "duplicate_key",
        "t.yaml",
        HEAD + "  a:\n    owner: ada\n    tier: 1\n    owner: bob\n",
        {},
        ["error t.yaml:7 duplicate_key"],
    ),
    (
        "duplicate_key",
        "t.json",
        '{"version": 1, "direction": "serves", "services": {"a": {"tier": 1, "tier": 2}}}',
        {},
        ["error t.json:services.a.tier duplicate_key"],
    ),
    (
        "duplicate_key",
        "t.json",
        '{"version": 1, "direction": "serves", '
        '"services": {"b": {}, "a": {"serves": [{"service": "b", "service": "b"}]}}}',
        {},
        ["error t.json:services.a.serves[0].service duplicate_key"],
    ),
    ("duplicate_key", "t.json", link([], [], links=[]), {}, ["error t.json:links duplicate_key"]),
    ("duplicate_key", "t.csv", "service,depends_on,kind,kind\na,b,,\n", {}, ["error t.csv:1 duplicate_key"]),
    ("bad_type", "t.yaml", "- a\n", {}, ["error t.yaml:1 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  a: 5\n", {}, ["error t.yaml:4 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  a:\n    tier: gold\n", {}, ["error t.yaml:5 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  a:\n    tier: '1'\n", {}, ["error t.yaml:5 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  a:\n    tier: true\n", {}, ["error t.yaml:5 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  a:\n    owner: [ada]\n", {}, ["error t.yaml:5 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  a:\n    aliases: x\n", {}, ["error t.yaml:5 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  a:\n    labels: x\n", {}, ["error t.yaml:5 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  a:\n    labels:\n      x:\n        - y\n", {}, ["error t.yaml:6 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  b:\n  a:\n    depends_on: b\n", {}, ["error t.yaml:6 bad_type"]),
    ("bad_type", "t.yaml", HEAD + "  b:\n  a:\n    depends_on:\n      - [b]\n", {}, ["error t.yaml:7 bad_type"]),
    ("bad_type", "t.yaml", "defaults: x\n" + HEAD + "  a:\n", {}, ["error t.yaml:1 bad_type"]),
    ("bad_type", "t.yaml", "version: 1\ndirection: serves\nservices: []\n", {}, ["error t.yaml:3 bad_type"]),
    ("bad_type", "t.json", [], {"format": "node-link"}, ["error t.json bad_type"]),
    ("bad_type", "t.json", link(["a"], []), {}, ["error t.json:nodes[0] bad_type"]),
    ("bad_type", "t.json", link([{"id": [1]}], []), {}, ["error t.json:nodes[0].id bad_type"]),
    ("bad_type", "t.json", link(AB, ["a"]), {}, ["error t.json:edges[0] bad_type"]),
    ("bad_type", "t.json", {**ONE, "nodes": {}, "edges": []}, {}, ["error t.json:nodes bad_type"]),
    ("bad_type", "t.json", link(AB, [], multigraph="yes"), {}, ["error t.json:multigraph bad_type"]),
    ("bad_type", "t.json", link(AB, [], graph="x"), {"direction": "serves"}, ["error t.json:graph bad_type"]),
    (
        "bad_type",
        "t.json",
        link([{"id": "a", "labels": ["x"], "z": 1}], []),
        {},
        ["error t.json:nodes[0].labels bad_type"],
    ),
    ("bad_type", "t.csv", "service,depends_on,group,needs\na,b,g,two\n", {}, ["error t.csv:2 bad_type"]),
    ("bad_value", "t.yaml", "version: 2\ndirection: serves\nservices: {a: }\n", {}, ["error t.yaml:1 bad_value"]),
    ("bad_value", "t.yaml", "version: 1\ndirection: up\nservices: {a: }\n", {}, ["error t.yaml:2 bad_value"]),
    ("bad_value", "t.yaml", HEAD + "  a:\n    tier: -1\n", {}, ["error t.yaml:5 bad_value"]),
    ("bad_value", "t.yaml", HEAD + '  a:\n    owner: "a\\nb"\n', {}, ["error t.yaml:5 bad_value"]),
    ("bad_value", "t.json", link(AB, [{**AB_EDGE, "delay": -1}]), {}, ["error t.json:edges[0].delay bad_value"]),
    ("bad_value", "t.json", link(AB, [], graph={"direction": "up"}), {}, ["error t.json:graph.direction bad_value"]),
    ("bad_value", "t.csv", "service,depends_on,delay\na,b,soon\n", {}, ["error t.csv:2 bad_value"]),
    ("bad_value", "t.csv", "service,depends_on,group,needs\na,b,g,0\n", {}, ["error t.csv:2 bad_value"]),
    ("bad_value", "t.csv", "source,target\na,b\n", {"direction": "up"}, ["error t.csv bad_value"]),
    ("bad_name", "t.yaml", HEAD + "  ' a':\n", {}, ["error t.yaml:4 bad_name"]),
    ("bad_name", "t.yaml", HEAD + '  "a\\u0007":\n', {}, ["error t.yaml:4 bad_name"]),
    ("bad_name", "t.yaml", HEAD + "  a:\n    aliases: ['']\n", {}, ["error t.yaml:5 bad_name"]),
    ("bad_name", "t.yaml", HEAD + "  a:\n    labels: {'': x}\n", {}, ["error t.yaml:5 bad_name"]),
    ("bad_name", "t.json", link([{"id": ""}], []), {}, ["error t.json:nodes[0].id bad_name"]),
    ("bad_name", "t.csv", "source,target\na,\n", {"direction": "serves"}, ["error t.csv:2 bad_name"]),
    ("bad_name", "t.csv", "service,depends_on\n,a\n", {}, ["error t.csv:2 bad_name"]),
    ("unknown_kind", "t.csv", "service,depends_on,kind\na,b,weak\n", {}, ["error t.csv:2 unknown_kind"]),
    (
        "unknown_kind",
        "t.yaml",
        HEAD + "  b:\n  a:\n    depends_on:\n      - service: b\n        kind: weak\n",
        {},
        ["error t.yaml:8 unknown_kind"],
    ),
    ("foreign_kind", "t.json", link(AB, [{**AB_EDGE, "kind": "calls"}]), {}, ["notice t.json:edges foreign_kind"]),
    (
        "ignored_attribute",
        "t.json",
        link(AB, [{**AB_EDGE, "weight": 2}]),
        {},
        ["notice t.json:edges ignored_attribute"],
    ),
    (
        "ignored_attribute",
        "t.json",
        link([{"id": "a", "pos": [1, 2]}], []),
        {},
        ["notice t.json:nodes ignored_attribute"],
    ),
    ("direction_missing", "t.yaml", "version: 1\nservices: {a: }\n", {}, ["error t.yaml:1 direction_missing"]),
    ("direction_missing", "t.csv", "source,target\na,b\n", {}, ["error t.csv:1 direction_missing"]),
    ("direction_missing", "t.json", link(AB, [], graph={}), {}, ["error t.json:graph.direction direction_missing"]),
    ("direction_conflict", "t.yaml", HEAD + "  a:\n", {"direction": "serves"}, ["error t.yaml:2 direction_conflict"]),
    ("direction_conflict", "t.yaml", HEAD + "  a:\n", {"direction": "both"}, ["error t.yaml:2 direction_conflict"]),
    ("direction_conflict", "t.yaml", HEAD + "  b:\n  a:\n    serves: [b]\n", {}, ["error t.yaml:6 direction_conflict"]),
    (
        "direction_conflict",
        "t.json",
        link(AB, []),
        {"direction": "serves"},
        ["error t.json:graph.direction direction_conflict"],
    ),
    (
        "direction_conflict",
        "t.json",
        link(AB, [], graph={}),
        {"direction": "both"},
        ["error t.json:directed direction_conflict"],
    ),
    (
        "direction_conflict",
        "t.csv",
        "service,depends_on\na,b\n",
        {"direction": "serves"},
        ["error t.csv:1 direction_conflict"],
    ),
    ("direction_conflict", "t.csv", "service,depends_on,serves\na,b,\n", {}, ["error t.csv:1 direction_conflict"]),
    ("undirected", "t.json", link(AB, [], directed=False), {}, ["error t.json:directed undirected"]),
    (
        "undirected",
        "t.json",
        link(AB, [], directed=False, graph={}),
        {"direction": "depends_on"},
        ["error t.json:directed undirected"],
    ),
    ("duplicate_node", "t.yaml", HEAD + "  a:\n  b:\n  a: {tier: 1}\n", {}, ["error t.yaml:6 duplicate_node"]),
    (
        "duplicate_node",
        "t.json",
        '{"version": 1, "direction": "serves", "services": {"a": {}, "a": {}}}',
        {},
        ["error t.json:services.a duplicate_node"],
    ),
    ("duplicate_node", "t.json", link([*AB, {"id": "a"}], []), {}, ["error t.json:nodes[2] duplicate_node"]),
    ("duplicate_node", "t.json", link([{"id": 1}, {"id": "1"}], []), {}, ["error t.json:nodes[1] duplicate_node"]),
    ("unknown_service", "t.yaml", HEAD + "  a:\n    depends_on: [b]\n", {}, ["error t.yaml:5 unknown_service"]),
    ("unknown_service", "t.json", link(AB[:1], [AB_EDGE]), {}, ["error t.json:edges[0] unknown_service"]),
    ("self_loop", "t.yaml", HEAD + "  a:\n    depends_on: [a]\n", {}, ["warning t.yaml:5 self_loop"]),
    ("self_loop", "t.csv", "service,depends_on\na,b\na,a\n", {}, ["warning t.csv:3 self_loop"]),
    ("self_loop", "t.json", link(AB, [{"source": "a", "target": "a"}]), {}, ["warning t.json:edges[0] self_loop"]),
    ("duplicate_edge", "t.csv", "service,depends_on\na,b\n\na,b\n", {}, ["warning t.csv:4 duplicate_edge"]),
    ("duplicate_edge", "t.json", link(AB, [AB_EDGE, AB_EDGE]), {}, ["warning t.json:edges[1] duplicate_edge"]),
    (
        "duplicate_edge",
        "t.yaml",
        HEAD + "  b:\n  a:\n    depends_on:\n      - b\n      - b\n",
        {},
        ["warning t.yaml:8 duplicate_edge"],
    ),
    ("conflicting_edge", "t.csv", "service,depends_on,kind\na,b,\na,b,soft\n", {}, ["error t.csv:3 conflicting_edge"]),
    (
        "alias_collision",
        "t.yaml",
        HEAD + "  a:\n    aliases: [x]\n  b:\n    aliases: [x]\n",
        {},
        ["error t.yaml:6 alias_collision"],
    ),
    (
        "alias_collision",
        "t.json",
        link([{"id": "a", "aliases": ["b"]}, {"id": "b"}], []),
        {},
        ["error t.json:nodes[0] alias_collision"],
    ),
    ("needs_too_many", "t.csv", "service,depends_on,group,needs\na,b,g,2\n", {}, ["error t.csv:2 needs_too_many"]),
    (
        "needs_conflict",
        "t.csv",
        "service,depends_on,group,needs\na,b,g,1\na,c,g,2\n",
        {},
        ["error t.csv:3 needs_conflict"],
    ),
    ("needs_without_group", "t.csv", "service,depends_on,needs\na,b,1\n", {}, ["error t.csv:2 needs_without_group"]),
    ("cycle", "t.csv", "service,depends_on\na,b\nb,a\n", {}, ["notice t.csv:2 cycle"]),
    ("empty", "t.yaml", HEAD, {}, ["warning t.yaml:1 empty"]),
    ("empty", "t.json", link([], []), {}, ["warning t.json empty"]),
    ("empty", "t.csv", "service,depends_on\n", {}, ["warning t.csv:1 empty"]),
]

#: Codes that need more than one file or no file at all; see the tests named here.
ELSEWHERE = {
    "unreadable",  # test_malformed
    "too_many_nodes",  # test_malformed
    "attribute_conflict",  # test_merge
    "isolated",  # test_lint, this one and the following
    "no_owner",
    "no_on_call",
    "no_redundancy",
    "deepest_chain",
    "widely_shared",
}


@pytest.mark.parametrize(("code", "name", "content", "options", "expected"), CASES)
def test_a_problem_is_reported_with_its_place(
    findings: Findings, code: str, name: str, content: Any, options: dict[str, Any], expected: list[str]
) -> None:
    """Each code is reported once, at the place where a person has to look, and nothing else is."""
    assert findings(name, content, **options) == expected
    assert expected[0].endswith(code)


def test_every_code_is_tested() -> None:
    """A code without a test is a code that may never be reported."""
    assert {case[0] for case in CASES} | ELSEWHERE == set(PROBLEM_CODES)


@pytest.mark.parametrize("case", [case for case in CASES if case[4][0].startswith("error")])
def test_an_error_leaves_no_graph(read: Callable[..., Loaded], case: tuple[Any, ...]) -> None:
    """A graph that is half right is not returned, and asking for it raises with all problems."""
    loaded = read(case[1], case[2], **case[3])
    assert loaded.graph is None
    with pytest.raises(TopologyError) as caught:
        loaded.graph_or_raise()
    assert caught.value.problems == loaded.problems


@pytest.mark.parametrize("case", [case for case in CASES if not case[4][0].startswith("error")])
def test_warnings_and_notices_leave_the_graph(read: Callable[..., Loaded], case: tuple[Any, ...]) -> None:
    """What is only odd does not stop the load."""
    loaded = read(case[1], case[2], **case[3])
    assert loaded.graph is not None
    assert loaded.graph_or_raise() is loaded.graph


def test_one_load_reports_all_problems(findings: Findings) -> None:
    """A person mends a file once, not once per problem."""
    text = """\
version: 2
direction: depends_on
colour: red
services:
  a:
    tier: gold
    ownr: ada
    depends_on:
      - a
      - nowhere
      - {service: b, kind: weak, delay: -5, needs: 2}
      - {service: c, group: g, needs: 3}
  b: [1]
  c:
  c:
"""
    assert findings("t.yaml", text) == [
        "error t.yaml:15 duplicate_node",
        "error t.yaml:3 unknown_key",
        "error t.yaml:1 bad_value",
        "error t.yaml:6 bad_type",
        "error t.yaml:7 unknown_key",
        "warning t.yaml:9 self_loop",
        "error t.yaml:11 unknown_kind",
        "error t.yaml:11 bad_value",
        "error t.yaml:11 needs_without_group",
        "error t.yaml:13 bad_type",
        "error t.yaml:10 unknown_service",
        "error t.yaml:12 needs_too_many",
    ]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("  a:\n    ownr: x\n", "did you mean 'owner'?"),
        ("  a:\n    on-call: x\n", "did you mean 'on_call'?"),
        ("  a:\n    zzz: x\n", "known: service, hosted_on, owner"),
        ("  check-out:\n  a:\n    depends_on: [checkout]\n", "did you mean 'check-out'?"),
        ("  payments:\n  a:\n    depends_on: [paymnets]\n", "did you mean 'payments'?"),
    ],
)
def test_a_misspelt_word_comes_with_the_likely_one(read: Callable[..., Loaded], content: str, hint: str) -> None:
    """The report says what was probably meant."""
    assert hint in read("t.yaml", HEAD + content).problems[0].message


def test_a_cycle_lists_ten_members_and_counts_the_rest(read: Callable[..., Loaded]) -> None:
    """The notice stays short however long the circle is."""
    rows = "".join(f"s{index:02},s{(index + 1) % 14:02}\n" for index in range(14))
    (problem,) = read("t.csv", "service,depends_on\n" + rows).problems
    expected = ", ".join(f"s{index:02}" for index in range(10))
    assert problem.message == f"14 services depend on each other in a circle: {expected} and 4 more"


def test_many_unknown_services_are_all_reported_and_soon(read: Callable[..., Loaded]) -> None:
    """Suggestions are bounded, reports are not."""
    edges = [{"source": "a", "target": f"gone-{index}"} for index in range(3000)]
    loaded = read("t.json", link(AB, edges))
    assert len(loaded.problems) == 3000


def test_a_problem_reads_as_one_line_and_knows_its_codes() -> None:
    """The line is what a terminal shows; a code outside the list is a mistake of ours."""
    problem = Problem("error", "t.yaml:3", "cycle", "text")
    assert str(problem) == "t.yaml:3: error: text [cycle]"
    with pytest.raises(ValueError, match="unknown problem code 'other'"):
        Problem("error", "t.yaml:3", "other", "text")
