"""Laws of the rule over generated graphs, and the stories that it has to get right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.engine.evidence import Evidence, Sign, key_of, weigh
from correlator.engine.history import History
from correlator.engine.judge import BRIDGE, Finding, judge
from correlator.engine.kinds import Kinds
from correlator.engine.terrain import Terrain
from correlator.storms import storm
from topology import Edge, Node, ServiceGraph

KINDS = Kinds()
NAMES = ("HighErrorRate", "HighLatency", "PodCrash", "HighCpu", "NoRequests", "CpuLow", "DeployStarted", "Odd")


def graph_of(edges: Iterable[tuple[str, str]], *alone: str) -> ServiceGraph:
    pairs = list(edges)
    names = {name for pair in pairs for name in pair} | set(alone)
    return ServiceGraph.build({name: Node() for name in names}, {pair: Edge() for pair in pairs})


def weighed(alerts: Mapping[str, Iterable[str]], history: History | None = None) -> dict[str, Evidence]:
    """The evidence of names of alerts by service, as usual as ``history`` says."""
    past = history or History()
    return {
        service: weigh(service, [Sign(name, {}, past.usual(service, key_of(name, {}))) for name in names], KINDS)
        for service, names in alerts.items()
    }


def judged(
    evidence: Mapping[str, Evidence], graph: ServiceGraph, hops: int = BRIDGE, changed: Iterable[str] = ()
) -> list[Finding]:
    return judge(evidence, Terrain(graph, evidence), hops, dict.fromkeys(changed, "deployed"))


def some(data: st.DataObject, graph: ServiceGraph) -> set[str]:
    """Services that were changed before."""
    return data.draw(st.sets(st.sampled_from(graph.services), max_size=3))


def roots(found: Iterable[Finding]) -> list[str]:
    return [incident.root for incident in found]


@st.composite
def graphs(draw: st.DrawFn, *, cycles: bool) -> ServiceGraph:
    size = draw(st.integers(2, 14))
    numbers = st.integers(0, size - 1)
    pairs = draw(st.sets(st.tuples(numbers, numbers), max_size=3 * size))
    edges = {(f"s{a:02}", f"s{b:02}") for a, b in pairs if (a != b if cycles else a < b)}
    return graph_of(edges, *(f"s{number:02}" for number in range(size)))


def behind_silence(graph: ServiceGraph, service: str, alerting: set[str], hops: int = 2) -> bool:
    """Whether the service depends on an alerting one over at most ``hops`` silent services."""
    seen, ring = {service}, [service]
    for _ in range(hops + 1):
        outer = [other for at in ring for other in graph.dependencies(at) if other not in seen]
        if any(other in alerting for other in outer):
            return True
        seen.update(outer)
        ring = outer
    return False


@given(st.data(), graphs(cycles=False))
def test_in_a_clean_cascade_a_root_is_what_depends_on_nothing_that_alerts(
    data: st.DataObject, graph: ServiceGraph
) -> None:
    alerting = data.draw(st.sets(st.sampled_from(graph.services), min_size=1))
    names = st.sampled_from(("HighErrorRate", "HighLatency"))
    evidence = weighed({service: [data.draw(names)] for service in sorted(alerting)})
    found = judged(evidence, graph, changed=some(data, graph))
    assert set(roots(found)) == {s for s in alerting if not behind_silence(graph, s, alerting)}


ALERTS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=8)


@given(st.data(), graphs(cycles=True))
def test_every_alerting_service_is_in_one_incident_with_a_path_along_edges(
    data: st.DataObject, graph: ServiceGraph
) -> None:
    alerts = data.draw(st.dictionaries(st.sampled_from((*graph.services, "unknown")), ALERTS, min_size=1))
    found = judged(weighed(alerts), graph, changed=some(data, graph))
    assert sorted(member for incident in found for member in incident.members) == sorted(alerts)
    for incident in found:
        for member, path in incident.members.items():
            assert (path[0], path[-1]) == (member, incident.root)
            for a, b in pairwise(path):
                assert b in graph.dependencies(a) or a in graph.dependencies(b)


@given(st.data(), graphs(cycles=True))
def test_candidates_are_ranked_with_the_root_first_and_reasons(data: st.DataObject, graph: ServiceGraph) -> None:
    alerts = data.draw(st.dictionaries(st.sampled_from(graph.services), ALERTS, min_size=1))
    for incident in judged(weighed(alerts), graph, changed=some(data, graph)):
        scores = [candidate.score for candidate in incident.candidates]
        assert incident.candidates[0].service == incident.root
        assert scores == sorted(scores, reverse=True)
        assert len({candidate.service for candidate in incident.candidates}) == len(scores)
        assert all(candidate.reasons for candidate in incident.candidates)
        assert 0 < sum(candidate.confidence for candidate in incident.candidates) < 1


@given(st.data(), graphs(cycles=True))
def test_the_order_of_services_does_not_matter(data: st.DataObject, graph: ServiceGraph) -> None:
    alerts = data.draw(st.dictionaries(st.sampled_from(graph.services), ALERTS, min_size=1))
    evidence = weighed(alerts)
    order = data.draw(st.permutations(sorted(evidence)))
    assert judged({service: evidence[service] for service in order}, graph) == judged(evidence, graph)


@given(st.data(), graphs(cycles=True))
def test_an_unconnected_service_changes_nothing_for_the_others(data: st.DataObject, graph: ServiceGraph) -> None:
    alerts = data.draw(st.dictionaries(st.sampled_from(graph.services), ALERTS, min_size=1))
    alone = judged(weighed(alerts), graph)
    both = judged(weighed({**alerts, "elsewhere": ["PodCrash", "HighErrorRate"]}), graph)
    assert [incident for incident in both if incident.root != "elsewhere"] == alone


@pytest.mark.parametrize("variant", ["a", "b", "c"])
@pytest.mark.parametrize(("services", "seed"), [(60, 1), (200, 2), (1000, 3)])
def test_a_storm_has_its_roots_and_no_others(variant: str, services: int, seed: int) -> None:
    drawn = storm(variant, services=services, seed=seed)
    alerts: dict[str, list[str]] = {}
    for alert in drawn.alerts:
        alerts.setdefault(alert["service"], []).append(alert["name"])
    found = judged(weighed(alerts), graph_of(drawn.graph["edges"], *drawn.graph["nodes"]), hops=6)
    of = {member: incident.root for incident in found for member in incident.members}
    wrong = sum(of[member] != root for member, root in drawn.truth["members"].items())
    assert set(roots(found)) == {*drawn.truth["roots"], *drawn.truth["lone_spurious"]}
    assert wrong <= 0.005 * len(drawn.truth["members"])


def test_nothing_alerts() -> None:
    assert judged({}, graph_of([("web", "db")])) == []


def test_a_dead_service_starves_its_dependencies_and_is_the_root() -> None:
    graph = graph_of([("edge", "web"), ("web", "shop"), ("shop", "pay"), ("shop", "mail"), ("pay", "bank")])
    starved = {name: ["NoRequests"] for name in ("shop", "pay", "mail", "bank")}
    found = judged(weighed({"edge": ["HighErrorRate"], "web": ["HighErrorRate"], **starved}), graph)
    assert roots(found) == ["shop"]
    assert found[0].members["bank"] == ("bank", "pay", "shop")


def test_a_slow_caller_starves_what_it_calls() -> None:
    graph = graph_of([("edge", "web"), ("web", "shop"), ("shop", "pay")])
    alerts = {"edge": ["HighLatency"], "web": ["HighLatency"], "shop": ["NoRequests"], "pay": ["NoRequests"]}
    assert roots(judged(weighed(alerts), graph)) == ["web"]


def test_starved_consumers_join_over_the_silent_queue_between() -> None:
    graph = graph_of([("web", "shop"), ("shop", "queue"), ("books", "queue")])
    alerts = {"web": ["HighErrorRate"], "shop": ["PodCrash", "HighErrorRate"], "books": ["NoRequests"]}
    found = judged(weighed(alerts), graph)
    assert roots(found) == ["shop"]
    assert found[0].members["books"] == ("books", "queue", "shop")


def test_a_service_that_stands_out_takes_the_unremarkable_sink_below_it() -> None:
    graph = graph_of([("web", "shop"), ("shop", "db"), ("web", "cart"), ("cart", "db")])
    much = ["PodCrash", "OutOfMemory", "HighCpu", "ThreadsHigh", "HighErrorRate"]
    alerts = {"web": ["HighErrorRate"], "cart": ["HighLatency"], "shop": much, "db": ["MemoryHigh"]}
    found = judged(weighed(alerts), graph)
    assert roots(found) == ["shop"]
    assert found[0].members["db"] == ("db", "shop")


def test_two_faults_side_by_side_are_two_incidents_that_name_each_other() -> None:
    graph = graph_of([("web", "a"), ("web", "b"), ("a", "x"), ("b", "y"), ("web", "c"), ("web", "d")])
    much = ["PodCrash", "OutOfMemory", "HighCpu", "HighErrorRate"]
    weak = {name: ["HighLatency"] for name in ("web", "c", "d", "x", "y")}
    found = judged(weighed({**weak, "a": much, "b": much}), graph)
    assert {"a", "b"} <= set(roots(found))
    first = next(incident for incident in found if incident.root == "a")
    assert "b" in {candidate.service for candidate in first.candidates}


def test_a_silent_dependency_is_a_candidate_with_its_reason() -> None:
    found = judged(
        weighed({"web": ["HighErrorRate"], "cart": ["HighErrorRate"]}), graph_of([("web", "cart"), ("cart", "kv")])
    )
    silent = next(candidate for candidate in found[0].candidates if candidate.service == "kv")
    assert silent.score < found[0].score
    assert "cart" in silent.reasons[0]


def test_a_cycle_has_one_root() -> None:
    graph = graph_of([("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")])
    found = judged(weighed({name: ["HighErrorRate"] for name in "abcd"}), graph)
    assert len(found) == 1


def test_usual_noise_below_does_not_hide_the_root_once_it_is_known() -> None:
    graph = graph_of([("web", "shop"), ("shop", "db")])
    noise = {"db": ["HighErrorRate", "HighLatency"]}
    alerts = {"web": ["HighErrorRate"], "shop": ["HighErrorRate", "HighCpu"], **noise}
    history = History()
    for _ in range(30):
        history.observe(noise, {"web", "shop", "db"}, blamed="web")
    assert roots(judged(weighed(alerts), graph)) == ["db"]
    scores = {c.service: c.score for c in judged(weighed(alerts, history), graph)[0].candidates}
    before = {c.service: c.score for c in judged(weighed(alerts), graph)[0].candidates}
    assert scores["shop"] / scores["db"] > before["shop"] / before["db"]
