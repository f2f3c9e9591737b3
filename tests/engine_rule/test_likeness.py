"""What is one more of the same counts less than what is new, and a root recurs where its incidents are alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.engine.history import History
from correlator.engine.likeness import MOST_KEPT, MOST_MARKS, Patterns

Alerts = dict[str, list[str]]

OUTAGE: Alerts = {"db": ["Slow", "Full"], "web": ["Slow"], "api": ["Slow"]}


def different(number: int) -> Alerts:
    """An incident of services that no other one has."""
    return {f"a{number}": ["Slow"], f"b{number}": ["Errors"], f"c{number}": ["Crash"]}


INCIDENTS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from(("X", "Y", "Z")), max_size=3), min_size=1),
        st.sampled_from("abc"),
    ),
    max_size=40,
)


@given(INCIDENTS, st.integers(0, 40), st.booleans())
def test_a_restart_changes_no_answer(incidents: list[tuple[Alerts, str]], cut: int, forgets: bool) -> None:
    one, other = Patterns(), Patterns()
    for number, (alerts, root) in enumerate(incidents):
        if number == cut:
            if forgets:
                one.forget("a")
            rows = {key: json.loads(json.dumps(one.row(key))) for key in one}
            other.restore(dict(reversed(rows.items())))
        if number < cut:
            one.note(alerts, root)
        else:
            assert one.note(alerts, root) == other.note(alerts, root)


@given(INCIDENTS)
def test_an_answer_is_a_weight_and_a_share(incidents: list[tuple[Alerts, str]]) -> None:
    patterns = Patterns()
    for alerts, root in incidents:
        found = patterns.note(alerts, root)
        assert 0.0 < found.weight <= 3.0
        assert 0.0 <= found.recurs <= 1.0


def test_incidents_that_differ_from_each_other_count_one_each() -> None:
    patterns = Patterns()
    assert [patterns.note(different(n), f"a{n}").weight for n in range(50)] == [1.0] * 50


def test_the_same_again_counts_less_each_time_and_something_new_more() -> None:
    patterns = Patterns()
    for number in range(10):
        patterns.note(different(number), f"a{number}")
    same = [patterns.note(OUTAGE, "db").weight for _ in range(10)]
    assert same[1:] == sorted(same[1:], reverse=True)
    assert same[-1] < 0.3
    assert patterns.note(different(99), "a99").weight > 1.0


def test_a_root_recurs_where_its_incidents_are_alike() -> None:
    """One root each time the same way, one named in incidents that have nothing else in common."""
    patterns = Patterns()
    for number in range(20):
        steady = patterns.note(OUTAGE, "db")
        noisy = patterns.note(different(number) | {"host": ["Full"]}, "host")
    assert steady.recurs == 1.0
    assert noisy.recurs < 0.5


def test_what_is_alone_never_recurs() -> None:
    """Nothing suffers from it, so it is background as well as anything else."""
    patterns = Patterns()
    assert {patterns.note({"host": ["Full"]}, "host").recurs for _ in range(5)} == {0.0}


def learned(incidents: Iterator[tuple[Alerts, str]]) -> History:
    """What is learned of incidents as the engine learns it, each root named for certain."""
    history, patterns = History(), Patterns()
    for alerts, named in incidents:
        like = patterns.note(alerts, named)
        history.observe(alerts, (), named, certainty=like.recurs, weight=like.weight)
    return history


def _three_in_four(named: str) -> Iterator[tuple[Alerts, str]]:
    random = Random(1)
    for number in range(200):
        if random.random() < 0.75:
            yield OUTAGE | {f"stray{random.randrange(40)}": ["Slow"]}, named
        else:
            yield {"db": ["Slow"], "web": ["Slow"]} | different(number), f"a{number}"


@pytest.mark.parametrize("named", ["db", "api"])
def test_the_alerts_of_a_root_that_recurs_do_not_become_usual(named: str) -> None:
    """It is to blame for three incidents in four, and its full disk is seen in no other; whoever is named for it."""
    history = learned(_three_in_four(named))
    assert history.usual("db", "Full") < 0.5
    assert history.usual("db", "Slow") > history.usual("db", "Full")


def test_the_alerts_of_a_noisy_service_become_usual_although_it_is_named_each_time() -> None:
    history = learned((different(n % 30) | {"host": ["Full"]}, "host") for n in range(60))
    assert history.usual("host", "Full") > 0.75


def test_the_last_incidents_are_remembered() -> None:
    patterns = Patterns()
    for number in range(MOST_KEPT + 10):
        patterns.note(different(number), f"a{number}")
    assert len(patterns) == MOST_KEPT
    roots = {row[2] for key in patterns if (row := patterns.row(key))}
    assert roots == {f"a{number}" for number in range(10, MOST_KEPT + 10)}


def test_a_sample_of_a_large_incident_is_enough_to_know_it_again() -> None:
    patterns = Patterns()
    storm: Alerts = {f"s{number}": ["Slow"] for number in range(5_000)}
    key = patterns.note(storm, "s0").key
    row = patterns.row(key)
    assert row is not None
    assert len(row[3]) == MOST_MARKS
    for number in range(10):
        patterns.note(different(number), f"a{number}")
    most = {name: keys for name, keys in storm.items() if name != "s7"}
    assert patterns.note(most, "s0").weight < 0.7


def test_the_incidents_of_a_root_can_be_forgotten_or_all() -> None:
    patterns = Patterns()
    keys = [patterns.note(OUTAGE, root).key for root in ("db", "api", "db")]
    assert patterns.forget("db") == [keys[0], keys[2]]
    assert patterns.row(keys[0]) is None
    assert patterns.forget("db") == []
    assert patterns.forget() == [keys[1]]
    assert len(patterns) == 0
    assert patterns.note(OUTAGE, "db").weight == 1.0
