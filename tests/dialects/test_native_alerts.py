"""The native dialect: what a field may be, what is mended, what is rejected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import correlator.dialects
from correlator.dialects import NOTES, Reader
from correlator.model import Alert

ReadOne = Callable[..., Alert]


def test_a_plain_alert_passes_as_it_is(read_one: ReadOne, arrival: float) -> None:
    """Nothing is added to or taken from an alert that needs no mending."""
    labels, annotations = {"cluster": "eu-1", "tenant": "acme"}, {"summary": "12 % errors\nsince noon"}
    alert = read_one(labels=labels, annotations=annotations, source="prom-eu", ends_at=arrival + 600.0)
    assert alert == Alert(
        fingerprint=alert.fingerprint,
        service="payments",
        name="HighErrorRate",
        severity="critical",
        status="firing",
        starts_at=arrival - 60.0,
        ends_at=arrival + 600.0,
        labels=labels,
        annotations=annotations,
        source="prom-eu",
    )


def test_the_topic_is_the_source_of_an_alert_that_names_none(read_one: ReadOne) -> None:
    """Senders have topics of their own more often than names; a source that is no text counts as none, with a note."""
    assert read_one().source == "alerts.raw"
    alert = read_one(source=["a"])
    assert (alert.source, alert.notes) == ("alerts.raw", ("bad_source",))


@pytest.mark.parametrize(
    ("fields", "status", "notes"),
    [
        ({"status": "problem"}, "firing", ()),
        ({"status": " Active "}, "firing", ()),
        ({"status": None}, "firing", ()),
        ({"status": "OK"}, "resolved", ()),
        ({"status": None, "severity": "ok"}, "resolved", ()),
        ({"status": None, "severity": "Cleared"}, "resolved", ()),
        ({"status": "firing", "severity": "ok"}, "firing", ()),
        ({"status": "pending"}, "firing", ("pending",)),
        ({"status": "suppressed"}, "firing", ("suppressed",)),
        ({"status": "acknowledged"}, "firing", ("acknowledged",)),
    ],
)
def test_status_words_are_firing_or_resolved(
    read_one: ReadOne, fields: dict[str, Any], status: str, notes: tuple[str, ...]
) -> None:
    """The words of other systems mean one of two; what they say beyond that is a note."""
    alert = read_one(**fields)
    assert (alert.status, alert.notes) == (status, notes)


@pytest.mark.parametrize(
    ("severity", "canonical", "notes"),
    [
        ("page", "critical", ()),
        ("SEV2", "error", ()),
        ("Minor", "warning", ()),
        ("none", "info", ()),
        ("blue", "warning", ("unknown_severity",)),
        (4, "warning", ("unknown_severity",)),
        (["critical"], "warning", ("unknown_severity",)),
        (None, "warning", ("no_severity",)),
        ("", "warning", ("no_severity",)),
    ],
)
def test_a_severity_is_never_a_reason_to_lose_an_alert(
    read_one: ReadOne, severity: Any, canonical: str, notes: tuple[str, ...]
) -> None:
    """Known words are translated; an unknown or absent severity is warning, with a note."""
    alert = read_one(severity=severity)
    assert (alert.severity, alert.notes) == (canonical, notes)


def test_a_severity_label_is_the_severity_of_an_alert_without_one(read_one: ReadOne) -> None:
    """Rules put the severity among the labels; the field wins over the label."""
    assert read_one(severity=None, labels={"severity": "info"}).severity == "info"
    assert read_one(severity="critical", labels={"severity": "info"}).severity == "critical"


def test_a_resolved_alert_needs_no_severity(read_one: ReadOne) -> None:
    """It is over: the default is taken without a note."""
    assert read_one(status="resolved", severity=None, ends_at=1_714_903_890).notes == ()


def test_the_service_is_the_first_service_label_when_it_is_not_given(read_one: ReadOne) -> None:
    """Labels are asked in the order of the setting; without any, the service is unknown, with a note."""
    labels = {"instance": "10.1.2.3:80", "job": "node", "app": "cart", "pod": "cart-1"}
    assert read_one(service=None, labels=labels).service == "cart"
    assert read_one(service=" ", labels=labels).service == "cart"
    assert read_one(service=None, labels={"app": "", "job": "node"}).service == "node"
    alert = read_one(service=None, labels={"team": "shop"})
    assert (alert.service, alert.notes) == ("unknown", ("no_service",))
    own = Reader(service_labels=("team",)).read(b'{"name": "a", "ts": 1, "labels": {"team": "shop"}}', received_at=None)
    assert own.alerts[0].service == "shop"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": None}, "missing_field"),
        ({"name": ""}, "missing_field"),
        ({"name": " \t"}, "missing_field"),
        ({"name": ["a"]}, "wrong_type"),
        ({"name": True}, "wrong_type"),
        ({"service": {"a": 1}}, "wrong_type"),
        ({"status": "blue"}, "wrong_type"),
        ({"status": True}, "wrong_type"),
        ({"status": {"state": "active"}}, "wrong_type"),
        ({"labels": "a=b"}, "wrong_type"),
        ({"labels": [{"name": "a"}]}, "wrong_type"),
        ({"key": {"a": 1}}, "wrong_type"),
        ({"key": True}, "wrong_type"),
        ({"labels": {"a": json.loads("[" * 33 + "]" * 33)}}, "too_deep"),
    ],
)
def test_what_decides_who_an_alert_is_about_is_not_guessed(
    reader: Reader, arrival: float, fields: dict[str, Any], reason: str
) -> None:
    """A name, service, status, labels or key of the wrong type rejects the alert."""
    record = {"name": "a", "service": "s", "severity": "error", "starts_at": arrival} | fields
    reading = reader.read(json.dumps(record).encode(), received_at=arrival)
    assert [(index, error.reason) for index, error in reading.rejects] == [(0, reason)]


def test_numbers_are_names(read_one: ReadOne) -> None:
    """Zabbix and others number their hosts and triggers."""
    alert = read_one(name=10084, service=7.0)
    assert (alert.name, alert.service, alert.notes) == ("10084", "7", ())


def test_fields_that_are_null_false_zero_or_empty_are_absent(read_one: ReadOne) -> None:
    """Senders with fixed field lists fill them with nothing; an empty PHP array stands for an empty object."""
    nothings: list[Any] = [None, False, 0, "", [], {}]
    for nothing in nothings:
        alert = read_one(
            labels=nothing, annotations=nothing, ends_at=nothing, key=nothing, source=nothing, links=nothing, id=nothing
        )
        assert alert == read_one()


def test_id_and_links_are_annotations(read_one: ReadOne) -> None:
    """The sender's own id and links lead a person back to it."""
    alert = read_one(id="a1", links={"dashboard": "https://d"}, annotations={"summary": "s"})
    assert alert.annotations == {"summary": "s", "id": "a1", "link_dashboard": "https://d"}
    assert read_one(links=["https://a", "https://b"]).annotations == {"link_1": "https://a", "link_2": "https://b"}
    assert read_one(id=7).annotations == {"id": "7"}
    assert read_one(links="https://a").notes == ("bad_links",)


def test_annotations_that_are_no_object_are_left_out(read_one: ReadOne) -> None:
    """Nothing hangs on them."""
    alert = read_one(annotations="12 % errors", id="a1")
    assert (alert.annotations, alert.notes) == ({"id": "a1"}, ("bad_annotations",))
    assert read_one(annotations=[1]).notes == ("bad_annotations",)


def test_every_note_of_an_alert_is_explained() -> None:
    """Notes are short words; each has a sentence, and each word is used."""
    folder = Path(correlator.dialects.__file__).parent
    sources = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "limits.py")
    assert [note for note in NOTES if f'"{note}"' not in sources] == []
