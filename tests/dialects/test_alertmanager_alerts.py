"""Alertmanager: webhook bodies of versions 3 and 4, and lists of the API v2."""

from __future__ import annotations

import json
from typing import Any

import pytest

from correlator.dialects import Reader, Reading
from correlator.model import Alert

ARRIVAL = 1_714_903_900.0


def alert_of(**changes: Any) -> dict[str, Any]:
    """One alert as Alertmanager writes it."""
    return {
        "status": "firing",
        "labels": {"alertname": "KafkaLagHigh", "app": "billing", "severity": "critical", "prometheus_replica": "a"},
        "annotations": {"summary": "lag is 12,000", "runbook_url": "https://runbooks.example/lag"},
        "startsAt": "2024-05-05T10:11:12.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://me:secret@prom.example:9090/graph?g0.expr=lag&g0.tab=1",
        "fingerprint": "0123456789abcdef",
    } | changes


def webhook_of(*alerts: Any, **changes: Any) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": '{}:{alertname="KafkaLagHigh"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "kafka",
        "groupLabels": {"alertname": "KafkaLagHigh"},
        "commonLabels": {"alertname": "KafkaLagHigh"},
        "commonAnnotations": {},
        "externalURL": "https://am.example:9093",
        "alerts": list(alerts),
    } | changes


def read(body: Any, received_at: float | None = ARRIVAL, **settings: Any) -> Reading:
    return Reader(**settings).read(json.dumps(body).encode(), received_at=received_at, topic="alerts.raw")


def read_v2(received_at: float | None = ARRIVAL, **changes: Any) -> Alert:
    item = alert_of(**changes)
    if "status" not in changes:
        del item["status"]
    reading = read([item], received_at)
    assert (reading.dialect, reading.rejects) == ("alertmanager_v2", [])
    return reading.alerts[0]


def test_a_webhook_body_is_its_alerts() -> None:
    """Name, service and severity come from the labels, the source is the sending Alertmanager."""
    reading = read(webhook_of(alert_of()))
    [alert] = reading.alerts
    assert (reading.dialect, reading.indices, reading.rejects) == ("alertmanager", [0], [])
    assert alert == Alert(
        fingerprint=alert.fingerprint,
        service="billing",
        name="KafkaLagHigh",
        severity="critical",
        status="firing",
        starts_at=1_714_903_872.123456,
        ends_at=None,
        labels=alert_of()["labels"],
        annotations=alert_of()["annotations"] | {"generator_url": alert_of()["generatorURL"]},
        source="https://am.example:9093",
    )


def test_a_body_of_version_3_differs_in_nothing_that_counts() -> None:
    """Its group key is a number and it knows no truncation."""
    body = webhook_of(alert_of(), version="3", groupKey=5_615_590_933_959_184_469)
    del body["truncatedAlerts"]
    assert read(body) == read(webhook_of(alert_of()))


def test_a_resolved_alert_ends_where_the_sender_says() -> None:
    """The status of the alert wins over that of the group, which stands in when the alert has none."""
    over = alert_of(status="resolved", endsAt="2024-05-05T10:11:30Z")
    [alert] = read(webhook_of(over)).alerts
    assert (alert.status, alert.ends_at) == ("resolved", 1_714_903_890.0)
    del over["status"]
    assert read(webhook_of(over, status="resolved")).alerts[0].status == "resolved"


def test_an_end_ahead_on_a_firing_alert_is_its_time_to_live() -> None:
    """It is kept for the lifecycle to use."""
    [alert] = read(webhook_of(alert_of(endsAt="2024-05-05T10:20:00Z"))).alerts
    assert (alert.status, alert.ends_at) == ("firing", 1_714_904_400.0)


def test_every_alert_of_a_truncated_group_says_so() -> None:
    """Alerts that the sender left out are missing, not resolved."""
    reading = read(webhook_of(alert_of(), alert_of(), truncatedAlerts=3))
    assert [alert.notes for alert in reading.alerts] == [("truncated_group",)] * 2


def test_a_repeated_alert_is_passed_on() -> None:
    """Counting duplicates is the engine's part."""
    one, two = read(webhook_of(alert_of(), alert_of())).alerts
    assert one == two


def test_the_sender_s_fingerprint_is_not_used() -> None:
    """It covers severity and replica labels: an escalation and a second replica would be new alerts."""
    labels = alert_of()["labels"]
    escalated = alert_of(labels=labels | {"severity": "warning", "alertstate": "firing"}, fingerprint="f" * 16)
    replica = alert_of(labels=labels | {"prometheus_replica": "b"}, fingerprint="e" * 16)
    other = alert_of(labels=labels | {"pod": "billing-1"})
    prints = [alert.fingerprint for alert in read(webhook_of(alert_of(), escalated, replica, other)).alerts]
    assert len(set(prints[:3])) == 1
    assert prints[3] not in (prints[0], "0123456789abcdef")
    assert prints[0] != "0123456789abcdef"


def test_one_bad_alert_of_a_group_is_rejected_alone() -> None:
    """An alert without name, labels of the wrong type, or no object at all leave the others alone."""
    reading = read(webhook_of(alert_of(labels={}), alert_of(), alert_of(labels="a=b"), 5, alert_of(status="blue")))
    assert reading.indices == [1]
    assert [(index, error.reason) for index, error in reading.rejects] == [
        (0, "missing_field"),
        (2, "wrong_type"),
        (3, "wrong_type"),
        (4, "wrong_type"),
    ]


def test_a_group_without_envelope_is_recognised() -> None:
    """Relays drop what they do not need."""
    assert read({"alerts": [alert_of()]}).dialect == "alertmanager"


def test_annotations_that_are_no_object_do_not_lose_the_alert() -> None:
    """The alert passes with a note."""
    [alert] = read(webhook_of(alert_of(annotations="lag"))).alerts
    assert (alert.annotations, alert.notes) == ({}, ("bad_annotations",))
    [alert] = read(webhook_of(alert_of(annotations=None))).alerts
    assert list(alert.annotations) == ["generator_url"]


@pytest.mark.parametrize(
    ("end", "received_at", "status", "ends_at"),
    [
        ("2024-05-05T10:11:40Z", ARRIVAL, "resolved", ARRIVAL),
        ("2024-05-05T10:11:30Z", ARRIVAL, "resolved", ARRIVAL - 10.0),
        ("2024-05-05T10:15:40Z", ARRIVAL, "firing", ARRIVAL + 240.0),
        ("0001-01-01T00:00:00Z", ARRIVAL, "firing", None),
        (None, ARRIVAL, "firing", None),
        ("2024-05-05T10:11:30Z", None, "firing", ARRIVAL - 10.0),
    ],
)
def test_the_status_of_a_v2_alert_follows_from_its_end(
    end: str | None, received_at: float | None, status: str, ends_at: float | None
) -> None:
    """Not after the arrival: resolved. Ahead, absent, year 1, or nothing to compare with: firing."""
    alert = read_v2(received_at, endsAt=end)
    assert (alert.status, alert.ends_at) == (status, ends_at)


def test_a_listed_v2_alert_brings_its_own_time_and_state() -> None:
    """``updatedAt`` stands in for the arrival in a replay; a suppressed alert is firing, with a note; a word holds."""
    updated = "2024-05-05T10:11:40Z"
    assert read_v2(None, updatedAt=updated, endsAt="2024-05-05T10:11:30Z").status == "resolved"
    alert = read_v2(status={"state": "suppressed", "silencedBy": ["x"], "inhibitedBy": []})
    assert (alert.status, alert.notes) == ("firing", ("suppressed",))
    assert read_v2(status={"state": "active"}).notes == ()
    assert read_v2(status="resolved").status == "resolved"


def test_a_single_v2_alert_is_read() -> None:
    """Bridges split the list into records."""
    item = alert_of()
    del item["status"]
    assert read(item).alerts == read([item]).alerts


def test_the_source_of_a_v2_alert_is_the_host_that_made_it() -> None:
    """Scheme and host of ``generatorURL`` without credentials, else a label that names the sender, else the topic."""
    assert read_v2().source == "https://prom.example:9090"
    labels = alert_of()["labels"]
    assert read_v2(generatorURL="", labels=labels | {"prometheus": "monitoring/k8s"}).source == "monitoring/k8s"
    assert read_v2(generatorURL="/graph", labels=labels | {"monitor": "lab"}).source == "lab"
    assert read_v2(generatorURL=None).source == "alerts.raw"


def test_both_forms_of_one_alert_have_one_fingerprint() -> None:
    """The same alert by webhook and by list is one alert."""
    assert read_v2().fingerprint == read(webhook_of(alert_of())).alerts[0].fingerprint


def test_an_alert_without_name_in_a_list_is_missing_a_field() -> None:
    """The name of an Alertmanager alert is its label ``alertname``."""
    reading = read([alert_of(labels={"app": "billing"}), alert_of(labels=[1]), 7])
    assert [(index, error.reason) for index, error in reading.rejects] == [
        (0, "missing_field"),
        (1, "wrong_type"),
        (2, "wrong_type"),
    ]
