"""Our own format: what each key means, in YAML and in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from topology import Edge, Loaded, Node, Redundancy, load
from topology.formats import yaml_document

Read = Callable[..., Loaded]

HEAD = "version: 1\ndirection: depends_on\nservices:\n"
EXAMPLE = Path(__file__).parents[2] / "deploy" / "topology.example.yaml"

FULL = """\
version: 1
direction: depends_on
defaults: {team: platform, channel: "#all", tier: 5, labels: {env: prod, region: none}}
services:
  checkout:
    depends_on: [payments, {service: cat-1, group: cat, needs: 1}, {service: rec, kind: soft, delay: 1m30s}]
    owner: ada
    team: shop
    on_call: rota
    runbook: https://wiki.example.org/checkout
    channel: "#shop"
    tier: 0
    aliases: [co, checkout.svc]
    labels: {region: eu, customer_facing: true, floor: 3}
  payments:
  cat-1: {service: cat}
  rec: {tier: 9}
"""


def test_every_key_is_read(read: Read) -> None:
    """What a service states about itself and its dependencies is in the graph."""
    graph = read("t.yaml", FULL).graph_or_raise()
    assert graph.node("checkout") == Node(
        owner="ada",
        team="shop",
        on_call="rota",
        runbook="https://wiki.example.org/checkout",
        channel="#shop",
        tier=0,
        labels={"env": "prod", "region": "eu", "customer_facing": "true", "floor": "3"},
        aliases=("checkout.svc", "co"),
    )
    assert graph.edge("checkout", "payments") == Edge()
    assert graph.edge("checkout", "rec") == Edge("soft", delay=90)
    assert graph.redundancies("checkout") == (Redundancy("cat", ("cat-1",), 1),)
    assert graph.service_of("cat-1") == "cat"


def test_defaults_hold_where_a_service_is_silent(read: Read) -> None:
    """A default never replaces what a service states itself; labels are merged one by one."""
    graph = read("t.yaml", FULL).graph_or_raise()
    assert graph.node("payments") == Node(
        team="platform", channel="#all", tier=5, labels={"env": "prod", "region": "none"}
    )
    assert graph.node("rec").tier == 9


def test_serves_is_the_same_graph_seen_from_below(read: Read) -> None:
    """direction: serves inverts the lists, with all attributes of the edge."""
    above = HEAD + "  a:\n    depends_on: [b, {service: c, group: g, delay: 5s}]\n  b:\n  c:\n"
    below = (
        "version: 1\ndirection: serves\nservices:\n  a:\n  b: {serves: [a]}\n"
        "  c: {serves: [{service: a, group: g, delay: 5}]}\n"
    )
    assert read("t.yaml", above).graph_or_raise() == read("t.yaml", below).graph_or_raise()


def test_the_option_may_repeat_what_the_file_says(read: Read) -> None:
    """The same command line works for files that state the direction and files that do not."""
    assert read("t.yaml", HEAD + "  a:\n", direction="depends_on").graph is not None


def test_json_and_yaml_of_the_same_content_are_the_same_graph(read: Read) -> None:
    """The format is one, with two ways to write it."""
    graph = read("t.yaml", FULL).graph_or_raise()
    assert read("t.json", graph.to_native()).graph_or_raise().version == graph.version
    assert read("t.yml", json.dumps(graph.to_native())).graph_or_raise().version == graph.version


def test_a_file_name_without_meaning_needs_the_format(read: Read) -> None:
    """The option decides when the name does not."""
    assert read("t.conf", HEAD + "  a:\n", format="native").graph is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("0.5", 0.5), ("'30'", 30), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600), ("1d2h", 93600)],
)
def test_a_delay_is_seconds_or_a_duration(read: Read, text: str, seconds: float) -> None:
    """Durations are written as in Prometheus, or as a number of seconds."""
    loaded = read("t.yaml", HEAD + f"  b:\n  a:\n    depends_on: [{{service: b, delay: {text}}}]\n")
    assert loaded.graph_or_raise().edge("a", "b").delay == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["-1", "-0.5", "soon", "5 m", "5x", "s", "1e3", ".inf", "99999d", "true", "[1]"])
def test_a_delay_that_is_no_duration_is_an_error(read: Read, text: str) -> None:
    """Nothing is guessed from text that is not a duration."""
    (problem,) = read("t.yaml", HEAD + f"  b:\n  a:\n    depends_on: [{{service: b, delay: {text}}}]\n").problems
    assert problem.code in ("bad_value", "bad_type")
    assert "30s, 5m, 1h" in problem.message


def test_words_and_numbers_of_yaml_stay_what_was_written(read: Read) -> None:
    """no, on and 1.10 are names and labels, not truth values and 1.1; so is a version or a date."""
    text = HEAD + "  no:\n    labels: {country: no, version: 1.10, day: 2024-01-31, code: 007, hex: 0x1F}\n  1234:\n"
    graph = read("t.yaml", text + "  on: {depends_on: [no, 1234]}\n").graph_or_raise()
    assert graph.services == ("1234", "no", "on")
    assert graph.dependencies("on") == ("1234", "no")
    assert graph.node("no").labels == {
        "country": "no",
        "version": "1.10",
        "day": "2024-01-31",
        "code": "007",
        "hex": "0x1F",
    }


def test_without_libyaml_the_outcome_is_the_same(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C parser is faster, and nothing else."""
    graph = read("t.yaml", FULL).graph_or_raise()
    monkeypatch.setattr(yaml_document, "_LOADER", yaml.SafeLoader)
    assert read("t.yaml", FULL).graph_or_raise() == graph
    assert [str(problem) for problem in read("t.yaml", HEAD + "  größe:\n    tier: x\n").problems] == [
        "t.yaml:5: error: tier must be a whole number, not 'x' [bad_type]"
    ]
    assert read("t.yaml", "größe: 1\nx: \x07\n").problems[0].place == "t.yaml:2:4"


def test_anchored_keys_and_values_can_be_used_again(read: Read) -> None:
    """An anchor may stand on a key, a word or a list."""
    text = HEAD + "  &n a: {owner: &o ada}\n  b: {owner: *o, depends_on: [*n]}\n"
    graph = read("t.yaml", text).graph_or_raise()
    assert graph.node("b").owner == "ada"
    assert graph.dependencies("b") == ("a",)


def test_null_and_empty_text_count_as_not_stated(read: Read) -> None:
    """An empty cell of a generator is no attribute."""
    graph = read(
        "t.yaml", HEAD + "  a: {owner: , team: '', tier: null, labels: {x: }, depends_on: }\n"
    ).graph_or_raise()
    assert graph.node("a") == Node()


def test_names_keep_their_case_and_punctuation(read: Read) -> None:
    """Names are compared as they are written."""
    names = ["AWS::Lambda/x", "a.b", "Zahlung-Größe", "a b", "a\u00a0b"]
    data = {"version": 1, "direction": "depends_on", "services": dict.fromkeys(names)}
    assert read("t.json", data).graph_or_raise().services == tuple(sorted(names))


def test_the_example_file_loads_and_uses_every_field() -> None:
    """The file that users copy from is right, and shows all there is."""
    loaded = load(EXAMPLE)
    assert all(problem.severity == "notice" for problem in loaded.problems)
    graph = loaded.graph_or_raise()
    stated = {field.name for name in graph for field in fields(Node) if getattr(graph.node(name), field.name)}
    assert stated == {field.name for field in fields(Node)}
    edges = [graph.edge(u, v) for u in graph for v in graph.dependencies(u)]
    default = Edge()
    used = {f.name for edge in edges for f in fields(Edge) if getattr(edge, f.name) != getattr(default, f.name)}
    assert used == {field.name for field in fields(Edge)}
    assert graph.node("payments").team == "platform"
