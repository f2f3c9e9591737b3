"""The laws that a drawn storm keeps, whatever its variant, size and seed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

from benchmarks.storms import fewest_incidents, main
from correlator.storms import START, VARIANTS, Storm, node_link, storm, stream, write_case

DRAWS = [(variant, services, seed) for variant in VARIANTS for services in (60, 200, 1000) for seed in (1, 2, 3)]
EVERY = pytest.mark.parametrize(("variant", "services", "seed"), DRAWS)
LATE = pytest.mark.parametrize(("services", "seed"), [(services, seed) for v, services, seed in DRAWS if v == "c"])
ROOT = Path(__file__).parents[1]


@cache
def drawn(variant: str, services: int, seed: int) -> Storm:
    """The storm of these arguments, drawn once."""
    return storm(variant, services=services, seed=seed)


def graph_of(it: Storm) -> nx.DiGraph[str]:
    """Its graph as networkx knows graphs."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(it.graph["nodes"])
    graph.add_edges_from(it.graph["edges"])
    return graph


def first_onset(it: Storm) -> dict[str, float]:
    """When each alerting service began to alert."""
    onset: dict[str, float] = {}
    for alert in it.alerts:
        onset[alert["service"]] = min(alert["starts_at"], onset.get(alert["service"], alert["starts_at"]))
    return onset


def digest(it: Storm) -> str:
    """Sixteen hex digits that change with anything in the storm."""
    parts = [it.variant, it.seed, it.graph, it.alerts, it.arrivals, it.truth]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@EVERY
def test_the_graph_is_acyclic_and_has_the_edges_of_its_size(variant: str, services: int, seed: int) -> None:
    """No service depends on itself, and 2.28 dependencies a service give the peers' 11,395 over 5,000."""
    graph = graph_of(drawn(variant, services, seed))
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.number_of_nodes() == services
    assert graph.number_of_edges() == len(drawn(variant, services, seed).graph["edges"])
    assert graph.number_of_edges() == pytest.approx(2.279 * services, abs=3)
    assert min(degree for _, degree in graph.degree()) > 0 or variant == "c"


@EVERY
def test_every_node_says_who_owns_it(variant: str, services: int, seed: int) -> None:
    """Team, on-call, tier and region are on every node."""
    nodes = drawn(variant, services, seed).graph["nodes"].values()
    assert all(node["team"] and node["on_call"] and node["tier"] in (1, 2) for node in nodes)
    assert len({node["labels"]["region"] for node in nodes}) == (5 if variant == "b" else 1)


def test_few_services_have_many_dependents() -> None:
    """A hundredth of the services holds more than a fifth of the dependencies."""
    degrees = sorted((degree for _, degree in graph_of(drawn("a", 1000, 1)).in_degree()), reverse=True)
    assert sum(degrees[:10]) > sum(degrees) / 5


@EVERY
def test_there_are_as_many_alerts_as_asked_for(variant: str, services: int, seed: int) -> None:
    """Five a service, no key twice, and exactly the services of the truth alert."""
    it = drawn(variant, services, seed)
    assert len(it.alerts) == len(it.arrivals) == 5 * services
    assert len({alert["key"] for alert in it.alerts}) == len(it.alerts)
    assert {alert["service"] for alert in it.alerts} == {*it.truth["members"], *it.truth["spurious"]}
    assert all(alert["status"] == "firing" and alert["source"] == "storm" for alert in it.alerts)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("alerts", [60, 61, 6000])
def test_the_number_of_alerts_does_not_change_the_graph(variant: str, alerts: int) -> None:
    """One alert a service or a hundred: same graph, same truth."""
    it = storm(variant, services=60, alerts=alerts)
    assert len(it.alerts) == len({alert["key"] for alert in it.alerts}) == alerts
    assert it.truth == drawn(variant, 60, 1).truth
    assert it.graph["edges"] == drawn(variant, 60, 1).graph["edges"]


@EVERY
def test_a_cascade_is_the_root_and_what_depends_on_it(variant: str, services: int, seed: int) -> None:
    """Members and silent services of a root are its transitive dependents and itself, no more and no less."""
    it, graph = drawn(variant, services, seed), graph_of(drawn(variant, services, seed))
    assert len(it.truth["roots"]) == (5 if variant == "b" else 1)
    affected: set[str] = set()
    for root in it.truth["roots"]:
        reached = {root} | nx.ancestors(graph, root)
        assert {member for member, its in it.truth["members"].items() if its == root} == reached - {*it.truth["silent"]}
        assert not affected & reached
        affected |= reached
    assert affected == {*it.truth["members"], *it.truth["silent"]}
    assert len(affected) == services or variant == "c"


@pytest.mark.parametrize(("variant", "services", "seed"), [draw for draw in DRAWS if draw[0] != "c"])
def test_in_a_and_b_a_service_alerts_after_a_dependency(variant: str, services: int, seed: int) -> None:
    """Every service but the roots has a dependency whose first alert is 1 to 20 s older; arrival is in that order."""
    it, graph = drawn(variant, services, seed), graph_of(drawn(variant, services, seed))
    onset = first_onset(it)
    for service in it.truth["members"]:
        ages = [onset[service] - onset[target] for target in graph.successors(service)]
        assert any(0.999 < age < 20.001 for age in ages) or service in it.truth["roots"]
    assert [alert["starts_at"] for alert in it.alerts] == it.arrivals
    assert it.alerts[0]["service"] in it.truth["roots"]
    assert it.arrivals == sorted(it.arrivals)


@EVERY
def test_the_roots_fail_first(variant: str, services: int, seed: int) -> None:
    """All roots fail at the start, whatever arrives when, and say that they are down."""
    it = drawn(variant, services, seed)
    onset = first_onset(it)
    assert {onset[root] for root in it.truth["roots"]} == {START}
    for root in it.truth["roots"]:
        assert "ServiceDown" in {alert["name"] for alert in it.alerts if alert["service"] == root}


@pytest.mark.parametrize(("services", "seed"), [(services, seed) for v, services, seed in DRAWS if v == "b"])
def test_the_regions_of_b_share_nothing(services: int, seed: int) -> None:
    """No dependency crosses a region, and each has its root."""
    it = drawn("b", services, seed)
    region = {name: node["labels"]["region"] for name, node in it.graph["nodes"].items()}
    assert all(region[source] == region[target] for source, target in it.graph["edges"])
    assert len({region[root] for root in it.truth["roots"]}) == 5
    assert all(region[alert["service"]] == alert["labels"]["region"] for alert in it.alerts)


@LATE
def test_c_spares_some_silences_some_and_adds_some(services: int, seed: int) -> None:
    """60 to 75 % are affected; 10 % of those with dependents stay silent; 5 % of all alert for nothing."""
    it, graph = drawn("c", services, seed), graph_of(drawn("c", services, seed))
    truth = it.truth
    affected = {*truth["members"], *truth["silent"]}
    assert 0.60 <= len(affected) / services <= 0.75
    inner = [service for service in sorted(affected) if graph.in_degree(service) and service not in truth["roots"]]
    assert len(truth["silent"]) == round(len(inner) * 0.1)
    assert {*truth["silent"]} < {*inner}
    assert len(truth["spurious"]) == round(services * 0.05)
    assert not affected & {*truth["spurious"]}
    extra = [alert for alert in it.alerts if alert["service"] in {*truth["spurious"]}]
    assert len(extra) == len(truth["spurious"])
    assert {alert["name"] for alert in extra} <= {a["name"] for a in it.alerts if a["service"] in truth["members"]}


@LATE
def test_a_lone_spurious_service_depends_on_no_alerting_one(services: int, seed: int) -> None:
    """The definition, by networkx; all alerts known, the root and they are all that is left."""
    it, graph = drawn("c", services, seed), graph_of(drawn("c", services, seed))
    alerting = {alert["service"] for alert in it.alerts}
    lone = [service for service in it.truth["spurious"] if not nx.descendants(graph, service) & alerting]
    assert it.truth["lone_spurious"] == lone
    assert fewest_incidents(it) == 1 + len(lone)


@LATE
def test_the_root_of_c_arrives_last_and_the_rest_within_a_minute(services: int, seed: int) -> None:
    """Alerts arrive 0 to 60 s after their onset, out of order; those of the root after all of them."""
    it = drawn("c", services, seed)
    root = it.truth["roots"][0]
    late = [arrival - alert["starts_at"] for alert, arrival in zip(it.alerts, it.arrivals, strict=True)]
    own = [alert["service"] == root for alert in it.alerts]
    assert own == sorted(own)
    assert any(own)
    assert all(0 <= delay <= 60 for delay, is_root in zip(late, own, strict=True) if not is_root)
    assert it.arrivals == sorted(it.arrivals)
    onsets = [alert["starts_at"] for alert in it.alerts]
    assert any(after < before for before, after in itertools.pairwise(onsets))


def test_spurious_services_that_depend_on_each_other_exist() -> None:
    """Some spurious alert has another one below it, so that grouping it is possible and wrong roots are too."""
    truth = drawn("c", 1000, 1).truth
    assert 0 < len(truth["lone_spurious"]) < len(truth["spurious"])


@EVERY
def test_names_and_order_do_not_tell_the_build_order(variant: str, services: int, seed: int) -> None:
    """Nodes and edges are sorted by name, and numbers in names are drawn."""
    graph = drawn(variant, services, seed).graph
    assert list(graph["nodes"]) == sorted(graph["nodes"])
    assert graph["edges"] == sorted(graph["edges"])
    numbers = {name: int(name[-5:]) for name in graph["nodes"]}
    assert sorted(numbers.values()) == list(range(services))
    assert 0.3 < sum(numbers[source] > numbers[target] for source, target in graph["edges"]) / len(graph["edges"]) < 0.7


@EVERY
def test_the_same_arguments_give_the_same_storm(variant: str, services: int, seed: int) -> None:
    """Two draws are equal, another seed is not."""
    assert digest(storm(variant, services=services, seed=seed)) == digest(drawn(variant, services, seed))
    assert digest(storm(variant, services=services, seed=seed + 10)) != digest(drawn(variant, services, seed))


@pytest.mark.parametrize(
    ("variant", "expected"), [("a", "2fb314bd5229800f"), ("b", "3e210e8945a7aa5e"), ("c", "31702fbafe61d539")]
)
def test_the_bytes_are_those_of_every_machine(variant: str, expected: str) -> None:
    """The digest is written here: a Python or a machine that draws otherwise fails."""
    assert digest(drawn(variant, 200, 1)) == expected


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_the_hash_seed_changes_nothing(hash_seed: str, tmp_path: Path) -> None:
    """The files of a case are the same bytes whatever order sets would have."""
    code = "import sys; from pathlib import Path; from correlator.storms import storm, write_case;"
    code += "write_case(storm('c', services=200), Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], env=environment, check=True)
    write_case(drawn("c", 200, 1), tmp_path / "own")
    for name in ("topology.json", "alerts.jsonl", "truth.json"):
        assert (tmp_path / "other" / name).read_bytes() == (tmp_path / "own" / name).read_bytes()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stream_is_one_life_after_the_other(variant: str) -> None:
    """By key: fires, repeats two or three times, resolves, fires again later; times of arrival never run backwards."""
    it = drawn(variant, 60, 1)
    size = len(it.alerts)
    alerts = list(stream(it, 10 * size))
    times = [alert["ts"] for alert in alerts]
    assert times == sorted(times)
    key = it.alerts[7]["key"]
    life = [alert for alert in alerts if alert["key"] == key]
    assert "".join(alert["status"][0] for alert in life) == "fff" + "r" + "ffff" + "r" + "f"
    onsets = [alert["starts_at"] for alert in life]
    assert len(set(onsets[:4])) == len(set(onsets[4:9])) == 1
    assert onsets[3] < life[3]["ends_at"] == life[3]["ts"] < onsets[4] < onsets[9]
    assert [alert["key"] for alert in alerts[:size]] == [alert["key"] for alert in it.alerts]
    assert all("ts" not in alert for alert in it.alerts)


@pytest.mark.parametrize("total", [0, 1, 299, 301, 5000])
def test_a_stream_has_the_length_asked_for(total: int) -> None:
    """Not an alert more or less, shorter than the storm or many times longer."""
    assert sum(1 for _ in stream(drawn("a", 60, 1), total)) == total


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_written_case_reads_back(variant: str, tmp_path: Path) -> None:
    """networkx reads the graph, the alerts are sorted by arrival with their onset beside it, the truth is one case."""
    it = drawn(variant, 200, 1)
    write_case(it, tmp_path / "deep" / "case")
    topology, lines, labels = (
        (tmp_path / "deep" / "case" / n) for n in ("topology.json", "alerts.jsonl", "truth.json")
    )
    graph = nx.node_link_graph(json.loads(topology.read_text()), edges="edges")
    assert graph.graph["direction"] == "depends_on"
    assert sorted(graph.edges) == it.graph["edges"]
    assert json.loads(topology.read_text()) == node_link(it.graph)
    alerts = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [alert["ts"] for alert in alerts] == it.arrivals
    assert [alert["starts_at"] for alert in alerts] == [alert["starts_at"] for alert in it.alerts]
    assert len({alert["id"] for alert in alerts}) == len(alerts)
    truth = json.loads(labels.read_text())
    (case,) = truth["cases"]
    assert case["root_causes"] == case["root_services"] == it.truth["roots"]
    assert case["alert_ids"] is None
    assert all(case["start"] <= alert["ts"] <= case["end"] for alert in alerts)
    assert {name: truth[name] for name in it.truth} == it.truth


@pytest.mark.parametrize(
    ("variant", "services", "alerts", "said"),
    [("d", 60, None, "'d'"), ("a", 49, None, "services is 49"), ("c", 60, 59, "alerts is 59")],
)
def test_what_cannot_be_drawn_is_refused(variant: str, services: int, alerts: int | None, said: str) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(ValueError, match=said) as error:
        storm(variant, services=services, alerts=alerts)
    assert "allowed" in str(error.value)


def test_the_smallest_storm_can_be_drawn() -> None:
    """Fifty services are enough for every variant, whatever the seed."""
    for variant, seed in itertools.product(VARIANTS, range(20)):
        it = storm(variant, services=50, seed=seed)
        assert len(it.alerts) == 250
        assert 0.60 <= (len(it.truth["members"]) + len(it.truth["silent"])) / 50 <= (0.75 if variant == "c" else 1)


def test_a_bridge_has_a_length() -> None:
    """web - x - y - db: with x and y quiet, db explains web over two services but not over one."""
    it = drawn("a", 60, 1)
    nodes: dict[str, dict[str, object]] = {name: {} for name in ("db", "web", "x", "y")}
    edges = [("web", "x"), ("x", "y"), ("y", "db")]
    truth = {**it.truth, "members": {"web": "db", "db": "db"}}
    chain = Storm("a", 1, {"nodes": nodes, "edges": edges}, it.alerts, it.arrivals, truth)  # type: ignore[arg-type]
    assert [fewest_incidents(chain, bridge=length) for length in (0, 1, 2, None)] == [2, 2, 1, 1]


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per storm below the header, one folder per storm."""
    main(["--variants", "a,c", "--services", "60", "--seeds", "1,2", "--out", str(tmp_path)])
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert len(list(tmp_path.glob("storm_*/truth.json"))) == 4
