"""Stories of services, their instances and the hosts that these run on."""

from __future__ import annotations

import pytest

from tests.engine.timeline import Timeline
from topology import Edge, Node, ServiceGraph, with_folding

ERRORS = "HighErrorRate"


def shop() -> ServiceGraph:
    """``web`` needs ``api``, which needs ``db``; their instances run on three hosts."""
    nodes = {"web": Node(), "api": Node(team="shop")}
    nodes |= {f"api-{n}": Node(service="api", hosted_on=f"node-{n}", team="shop") for n in (1, 2, 3)}
    nodes |= {"db-1": Node(service="db", hosted_on="node-1", team="data"), "mail-1": Node(hosted_on="node-1")}
    return with_folding(ServiceGraph.build(nodes | {"db": Node()}, {("web", "api"): Edge(), ("api", "db"): Edge()}))


def test_a_host_that_is_down_is_the_root_of_all_that_runs_on_it() -> None:
    """And of the services to which that belongs, and of what needs those: one incident, one page."""
    told = Timeline(shop()).at("0s").fires("web", ERRORS).fires("api", ERRORS).at("5s")
    told.together("api-1", "db-1", "mail-1", name="InstanceDown").fires("db").at("9s").fires("node-1", "NodeDown")
    members = {"web", "api", "api-1", "db", "db-1", "mail-1", "node-1"}
    value = told.passes("2m").expect("node-1", members=members, paged=1).the("node-1")
    assert "api-1, db-1, mail-1 run on it" in value["reasons"]
    assert told.all_pages() == 1


def test_the_receipts_say_what_is_an_instance_and_what_runs_where() -> None:
    """A dependency of either kind is named as what it is."""
    told = Timeline(shop()).at("0s").fires("node-2", "NodeDown").fires("api-2", "InstanceDown").fires("api", ERRORS)
    assert [(r["service"], r["rule"], r["reasons"][0]) for r in told.receipts[-2:]] == [
        ("api-2", "depends_on", "it runs on node-2, which alerts"),
        ("api", "depends_on", "its instance is api-2, which alerts"),
    ]
    assert told.receipts[-1]["path"] == ["api", "api-2", "node-2"]


def test_one_instance_that_crashes_explains_its_service_and_the_callers_of_that() -> None:
    """Also where the service itself says nothing: trouble of an instance is trouble of its service."""
    for services in (("api", "web"), ("web",)):
        told = Timeline(shop()).at("0s").fires("api-2", "PodCrashLooping")
        value = (
            told.together(*services, name=ERRORS).passes("2m").expect("api-2", members={*services, "api-2"}, paged=1)
        )
        assert "it is one of 3 instances of api" in value.the("api-2")["reasons"]


def test_a_silent_host_is_found_by_what_runs_on_it() -> None:
    """Nobody watches the host itself; three of its three are gone."""
    told = Timeline(shop()).at("0s").together("api-1", "db-1", "mail-1", name="InstanceDown").passes("2m")
    told.expect("node-1", members={"api-1", "db-1", "mail-1"}, flagged="inferred", paged=1)
    assert any(
        reason.startswith("3 of the 3 services that run on it alert") for reason in told.the("node-1")["reasons"]
    )


def test_a_service_of_which_only_instances_are_listed_is_known() -> None:
    """Its alerts have a place, and its instance explains them; it answers to whom they answer."""
    graph = with_folding(ServiceGraph.build({f"db-{n}": Node(service="db", team="data") for n in (1, 2)}, {}))
    told = Timeline(graph).at("0s").fires("db", ERRORS).fires("db-2", "DiskFull").passes("2m")
    assert told.expect("db-2", members={"db", "db-2"}, flags=[]).the("db-2")["team"] == "data"


@pytest.mark.parametrize(("hidden", "paged"), [("api-2", 1), ("api", 0)])
def test_maintenance_of_one_instance_hides_no_trouble_of_the_service(hidden: str, paged: int) -> None:
    """Two others are left to serve; that of the service hides its instances with it."""
    told = Timeline(shop()).at("0s")
    window = {"type": "maintenance", "id": "m1", "subtree": hidden, "author": "ana", "reason": "patch day"}
    told.control(**window, starts_at=told.now, ends_at=told.now + 3_600)
    told.fires("api-2", "InstanceDown").fires("api", ERRORS).passes("2m")
    assert told.expect("api-2", members={"api", "api-2"}).all_pages() == paged
