"""Laws over generated input: nothing raises, both ways of normalising agree, the fingerprint is an identity."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from correlator.dialects import NOTES, Limits, Reader, Reading
from correlator.dialects.normalise import Normaliser
from correlator.errors import REJECT_REASONS, RejectedError
from correlator.model import SEVERITIES, Alert

ARRIVAL = 1_714_903_900.0
READERS = {name: Reader(dialect=name) for name in (None, "native", "alertmanager", "alertmanager_v2")}

WORDS = (
    "name service severity status starts_at ts ends_at labels annotations links source key fingerprint id alerts "
    "alertname startsAt endsAt generatorURL groupKey externalURL truncatedAlerts updatedAt state replica app "
    "firing resolved ok critical warning pending blue payments 2024-05-05T10:11:12Z 0001-01-01T00:00:00Z "
    "9999-12-31T23:59:59Z 1714903872 nan 0123456789abcdef"
).split()
texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
plain_times = st.sampled_from([ARRIVAL, ARRIVAL - 60, 1_714_903_872_000, "2024-05-05T10:11:12Z", "1714903872"])
scalars = st.one_of(st.none(), st.booleans(), numbers, plain_times, texts)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=8), max_leaves=25
)
label_sets = st.dictionaries(texts, texts, max_size=6)
native_alerts = st.fixed_dictionaries(
    {"name": texts},
    optional={
        "service": st.one_of(texts, scalars),
        "severity": st.one_of(st.sampled_from(SEVERITIES), scalars),
        "status": st.one_of(st.sampled_from(["firing", "resolved"]), scalars),
        "starts_at": st.one_of(plain_times, scalars),
        "ts": st.one_of(plain_times, scalars),
        "ends_at": st.one_of(plain_times, scalars),
        "labels": st.one_of(label_sets, documents),
        "annotations": st.one_of(label_sets, documents),
        "links": documents,
        "source": scalars,
        "key": scalars,
        "fingerprint": scalars,
        "id": scalars,
    },
)
arrivals = st.sampled_from([None, ARRIVAL])


def check(reading: Reading, limits: Limits) -> None:
    """What holds for every reading."""
    assert len(reading.alerts) == len(reading.indices)
    positions = [*reading.indices, *(index for index, _ in reading.rejects)]
    assert positions == [None] or sorted(positions, key=lambda index: index or 0) == list(range(len(positions)))
    assert all(error.reason in REJECT_REASONS for _, error in reading.rejects)
    for alert in reading.alerts:
        check_alert(alert, limits)


def check_alert(alert: Alert, limits: Limits) -> None:
    assert re.fullmatch("[0-9a-f]{16}", alert.fingerprint)
    assert "" not in (alert.name, alert.service)
    assert alert.severity in SEVERITIES
    assert 0.0 < alert.starts_at < math.inf
    assert alert.ends_at is None or alert.ends_at >= alert.starts_at
    assert alert.status == "firing" or (alert.status == "resolved" and alert.ends_at is not None)
    assert max(len(alert.name.encode()), len(alert.service.encode())) <= limits.max_name_bytes
    assert max(len(alert.labels), len(alert.annotations)) <= limits.max_labels
    assert all(value and len(value.encode()) <= limits.max_label_bytes for value in alert.labels.values())
    assert all(len(value.encode()) <= limits.max_annotation_bytes for value in alert.annotations.values())
    lines = [alert.name, alert.service, alert.source, *alert.labels, *alert.labels.values(), *alert.annotations]
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for line in lines for character in line)
    assert set(alert.notes) <= NOTES.keys()
    assert len(set(alert.notes)) == len(alert.notes)
    orjson.dumps(tuple(alert))


@given(value=st.binary(max_size=200), name=st.sampled_from([*READERS]), received_at=arrivals)
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise(value: bytes, name: str | None, received_at: float | None) -> None:
    """Whatever the bytes are, a reading comes back."""
    check(READERS[name].read(value, received_at=received_at), Limits())


@given(
    document=st.one_of(documents, st.lists(native_alerts, max_size=3)),
    name=st.sampled_from([*READERS]),
    received_at=arrivals,
)
@settings(max_examples=300, deadline=None)
def test_no_json_raises(document: Any, name: str | None, received_at: float | None) -> None:
    """Whatever the JSON is, every position of it is an alert within the limits or a reject with a known reason."""
    check(READERS[name].read(json.dumps(document).encode(), received_at=received_at, topic="t"), Limits())


@given(fields=native_alerts, received_at=arrivals)
@settings(max_examples=300, deadline=None)
def test_small_limits_hold_for_every_alert(fields: dict[str, Any], received_at: float | None) -> None:
    """The limits that are set are the limits that hold."""
    limits = Limits(max_labels=2, max_label_bytes=8, max_name_bytes=32, max_annotation_bytes=9, max_depth=1)
    check(Reader(limits=limits).read(json.dumps(fields).encode(), received_at=received_at), limits)


@given(fields=native_alerts, received_at=arrivals)
@settings(max_examples=300, deadline=None)
def test_both_ways_of_normalising_agree(fields: dict[str, Any], received_at: float | None) -> None:
    """An alert that needs no mending is the same alert when it is looked at value by value; inputs are untouched."""
    fields = orjson.loads(json.dumps(fields, ensure_ascii=False).encode(errors="replace"))
    before = orjson.dumps(fields)
    normaliser = Normaliser({"replica"}, ("app", "service"), Limits(max_name_bytes=40, max_label_bytes=60))
    try:
        mended = normaliser._mended(fields, received_at, "t", ())
    except RejectedError:
        assert normaliser._plain(fields, received_at, "t", ()) is None
    else:
        plain = normaliser._plain(fields, received_at, "t", ())
        assert plain is None or plain == mended
    assert orjson.dumps(fields) == before


@pytest.mark.parametrize(
    ("more", "plain"), [({}, True), ({"key": "k"}, True), ({"key": 7}, False), ({"links": []}, False)]
)
def test_an_alert_that_needs_no_mending_takes_the_short_way(more: dict[str, Any], plain: bool) -> None:
    """The agreement above is about something: a plain alert is recognised once its label names are known."""
    fields = {"name": "a", "service": "s", "severity": "error", "status": "firing", "ts": ARRIVAL, "labels": {"k": "v"}}
    normaliser = Normaliser((), (), Limits())
    mended = normaliser.alert(fields | more, ARRIVAL, "t")
    assert normaliser._plain(fields | more, ARRIVAL, "t", ()) == (mended if plain else None)


fingerprint_labels = st.dictionaries(
    texts.filter(lambda name: name not in {"severity", "alertstate", "replica", "service"}), texts, max_size=6
)


@given(data=st.data(), labels=fingerprint_labels)
@settings(max_examples=300, deadline=None)
def test_the_fingerprint_is_of_what_identifies(data: st.DataObject, labels: dict[str, str]) -> None:
    """Label order, severity, status, times, annotations, source and replica labels do not change it."""

    def variant() -> str:
        mine = dict(data.draw(st.permutations([*labels.items()])))
        extra = {"severity": texts, "alertstate": texts, "replica": texts}
        mine |= data.draw(st.fixed_dictionaries({}, optional=extra))
        fields = {
            "name": "HighErrorRate",
            "service": "payments",
            "severity": data.draw(st.sampled_from(SEVERITIES)),
            "status": data.draw(st.sampled_from(["firing", "resolved"])),
            "starts_at": data.draw(plain_times),
            "annotations": data.draw(label_sets),
            "source": data.draw(texts),
            "labels": mine,
        }
        [alert] = Reader().read(json.dumps(fields).encode(), received_at=data.draw(arrivals)).alerts
        return alert.fingerprint

    assert variant() == variant()


identities = st.tuples(texts, texts, st.dictionaries(texts, texts, max_size=3))


@given(one=identities, two=identities)
@settings(max_examples=300, deadline=None)
def test_two_identities_have_two_fingerprints(
    one: tuple[str, str, dict[str, str]], two: tuple[str, str, dict[str, str]]
) -> None:
    """No choice of separators or quotes in one field makes it look like another alert."""

    def read(identity: tuple[str, str, dict[str, str]]) -> Alert | None:
        service, name, labels = identity
        record = {"name": f"n{name}", "service": f"s{service}", "labels": labels, "ts": ARRIVAL}
        alerts = Reader(ignore_labels=()).read(json.dumps(record).encode(), received_at=None).alerts
        return alerts[0] if alerts else None

    def identity_of(alert: Alert) -> object:
        labels = {label: value for label, value in alert.labels.items() if label not in {"severity", "alertstate"}}
        return alert.service, alert.name, labels

    first, second = read(one), read(two)
    assert first is not None
    assert second is not None
    if identity_of(first) != identity_of(second):
        assert first.fingerprint != second.fingerprint


def test_a_key_is_the_whole_identity() -> None:
    """With a dedup key of the sender, labels, service and name may change; a key is not a service of that name."""

    def fingerprint(**fields: Any) -> str:
        record = {"name": "a", "service": "s", "ts": ARRIVAL} | fields
        [alert] = Reader().read(json.dumps(record).encode(), received_at=None).alerts
        return alert.fingerprint

    assert fingerprint(key="k") == fingerprint(key="k", name="b", service="t", labels={"x": "1"}, severity="ok")
    assert fingerprint(key=7) == fingerprint(key="7") != fingerprint(key="8")
    assert fingerprint(key="s") != fingerprint()
    assert fingerprint(fingerprint="0123456789abcdef") == "0123456789abcdef"
    assert fingerprint(fingerprint="0123456789abcdef", key="k") == fingerprint(key="k")


@pytest.mark.parametrize("given", ["0123456789ABCDEF", "0123", 7, ["0123456789abcdef"]])
def test_a_fingerprint_of_another_form_is_not_used(given: Any) -> None:
    """It is computed from the labels instead, with a note."""
    record = {"name": "a", "service": "s", "severity": "info", "ts": ARRIVAL}
    [plain] = Reader().read(json.dumps(record).encode(), received_at=None).alerts
    [alert] = Reader().read(json.dumps(record | {"fingerprint": given}).encode(), received_at=None).alerts
    assert (alert.fingerprint, alert.notes) == (plain.fingerprint, ("bad_fingerprint",))


def test_fingerprints_are_the_same_in_every_process() -> None:
    """Neither hash seed nor process nor release may change them: state and log hold them for months."""
    code = (
        "from correlator.dialects import Reader\n"
        'v = b\'{"name": "HighErrorRate", "service": "payments", "ts": 1, "labels": {"b": "2", "a": "\\xc3\\xa9"}}\'\n'
        'k = b\'{"name": "HighErrorRate", "service": "payments", "ts": 1, "key": "payments/HighErrorRate"}\'\n'
        "print(*(Reader().read(x, received_at=None).alerts[0].fingerprint for x in (v, k)))\n"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.split() == ["dd9aa8697cac6526", "8b3ba312a6e8ff94"]


def test_a_full_table_of_shapes_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of label names is emptied when it is full, and the fingerprints stay the same."""
    monkeypatch.setattr("correlator.dialects.shapes._MAX_SHAPES", 3)
    records = [
        json.dumps({"name": "a", "service": "s", "ts": ARRIVAL, "labels": {f"l{number % 7}": str(number % 7)}}).encode()
        for number in range(50)
    ]
    reader = Reader()
    prints = [reader.read(record, received_at=None).alerts[0].fingerprint for record in records]
    assert prints == [Reader().read(record, received_at=None).alerts[0].fingerprint for record in records]
    assert len(set(prints)) == 7
