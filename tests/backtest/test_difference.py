"""Two outcomes of the same alerts, compared incident by incident."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.backtest.difference import Difference, differences, summary
from correlator.backtest.ours import Watch
from correlator.backtest.outcome import Gathering, Incident, Member, Outcome
from correlator.backtest.words import CHANGES, WORDS, Rule, failures
from tests.engine.strategies import LAW, Log, logs, run
from tests.engine.timeline import Timeline, depends

CHAIN = depends("web -> api -> db", "jobs -> db")


def incident(id: str, *names: str, page: float | None = 60.0, **more: Any) -> Incident:
    held = frozenset(Member(name, 0) for name in names)
    about: dict[str, Any] = {
        "title": f"Down on {names[0] if names else id}",
        "state": "open",
        "kind": "fault",
        "team": "",
    }
    about |= {"root": names[0] if names else "", "severity": "critical", "confidence": 1.0, "opened": 0.0}
    about |= {"pages": int(page is not None), "first_page": page, "wanted": True, "members": held, "ever": held}
    return Incident(id=id, **{**about, **more})


def outcome(*found: Incident) -> Outcome:
    return Outcome({one.id: one for one in found}, True, 0)


def told(found: Iterable[Difference]) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(d.change, d.a.id if d.a else "-", d.b.id if d.b else "-", d.words) for d in found]


def of_story(story: Timeline) -> Outcome:
    gathering = Gathering()
    for receipt in story.receipts:
        gathering.receipt(receipt)
    for _, value in story.revisions:
        if value is not None:
            gathering.incident(value)
    return gathering.outcome()


# -- words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ()),
        ({"root": "api"}, ("root-changed",)),
        ({"page": 61.5}, ("page-later",)),
        ({"page": 58.0}, ("page-earlier",)),
        ({"page": None}, ("page-lost",)),
        ({"pages": 3}, ("pages-more",)),
        ({"severity": "warning"}, ("severity-down",)),
        ({"confidence": 0.4}, ("confidence-down",)),
        ({"team": "data"}, ("team-changed",)),
        ({"state": "closed"}, ("state-changed",)),
        ({"wanted": False}, ("wanted-changed",)),
    ],
)
def test_one_change_is_one_word(change: dict[str, Any], words: tuple[str, ...]) -> None:
    """And the swapped comparison says its mirror."""
    a, b = outcome(incident("x", "db", "web")), outcome(incident("y", "db", "web", **change))
    (found,) = differences(a, b)
    assert (found.change, found.words) == ("changed" if words else "same", words)
    (back,) = differences(b, a)
    assert back.words == tuple(WORDS[word][1] for word in words)


def test_an_incident_in_two_is_a_split_and_the_reverse_a_merge() -> None:
    """The larger part corresponds; the other says where it came from or went to."""
    one = outcome(incident("x", "db", "api", "web"))
    two = outcome(incident("x", "db", "api"), incident("z", "web", page=90.0))
    assert told(differences(one, two)) == [
        ("split", "x", "z", ("page-later",)),
        ("changed", "x", "x", ("members-moved",)),
    ]
    assert told(differences(two, one)) == [
        ("merged", "z", "x", ("page-earlier",)),
        ("changed", "x", "x", ("members-moved",)),
    ]


def test_what_one_side_does_not_have_vanished_or_appeared() -> None:
    """With its page."""
    a, b = outcome(incident("x", "db")), outcome(incident("y", "web", page=None), incident("z", "api"))
    assert told(differences(a, b)) == [
        ("vanished", "x", "-", ("page-lost",)),
        ("appeared", "-", "z", ("page-gained",)),
        ("appeared", "-", "y", ()),
    ]


def test_a_page_is_not_lost_where_the_alerts_page_with_another_incident() -> None:
    """Its larger part is quiet, but somebody is woken about one of its alerts."""
    a = outcome(incident("x", "db", "api", "web"))
    b = outcome(incident("y", "db", "api", page=None), incident("z", "web", page=90.0))
    (pair,) = (d for d in differences(a, b) if d.change == "changed")
    assert pair.words == ("page-later", "page-moved", "members-moved")
    assert pair.delay == 30.0


def test_an_alert_that_once_was_in_a_paging_incident_is_not_lost() -> None:
    """It moved on after somebody was woken."""
    web = frozenset([Member("web", 0)])
    a = outcome(incident("x", "web"))
    paging = incident("y", "db", ever=frozenset([Member("db", 0), *web]))
    b = outcome(paging, incident("z", "web", page=None))
    (pair,) = (d for d in differences(a, b) if d.a is not None)
    assert "page-lost" not in pair.words


def test_a_bundle_pages_for_the_incidents_that_name_it() -> None:
    """Nothing is lost when many unknown services page as one."""
    related = [{"id": "2" * 16, "relation": "bundled_in"}]
    gathering = Gathering()
    gathering.incident({**published("1" * 16, ["a"]), "related": related})
    bundle = {**published("2" * 16, []), "kind": "bundle"}
    bundle["page"] = {**bundle["page"], "seq": 1, "first_wanted_at": "2025-06-15T15:07:40.000Z"}
    gathering.incident(bundle)
    assert {one.first_page is not None for one in gathering.outcome().incidents.values()} == {True}


# -- rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "failed"),
    [
        ("any", ["any: 2"]),
        ("page-later", ["page-later: 1"]),
        ("page-later=30s", ["page-later=30s: 1"]),
        ("page-later=31s", []),
        ("split", ["split: 1"]),
        ("split>1", []),
        ("incidents>1", ["incidents>1: 2"]),
        ("pages>2", []),
        ("root-changed", []),
    ],
)
def test_a_rule_holds_when_there_is_more_than_it_allows(rule: str, failed: list[str]) -> None:
    """Each of the forms that are documented."""
    one = outcome(incident("x", "db", "api", "web"))
    two = outcome(incident("x", "db", "api"), incident("z", "web", page=90.0))
    found = [(d.all_words, d.delay) for d in differences(one, two)]
    totals = {"incidents": len(two.incidents), "pages": two.pages}
    assert failures([Rule.of_difference(rule)], found, totals) == failed


@pytest.mark.parametrize("rule", ["", "same", "lost", "page-lost=5m", "page-later=soon", "split>x", "incidents", ">1"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    """A rule that never holds would be a silent gap in CI."""
    with pytest.raises(ValueError, match="is not a rule"):
        Rule.of_difference(rule)


def test_every_word_has_a_mirror() -> None:
    """Swapping twice is no change."""
    for words in (WORDS, CHANGES):
        assert all(words[mirror][1] == word for word, (_, mirror) in words.items())


# -- members --------------------------------------------------------------------------------------------------


def published(id: str, members: list[str], opened: str = "2025-06-15T15:06:40.000Z") -> dict[str, Any]:
    """An incident as it is published, as far as it counts here."""
    page = {"wanted": False, "seq": 0, "urgency": "none", "reason": "", "first_wanted_at": None}
    value = {"id": id, "revision": 0, "title": "t", "state": "open", "kind": "fault", "page": page, "confidence": 1.0}
    value |= {"root": {"service": "db"}, "severity_max": "critical", "team": None, "opened_at": opened, "related": []}
    value |= {"merged_into": None, "counts": {"alerts": len(members)}, "updated_at": opened, "resolved_at": None}
    return {**value, "members": [{"fingerprint": name, "service": name, "verdict": "root"} for name in members]}


def test_a_merge_counts_with_the_incident_that_stays() -> None:
    """Members and pages; a late root takes both over."""
    story = Timeline(CHAIN).at("0s").fires("web").at("1s").fires("jobs").at("90s").fires("db").passes("5m")
    found = of_story(story)
    (one,) = found.incidents.values()
    assert (one.root, {m.fingerprint for m in one.members}) == ("db", {"web:Down", "jobs:Down", "db:Down"})
    assert one.pages == story.all_pages()


def test_an_alert_that_fires_again_is_another_member() -> None:
    """Episodes tell yesterday's incident from today's; a corrected onset makes no second member."""
    story = Timeline(CHAIN).at("0s").fires("db").at("1m").fires("db", starts_at="-30s").at("2m").resolves("db")
    story.passes("1h").fires("db", again=True)
    found = of_story(story)
    assert [len(one.members) for one in found.incidents.values()] == [1, 1]
    assert len(found.members()) == 2


def test_without_receipts_the_listed_members_have_to_do() -> None:
    """Episodes are numbered, what is not listed is counted as missing, and receipts on one side only are no use."""
    story = Timeline(CHAIN, members_listed=1).at("0s").together("db", "web").passes("5m")
    story.resolves("db").resolves("web").passes("1h").fires("db", again=True)
    listed, both = Gathering(), Gathering()
    for _, value in story.revisions:
        if value is not None:
            listed.incident(value)
            both.incident(value)
    for receipt in story.receipts:
        both.receipt(receipt)
    found = listed.outcome()
    assert (found.exact, found.cut, listed.exact, both.exact) == (False, 1, False, True)
    assert [len(one.members) for one in found.incidents.values()] == [1, 1]
    assert {d.change for d in differences(both.outcome(listed=True), found)} == {"same"}
    with pytest.raises(ValueError, match="one side only"):
        differences(both.outcome(), found)


def test_lines_of_any_kind_are_taken_and_others_are_refused() -> None:
    """Incidents, receipts, records of many, dumps of either, tombstones."""
    story = Timeline(CHAIN).at("0s").together("db", "web").passes("5m")
    gathering = Gathering()
    values = [value for _, value in story.revisions]
    about = {"topic": "incidents", "partition": 0, "offset": 0, "timestamp": 0, "key": ""}
    assert all(gathering.take({**about, "value": value}) for value in [*values, None])
    assert gathering.take({"decisions": story.receipts[:1]})
    assert all(map(gathering.take, story.receipts[1:]))
    assert not gathering.take({"name": "x"})
    assert not gathering.take(5)
    assert told(differences(gathering.outcome(), of_story(story)))[0][0] == "same"


_KEYS = st.sampled_from(["page", "seq", "members", "decisions", "topic", "value", "id"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner),
)


@given(st.data())
def test_a_line_that_is_not_what_it_looks_like_is_refused_and_not_raised_on(data: st.DataObject) -> None:
    """Any field of an incident or a receipt may be anything."""
    story = Timeline(CHAIN, suppress_teams=[]).at("0s").together("db", "web").passes("5m")
    known = [value for _, value in story.revisions if value is not None] + story.receipts
    value = dict(data.draw(st.sampled_from(known)))
    key = data.draw(st.sampled_from(sorted(value)))
    if isinstance(value[key], dict) and data.draw(st.booleans()):
        inner = data.draw(st.sampled_from(sorted(value[key])))
        value[key] = {**value[key], inner: data.draw(_JSON)}
    else:
        value[key] = data.draw(_JSON)
    for made in (Gathering(), Watch()):
        made.take(value)
        made.take(data.draw(_JSON))
        _ = made.outcome() if isinstance(made, Gathering) else made.ours()


# -- laws -----------------------------------------------------------------------------------------------------


def of_log(log: Log) -> Outcome:
    result, _ = run(log)
    gathering = Gathering()
    for receipts in result.receipts.values():
        for receipt in receipts:
            gathering.receipt(receipt)
    for _, value in result.revisions:
        if value is not None:
            gathering.incident(value)
    return gathering.outcome()


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[Outcome, Outcome]:
    """Two partitions of some of the same alerts, with pages here and there."""
    return tuple(_drawn(draw) for _ in range(2))  # type: ignore[return-value]


def _drawn(draw: st.DrawFn) -> Outcome:
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True))
    where = draw(st.lists(st.integers(0, 3), min_size=len(names), max_size=len(names)))
    held: dict[int, list[str]] = {}
    for name, number in zip(names, where, strict=True):
        held.setdefault(number, []).append(name)
    found = []
    for number in range(4):
        members = held.get(number, [])
        once = draw(st.lists(st.sampled_from("abcdefgh"), max_size=2))
        if not members and not once:
            continue
        ever = frozenset(Member(name, 0) for name in [*members, *once])
        page = draw(st.sampled_from([None, 10.0, 20.0]))
        root = draw(st.sampled_from("ab"))
        severity = draw(st.sampled_from(["warning", "critical"]))
        found.append(incident(f"i{number}", *members, page=page, ever=ever, root=root, severity=severity))
    return outcome(*found)


@given(outcomes())
def test_every_member_is_accounted_for_once(sides: tuple[Outcome, Outcome]) -> None:
    """Kept, moved, gone and new add up to all of them, and every incident of both sides is in exactly one place."""
    a, b = sides
    found = differences(a, b)
    totals = summary(a, b, found)["members"]
    assert sum(totals.values()) == len(a.members().keys() | b.members().keys())
    assert totals["kept"] + totals["moved"] == len(a.members().keys() & b.members().keys())
    assert sum(sum(d.came.values()) for d in found) == totals["moved"]
    of_a = Counter(d.a.id for d in found if d.a is not None and d.change != "split")
    of_b = Counter(d.b.id for d in found if d.b is not None and d.change != "merged")
    assert of_a == Counter(a.incidents.keys())
    assert of_b == Counter(b.incidents.keys())


@given(outcomes())
def test_swapping_the_sides_swaps_the_words(sides: tuple[Outcome, Outcome]) -> None:
    """Nothing is seen from one side only."""
    there, back = differences(*sides), differences(*reversed(sides))

    def mirrored(d: Difference) -> tuple[Any, ...]:
        words = tuple(sorted(WORDS[word][1] for word in d.words))
        ids = d.b.id if d.b else None, d.a.id if d.a else None
        return CHANGES[d.change][1], words, ids, None if d.delay is None else 0.0 - d.delay, d.new, d.gone

    def plain(d: Difference) -> tuple[Any, ...]:
        ids = d.a.id if d.a else None, d.b.id if d.b else None
        return d.change, tuple(sorted(d.words)), ids, d.delay, d.gone, d.new

    assert sorted(map(str, map(mirrored, there))) == sorted(map(str, map(plain, back)))


@given(outcomes())
def test_a_page_is_lost_exactly_when_nobody_is_woken_about_any_of_its_alerts(sides: tuple[Outcome, Outcome]) -> None:
    """The word that must never be missing, against its definition."""
    a, b = sides
    lost = {d.a.id for d in differences(a, b) if d.a is not None and "page-lost" in d.words}
    paged = {m for one in b.incidents.values() if one.first_page is not None for m in one.ever | one.members}
    expected = {
        one.id for one in a.incidents.values() if one.first_page is not None and not paged & (one.ever | one.members)
    }
    assert lost == expected


@LAW
@given(logs())
def test_a_run_does_not_differ_from_itself(log: Log) -> None:
    """Whatever happened in it; and its members are those of its receipts."""
    found = of_log(log)
    assert {d.change for d in differences(found, of_log(log))} <= {"same"}
    listed = [m for one in found.incidents.values() for m in one.members]
    assert len(listed) == len(set(listed)) == len(found.members())


@LAW
@given(logs())
def test_pages_are_those_that_a_reader_of_every_revision_counts(log: Log) -> None:
    """Merged incidents included."""
    result, _ = run(log)
    seq = {key: value["page"]["seq"] for key, value in result.revisions if value is not None}
    assert of_log(log).pages == sum(seq.values())


def test_the_order_is_that_of_importance() -> None:
    """Lost pages first, however many other differences there are."""
    a = outcome(*(incident(f"i{n}", f"s{n}", opened=float(n)) for n in range(4)))
    changes: list[dict[str, Any]] = [{}, {"confidence": 0.1}, {"root": "x"}, {"page": None}]
    b = outcome(*(incident(f"i{n}", f"s{n}", opened=float(n), **c) for n, c in enumerate(changes)))
    words = [d.words for d in differences(a, b)]
    assert words == [("page-lost",), ("root-changed",), ("confidence-down",), ()]
