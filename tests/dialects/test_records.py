"""One record: bytes that cannot be read, several alerts, several lines."""

from __future__ import annotations

import json

import pytest

from correlator.dialects import Limits, Reader, dialects
from correlator.errors import REJECT_REASONS

GOOD = b'{"name": "HighErrorRate", "service": "payments", "severity": "critical", "ts": 1714903872}'
HALF_PAIR = rb'{"name": "HighErrorRate", "service": "payments", "ts": 1714903872, "labels": {"a": "\ud83d"}}'

WHOLE_RECORD: list[tuple[str, bytes | None, str]] = [
    ("a null value", None, "tombstone"),
    ("no bytes", b"", "empty"),
    ("blanks only", b" \n\t ", "empty"),
    ("more bytes than the limit", b'"' + b"x" * 1_000 + b'"', "too_large"),
    ("UTF-16", '{"name": "é"}'.encode("utf-16"), "not_utf8"),
    ("invalid UTF-8 in a string", b'{"name": "\xff\xfe"}', "not_utf8"),
    ("half a surrogate pair in the bytes", b'{"name": "\xed\xa0\x80"}', "not_utf8"),
    ("text", b"the disk is full", "not_json"),
    ("cut in the middle", GOOD[:-20], "not_json"),
    ("cut in the middle of an indented document", json.dumps([{"name": "a"}], indent=1).encode()[:-3], "not_json"),
    ("an infinite number", b'{"name": "a", "ts": 1e999}', "not_json"),
    ("one bracket after another", b"[" * 900, "not_json"),
    ("JSON that is no alert", b'{"hello": "world"}', "unknown_dialect"),
    ("a number", b"42", "unknown_dialect"),
    ("a list of numbers", b"[1, 2]", "unknown_dialect"),
    ("null", b"null", "unknown_dialect"),
    ("JSON that is no alert, after a byte order mark", b"\xef\xbb\xbf{}", "unknown_dialect"),
    ("a list of alerts that is none", b'{"name": "a", "service": "b", "alerts": 5}', "wrong_type"),
    ("more alerts than the limit", b"[" + b",".join([GOOD] * 6) + b"]", "too_many_alerts"),
    ("more lines than the limit", b"\n".join([GOOD] * 6), "too_many_alerts"),
    (
        "more alerts on lines than the limit",
        b"\n".join([b"[" + b",".join([GOOD] * 3) + b"]", GOOD, GOOD, GOOD]),
        "too_many_alerts",
    ),
]


@pytest.mark.parametrize(("value", "reason"), [row[1:] for row in WHOLE_RECORD], ids=[row[0] for row in WHOLE_RECORD])
def test_a_record_that_cannot_be_read_is_rejected_whole(value: bytes | None, reason: str) -> None:
    """A bad record gives no alert and one reject without index, whose reason is known."""
    reader = Reader(limits=Limits(max_record_bytes=1_001 if reason != "too_large" else 1_000, max_alerts_per_record=5))
    reading = reader.read(value, received_at=None)
    assert (reading.alerts, reading.indices) == ([], [])
    [(index, error)] = reading.rejects
    assert (index, error.reason) == (None, reason)
    assert reason in REJECT_REASONS
    assert str(error)


def test_nesting_beyond_the_parser_is_rejected_and_does_not_crash() -> None:
    """100,000 open brackets, closed or not, alone or in an alert, are too_deep; brackets in strings are text."""
    deep, reader = b"[" * 100_000, Reader()
    for value in (deep, deep + b"]" * 100_000, b'{"name": "a", "labels": ' + deep, b'{"a":' * 100_000):
        [(index, error)] = reader.read(value, received_at=None).rejects
        assert (index, error.reason) == (None, "too_deep")
    for value in (b'"' + deep, b'"' + deep + b'" x', b'"\\"' + deep):
        assert reader.read(value, received_at=None).rejects[0][1].reason == "not_json"


def test_the_reason_for_a_large_broken_record_is_found_in_linear_time() -> None:
    """A megabyte of escaped quotes or of brackets takes no longer than a megabyte of anything else."""
    for value in (b'"' + b'\\"' * 500_000, b"{}" * 500_000, b"[]\n" * 300_000, b'"\n' * 500_000):
        [(_, error)] = Reader().read(value, received_at=None).rejects
        assert error.reason in {"not_json", "unknown_dialect"}


def test_a_record_of_ten_megabytes_is_read() -> None:
    """The default limit of a record is 10 MB: 40,000 alerts of 250 bytes in one record are 40,000 alerts."""
    line = b'{"name":"HighErrorRate","service":"payments","ts":1714903872,"key":"%06d","annotations":{"summary":"%s"}}'
    value = b"\n".join(line % (number, b"x" * 140) for number in range(40_000))
    assert 9_000_000 < len(value) <= Limits().max_record_bytes
    reading = Reader().read(value, received_at=None)
    assert len({alert.fingerprint for alert in reading.alerts}) == 40_000
    assert reading.rejects == []


@pytest.mark.parametrize("record", [b"[%s, %s, %s]", b'{"alerts": [%s, %s, %s]}', b"%s\n%s\r\n\n%s\n"])
def test_one_bad_alert_is_rejected_alone(record: bytes) -> None:
    """In an array, in an object of alerts and in lines, the neighbours of a bad alert pass, with their own index."""
    reading = Reader().read(record % (GOOD, b'{"service": "b", "severity": "x"}', GOOD), received_at=None)
    assert (len(reading.alerts), reading.indices, reading.dialect) == (2, [0, 2], "native")
    [(index, error)] = reading.rejects
    assert (index, error.reason) == (1, "missing_field")


def test_a_line_that_is_not_json_is_rejected_alone() -> None:
    """A broken, non-UTF-8, foreign or too deep line takes one index and leaves the other lines alone."""
    lines = [b'{"name": ', GOOD, b'{"name": "\xff"}', b'{"hello": 1}', b"[" * 2_000, b"[%s, 5]" % GOOD, GOOD]
    reading = Reader().read(b"\n".join(lines), received_at=None)
    assert reading.indices == [1, 5, 7]
    assert [(index, error.reason) for index, error in reading.rejects] == [
        (0, "not_json"),
        (2, "not_utf8"),
        (3, "unknown_dialect"),
        (4, "too_deep"),
        (6, "wrong_type"),
    ]


def test_a_single_alert_that_is_bad_is_rejected_by_its_index() -> None:
    """The bytes of a single alert are JSON of a known dialect, so the alert is at fault and not the record."""
    reading = Reader().read(b'{"service": "payments", "severity": "critical"}', received_at=None)
    assert [(index, error.reason) for index, error in reading.rejects] == [(0, "missing_field")]
    assert reading.dialect == "native"


@pytest.mark.parametrize("value", [b"[]", b'{"alerts": []}'])
def test_an_empty_list_holds_no_alerts(value: bytes) -> None:
    """A sender with nothing to say is not at fault."""
    assert Reader().read(value, received_at=None)[:3] == ([], [], [])


def test_of_duplicate_keys_the_last_one_holds() -> None:
    """JSON leaves it open; here the last value of a key is the value."""
    value = b'{"name": "a", "name": "b", "service": "s", "ts": 1714903872, "labels": {"x": "1", "x": "2"}}'
    [alert] = Reader().read(value, received_at=None).alerts
    assert (alert.name, alert.labels) == ("b", {"x": "2"})


def test_a_byte_order_mark_is_no_fault() -> None:
    """Windows bridges write one."""
    assert len(Reader().read(b"\xef\xbb\xbf" + GOOD, received_at=None).alerts) == 1


def test_nan_and_half_surrogate_pairs_are_mended() -> None:
    """What Python and JavaScript write but JSON forbids is read as text, and the alerts of the document say so."""
    value = b'{"name": "a", "service": "s", "ts": 1714903872, "labels": {"z": -Infinity, "v": NaN}}'
    [alert] = Reader().read(value, received_at=None).alerts
    assert alert.labels == {"z": "-Infinity", "v": "NaN"}
    assert "mended_json" in alert.notes
    reading = Reader().read(GOOD + b"\n" + HALF_PAIR, received_at=None)
    assert ["mended_json" in alert.notes for alert in reading.alerts] == [False, True]
    assert reading.alerts[1].labels == {"a": "\ufffd"}


def test_a_named_dialect_is_not_guessed() -> None:
    """With a dialect set, a record of another dialect is rejected for its type or its missing fields."""
    webhook = b'{"groupKey": "k", "alerts": [{"labels": {"alertname": "a"}, "startsAt": "2024-05-05T10:11:12Z"}]}'
    assert Reader().read(webhook, received_at=None).dialect == "alertmanager"
    assert Reader(dialect="native").read(webhook, received_at=None).rejects[0][1].reason == "missing_field"
    for dialect in ("alertmanager", "alertmanager_v2"):
        reading = Reader(dialect=dialect).read(b"42", received_at=None)
        assert (reading.rejects[0][1].reason, reading.dialect) == ("wrong_type", dialect)


def test_a_dialect_that_does_not_exist_is_refused_at_once() -> None:
    """A typing error in the settings shows when the reader is made, with the names that exist."""
    assert dialects() == ("native", "alertmanager", "alertmanager_v2")
    with pytest.raises(ValueError, match="unknown dialect 'zabix'; known: native, alertmanager, alertmanager_v2"):
        Reader(dialect="zabix")
