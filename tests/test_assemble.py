"""Settings become the parts that work by them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from correlator.assemble import load_graph, placer_for, reader_for, rules_for
from correlator.config import Settings, load_settings
from correlator.errors import SettingsError
from correlator.model import Alert
from topology import OBSERVER, ServiceGraph

DATA = Path(__file__).parent / "data"


def settings(folder: Path, text: str) -> Settings:
    path = folder / "correlator.toml"
    path.write_text(text)
    return load_settings(path, {})


def one(settings: Settings, document: dict[str, object], topic: str = "alerts.raw") -> Alert:
    reading = reader_for(settings, topic).read(orjson.dumps(document), received_at=1_750_000_000.0, topic=topic)
    assert not reading.rejects
    return reading.alerts[0]


def test_the_reader_of_a_topic_reads_the_dialect_of_the_topic(tmp_path: Path) -> None:
    """A topic with a dialect of its own takes no other."""
    given = settings(
        tmp_path, '[topics]\nraw = ["a", "b"]\n[dialects]\ndefault = "native"\nby_topic = { b = "alertmanager" }\n'
    )
    native = orjson.dumps({"name": "Down", "service": "db"})
    assert [r.reason for _, r in reader_for(given, "b").read(native, received_at=1.75e9).rejects] == ["wrong_type"]
    assert reader_for(given, "a").read(native, received_at=1.75e9).dialect == "native"
    assert reader_for(Settings(), "a").read(native, received_at=1.75e9).dialect == "native"


def test_a_dialect_that_does_not_exist_is_an_error_of_the_settings(tmp_path: Path) -> None:
    """The key is named, and what is known."""
    with pytest.raises(SettingsError, match=r'dialects.default = "smoke": .*native.*auto'):
        reader_for(settings(tmp_path, '[dialects]\ndefault = "smoke"\n'), "alerts.raw")
    with pytest.raises(SettingsError, match=r"dialects\.by_topic\.a"):
        reader_for(settings(tmp_path, '[topics]\nraw = ["a"]\n[dialects]\nby_topic = { a = "smoke" }\n'), "a")


def test_ignored_labels_come_on_top_of_those_of_replicas(tmp_path: Path) -> None:
    """Naming one more label does not make two replicas send different alerts."""
    given = settings(tmp_path, '[dialects]\nignore_labels = ["pod"]\n')
    first = one(given, {"name": "Down", "service": "db", "labels": {"pod": "1", "prometheus_replica": "a"}})
    second = one(given, {"name": "Down", "service": "db", "labels": {"pod": "2", "prometheus_replica": "b"}})
    assert first.fingerprint == second.fingerprint


def test_service_labels_and_limits_reach_the_reader(tmp_path: Path) -> None:
    """The label that names the service is the operator's choice; a record over the limit is rejected."""
    given = settings(tmp_path, '[dialects]\nservice_labels = ["unit"]\n[intake]\nmax_record_bytes = 1024\n')
    assert one(given, {"name": "Down", "status": "firing", "labels": {"unit": "db", "service": "x"}}).service == "db"
    large = orjson.dumps({"name": "Down", "service": "db", "x": "y" * 2_000})
    rejects = reader_for(given, "alerts.raw").read(large, received_at=1.75e9).rejects
    assert [error.reason for _, error in rejects] == ["too_large"]


def test_shard_settings_reach_the_placer(tmp_path: Path) -> None:
    """Labels, attributes and the tenant all make the shard."""
    given = settings(tmp_path, '[shards]\nlabels = ["env"]\nattribute = ["region"]\ntenant_label = "tenant"\n')
    graph = load_graph(given, [DATA / "shop.yaml"]).graph_or_raise()
    alert = one(given, {"name": "Down", "service": "web", "labels": {"env": "prod"}})
    assert placer_for(given, graph).row(alert, 0, 0, 0.0)[0] == "env=prod,region=eu,tenant=acme"


def test_rules_are_those_of_the_section_engine(tmp_path: Path) -> None:
    """Every key of the section arrives, matchers as matchers."""
    given = settings(
        tmp_path, '[engine]\nsettle = "5s"\nbridge = 1\nnever_suppress = [{ match = { team = "pay.*" } }]\n'
    )
    rules = rules_for(given)
    assert (rules.settle, rules.bridge) == (5.0, 1)
    assert rules.never_suppress[0].matches("x", "y", "info", "z", {"team": "payments"})


def test_without_a_file_the_graph_is_empty() -> None:
    """An empty graph is a normal state."""
    assert load_graph(Settings()).graph_or_raise() == ServiceGraph.empty()


def test_given_files_take_the_place_of_the_one_in_the_settings(tmp_path: Path) -> None:
    """The command line has the last word."""
    given = settings(tmp_path, '[topology]\nfile = "nowhere.yaml"\n')
    assert load_graph(given).graph is None
    assert "db" in load_graph(given, [DATA / "shop.yaml"]).graph_or_raise()


def test_several_files_make_one_graph(tmp_path: Path) -> None:
    """The union, and a missing file makes the whole an error."""
    (tmp_path / "more.csv").write_text("source,target\nshop,web\n")
    given = settings(tmp_path, '[topology]\ndirection = "depends_on"\n')
    graph = load_graph(given, [DATA / "shop.yaml", tmp_path / "more.csv"]).graph_or_raise()
    assert graph.dependencies("shop") == ("web",)
    assert load_graph(given, [DATA / "shop.yaml", tmp_path / "absent.csv"]).graph is None


def test_labels_of_the_settings_make_nodes_of_what_services_share(tmp_path: Path) -> None:
    """Whoever watches gets a mark of its own."""
    (tmp_path / "racks.yaml").write_text(
        "{version: 1, direction: depends_on, services: {"
        + ", ".join(f"{name}: {{labels: {{rack: r1, probe: p1}}}}" for name in "abc")
        + ", d: null}}"
    )
    given = settings(tmp_path, '[topology]\nshared_fate = ["rack"]\nobservers = ["probe"]\n')
    graph = load_graph(given, [tmp_path / "racks.yaml"]).graph_or_raise()
    assert graph.dependencies("a") == ("probe=p1", "rack=r1")
    assert graph.node("probe=p1").labels == {OBSERVER: "probe"}


def test_instances_hosts_and_the_network_between_sites_are_part_of_the_graph(tmp_path: Path) -> None:
    """A service without an entry depends on its instance, that on its host; three reach from one site to the other."""
    (tmp_path / "sites.yaml").write_text(
        "{version: 1, direction: depends_on, services: {"
        + ", ".join(f"{name}: {{depends_on: [api-1], labels: {{site: ams}}}}" for name in "abc")
        + ", api-1: {service: api, hosted_on: n1, labels: {site: fra}}}}"
    )
    given = settings(tmp_path, '[topology]\ncuts = ["site"]\n')
    graph = load_graph(given, [tmp_path / "sites.yaml"]).graph_or_raise()
    assert (graph.instances("api"), graph.hosted("n1")) == (("api-1",), ("api-1",))
    assert graph.dependents("site=ams|fra") == ("a", "b", "c")


def test_a_folder_stands_for_the_topologies_in_it(tmp_path: Path) -> None:
    """Other files are left out and said so; a folder without any topology is an error."""
    (tmp_path / "a.yaml").write_text("version: 1\ndirection: depends_on\nservices: {web: {depends_on: [db]}, db: }\n")
    (tmp_path / "b.yaml").write_text("version: 1\ndirection: depends_on\nservices: {jobs: {depends_on: [db]}, db: }\n")
    (tmp_path / "README.md").write_text("hello\n")
    (tmp_path / ".hidden.yaml").write_text("not yaml: [")
    loaded = load_graph(Settings(), [tmp_path])
    assert loaded.graph_or_raise().services == ("db", "jobs", "web")
    assert [p.severity for p in loaded.problems if "README" in p.place] == ["notice"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert [p.code for p in load_graph(Settings(), [empty]).problems] == ["unreadable"]
