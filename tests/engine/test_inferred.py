"""Stories of a cause that nobody sees: a service without an alert whose dependents fail together."""

from __future__ import annotations

from tests.engine.timeline import Timeline, depends
from topology import Edge, Node, ServiceGraph, with_shared_fate

RACK = depends("a -> rack", "b -> rack", "c -> rack", "d -> rack", "web -> a", "rack -> power", "other -> depot")
ERRORS = "HighErrorRate"


def failing(*services: str) -> Timeline:
    """Services that depend on the rack report errors within seconds; the rack itself says nothing."""
    told = Timeline(RACK).at("0s")
    for number, service in enumerate(services):
        told.at(f"{number}s").fires(service, ERRORS)
    return told


def test_a_silent_service_is_the_root_of_what_depends_on_it() -> None:
    """Three of its four dependents fail within seconds, and nothing else explains them: one incident, one page."""
    told = failing("a", "b", "c").passes("2m")
    told.expect("rack", members={"a", "b", "c"}, paged=1, flagged="inferred")
    value = told.the("rack")
    assert value["root"]["inferred"]
    assert value["title"] == "rack is silent and the likely cause of 3 alerts of its dependents"
    assert value["reasons"][0] == "it does not alert itself"
    assert any("3 of the 4 services that depend on it alert" in reason for reason in value["reasons"])
    assert {member["verdict"] for member in value["members"]} == {"symptom"}
    assert all(member["path"][-1] == "rack" for member in value["members"])
    assert told.all_pages() == 1


def test_what_depends_on_the_dependents_is_explained_too() -> None:
    """The path leads through them to the silent service."""
    told = failing("a", "b", "c").fires("web", ERRORS).passes("5s").expect("rack", members={"a", "b", "c", "web"})
    (web,) = [member for member in told.the("rack")["members"] if member["service"] == "web"]
    assert web["path"] == ["web", "a", "rack"]


def test_the_receipts_say_that_it_was_inferred() -> None:
    """By a rule of its own."""
    told = failing("a", "b", "c").passes("5s").fires("d", ERRORS)
    assert (told.receipts[-1]["rule"], told.receipts[-1]["root"]) == ("inferred", "rack")
    assert "rack, which it depends on, is silent" in told.receipts[-1]["reasons"][0]


def test_two_dependents_are_not_enough() -> None:
    """Nor is a small part of many."""
    failing("a", "b").passes("2m").expect("a").expect("b")
    many = depends(*(f"s{number} -> hub" for number in range(10)))
    told = Timeline(many).at("0s")
    for number in range(4):
        told.fires(f"s{number}", ERRORS)
    assert told.passes("2m").roots() == ["s0", "s1", "s2", "s3"]


def test_services_that_broke_themselves_are_no_victims() -> None:
    """Faults of their own at the same time are three incidents."""
    told = Timeline(RACK).at("0s").fires("a", "PodCrash").fires("b", "OutOfMemory").fires("c", "PodCrash")
    assert told.passes("2m").roots() == ["a", "b", "c"]


def test_onsets_far_apart_have_no_common_cause() -> None:
    """Minutes lie between them."""
    told = Timeline(RACK).at("0s").fires("a", ERRORS).at("5m").fires("b", ERRORS).at("10m").fires("c", ERRORS)
    assert told.passes("2m").roots() == ["a", "b", "c"]


def test_onsets_by_different_clocks_may_be_the_same() -> None:
    """The third comes from a system that is a minute ahead, and is said to be 80 seconds later."""
    for ahead, roots in (("0s", ["a", "b", "c"]), ("1m", ["rack"])):
        told = Timeline(RACK).clock("nagios", ahead).at("0s").fires("a", ERRORS).fires("b", ERRORS)
        assert told.at("80s").fires("c", ERRORS, source="nagios").passes("2m").roots() == roots


def test_the_silent_service_begins_to_alert() -> None:
    """Its incident goes on, and its root is seen now."""
    told = failing("a", "b", "c").passes("5s")
    id = told.the("rack")["id"]
    told.fires("rack", "PowerDown").expect("rack", members={"a", "b", "c", "rack"}, id=id, flags=[])
    assert told.the("rack")["root"]["fingerprint"] == "rack:PowerDown"
    assert not told.the("rack")["root"]["inferred"]


def test_something_below_the_silent_service_begins_to_alert() -> None:
    """Then that is the root, and the way leads through the silent one."""
    told = failing("a", "b", "c").passes("5s")
    id = told.the("rack")["id"]
    told.fires("power", "PowerDown").expect("power", members={"a", "b", "c", "power"}, id=id)
    (a,) = [member for member in told.the("power")["members"] if member["service"] == "a"]
    assert a["path"] == ["a", "rack", "power"]


def test_when_its_dependents_recover_the_incident_is_over() -> None:
    """It resolves, closes and leaves nothing behind."""
    told = failing("a", "b", "c").passes("5s")
    for service in ("a", "b", "c"):
        told.resolves(service, ERRORS).passes("1s")
    told.expect("rack", state="resolved").passes("30m")
    assert told.shown() == []
    assert not any(b"\x1fg\x1f" in key for key in told.entries)


def test_a_restart_remembers_what_was_inferred() -> None:
    """And goes on."""
    told = failing("a", "b", "c").passes("5s").restarts()
    told.fires("d", ERRORS).expect("rack", members={"a", "b", "c", "d"}, flagged="inferred")


def test_a_new_graph_is_judged_anew() -> None:
    """On which the services do not share anything any more."""
    apart = depends("a -> x", "b -> y", "c -> z", "d", "web -> a", "rack")
    told = Timeline(RACK, [apart]).at("0s").fires("a", ERRORS).fires("b", ERRORS).fires("c", ERRORS).passes("5s")
    told.expect("rack").uses(apart).passes("5s")
    assert told.roots() == ["a", "b", "c"]
    told.restarts().passes("5s")
    assert told.roots() == ["a", "b", "c"]


# -- what services share by their labels --------------------------------------------------------------------------


def shared(*, rack: str = "", watched: str = "") -> ServiceGraph:
    """Six services; those named share the rack r1, or are watched by the probe p1."""
    nodes = {}
    for name in "abcdef":
        labels = ({"rack": "r1"} if name in rack else {}) | ({"watcher": "p1"} if name in watched else {})
        nodes[name] = Node(team="infra", labels=labels)
    graph = ServiceGraph.build(nodes, {("f", "a"): Edge()})
    return with_shared_fate(graph, ["rack"], ["watcher"])


def test_a_rack_is_the_root_of_what_it_takes_along() -> None:
    """It is in no alert and no dependency; that its services are out of reach is no fault of theirs."""
    told = Timeline(shared(rack="abcd")).at("0s").together("a", "b", "c", name="InstanceDown").fires("f", ERRORS)
    value = told.passes("2m").expect("rack=r1", members={"a", "b", "c", "f"}, paged=1).the("rack=r1")
    assert value["team"] == "infra"
    assert "3 of the 4 services that depend on it alert, and nothing else explains them" in value["reasons"]


def test_what_fails_outside_of_the_rack_has_its_own_cause() -> None:
    """So has a rack of which only half is gone."""
    told = Timeline(shared(rack="abcd")).at("0s").together("a", "b", "e", name="InstanceDown").passes("2m")
    assert told.roots() == ["a", "b", "e"]


def test_a_probe_that_sees_nothing_is_lost_visibility() -> None:
    """Nobody says that its services are down."""
    told = Timeline(shared(watched="abcd")).at("0s").together("a", "b", "c", "d", name="ProbeFailed").passes("2m")
    told.expect("watcher=p1", members={"a", "b", "c", "d"}, flagged="visibility_lost", paged=1)
    assert told.the("watcher=p1")["title"] == "Visibility lost: nothing is seen of what watcher=p1 watches"
    for service in "abcd":
        told.resolves(service, "ProbeFailed")
    assert told.passes("10m").the("watcher=p1", "resolved")["resolution"] == "recovered"


def test_who_watches_explains_no_real_trouble() -> None:
    """Errors that a proxy reports are errors."""
    told = Timeline(shared(watched="abcd")).at("0s").together("a", "b", "c", "d", name=ERRORS).passes("2m")
    assert told.roots() == ["a", "b", "c", "d"]


# -- a network that is cut ----------------------------------------------------------------------------------------


def sites() -> ServiceGraph:
    """Two sites. Of each pair of services one is in Amsterdam and needs one in Frankfurt, or the other way around."""
    pairs = {f"ams-{name}": f"fra-{name}-db" for name in "abcde"} | {"fra-web": "ams-login", "ams-shop": "ams-stock"}
    names = [*pairs, *pairs.values()]
    nodes = {name: Node(labels={"site": name[:3]}, team="net") for name in names}
    return with_shared_fate(ServiceGraph.build(nodes, dict.fromkeys(pairs.items(), Edge())), [], [], ["site"])


def test_a_network_that_is_cut_is_one_incident() -> None:
    """Neither side is down, and none of the databases: it is named what lies in between."""
    told = Timeline(sites()).at("0s").together(*(f"ams-{name}" for name in "abcd"), "fra-web", name=ERRORS)
    members = {"ams-a", "ams-b", "ams-c", "ams-d", "fra-web"}
    value = (
        told.passes("2m").expect("site=ams|fra", members=members, flagged="network_cut", paged=1).the("site=ams|fra")
    )
    assert value["title"] == "Network cut at site=ams|fra: 5 alerts of services that reach across"
    assert "5 of the 6 services that reach across it alert, and nothing else explains them" in value["reasons"]
    assert (value["team"], told.all_pages()) == ("net", 1)
    for name in members:
        told.resolves(name, ERRORS)
    assert told.passes("10m").the("site=ams|fra", "resolved")["resolution"] == "recovered"


def test_what_fails_on_one_side_alone_is_no_cut() -> None:
    """Half of what reaches across is well, or the trouble began in the services themselves."""
    told = Timeline(sites()).at("0s").together("ams-a", "ams-b", "ams-shop", name=ERRORS).passes("2m")
    assert told.roots() == ["ams-a", "ams-b", "ams-shop"]
    told = Timeline(sites()).at("0s").together(*(f"ams-{name}" for name in "abcde"), name="OutOfMemory").passes("2m")
    assert told.roots() == [f"ams-{name}" for name in "abcde"]


def test_one_service_that_explains_as_much_as_the_cut_is_the_root() -> None:
    """All that reach across need the same one: it, rather than the network."""
    nodes = {name: Node(labels={"site": "ams"}) for name in ("a", "b", "c", "d")} | {"x": Node(labels={"site": "fra"})}
    graph = ServiceGraph.build(nodes, {(name, "x"): Edge() for name in "abc"})
    told = Timeline(with_shared_fate(graph, [], [], ["site"])).at("0s").together("a", "b", "c", name=ERRORS)
    told.passes("2m").expect("x", members={"a", "b", "c"}, flags=["inferred"])
