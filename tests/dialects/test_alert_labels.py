"""Labels, annotations and names: types, limits, characters."""

from __future__ import annotations

import json
from collections.abc import Callable

from correlator.dialects import Reader
from correlator.model import Alert

ReadOne = Callable[..., Alert]


def test_label_values_become_text(read_one: ReadOne) -> None:
    """Numbers and booleans as JSON writes them, 100.0 as 100, objects and arrays as JSON; null and "" are absent."""
    values = {"f": 97.87234, "i": 3, "w": 100.0, "b": True, "n": None, "e": "", "": "x", "o": {"b": [1], "a": None}}
    alert = read_one(labels=values)
    assert alert.labels == {"f": "97.87234", "i": "3", "w": "100", "b": "true", "o": '{"a":null,"b":[1]}'}
    assert alert.notes == ()


def test_too_many_labels_keep_the_identifying_ones(read_one: ReadOne) -> None:
    """64 labels stay: identifying ones first, sorted. The fingerprint is of all of them."""
    labels = {f"l{number:03}": "x" for number in reversed(range(100))}
    alert = read_one(labels=labels | {"severity": "critical", "replica": "a"})
    assert (list(alert.labels), alert.notes) == ([f"l{number:03}" for number in range(64)], ("labels_cut",))
    assert read_one(labels=labels | {"l099": "y"}).fingerprint != alert.fingerprint
    few = {f"l{number:03}": "x" for number in range(63)} | {"replica": "a", "severity": "critical"}
    assert "severity" not in read_one(labels=few).labels


def test_the_severity_of_a_label_that_was_cut_still_counts(read_one: ReadOne) -> None:
    """Cutting labels does not make a critical alert a warning."""
    labels = {f"l{number:03}": "x" for number in range(100)} | {"severity": "critical"}
    assert read_one(severity=None, labels=labels).severity == "critical"


def test_a_long_label_value_is_cut_and_still_identifies(read_one: ReadOne) -> None:
    """1024 bytes of UTF-8 stay, whole characters only; two values that differ after the cut are two alerts."""
    one, two = (read_one(labels={"path": "é" * 1_000 + end}) for end in "ab")
    assert one.labels == {"path": "é" * 512} == two.labels
    assert one.notes == ("value_cut",)
    assert one.fingerprint != two.fingerprint


def test_a_label_with_a_long_name_is_left_out(read_one: ReadOne) -> None:
    """A name cannot be cut without the risk of two labels becoming one."""
    alert = read_one(labels={"n" * 257: "x", "n" * 256: "y"})
    assert (alert.labels, alert.notes) == ({"n" * 256: "y"}, ("labels_cut",))


def test_a_long_name_is_cut_and_stays_distinct(read_one: ReadOne) -> None:
    """Service and name have 256 bytes; a longer one ends in a hash of the whole, so two long ones are not one."""
    one, two = (read_one(name="é" * 300 + end, service="s" * 300 + end) for end in "ab")
    assert (len(one.name.encode()), len(one.service)) == (255, 256)
    assert one.notes == ("text_cut",)
    assert (one.name, one.service) != (two.name, two.service)
    assert one.fingerprint != two.fingerprint


def test_long_and_many_annotations_are_cut(read_one: ReadOne) -> None:
    """4096 bytes of each, 64 of them; one that is nested too deep or has a long name is left out."""
    alert = read_one(annotations={"description": "é" * 3_000, "n" * 257: "x", "deep": json.loads("[" * 40 + "]" * 40)})
    assert (alert.annotations, alert.notes) == ({"description": "é" * 2_048}, ("annotations_cut",))
    alert = read_one(annotations={f"a{number}": "x" for number in range(100)})
    assert (len(alert.annotations), alert.notes) == (64, ("annotations_cut",))


def test_control_characters_do_not_reach_the_alert(read_one: ReadOne) -> None:
    """NUL, escape and C1 codes become U+FFFD everywhere; line breaks become spaces, but stay in annotations."""
    alert = read_one(
        name="a\x00b\nc",
        service="s\x1b[31m",
        labels={"k\x00": "v\x7f\t", "bidi": "\u202e"},
        annotations={"description": "one\n\ttwo\x00\x85"},
        source="p\x9b",
    )
    assert (alert.name, alert.service, alert.source) == ("a\ufffdb c", "s\ufffd[31m", "p\ufffd")
    assert alert.labels == {"k\ufffd": "v\ufffd ", "bidi": "\u202e"}
    assert alert.annotations == {"description": "one\n\ttwo\ufffd "}
    assert alert.notes == ("control_characters",)


def test_text_in_any_script_passes(read_one: ReadOne) -> None:
    """Umlauts, ideographs, emoji and quotes need no mending."""
    labels = {"ort": "Köln", "都市": "東京", "mood": "😀", "quote": '"a\\b"'}
    alert = read_one(name="Fehler größer 5 %", labels=labels, annotations={"summary": '"größer"\r\n'})
    assert (alert.name, alert.labels, alert.notes) == ("Fehler größer 5 %", labels, ())
    assert alert.annotations == {"summary": '"größer"\r\n'}


def test_blanks_around_names_are_dropped(read_one: ReadOne) -> None:
    """A service with a blank behind it is the same service."""
    assert read_one(name=" HighErrorRate", service="payments ") == read_one()


def test_replica_labels_stay_on_the_alert() -> None:
    """They say which copy of the sender spoke; only the fingerprint leaves them out, and which ones is a setting."""
    record = {"name": "a", "service": "s", "ts": 1_714_903_872}
    raw = [json.dumps(record | {"labels": {"replica": name, "site": "x"}}).encode() for name in "ab"]
    for ignored, prints in (({"replica"}, 1), (set[str](), 2), ({"site"}, 2)):
        alerts = [Reader(ignore_labels=ignored).read(value, received_at=None).alerts[0] for value in raw]
        assert [alert.labels["replica"] for alert in alerts] == ["a", "b"]
        assert len({alert.fingerprint for alert in alerts}) == prints
