"""Files that are broken or hostile: one error with a place, in bounded time and memory, and never an exception."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topology import Loaded, load

Read = Callable[..., Loaded]
Findings = Callable[..., list[str]]

HEAD = "version: 1\ndirection: depends_on\nservices:\n"


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """The report names the file and the reason of the operating system."""
    (problem,) = load(tmp_path / "none.yaml").problems
    assert (problem.severity, problem.code) == ("error", "unreadable")
    assert problem.place == str(tmp_path / "none.yaml")
    assert os.strerror(2) in problem.message


@pytest.mark.parametrize("path", [".", "a\0b.yaml"])
def test_what_cannot_be_a_file_is_a_problem(path: str) -> None:
    """A directory or an impossible name is reported like an absent file."""
    assert load(path).problems[0].code == "unreadable"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_yaml_is_refused_before_it_costs_anything(findings: Findings, opening: str) -> None:
    """A hundred thousand levels end at the limit, not in a crash."""
    found = findings("t.yaml", opening * 100_000)
    assert [line.split()[2] for line in found] == ["too_deep"]


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [900, 1020, 5_000, 100_000])
def test_deep_json_is_refused(findings: Findings, opening: str, depth: int) -> None:
    """Whatever the depth, the report is a problem of the file."""
    closing = "]" if opening == "[" else "}"
    text = '{"services": ' + opening * depth + "1" + closing * depth + "}"
    (line, *_) = findings("t.json", text)
    assert line.startswith("error t.json")


def test_an_alias_bomb_is_refused_at_the_limit(findings: Findings) -> None:
    """Ten levels of ten aliases would be ten billion values; they are counted, not made."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    (line,) = findings("t.yaml", "\n".join(lines))
    assert line.endswith("too_many_nodes")
    assert line.startswith("error t.yaml:7")


def test_a_large_alias_used_often_is_refused(findings: Findings) -> None:
    """Size counts as if every alias were written out, also without nesting."""
    services = "".join(f"  s{index}: {{depends_on: *all}}\n" for index in range(3000))
    names = ", ".join(f"s{index}" for index in range(3000))
    (line,) = findings("t.yaml", f"x: &all [{names}]\n{HEAD}{services}")
    assert line.endswith("too_many_nodes")


def test_aliases_of_honest_size_are_written_out(read: Read) -> None:
    """Anchors are ordinary YAML, and their problems point to where the text stands."""
    text = HEAD + "  a:\n    depends_on: &deps [b, c]\n  d:\n    depends_on: *deps\n  b:\n  c:\n"
    graph = read("t.yaml", text).graph_or_raise()
    assert graph.dependencies("a") == graph.dependencies("d") == ("b", "c")


def test_a_long_number_in_json_is_a_problem_of_the_file(findings: Findings) -> None:
    """Python refuses integers of more than 4,300 digits; the loader says so in its own words."""
    digits = "9" * (sys.get_int_max_str_digits() + 700)
    text = f'{{"version": 1, "direction": "serves", "services": {{"a": {{"tier": {digits}}}}}}}'
    (line,) = findings("t.json", text)
    assert line.startswith("error t.json")


def test_a_byte_order_mark_is_no_problem(read: Read) -> None:
    """Spreadsheets write one in front of every file."""
    assert read("t.csv", "\ufeffservice,depends_on\na,b\n").graph_or_raise().dependencies("a") == ("b",)
    assert not read("t.yaml", "\ufeff" + HEAD + "  a:\n").problems
    assert not read("t.json", '\ufeff{"version": 1, "direction": "serves", "services": {"a": {}}}').problems


def test_a_file_of_exactly_the_limit_is_read(read: Read) -> None:
    """The limit is the largest size that is allowed."""
    text = HEAD + "  a:\n"
    assert read("t.yaml", text, max_bytes=len(text)).graph is not None
    assert read("t.yaml", text, max_bytes=len(text) - 1).graph is None


def test_control_characters_and_lone_surrogates_are_refused(findings: Findings) -> None:
    """Names end up in keys, logs and pages."""
    assert findings("t.json", b'{"nodes": [{"id": "\\ud800"}], "edges": []}')[0].endswith("bad_syntax")
    text = '{"nodes": [{"id": "a\\u0000"}], "edges": []}'
    assert findings("t.json", text, direction="serves") == ["error t.json:nodes[0].id bad_name"]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(read: Read, enabled: bool) -> None:
    """Loading pauses the collector, and never leaves it paused for the caller, errors included."""
    (gc.enable if enabled else gc.disable)()
    try:
        read("t.yaml", "[")
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text("ab-\0 é", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)
node_like = st.dictionaries(
    st.sampled_from(("id", "service", "tier", "labels", "aliases", "owner", "depends_on", "serves", "x")), json_values
)
edge_like = st.dictionaries(
    st.sampled_from(("source", "target", "service", "kind", "group", "needs", "delay", "key", "x")), json_values
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "version": st.just(1) | json_values,
        "direction": st.sampled_from(("depends_on", "serves")) | json_values,
        "defaults": json_values | node_like,
        "services": json_values | st.dictionaries(st.text("ab", max_size=2), json_values | node_like, max_size=3),
        "directed": st.booleans() | json_values,
        "multigraph": st.booleans() | json_values,
        "graph": json_values | st.fixed_dictionaries({"direction": st.sampled_from(("serves", "both")) | json_values}),
        "nodes": json_values | st.lists(node_like | json_values, max_size=4),
        "edges": json_values | st.lists(edge_like | json_values, max_size=4),
        "links": json_values | st.lists(edge_like, max_size=4),
    },
)
relaxed = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(documents, st.sampled_from(("native", "node-link")), st.sampled_from((None, "depends_on", "serves", "both")))
def test_plain_data_of_any_shape_loads_or_is_reported(read: Read, document: Any, form: str, way: str | None) -> None:
    """Loading never raises: there is a graph, or an error that says why not."""
    loaded = read("t.json", document, format=form, direction=way)
    assert (loaded.graph is None) == any(problem.severity == "error" for problem in loaded.problems)


@relaxed
@given(
    st.text("ab:-[]{}&*!,'\"#\n \t?|>%@0", max_size=60) | st.binary(max_size=40),
    st.sampled_from(("yaml", "csv", "json")),
)
def test_any_bytes_load_or_are_reported(read: Read, content: str | bytes, suffix: str) -> None:
    """Loading never raises, whatever the file holds."""
    loaded = read(f"t.{suffix}", content, direction="depends_on")
    assert (loaded.graph is None) == any(problem.severity == "error" for problem in loaded.problems)
