"""The forest is a function of the alerting services, whatever led to them."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from correlator.engine.forest import Forest
from tests.engine.strategies import LAW, graphs
from tests.engine.timeline import depends
from topology import ServiceGraph

_STEPS = st.lists(
    st.tuples(st.sampled_from(["insert", "insert", "remove", "onset", "settle"]), st.integers(0, 6), st.integers(0, 9)),
    max_size=25,
)
_BOUNDS: dict[str, Any] = {
    "bridge": 1,
    "storm_bridge": 3,
    "storm_min_services": 4,
    "storm_share": 0.3,
    "tolerance": 3.0,
}


def grown(graph: ServiceGraph, steps: list[tuple[str, int, int]]) -> Forest:
    """A forest after a sequence of changes."""
    forest = Forest(graph, **_BOUNDS)
    for step, number, onset in steps:
        service = graph.services[number % len(graph)]
        node = forest.nodes.get(service)
        if step == "settle":
            forest.settle()
        elif step == "insert" and node is None:
            forest.insert(service, float(onset), (("tier", service),))
        elif step == "remove" and node is not None:
            forest.remove(service)
        elif step == "onset" and node is not None:
            forest.onset(node, float(onset), float(onset - number % 3))
    forest.settle()
    return forest


def shape(forest: Forest) -> dict[str, Any]:
    """Everything about a forest that does not depend on its past."""
    return {
        name: (
            node.parent.name if node.parent else None,
            node.hops,
            node.head,
            node.key,
            sorted(node.children),
            node.group.root.name,
            sorted(node.group.members),
            sorted(node.group.facets.items()),
        )
        for name, node in forest.nodes.items()
    }


@LAW
@given(graphs(), _STEPS, st.randoms(use_true_random=False))
def test_the_forest_is_a_function_of_the_services_and_their_onsets(
    graph: ServiceGraph, steps: list[tuple[str, int, int]], order: Any
) -> None:
    """After any sequence of changes it equals the one built from the same services at once, in any order."""
    forest = grown(graph, steps)
    fresh = Forest(graph, **_BOUNDS)
    fresh.storm = forest.storm
    names = sorted(forest.nodes)
    order.shuffle(names)
    for name in names:
        node = forest.nodes[name]
        fresh.insert(name, node.onset, (("tier", name),), node.early)
    fresh.settle()
    assert shape(fresh) == shape(forest)


def test_what_may_have_begun_in_time_is_no_worse_an_explanation() -> None:
    """``late`` is said to have begun after ``web``, by more than is tolerated; by a clock ahead it may not have."""
    graph = depends("web -> early", "web -> late")
    for early, parent in ((66.0, "early"), (62.0, "late")):
        forest = Forest(graph, tolerance=3.0)
        forest.insert("web", 60.0)
        forest.insert("early", 40.0)
        forest.insert("late", 66.0, early=early)
        assert forest.nodes["web"].parent is forest.nodes[parent]


@LAW
@given(graphs(), _STEPS)
def test_every_service_has_one_root_and_a_path_of_real_dependencies_to_it(
    graph: ServiceGraph, steps: list[tuple[str, int, int]]
) -> None:
    """No circle, no group without its root, no step of a path that is not a dependency."""
    forest = grown(graph, steps)
    for name, node in forest.nodes.items():
        path = forest.path(name)
        assert path[0] == name
        assert path[-1] == node.group.root.name
        assert len(set(path)) == len(path)
        assert all(v in graph.dependencies(u) for u, v in itertools.pairwise(path))
        assert node.group.root.parent is None
        assert node.group.members[name] is node
    assert (not forest.nodes) == (not list(forest.groups()))


@LAW
@given(graphs(), _STEPS)
def test_each_cycle_keeps_exactly_one_root_where_nothing_outside_explains_it(
    graph: ServiceGraph, steps: list[tuple[str, int, int]]
) -> None:
    """The services of a circle of hard dependencies that all alert are never all explained by each other."""
    forest = grown(graph, steps)
    for cycle in graph.cycles:
        if all(name in forest.nodes for name in cycle):
            roots = {forest.root(name) for name in cycle}
            assert roots
            assert all(forest.nodes[root].parent is None for root in roots)
