"""Episodes, expiry, lost sources, maintenance and other controls, the end of an incident."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from correlator.engine.lifecycle import TRANSITIONS, transition
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from correlator.engine.state import Incident
from tests.engine.timeline import SHARD, START, Timeline, depends

CHAIN = depends("web -> api -> db")
HEARTBEAT = [{"match": {"name": "Watchdog"}, "interval": 300.0}]


# -- episodes -------------------------------------------------------------------------------------------------


def test_a_resolve_before_its_firing_ends_it_on_arrival() -> None:
    """Two deliveries in the wrong order leave nothing firing; each has its receipt."""
    story = Timeline(CHAIN).at("60s").resolves("db", ends_at="50s").fires("db", starts_at="10s").passes("5m")
    assert story.shown() == []
    assert story.verdicts("db") == ["resolved", "resolved"]


def test_a_late_resolve_does_not_end_the_new_episode() -> None:
    """It ended before the alert that fires now began."""
    story = (
        Timeline(CHAIN)
        .at("60s")
        .fires("db", starts_at="50s")
        .resolves("db", ends_at="40s")
        .expect("db", state="forming")
    )
    assert story.verdicts("db") == ["root", "late"]


def test_a_late_firing_of_an_ended_episode_opens_nothing() -> None:
    """Resolved is resolved, however late a copy of the firing arrives."""
    story = Timeline(CHAIN).at("0s").fires("db").at("60s").resolves("db").passes("20m").fires("db", starts_at="0s")
    assert story.roots("forming", "open") == []
    assert story.verdicts("db")[-1] == "late"


def test_a_sender_that_renews_its_onset_is_one_episode() -> None:
    """Every notification with a new starts_at: one alert, and the first onset stays."""
    story = Timeline(CHAIN).at("0s")
    for n in range(9):
        story.at(f"{n}m").fires("db", again=True)
    assert story.the("db")["counts"]["alerts"] == 1
    assert story.the("db")["started_at"] == "2025-06-15T15:06:40.000Z"
    story.resolves("db").expect("db", state="resolved")


def test_expiry_is_not_recovery() -> None:
    """Nobody repeats it and nobody ends it: it is over, but never said to be well."""
    story = Timeline(CHAIN, ttl=600.0).at("0s").fires("db").passes("20m")
    value = story.the("db")
    assert (value["state"], value["resolution"]) == ("open", "unknown")
    assert story.receipts[-1]["rule"] == "expired"
    story.passes("1h")
    over = story.value(value["id"])
    assert (over["state"], over["resolution"], over["resolved_at"]) == ("closed", "unknown", None)
    assert all(v is None or v["state"] != "resolved" for _, v in story.revisions)


def test_an_expired_alert_that_fires_again_goes_on() -> None:
    """The same onset after a silence is the same episode, not a late message: nothing is lost to the expiry."""
    story = Timeline(CHAIN, ttl=600.0).at("0s").fires("db").passes("11m").fires("db").expect("db", state="open")
    assert story.the("db")["resolution"] is None
    assert story.partition.figures()[SHARD]["active"] == 1


def test_an_expired_alert_that_is_resolved_by_message_has_recovered() -> None:
    """A resolve always passes, after the expiry too."""
    story = Timeline(CHAIN, ttl=600.0).at("0s").fires("db").passes("11m").resolves("db")
    story.expect("db", state="resolved", resolution="recovered")


def test_the_senders_own_time_to_live_holds() -> None:
    """A firing message that says how long it is valid expires then, unless it is repeated."""
    story = Timeline(CHAIN).at("0s").fires("db", ends_at=START + 120).passes("1m").fires("db", ends_at=START + 240)
    story.at("200s").tick().expect("db", resolution=None).at("241s").tick().expect("db", resolution="unknown")


def test_deadlines_fire_at_their_own_time() -> None:
    """One tick after an hour: page, expiry and closing happened when they were due."""
    story = Timeline(CHAIN, ttl=600.0, max_time_jump=7200.0).at("0s").fires("db").at("50m").tick()
    (value,) = story.shown("closed")
    assert value["page"]["first_wanted_at"] == "2025-06-15T15:07:40.000Z"
    assert value["updated_at"] == "2025-06-15T15:31:40.000Z"


def test_one_record_from_the_future_does_not_expire_everything() -> None:
    """A jump of the clock is counted and limited."""
    story = Timeline(CHAIN).at("0s").fires("db").at("10000d").tick().expect("db", resolution=None)
    assert story.partition.shards[SHARD].store.now == START + 3600
    assert story.partition.shards[SHARD].store.limits["max_time_jump"] == 1


def test_the_clock_never_runs_backwards() -> None:
    """A record from the past is applied at the time that it is."""
    story = Timeline(CHAIN).at("10m").fires("db").at("0s").fires("web", starts_at="0s")
    assert story.partition.shards[SHARD].store.now == START + 600


# -- sources --------------------------------------------------------------------------------------------------


def test_a_lost_source_is_an_incident_and_its_alerts_stand_still() -> None:
    """No heartbeat: it pages, what the source last said neither expires nor recovers, and says so."""
    story = (
        Timeline(CHAIN, ttl=1200.0, heartbeat=HEARTBEAT)
        .at("0s")
        .fires("watch", "Watchdog")
        .fires("db", ends_at=START + 400)
    )
    story.passes("301s")
    (lost,) = story.shown("forming", "open", kind="source_lost")
    assert (lost["page"]["seq"], lost["root"]["service"]) == (1, "prometheus")
    story.passes("1h").expect("db", resolution=None, flagged="degraded_source")
    story.restarts().fires("watch", "Watchdog", again=True).expect("db", flags=[])
    assert story.value(lost["id"])["state"] == "resolved"
    story.passes("90s").expect("db", resolution=None).passes("20s").expect("db", resolution="unknown")


def test_a_source_that_is_lost_again_keeps_its_incident() -> None:
    """Within the reopen window it is the same story."""
    story = Timeline(CHAIN, heartbeat=HEARTBEAT).at("0s").fires("watch", "Watchdog").passes("6m")
    story.fires("watch", "Watchdog", again=True).passes("6m")
    (lost,) = story.shown("open", kind="source_lost")
    assert lost["resolved_at"] is None


def test_heartbeats_are_counted_and_are_no_alerts() -> None:
    """Firing means healthy: no incident, a verdict of its own."""
    story = (
        Timeline(CHAIN, heartbeat=HEARTBEAT).at("0s").fires("watch", "Watchdog").passes("1m").fires("watch", "Watchdog")
    )
    assert story.shown() == []
    assert story.partition.shards[SHARD].store.transitions == {"heartbeat": 2}


# -- maintenance ----------------------------------------------------------------------------------------------


def test_maintenance_masks_the_page_and_not_the_record() -> None:
    """The alert is there, flagged, with its verdict; nobody is woken until the window ends."""
    story = Timeline(CHAIN).at("0s").maintenance("patch", "30m", service="db").fires("db").passes("10m")
    story.expect("db", paged=0, state="open", flagged="maintenance")
    assert story.verdicts("db") == ["maintenance"]
    story.restarts().passes("21m").expect("db", paged=1, flags=[])
    assert story.verdicts("db") == ["maintenance", "root"]


def test_maintenance_covers_what_fires_already_and_can_end_early() -> None:
    """Begin and end are events of their own."""
    story = Timeline(CHAIN).at("0s").fires("db", severity="critical").at("10s").maintenance("patch", "30m", name="Down")
    story.passes("5m").expect("db", paged=0, flagged="maintenance")
    story.control(type="maintenance_end", id="patch").expect("db", paged=1, flags=[])


def test_a_window_that_begins_later_also_ends_after_a_restart() -> None:
    """Both of its deadlines are asked for again."""
    story = Timeline(CHAIN).at("0s").fires("db").passes("2m").expect("db", paged=1)
    window = {"type": "maintenance", "id": "w", "match": {"service": "db"}}
    story.control(**window, starts_at=START + 300, ends_at=START + 600).restarts()
    story.at("301s").tick().expect("db", flagged="maintenance").at("601s").tick().expect("db", flags=[])


def test_a_window_for_all_covers_a_shard_that_is_still_to_come() -> None:
    """Maintenance is announced before the first alert, and a restart in between changes nothing."""
    story, partition = Timeline(CHAIN), Partition(CHAIN, Rules())
    window = {"type": "maintenance", "id": "all", "match": {"name": ".*"}, "starts_at": START, "ends_at": START + 99}
    partition.apply(0, START, "", orjson.dumps(window))
    story.entries = {k: v for k, v in partition.take().entries.items() if v is not None}
    story.offset = 1
    story.restarts().at("10s").fires("db").expect("db", flagged="maintenance").at("99s").tick().expect("db", paged=1)


def test_a_resolve_passes_in_maintenance() -> None:
    """What is masked can recover."""
    story = Timeline(CHAIN).at("0s").maintenance("patch", "30m", service="db").fires("db").passes("1m").resolves("db")
    story.expect("db", state="resolved")


@pytest.mark.parametrize(
    "control",
    [
        {"type": "maintenance"},
        {"type": "maintenance", "id": "m", "match": {"name": "("}, "starts_at": 0, "ends_at": 1},
        {"type": "maintenance", "id": "m", "match": {}, "starts_at": 0, "ends_at": 1},
        {"type": "maintenance", "id": "m", "match": {"name": "x"}, "starts_at": "soon", "ends_at": 1},
        {"type": "maintenance_end", "id": "unknown"},
        {"type": "acknowledge", "incident": 7},
        {"type": "rules", "rules": {"settle": "long"}},
        {"type": "rules", "rules": {"settle": -1}},
        {"type": "rules", "rules": {"not_a_cause": ["("]}},
        {"type": "rules", "rules": {"heartbeat": [{"match": 3}]}},
        {"type": "rules", "rules": {"page_severity": "purple"}},
        {"type": "rules"},
        {"type": "graph"},
    ],
)
def test_a_control_that_makes_no_sense_is_counted_and_changes_nothing(control: dict[str, Any]) -> None:
    """The log is final: raising would only stop the shard."""
    story = Timeline(CHAIN).at("0s").fires("db").control(**control).passes("2m").expect("db", paged=1, flags=[])
    assert story.partition.shards[SHARD].store.limits["control_refused"] == 1


@pytest.mark.parametrize(
    "control", [{"type": "tick", "watermarks": 3, "partitions": "x"}, {"type": "news"}, {"type": "tick"}]
)
def test_what_is_for_somebody_else_is_ignored(control: dict[str, Any]) -> None:
    """Records of a newer version, and ticks with nothing in them."""
    Timeline(CHAIN).at("0s").fires("db").control(**control).passes("2m").expect("db", paged=1)


def test_new_rules_hold_from_their_record_on() -> None:
    """What was a warning too many pages under the new rules."""
    story = Timeline(CHAIN).at("0s").fires("db", severity="warning").passes("5m").expect("db", paged=0)
    story.control(type="rules", rules={"page_severity": "warning"}).expect("db", paged=1)


# -- the end --------------------------------------------------------------------------------------------------


def test_a_closed_incident_gets_a_tombstone_and_is_never_used_again() -> None:
    """After the retention its key is free to be compacted away."""
    story = Timeline(CHAIN, incident_retention=3600.0).at("0s").fires("db").passes("2m")
    known = story.the("db")["id"]
    story.resolves("db").passes("16m")
    assert story.value(known)["state"] == "closed"
    story.fires("db", again=True).passes("2h")
    assert story.last[known] is None
    assert story.the("db")["id"] != known


def test_the_life_of_an_incident_is_one_table() -> None:
    """An event that a state does not know is refused."""
    incident = Incident()
    incident.id = "x"
    for (state, event), then in TRANSITIONS.items():
        incident.state = state
        transition(incident, event)
        assert incident.state == then
    incident.state = "closed"
    with pytest.raises(LookupError, match="closed"):
        transition(incident, "fired")
