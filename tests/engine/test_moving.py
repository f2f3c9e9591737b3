"""Shards that move: to another partition, apart, together, and back. Each test's docstring is the promise."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from correlator.engine.parting import Routes
from correlator.engine.rules import Rules
from tests.engine.strategies import LAW, Log, logs
from tests.engine.timeline import RAW, depends, row
from tests.engine.world import ONE, ROUTES, World, by_service, pages, played, replay, totals


@LAW
@given(logs(), ROUTES, ROUTES, st.integers(0, 100))
def test_no_alert_is_stranded_and_none_is_counted_twice(log: Log, before: Routes, after: Routes, share: int) -> None:
    """Whatever moves wherever in the middle of whatever: all is where it belongs, once, and counted as before."""
    cut = len(log.records) * share // 100
    world = played(log, cut, before)
    world.tick(0.0)
    world.check()
    counted = totals(world)
    alerts = {key: alert.row() for key, (alert,) in world.alerts().items()}
    world.move(after)
    world.check()
    assert totals(world) == counted
    assert {key for key, found in world.alerts().items() if len(found) > 1} == set()
    assert world.alerts().keys() == alerts.keys()
    replay(world, log, cut, len(log.records))
    world.check()
    for alerts_ in world.alerts().values():
        for alert in alerts_:
            world.send(alert.service, "resolved", alert.name, fingerprint=alert.fingerprint, ends_at=world.now)
    for _ in range(8):
        world.tick(130.0)
    world.check()
    open_ = [i for i in world.last().values() if i["state"] in ("forming", "open", "resolved")]
    assert [i for i in open_ if i["kind"] != "source_lost"] == []


@LAW
@given(logs(), ROUTES, ROUTES)
def test_a_move_wakes_nobody(log: Log, before: Routes, after: Routes) -> None:
    """Where nothing was due, a move pages nothing that would not have paged without it.

    Both judge everything anew before: a move does, and alerts that ended since may have kept an incident as it was.
    """
    stays, moves = (played(log, len(log.records), before) for _ in range(2))
    for world in (stays, moves):
        for number in list(world.logs):
            world.write(number, "", {"type": "rules", "rules": world.rules.plain()})
        for _ in range(5):
            world.tick(8.0)
    dues = [
        incident.page_due
        for partition in moves.partitions.values()
        for shard in partition.shards.values()
        for incident in shard.store.incidents.values()
    ]
    assume(not any(dues) and not any(p.windows for p in moves.partitions.values()))
    moves.move(after)
    for world in (stays, moves):
        for _ in range(5):
            world.tick(8.0)
    assert pages(moves) <= pages(stays)


# -- stories ------------------------------------------------------------------------------------------------------

GRAPH = depends("web -> api -> db", "shop -> db", "lone")
APART = by_service({"*": "eu", "web": "us", "shop": "us"}, 1)


def storm(routes: Routes = ONE, **rules: Any) -> World:
    """One incident that has paged: db is the root, web, api and shop its symptoms."""
    world = World(GRAPH, Rules.of({"max_time_jump": 1e6, **rules}), routes)
    for service in ("db", "api", "web", "shop"):
        world.send(service)
    world.tick(70.0)
    return world


def by_root(world: World) -> dict[str, Any]:
    return {i["root"]["service"]: i for i in world.last().values() if i["state"] not in ("closed", "merged")}


def test_an_incident_goes_whole_to_another_partition() -> None:
    """Under its id and with everything that is said about it; its revisions go on growing."""
    world = storm()
    (before,) = world.last().values()
    found = world.move(by_service({"*": "all"}, 3))
    (leg,) = found.legs
    assert (leg.from_partition, leg.to_partition, leg.alerts, leg.firing, leg.incidents) == (0, 1, 4, 4, 1)
    world.check()
    (after,) = world.last().values()
    assert {name for name in before if before[name] != after[name]} == {"revision", "updated_at"}
    assert after["revision"] > before["revision"]
    assert world.runs[1].values.keys() == {before["id"]}


def test_what_came_from_another_partition_goes_on_being_published_there() -> None:
    """Up to its tombstone: compaction keeps the last record of a key, of each partition."""
    world = storm()
    (id,) = world.last()
    world.move(by_service({"*": "all"}, 3))
    homes = [world.homes[1].get(id)]
    for service in ("db", "api", "web", "shop"):
        world.send(service, "resolved", ends_at=world.now)
    for _ in range(3):
        world.tick(world.rules.incident_retention)
        homes.append(world.homes[1].get(id))
    assert world.runs[1].revisions[-1] == (id, None)
    assert {*homes} == {0}
    world.move(by_service({"*": "all"}, 1))
    assert world.partitions[1].shards == {}


def test_an_incident_whose_alerts_part_is_cut_by_name() -> None:
    """It stays with its root; the rest has incidents of its own, which are known, wanted, and page nothing anew."""
    world = storm()
    (before,) = world.last().values()
    found = world.move(APART)
    (cut,) = found.cuts
    values = world.last()
    assert (cut.id, cut.to, cut.root) == (before["id"], "eu", "db")
    kept = values[before["id"]]
    assert (kept["shard"], kept["counts"]["alerts"], kept["page"]["seq"]) == ("eu", 2, 1)
    assert {"id": cut.parts["us"], "relation": "split_to"} in kept["related"]
    others = {id: value for id, value in values.items() if id != before["id"]}
    assert {value["root"]["service"] for value in others.values()} == {"web", "shop"}
    assert cut.parts["us"] in others
    for value in others.values():
        assert (value["page"]["seq"], value["page"]["wanted"], value["shard"]) == (0, True, "us")
        assert "split_from" in {related["relation"] for related in value["related"]}
    world.tick(3_600.0)
    assert pages(world) == 1
    for service in ("db", "api", "web", "shop"):
        world.send(service, "resolved", ends_at=world.now)
    world.tick(10_000.0)
    assert {value["state"] for value in world.last().values()} == {"closed"}


def test_shards_that_come_together_explain_each_other() -> None:
    """The incidents of both become the older one; both had paged, so nobody is called again."""
    world = storm(APART)
    assert {(i["root"]["service"], i["page"]["seq"]) for i in by_root(world).values()} == {
        ("db", 1),
        ("web", 1),
        ("shop", 1),
    }
    ids = {i["root"]["service"]: i["id"] for i in by_root(world).values()}
    world.move(ONE)
    (kept,) = by_root(world).values()
    assert (kept["id"], kept["root"]["service"], kept["counts"]["alerts"], kept["shard"]) == (ids["db"], "db", 4, "all")
    merged = [i for i in world.last().values() if i["state"] == "merged"]
    assert {i["merged_into"] for i in merged} == {ids["db"]}
    world.tick(3_600.0)
    assert pages(world) == 3


def test_what_was_not_worth_a_page_in_another_shard_is_none_after_the_move() -> None:
    """The most important service only has a note about it; that it belongs to an outage that has paged is no news."""
    graph = depends("web -> db", web={"tier": 1}, db={"tier": 2})
    world = World(graph, Rules.of({"max_time_jump": 1e6}), APART)
    world.send("db")
    world.send("web", severity="info")
    world.tick(70.0)
    assert [i["page"]["seq"] for i in world.last().values()] == [1, 0]
    world.move(ONE)
    world.tick(3_600.0)
    assert by_root(world).keys() == {"db"}
    assert pages(world) == 1


def test_an_alert_that_has_paged_in_one_incident_pages_in_no_other_after_the_move() -> None:
    """It was explained from afar, and has a nearer explanation now, about which nobody was ever called."""
    graph = depends("shop -> api -> db", "shop -> mail")
    world = World(graph, Rules.of({"max_time_jump": 1e6}), by_service({"*": "eu", "mail": "us"}, 1))
    for service, severity in (("db", "critical"), ("shop", "critical"), ("mail", "info")):
        world.send(service, severity=severity)
    world.tick(70.0)
    assert {root: i["page"]["seq"] for root, i in by_root(world).items()} == {"db": 1, "mail": 0}
    world.move(ONE)
    world.tick(3_600.0)
    assert {root: i["counts"]["alerts"] for root, i in by_root(world).items()} == {"db": 1, "mail": 2}
    assert pages(world) == 1


def test_there_and_back_again() -> None:
    """What went apart along its incidents and came back is as it was."""
    apart = by_service({"*": "eu", "lone": "us"}, 2)
    world = storm()
    world.send("lone")
    world.tick(70.0)
    before, alerts = world.last(), {key: alert.row() for key, (alert,) in world.alerts().items()}
    world.move(apart)
    world.check()
    assert {i["shard"] for i in world.last().values()} == {"eu", "us"}
    world.move(ONE)
    world.check()
    after = world.last()
    assert {key: alert.row() for key, (alert,) in world.alerts().items()} == alerts
    for id, value in after.items():
        assert {name for name in value if value[name] != before[id][name]} <= {"revision", "updated_at"}


def test_the_same_layout_moves_nothing() -> None:
    """A plan for what is already so has no legs, and a move of it changes nothing."""
    world = storm()
    plan = world.plan(ONE)
    assert (plan.legs, plan.leave, plan.arrive) == ([], {}, {})
    entities = dict(world.runs[0].entries)
    world.move(ONE)
    found = {key: value for key, value in world.runs[0].entries.items() if value != entities.get(key)}
    assert all(b"\x1fm\x1f" in key or key == b"@" for key in found)


def test_nothing_of_before_the_move_counts_after_it() -> None:
    """Alerts placed for the old layout by somebody who was late are left out: they are placed anew, and count once."""
    world = storm()
    world.move(APART)
    late = row(world.raw + 1, world.now, "lone", "Down")
    world.place([late], layout=0)
    assert "lone:Down" not in world.alerts()
    world.place([late])
    assert len(world.alerts()["lone:Down"]) == 1
    again = row(world.raw, world.now, "shop", "Down")  # read before the move, and delivered once more
    figures = totals(world)
    world.place([again])
    assert totals(world) == figures


def test_while_a_move_is_under_way_the_state_stands_still() -> None:
    """It can be given up and begun again: what was written before does not count; a restart in between knows it."""
    world = storm()
    world.write(0, "", {"type": "move_begin", "layout": 1})
    stray = {"type": "move_part", "layout": 1, "part": 7, "parts": 9, "entries": [["gone", "m", "", {}]]}
    world.write(0, "", stray)
    state = dict(world.runs[0].entries)
    world.tick(100_000.0)
    world.write(0, "all", {"source": RAW, "rows": [row(50_000, world.now, "lone", "Down")]})
    changed = {key for key, value in world.runs[0].entries.items() if value != state.get(key)}
    assert changed == {b"@"}
    again = world.partition()
    again.load(world.runs[0].entries)
    world.partitions[0] = again
    world.now -= 100_000.0
    world.move(APART)
    world.check()
    assert {name for p in world.partitions.values() for name in p.shards} == {"eu", "us"}


def test_a_move_that_ends_without_its_parts_brings_nothing_and_takes_nothing() -> None:
    """As in a log whose beginning is gone: the state that was made from the rest goes on."""
    world = storm()
    alerts = world.alerts().keys()
    world.write(0, "", {"type": "move_begin", "layout": 1})
    world.write(0, "", {"type": "move_part", "layout": 1, "part": 1, "parts": 2, "entries": []})
    world.write(0, "", {"type": "move_end", "layout": 1})
    world.layout = 1
    assert world.alerts().keys() == alerts
    world.send("lone")
    assert "lone:Down" in world.alerts()


def test_a_source_goes_where_its_heartbeats_go() -> None:
    """While it is lost its alerts do not expire; elsewhere the time for which they stood still is made up."""
    rules = {"heartbeat": [{"match": {"name": "Watchdog"}, "interval": 60.0}], "ttl": 600.0, "max_time_jump": 1e6}
    world = World(GRAPH, Rules.of(rules), ONE)
    world.send("watch", name="Watchdog")
    world.send("db")
    world.send("web")
    world.tick(100.0)
    world.tick(5_000.0)
    assert {i["kind"] for i in world.last().values() if i["state"] in ("open", "forming")} == {"fault", "source_lost"}
    world.move(by_service({"*": "eu", "web": "us"}, 2))
    world.check()
    (lost,) = (i for i in world.last().values() if i["kind"] == "source_lost")
    assert (lost["shard"], lost["state"]) == ("eu", "open")
    world.tick(100.0)
    assert all(alert.firing for found in world.alerts().values() for alert in found)
    world.send("watch", name="Watchdog")
    world.tick(30.0)
    (lost,) = (i for i in world.last().values() if i["kind"] == "source_lost")
    assert lost["state"] == "resolved"
    world.tick(700.0)
    assert {key: found[0].firing for key, found in world.alerts().items()} == {"db:Down": True, "web:Down": False}


def test_windows_acknowledgements_and_reviews_go_along() -> None:
    """What hides an alert hides it in its new shard, and an acknowledged incident stays acknowledged."""
    world = storm()
    (id,) = world.last()
    world.write(0, "", {"type": "acknowledge", "incident": id, "by": "ana"})
    window = {"type": "maintenance", "id": "CHG-7", "match": {"service": "web"}, "author": "ana", "reason": "upgrade"}
    world.write(0, "", {**window, "starts_at": world.now, "ends_at": world.now + 9_000.0})
    world.move(APART)
    world.check()
    assert {bool(i["acknowledged"]) for i in world.last().values()} == {True}
    (web,) = world.alerts()["web:Down"]
    assert web.window == ["CHG-7"]
    world.tick(9_100.0)
    assert world.alerts()["web:Down"][0].window is None


def test_every_moved_alert_has_a_receipt() -> None:
    """It names the rule, the shard's incident and the root there."""
    world = storm()
    world.move(APART)
    told = {
        receipt["fingerprint"]: (shard, receipt["root"])
        for run in world.runs.values()
        for shard, receipts in run.receipts.items()
        for receipt in receipts
        if receipt["rule"] == "shard_moved"
    }
    assert told == {
        "db:Down": ("eu", "db"),
        "api:Down": ("eu", "db"),
        "web:Down": ("us", "web"),
        "shop:Down": ("us", "shop"),
    }
