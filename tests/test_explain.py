"""Why an alert paged or did not: receipts followed to the incident and the root that hold now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from correlator.dialects import Reader
from correlator.engine.rules import Rules
from correlator.explain import GAP, Answer, Explained, Query, answer, parse
from correlator.place import Placer
from correlator.recordings import read_alerts
from correlator.replay import Replay, file_rules, final, placed_alerts
from correlator.report import explanation
from tests.engine.timeline import Timeline, depends
from topology import ServiceGraph, load

DATA = Path(__file__).parent / "data"
SHOP = load(DATA / "shop.yaml").graph_or_raise()
I1, I2, I3 = (f"{n:016x}" for n in (1, 2, 3))


def receipt(fingerprint: str, service: str, incident: str | None, root: str | None, **more: Any) -> dict[str, Any]:
    """A receipt as the engine writes them, of a symptom unless ``more`` says otherwise."""
    return {
        "fingerprint": fingerprint,
        "episode": 0,
        "service": service,
        "name": "Down",
        "verdict": "symptom",
        "incident_id": incident,
        "root": root,
        "path": [service, root],
        "rule": "depends_on",
        "reasons": [f"it depends on {root}, which alerts"],
        "would_page_if": "no service on its path alerted, or it matched never_suppress",
        "at": "2025-06-15T15:06:40.000Z",
        "revision": 1,
        **more,
    }


def root(fingerprint: str, service: str, incident: str, **more: Any) -> dict[str, Any]:
    words = {
        "verdict": "root",
        "rule": "no_alerting_dependency",
        "path": [service],
        "would_page_if": "it pages with it",
    }
    return receipt(fingerprint, service, incident, service, **{**words, **more})


def re_rooted(incident: str, path: list[str], **more: Any) -> dict[str, Any]:
    about = {"verdict": "root", "rule": "re_rooted", "path": path, "reasons": [f"{path[-1]} explains {path[0]}"]}
    return {**receipt("ff", path[-1], incident, path[-1], merged_into=None, would_page_if="", **about), **more}


def merged(incident: str, into: str, path: list[str], at_root: str) -> dict[str, Any]:
    about = {"rule": "merged", "path": path, "reasons": [f"{path[0]} is explained by {into}"], "would_page_if": ""}
    return receipt("ee", path[0], incident, at_root, **about, merged_into=into)


def only(found: Answer) -> Explained:
    assert len(found.alerts) == 1
    return found.alerts[0]


def replayed(path: Path, graph: ServiceGraph = SHOP) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    arrivals = read_alerts([path], Reader(), lambda _: None)
    outputs = list(Replay(graph, file_rules(Rules())).run(placed_alerts(arrivals, Placer(graph), after=120.0)))
    receipts = [r for output in outputs for found in output.decisions.values() for r in found]
    return receipts, final(outputs)


# -- what is found --------------------------------------------------------------------------------------------


def test_an_alert_is_found_by_what_people_know_of_it() -> None:
    """By name, by name and service, by a part, by fingerprint, by service; exact names go before parts."""
    receipts = [root("aa", "db", I1), receipt("bb", "web", I1, "db", name="Downstream"), root("cc", "web2", I2)]

    def found(kind: Any, text: str) -> set[str]:
        return {one.fingerprint for one in answer(Query(kind, text), receipts, {}).alerts}

    assert found("alert", "Down") == {"aa", "cc"}
    assert found("alert", "Down on db") == {"aa"}
    assert found("alert", "downstr") == {"bb"}
    assert found("alert", "web") == {"bb", "cc"}
    assert found("fingerprint", "bb") == {"bb"}
    assert found("service", "web") == {"bb"}
    assert found("incident", I1) == {"aa", "bb"}


def test_an_answer_about_nothing_is_false() -> None:
    """So a command can say that there is none."""
    assert not answer(Query("alert", "nothing"), [root("aa", "db", I1)], {})
    assert not answer(Query("incident", I3), [root("aa", "db", I1)], {})


def test_only_so_many_are_explained_and_all_are_counted() -> None:
    """The newest first."""
    receipts = [root(f"{n:02x}", f"s{n}", I1) for n in range(30)]
    found = answer(Query("alert", "Down"), receipts, {}, limit=3)
    assert [one.service for one in found.alerts] == ["s29", "s28", "s27"]
    assert found.found == 30
    assert "27 more alerts fit" in explanation(found)


# -- following ------------------------------------------------------------------------------------------------


def test_the_path_goes_on_where_the_incident_got_another_root() -> None:
    """The alert has one receipt, its incident two: the path is put together from all three."""
    receipts = [
        receipt("aa", "web", I1, "api"),
        re_rooted(I1, ["api", "cache", "db"]),
        re_rooted(I2, ["api", "elsewhere"]),
        re_rooted(I1, ["db", "disk"]),
    ]
    one = only(answer(Query("fingerprint", "aa"), receipts, {}))
    assert (one.verdict, one.root, one.incident) == ("symptom", "disk", I1)
    assert one.path == ("web", "api", "cache", "db", "disk")
    assert len(one.steps) == 3


def test_what_happened_before_the_alert_came_is_not_followed() -> None:
    """Its own receipt knows the root of that moment."""
    receipts = [re_rooted(I1, ["api", "db"]), receipt("aa", "web", I1, "db")]
    one = only(answer(Query("fingerprint", "aa"), receipts, {}))
    assert (one.root, one.path, len(one.steps)) == ("db", ("web", "db"), 1)


def test_an_alert_follows_its_incident_into_another_one() -> None:
    """Merged, then re-rooted: incident and root are those that hold now; a root that is explained now is a symptom."""
    receipts = [root("aa", "jobs", I2), merged(I2, I1, ["jobs", "db"], "db"), re_rooted(I1, ["db", "disk"])]
    one = only(answer(Query("fingerprint", "aa"), receipts, {}))
    assert (one.verdict, one.rule, one.incident, one.root) == ("symptom", "merged", I1, "disk")
    assert one.path == ("jobs", "db", "disk")
    assert one.reasons == (f"jobs is explained by {I1}",)


def test_a_path_that_no_receipt_tells_has_a_gap() -> None:
    """Nothing is made up: a merge that does not say the way leaves a gap, and later roots only move its end."""
    receipts = [root("aa", "jobs", I2), merged(I2, I1, ["jobs"], "web"), re_rooted(I1, ["web", "api", "db"])]
    one = only(answer(Query("fingerprint", "aa"), receipts, {}))
    assert (one.root, one.path) == ("db", ("jobs", GAP, "db"))


def test_a_symptom_may_become_the_root() -> None:
    """Its root went quiet, and it stands for the rest now."""
    receipts = [
        receipt("aa", "api", I1, "db"),
        re_rooted(I1, ["api"], fingerprint="aa", reasons=["db no longer explains the rest"]),
    ]
    one = only(answer(Query("fingerprint", "aa"), receipts, {}))
    assert (one.verdict, one.root, one.path) == ("root", "api", ("api",))


def test_a_late_message_does_not_hide_what_holds() -> None:
    """It is in the history, and the verdict is that of the alert."""
    late = receipt("aa", "web", None, None, verdict="late", rule="ended_episode", path=[], reasons=["it is over"])
    one = only(answer(Query("fingerprint", "aa"), [receipt("aa", "web", I1, "db"), late], {}))
    assert (one.verdict, one.root, len(one.steps)) == ("symptom", "db", 2)
    alone = only(answer(Query("fingerprint", "aa"), [late], {}))
    assert (alone.verdict, alone.root, alone.incident) == ("late", None, None)


def test_receipts_are_read_from_every_form_they_come_in() -> None:
    """One per line, packed, and dumps of topics; incidents beside them."""
    one, incident = root("aa", "db", I1), {"id": I1, "page": {}}
    packed = {"schema_version": 1, "decisions": [one, one]}
    line = {"topic": "decisions", "partition": 0, "offset": 1, "timestamp": 2, "key": "all", "value": packed}
    gone = {"topic": "incidents", "partition": 0, "offset": 1, "timestamp": 2, "key": I1, "value": None}
    assert parse([one, packed, line, incident, gone, 5, None, {"x": 1}]) == ([one] * 5, {I1: incident})


# -- with the engine ------------------------------------------------------------------------------------------


def test_the_engines_receipts_lead_to_the_root_that_holds() -> None:
    """Every alert of the late-root story ends at the incident and root that the engine published last."""
    receipts, incidents = replayed(DATA / "shop.ndjson")
    (shop,) = (i for i in incidents.values() if i["root"]["service"] == "db" and i["state"] != "merged")
    for service, path in (("web", ("web", "api", "db")), ("jobs", ("jobs", "db"))):
        one = only(answer(Query("service", service), receipts, incidents))
        assert (one.verdict, one.root, one.incident) == ("symptom", "db", shop["id"])
        assert one.path == path
        from_receipts = only(answer(Query("service", service), receipts, {}))
        assert (from_receipts.root, from_receipts.incident) == ("db", shop["id"])
        assert (from_receipts.path[0], from_receipts.path[-1]) == (service, "db")


def test_the_words_say_verdict_root_path_and_what_would_page() -> None:
    """A newcomer reads why, without knowing the engine."""
    receipts, incidents = replayed(DATA / "shop.ndjson")
    words = explanation(answer(Query("alert", "HighErrorRate"), receipts, incidents))
    for part in (
        "HighErrorRate on web",
        "symptom: a service that it depends on explains it",
        "root       db",
        "web -> api -> db",
        "the incident paged",
        "would page if no service on its path alerted",
        "history",
    ):
        assert part in words, part
    ghost = explanation(answer(Query("service", "ghost"), receipts, incidents))
    assert "the service graph does not know its service" in ghost


def test_an_incident_tells_its_own_story() -> None:
    """Title, state, root, page, what became part of it, and its alerts with the root first."""
    receipts, incidents = replayed(DATA / "shop.ndjson")
    (shop,) = (i for i in incidents.values() if i["root"]["service"] == "db" and i["state"] != "merged")
    found = answer(Query("incident", shop["id"]), receipts, incidents)
    assert found.alerts[0].service == "db"
    assert {one.service for one in found.alerts} == {"db", "web", "jobs"}
    words = explanation(found)
    assert shop["title"] in words
    assert "got the root db" in words
    assert "3 alerts of 3 services" in words


def test_every_rule_of_the_engine_has_words() -> None:
    """No receipt of the story is explained by its bare rule."""
    receipts, _ = replayed(DATA / "shop.ndjson")
    for one in receipts:
        words = explanation(answer(Query("fingerprint", one["fingerprint"]), receipts, {}))
        assert f"{one['rule']}: {one['rule'].replace('_', ' ')}\n" not in words


# -- what a newcomer asks ---------------------------------------------------------------------------------------------

SITE = depends("web -> shop -> db", "web -> cart -> db", "shop -> mail", "a -> rack", "b -> rack", "c -> rack")
ERRORS = "HighErrorRate"


def storm() -> Timeline:
    told = Timeline(SITE).at("0s").together("web", "shop", "cart", name=ERRORS).at("4s").fires("db", "ServiceDown")
    return told.passes("2m")


def noisy() -> Timeline:
    told = Timeline(SITE).at("0s").fires("web", ERRORS).fires("cart", "HighLatency").fires("db", "MemoryHigh")
    for name in ("PodCrashLooping", "OutOfMemory", ERRORS):
        told.fires("shop", name)
    return told.passes("2m")


def silent() -> Timeline:
    return Timeline(SITE).at("0s").together("a", "b", "c", name=ERRORS).passes("2m")


def second() -> Timeline:
    told = Timeline(SITE).at("0s").fires("shop", "OutOfMemory").fires("web", ERRORS).passes("2m")
    return told.at("10m").fires("db", "DiskFull").fires("cart", ERRORS).passes("2m")


def flapping() -> Timeline:
    told = Timeline(SITE)
    for minute in range(6):
        told.at(f"{minute}m").fires("mail", "QueueFull", again=True).passes("30s").resolves("mail", "QueueFull")
    return told


def maintenance() -> Timeline:
    told = Timeline(SITE).at("0s")
    window = {"type": "maintenance", "id": "CHG-7", "match": {"service": "db"}, "author": "ana", "reason": "upgrade"}
    return told.control(**window, starts_at=told.now, ends_at=told.now + 3_600).fires("db").fires("cart", ERRORS)


@pytest.mark.parametrize(
    ("story", "service", "said"),
    [
        pytest.param(
            storm,
            "db",
            ["root: no other alerting service explains it", "it depends on nothing", "3 alerts of 3 other services"],
            id="storm root",
        ),
        pytest.param(
            storm,
            "web",
            [
                "symptom: a service that it depends on explains it",
                "root       db",
                "web -> cart -> db",
                "it took over from",
            ],
            id="symptom",
        ),
        pytest.param(
            noisy,
            "shop",
            [
                "root: no other alerting service explains it",
                "fault 'OutOfMemory': +4.0",
                "stands out: 9.5 of its own, 1.8 is typical here",
                "symptom: another alert of the same service stands for it",
                "pages      with its incident",
            ],
            id="noisy root",
        ),
        pytest.param(
            silent,
            "rack",
            [
                "it does not alert itself",
                "it explains 3 alerts of 3 other services",
                "3 of the 3 services that depend on it alert, and nothing else explains them",
                "inferred   its root does not alert",
                "got the root rack",
            ],
            id="silent root",
        ),
        pytest.param(
            second,
            "shop",
            ["it broke 10 min before what it depends on alerted", "it explains 1 alert of 1 other service"],
            id="second fault",
        ),
        pytest.param(flapping, "mail", ["flapping   an alert comes and goes", "resolved: it is over"], id="flapping"),
        pytest.param(
            maintenance,
            "db",
            [
                "maintenance: a maintenance window or silence covers it",
                "window     CHG-7 by ana (upgrade) hides 1 alert until",
                "would page if no maintenance window covered it",
            ],
            id="maintenance",
        ),
    ],
)
def test_every_kind_of_decision_is_explained_in_words(
    story: Callable[[], Timeline], service: str, said: list[str]
) -> None:
    """What was decided, why this root, what is special about the incident, and what would have made it page."""
    told = story()
    incidents = {key: value for key, value in told.last.items() if value is not None}
    words = explanation(answer(Query("service", service), told.receipts, incidents))
    for part in said:
        assert part in words, words


def test_why_an_incident_has_its_root_is_said_once() -> None:
    """However many of its alerts are explained."""
    told = noisy()
    incidents = {key: value for key, value in told.last.items() if value is not None}
    found = answer(Query("service", "shop"), told.receipts, incidents)
    assert len(found.alerts) == 3
    assert explanation(found).count("stands out: 9.5 of its own") == 1
