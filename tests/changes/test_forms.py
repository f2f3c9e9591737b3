"""Change events as their senders write them, and what is made of each."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.changes import ChangeReader, ChangeReading, forms
from correlator.changes.reader import Headers
from correlator.dialects import Limits
from correlator.errors import REJECT_REASONS
from correlator.model import CHANGE_KINDS, Change

ARRIVAL = 1_767_230_000.0
AT = "2026-01-01T01:00:00Z"
EPOCH = 1_767_229_200.0

NATIVE: dict[str, Any] = {"service": "checkout", "summary": "deployed v2.3.1", "at": AT, "author": "ana", "id": "r-7"}
CLOUDEVENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": "org.example.flag.switched",
    "source": "/flags/eu",
    "id": "17",
    "time": AT,
    "subject": "service/checkout",
    "region": "eu",
    "data": {"message": "new-basket on for 5 %", "user": "ana", "url": "https://flags.example.org/new-basket"},
}
CDEVENT: dict[str, Any] = {
    "context": {
        "specversion": "0.4.1",
        "id": "271069a8",
        "source": "/ci/eu",
        "type": "dev.cdevents.service.deployed.0.2.0",
        "timestamp": AT,
    },
    "subject": {
        "id": "/clusters/eu/services/checkout",
        "type": "service",
        "content": {"environment": {"id": "/env/prod"}, "artifactId": "pkg:oci/checkout@sha256%3A0b31b1?tag=v2.3.1"},
    },
    "customData": {"author": "ana", "link": "https://ci.example.org/7"},
}
PAGERDUTY: dict[str, Any] = {
    "routing_key": "0123456789abcdef0123456789abcdef",
    "payload": {
        "summary": "Release 2.3.1 of the shop",
        "timestamp": AT,
        "source": "ci-eu-1",
        "custom_details": {"service": "checkout", "user": "ana", "build_number": 7},
    },
    "links": [{"href": "https://ci.example.org/7", "text": "the build"}],
}


def read(value: Any, headers: Headers = (), arrival: float | None = ARRIVAL) -> ChangeReading:
    return ChangeReader().read(
        value if isinstance(value, bytes) or value is None else orjson.dumps(value), headers, received_at=arrival
    )


def one(value: Any, headers: Headers = ()) -> Change:
    reading = read(value, headers)
    assert reading.rejects == []
    ((position, change),) = reading.changes
    assert position == 0
    return change


def refused(value: Any, headers: Headers = ()) -> list[tuple[int | None, str]]:
    return [(position, error.reason) for position, error in read(value, headers).rejects]


def but(event: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**event, **fields}


# -- forms ----------------------------------------------------------------------------------------------------


def test_our_own_json_is_read_as_it_is() -> None:
    """A service and a summary are enough; the words of the summary tell the kind."""
    assert one(NATIVE) == Change("r-7", "deployment", "checkout", "deployed v2.3.1", EPOCH, "ana", "", {})
    least = one({"service": "checkout", "summary": "terraform apply"})
    assert (least.kind, least.at, least.author, len(least.id)) == ("infrastructure", ARRIVAL, "", 16)


def test_a_cloudevent_is_read_in_structured_mode() -> None:
    """The subject names the service, the type the kind, source and id together identify it, extensions are labels."""
    change = one(CLOUDEVENT)
    assert change[:5] == ("/flags/eu#17", "feature_flag", "checkout", "new-basket on for 5 %", EPOCH)
    assert change[5:] == ("ana", "https://flags.example.org/new-basket", {"region": "eu"})


def test_a_cloudevent_is_read_in_binary_mode() -> None:
    """Attributes in the headers, data in the value; the same change as in structured mode."""
    headers = tuple((f"ce_{key}", value.encode()) for key, value in CLOUDEVENT.items() if isinstance(value, str))
    headers = (("content-type", b"application/json"), *headers)
    assert one(CLOUDEVENT["data"], headers) == one(CLOUDEVENT)
    assert one(b"", headers).summary == "org.example.flag.switched"
    assert refused(b"{", headers) == [(None, "not_json")]


def test_a_cloudevent_may_hold_its_data_in_base64() -> None:
    """As senders of bytes write it."""
    data = base64.b64encode(orjson.dumps(CLOUDEVENT["data"])).decode()
    event = {key: value for key, value in CLOUDEVENT.items() if key != "data"}
    assert one({**event, "data_base64": data}) == one(CLOUDEVENT)
    assert refused({**event, "data_base64": "?"}) == [(0, "not_json")]
    assert refused({**event, "data_base64": base64.b64encode(b"{").decode()}) == [(0, "not_json")]


def test_a_cdevent_says_which_version_went_where() -> None:
    """From the subject and the package URL; the environment can decide about the shard."""
    change = one(CDEVENT)
    assert change[:5] == ("/ci/eu#271069a8", "deployment", "checkout", "deployed v2.3.1 in prod", EPOCH)
    assert change[5:] == ("ana", "https://ci.example.org/7", {"environment": "prod"})


def test_a_cdevent_is_the_same_alone_and_as_a_cloudevent() -> None:
    """In structured and in binary mode."""
    context = CDEVENT["context"]
    envelope = {"specversion": "1.0", "type": context["type"], "source": context["source"], "id": context["id"]}
    headers = tuple((f"ce_{key}", value.encode()) for key, value in envelope.items())
    assert one({**envelope, "data": CDEVENT}) == one(CDEVENT) == one(CDEVENT, headers)


@pytest.mark.parametrize(
    ("named", "artifact", "summary", "kind"),
    [
        ("service.upgraded.0.2.0", "pkg:golang/checkout@1.4.0", "upgraded to 1.4.0 in prod", "deployment"),
        ("service.rolledback.0.2.0", None, "rolled back in prod", "deployment"),
        ("service.removed.0.2.0", None, "removed in prod", "deployment"),
        ("service.deployed.0.2.0", "pkg:oci/x@sha256:0b31b1c02ff458ad", "deployed sha256:0b31b1c02ff4 in prod", None),
        ("environment.modified.0.2.0", None, "modified in prod", "infrastructure"),
    ],
)
def test_every_cdevent_of_a_running_service_is_a_change(
    named: str, artifact: str | None, summary: str, kind: str | None
) -> None:
    """With words of its own."""
    event = orjson.loads(orjson.dumps(CDEVENT))
    event["context"]["type"] = f"dev.cdevents.{named}"
    event["subject"]["content"]["artifactId"] = artifact
    change = one(event)
    assert change.summary == summary
    assert kind in (None, change.kind)


@pytest.mark.parametrize("named", ["build.finished.0.2.0", "change.merged.0.2.0", "incident.detected.0.2.0", "x", ""])
def test_other_cdevents_are_no_changes_and_no_errors(named: str) -> None:
    """A topic may hold all events of a delivery pipeline."""
    reading = read(but(CDEVENT, context={**CDEVENT["context"], "type": f"dev.cdevents.{named}"}))
    assert (reading.changes, reading.rejects, reading.ignored) == ([], [], 1)


def test_a_change_event_of_pagerduty_names_its_service_in_the_details() -> None:
    """Else the source is the service; there is no id, so the same text at the same time is the same change."""
    change = one(PAGERDUTY)
    assert change[1:5] == ("deployment", "checkout", "Release 2.3.1 of the shop", EPOCH)
    assert change[5:7] == ("ana", "https://ci.example.org/7")
    assert change.labels["build_number"] == "7"
    assert one(PAGERDUTY).id == change.id != one(but(PAGERDUTY, payload={**PAGERDUTY["payload"], "summary": "x"})).id
    assert one(but(PAGERDUTY, payload={"summary": "dns moved", "source": "ns-1"}))[1:3] == ("infrastructure", "ns-1")


def test_an_alert_event_of_pagerduty_is_no_change() -> None:
    """It belongs on another topic, and is not guessed to be something else."""
    assert refused(but(PAGERDUTY, event_action="trigger")) == [(0, "unknown_dialect")]


# -- records --------------------------------------------------------------------------------------------------


def test_a_record_may_hold_many_changes_of_many_forms() -> None:
    """A list, or one per line; one that cannot be read is refused alone, by its position."""
    events = [NATIVE, {"what": 1}, CLOUDEVENT, 7, CDEVENT, PAGERDUTY]
    lines = b"\n".join(orjson.dumps(event) for event in events)
    for value in (orjson.dumps(events), lines):
        reading = read(value)
        assert [position for position, _ in reading.changes] == [0, 2, 4, 5]
        assert [(position, error.reason) for position, error in reading.rejects] == [
            (1, "unknown_dialect"),
            (3, "wrong_type"),
        ]
        assert reading.form == "native"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b"", "empty"),
        (b"  ", "empty"),
        (b"{", "not_json"),
        (b"\xff", "not_utf8"),
        (b"[" * 2_000, "too_deep"),
        (b" " * 20_000_000, "too_large"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_as_a_whole(value: bytes | None, reason: str) -> None:
    """With the reasons that alerts have."""
    assert refused(value) == [(None, reason)]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (but(NATIVE, service=""), "missing_field"),
        (but(NATIVE, summary=None, kind="other"), "missing_field"),
        (but(NATIVE, service=["a"]), "wrong_type"),
        (but(NATIVE, kind="party"), "wrong_type"),
        (but(NATIVE, at="noon"), "wrong_type"),
        (but(NATIVE, at=ARRIVAL + 3_600), "wrong_type"),
        (but(NATIVE, at=-5), "wrong_type"),
        (but(NATIVE, at=True), "wrong_type"),
        (but(NATIVE, labels=[1]), "wrong_type"),
        (but(NATIVE, author={}), "wrong_type"),
        (but(CLOUDEVENT, subject=None), "missing_field"),
        (but(CDEVENT, subject="checkout"), "missing_field"),
        (but(PAGERDUTY, links="x"), "wrong_type"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(event: dict[str, Any], reason: str) -> None:
    """Nothing is guessed: a change at a wrong time or place would be suspected wrongly."""
    assert refused(event) == [(0, reason)]


def test_too_many_changes_in_a_record_are_refused() -> None:
    """The limit is that of alerts."""
    reader = ChangeReader(Limits(max_alerts_per_record=2))
    reading = reader.read(orjson.dumps([NATIVE] * 3), received_at=ARRIVAL)
    assert [error.reason for _, error in reading.rejects] == ["too_many_alerts"]


def test_without_arrival_a_change_must_say_when() -> None:
    """Nothing stands in for its time."""
    event = {key: value for key, value in NATIVE.items() if key != "at"}
    assert [error.reason for _, error in read(event, arrival=None).rejects] == ["missing_field"]
    assert read(NATIVE, arrival=None).changes[0][1].at == EPOCH


@pytest.mark.parametrize("link", ["javascript:alert(1)", "ci/7", "https://x y", 5, "https://" + "x" * 3_000, None])
def test_a_link_that_is_no_web_address_is_left_out(link: Any) -> None:
    """Somebody will click on it."""
    assert one(but(NATIVE, link=link)).link == ""


def test_long_and_dirty_words_are_cut_and_cleaned() -> None:
    """The incident that lists them has a bounded size."""
    change = one(but(NATIVE, summary="a\nb\x00" + "x" * 2_000, author="y" * 2_000, id="z" * 2_000))
    assert change.summary.startswith("a b\ufffd")
    assert max(len(change.summary), len(change.author), len(change.id)) <= 512


# -- laws -----------------------------------------------------------------------------------------------------

_WORDS = (
    "service summary kind at id author link labels specversion type source subject time data data_base64 context "
    "content environment artifactId customData payload custom_details routing_key links href deployment checkout 1.0 "
    "dev.cdevents.service.deployed.0.2.0 2026-01-01T00:00:00Z pkg:oci/x@v1?tag=2"
).split()
_text = st.one_of(st.sampled_from(_WORDS), st.text(max_size=12))
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), _text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=7),
    max_leaves=20,
)
_events = st.sampled_from([NATIVE, CLOUDEVENT, CDEVENT, PAGERDUTY])


@given(_events, _json, st.sampled_from(_WORDS), st.one_of(st.none(), st.floats()))
def test_whatever_a_record_holds_nothing_raises(base: Any, more: Any, key: str, arrival: float | None) -> None:
    """Every event is a change that is whole, refused with a known reason, or none."""
    document = {**base, key: more, **(more if isinstance(more, dict) else {})}
    reading = read(orjson.dumps(document), arrival=arrival)
    assert len(reading.changes) + len(reading.rejects) + reading.ignored == 1
    assert all(error.reason in REJECT_REASONS for _, error in reading.rejects)
    for _, change in reading.changes:
        assert change.kind in CHANGE_KINDS
        assert all(isinstance(word, str) for word in (*change[:4], *change[5:7]))
        assert all(change[:4])
        assert all(isinstance(value, str) for value in change.labels.values())
        assert 0 < change.at < 1e12


_headers = st.lists(
    st.tuples(st.sampled_from(["ce_type", "ce_specversion", "ce_subject", "x"]), st.none() | st.binary())
)


@given(st.binary(max_size=60), _headers)
def test_whatever_the_bytes_are_nothing_raises(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    """Of the value and of the headers, which may have none."""
    assert isinstance(read(value, tuple(headers)), ChangeReading)


def test_the_forms_have_names() -> None:
    """In the order in which they are asked."""
    assert forms() == ("cdevents", "cloudevents", "pagerduty", "native")
