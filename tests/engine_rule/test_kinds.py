"""The keyword table: what a name and a direction say."""

from __future__ import annotations

import pytest

from correlator.engine.kinds import CAUSES, EFFECTS, NAMES, SYMPTOMS, Kinds, direction


@pytest.mark.parametrize(
    ("name", "way", "kind"),
    [
        ("KubePodCrashLooping", "", "fault"),
        ("KubePodNotReady", "", "fault"),
        ("ServiceDown", "", "fault"),
        ("EndpointUnreachable", "", "fault"),
        ("DiskFull", "", "fault"),
        ("DeploymentStarted", "", "change"),
        ("CertificateExpiresSoon", "", "change"),
        ("NoRequestsReceived", "", "idle"),
        ("HighRequestErrorRate", "", "error"),
        ("HTTP500", "", "error"),
        ("RetryRateHigh", "", "error"),
        ("LowAvailability", "", "error"),
        ("success_rate", "down", "error"),
        ("success_rate", "up", "harmless"),
        ("HighRequestLatency", "", "latency"),
        ("p99", "up", "latency"),
        ("p99", "down", "harmless"),
        ("cpu_usage", "up", "saturation"),
        ("cpu_usage down", "", "harmless"),
        ("PacketLoss", "", "saturation"),
        ("qps", "down", "idle"),
        ("qps", "up", "harmless"),
        ("QueueBacklogHigh", "", "saturation"),
        ("ALARM_7", "", "other"),
        ("", "", "other"),
    ],
)
def test_a_name_and_its_direction_say_the_kind(name: str, way: str, kind: str) -> None:
    assert Kinds().of(name, way).name == kind


def test_alerts_that_measure_the_same_are_one_family() -> None:
    kinds = Kinds()
    assert kinds.of("latency_p50", "up").family == kinds.of("latency_p99", "up").family
    assert kinds.of("mem_rss up").family == kinds.of("mem_cache up").family
    assert kinds.of("cpu_usage up").family != kinds.of("mem_usage up").family


def test_rows_of_the_user_come_first() -> None:
    kinds = Kinds([("fault", r"\berror budget\b"), ("harmless", r"^nightly")])
    assert kinds.of("ErrorBudget").name == "fault"
    assert kinds.of("NightlyErrors").name == "harmless"
    assert kinds.of("Errors").name == "error"


@pytest.mark.parametrize("row", [("broken", "x"), ("fault", "(")])
def test_a_bad_row_is_named(row: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=row[0]):
        Kinds([row])


def test_the_direction_is_what_the_source_states() -> None:
    assert direction({"direction": "down", "z": 3.0}) == "down"
    assert direction({"z": -3.0}) == "down"
    assert direction({"z": 3}) == "up"
    assert direction({"direction": "sideways", "z": "-3"}) == "down"
    assert direction({"direction": "sideways", "z": "high"}) == ""


def test_many_names_are_not_remembered_for_ever() -> None:
    kinds = Kinds()
    for number in range(20_050):
        kinds.of(f"name-{number}")
    assert len(kinds._known) <= 20_000


def test_the_sets_of_kinds_are_kinds() -> None:
    assert set(NAMES) >= CAUSES | EFFECTS | SYMPTOMS
    assert not CAUSES & EFFECTS
