"""Where an alert belongs: its service, and its shard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from correlator.model import PLACED_COLUMNS, Alert
from correlator.place import Placer
from topology import Node, ServiceGraph


def graph(**nodes: Node) -> ServiceGraph:
    return ServiceGraph.build(nodes, {})


def alert(service: str, **labels: str) -> Alert:
    return Alert(
        "0123456789abcdef", service, "Down", "critical", "firing", 10.0, None, labels, {}, "am", ("no_severity",)
    )


SHOP = graph(
    web=Node(labels={"region": "eu", "tenant": "acme"}, aliases=("web.internal",), tier=1),
    db=Node(labels={"region": "us"}, team="data"),
)


def test_a_row_holds_the_alert_in_the_order_of_the_columns() -> None:
    """The row is what the engine reads: where the alert came from, its node, then its fields."""
    shard, row = Placer(SHOP).row(alert("web.internal", a="b"), 7, 3, 12.5)
    found = dict(zip(PLACED_COLUMNS, row, strict=True))
    assert shard == "all"
    assert found == {
        "offset": 7,
        "index": 3,
        "received_at": 12.5,
        "known": True,
        "fingerprint": "0123456789abcdef",
        "service": "web",
        "name": "Down",
        "severity": "critical",
        "status": "firing",
        "starts_at": 10.0,
        "ends_at": None,
        "labels": {"a": "b"},
        "annotations": {},
        "source": "am",
        "notes": ("no_severity",),
    }


def test_an_unknown_service_keeps_the_senders_word() -> None:
    """Nothing is guessed about a service that the graph does not know."""
    _, row = Placer(SHOP).row(alert("ghost"), 0, 0, 0.0)
    assert (row[3], row[5]) == (False, "ghost")


def test_placing_leaves_the_alert_as_it_is() -> None:
    """Rows are lists of their own."""
    given_alert = alert("web.internal")
    _, first = Placer(SHOP).row(given_alert, 0, 0, 0.0)
    first[5] = "changed"
    assert given_alert == alert("web.internal")


def test_a_shard_attribute_is_read_from_the_service() -> None:
    """An alert of a known service takes the shard of the service, whatever its labels say."""
    placer = Placer(SHOP, shard_attributes=["region"])
    assert placer.row(alert("web", region="mars"), 0, 0, 0.0)[0] == "region=eu"
    assert placer.row(alert("ghost", region="mars"), 0, 0, 0.0)[0] == "region=-"
    assert placer.shard_of_service("db") == "region=us"
    assert placer.shard_of_service("ghost") is None


def test_attributes_of_the_graph_count_as_well_as_labels() -> None:
    """Team and tier are attributes of a service and no labels."""
    placer = Placer(SHOP, shard_attributes=["team", "tier"])
    assert placer.shard_of_service("db") == "team=data,tier=-"
    assert placer.shard_of_service("web") == "team=-,tier=1"


def test_a_shard_label_is_read_from_the_alert() -> None:
    """A label of the alert makes the shard; an absent or empty one is a dash."""
    placer = Placer(SHOP, shard_labels=["env"])
    assert placer.row(alert("web", env="prod"), 0, 0, 0.0)[0] == "env=prod"
    assert placer.row(alert("web", env=""), 0, 0, 0.0)[0] == "env=-"
    assert placer.row(alert("web"), 0, 0, 0.0)[0] == "env=-"
    assert placer.shard_of_service("web") is None


def test_the_alert_fills_in_what_its_service_does_not_say() -> None:
    """A key that is both an attribute and a label takes the service's word first."""
    placer = Placer(SHOP, shard_attributes=["region"], shard_labels=["region"])
    assert placer.row(alert("web", region="mars"), 0, 0, 0.0)[0] == "region=eu"
    assert placer.row(alert("ghost", region="mars"), 0, 0, 0.0)[0] == "region=mars"


def test_the_tenant_is_always_part_of_the_shard() -> None:
    """The alert says whose it is; where it does not, the service does."""
    placer = Placer(SHOP, shard_attributes=["region"], tenant_label="tenant")
    assert placer.row(alert("web"), 0, 0, 0.0)[0] == "region=eu,tenant=acme"
    assert placer.row(alert("web", tenant="other"), 0, 0, 0.0)[0] == "region=eu,tenant=other"
    assert placer.row(alert("db"), 0, 0, 0.0)[0] == "region=us,tenant=-"


values = st.text(st.sampled_from("-a,=*%\x1f\n"), max_size=4)


@given(values, values, values, values)
def test_two_shards_are_called_the_same_only_when_they_are(a: str, b: str, c: str, d: str) -> None:
    """No value of a label can make an alert pass for one of another tenant."""
    placer = Placer(SHOP, shard_labels=["env"], tenant_label="tenant")
    first = placer.row(alert("ghost", env=a, tenant=b), 0, 0, 0.0)[0]
    second = placer.row(alert("ghost", env=c, tenant=d), 0, 0, 0.0)[0]
    assert (first == second) == ((a, b) == (c, d))
    assert "\x1f" not in first


@given(st.lists(st.tuples(st.sampled_from(["web", "db", "ghost"]), values), max_size=20))
def test_what_was_placed_before_has_no_effect(alerts: list[tuple[str, str]]) -> None:
    """Places are remembered, and remembering changes nothing."""
    options = {"shard_attributes": ["region"], "tenant_label": "tenant"}
    warm = Placer(SHOP, **options)  # type: ignore[arg-type]
    for service, tenant in alerts:
        fresh = Placer(SHOP, **options)  # type: ignore[arg-type]
        one = alert(service, tenant=tenant)
        assert warm.row(one, 1, 2, 3.0) == fresh.row(one, 1, 2, 3.0)


def test_moved_names_the_services_that_another_graph_puts_elsewhere() -> None:
    """A service that keeps its shard, or is new, or is gone, does not move."""
    other = graph(
        web=Node(labels={"region": "us"}), db=Node(labels={"region": "us"}), new=Node(labels={"region": "eu"})
    )
    here, there = (Placer(g, shard_attributes=["region"]) for g in (SHOP, other))
    assert here.moved(there) == [("web", "region=eu", "region=us")]
    assert here.moved(here) == []


def test_moved_tells_of_other_keys_even_without_a_service() -> None:
    """Other settings move all alerts, those about unknown services included."""
    empty = ServiceGraph.empty()
    assert Placer(empty).moved(Placer(empty, shard_labels=["env"])) == [("*", "all", "env=*")]
    assert Placer(SHOP).moved(Placer(SHOP, shard_attributes=["region"])) == [
        ("db", "all", "region=us"),
        ("web", "all", "region=eu"),
        ("*", "all", "region=-"),
    ]


def test_a_name_tells_whether_the_keys_can_give_it() -> None:
    """By the names of the keys and their order, whatever the values are."""
    keyed = Placer(SHOP, shard_attributes=["region"], tenant_label="tenant")
    assert all(keyed.possible(keyed.row(alert(service), 0, 0, 0.0)[0]) for service in ("web", "db", "ghost"))
    assert not any(map(keyed.possible, ("all", "region=eu", "tenant=acme,region=eu", "region=eu,tenant=a,x=y")))
    assert Placer(SHOP).possible("all")
    assert not Placer(SHOP).possible("region=eu")
