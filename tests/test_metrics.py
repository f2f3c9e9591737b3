"""Metrics: every family reads well, stays bounded, and says the truth at the moment it is read."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from correlator.errors import REJECT_REASONS
from correlator.metrics import Metrics
from correlator.metrics_catalogue import FAMILIES, LIMITS, OTHER, metrics_markdown, metrics_table
from correlator.model import VERDICTS, IncidentState

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
#: Word parts that the linter of Prometheus refuses, with what to use instead.
UNITS = {"milliseconds", "minutes", "hours", "days", "weeks", "kilobytes", "megabytes", "bits", "percent", "percentage"}
ABBREVIATIONS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
TYPES = {"counter", "gauge", "histogram", "summary", "untyped", "info_total"}


class Clock:
    """Epoch seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(
        CollectorRegistry(), clock=clock, version="1.2.3", dialects=("alertmanager", "zabbix"), notes=("no_severity",)
    )


def fill(metrics: Metrics, shard: str = "all", partition: int = 0) -> None:
    """Call every method once."""
    metrics.received("alertmanager", 3)
    metrics.noted("no_severity", 2)
    metrics.changed("deployment")
    metrics.verdicts(shard, {"root": 1, "symptom": 2})
    metrics.rejected("not_json")
    metrics.replayed()
    metrics.quarantined()
    metrics.breakers(partition, 1)
    metrics.published("open")
    metrics.paged("high")
    metrics.shard(shard, incidents=1, alerts=3, difference=0)
    metrics.maintenance(shard, windows=2, alerts=1)
    metrics.precision(shard, right=8, reviewed=10, complaints=2, failed=False)
    metrics.said(shard, {"root": 1, "not_explained": 2})
    metrics.alert_to_incident(0.2)
    metrics.heartbeat(shard, 990.0)
    metrics.watermark(partition, 995.0)
    metrics.consumer_lag("alerts.placed", partition, 7)
    metrics.clock_jumped()
    metrics.clocks({f"https://am-{number}": float(number) for number in range(1, 100)})
    metrics.limit_reached("engine.members_listed")
    metrics.checkpoint(partition, 0.02, 40_000)
    metrics.recovered(partition, 1.5, 1_000, 400)
    metrics.standby(partition, lag=12, keys=400)
    metrics.standby_anew()
    metrics.rebalanced()
    metrics.bypass_read(3, 1)
    metrics.bypass_state(is_open=True, age=70.0, lag={"raw": 4, "placed": 2}, waiting=2, incidents=1)
    metrics.bypass_published("open")
    metrics.bypass_posted(True)
    metrics.graph("abc", 900.0, 10, 20)


def families(metrics: Metrics) -> dict[str, Metric]:
    body, _ = metrics.exposition()
    return {family.name: family for family in text_families(body.decode())}


def series(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Label values, in the order of the label names -> value of the samples called ``name``."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in families(metrics).values()
        for sample in family.samples
        if sample.name == name
    }


def lint(name: str, kind: str, labels: tuple[str, ...], meaning: str) -> Iterator[str]:
    """The rules of ``promtool check metrics``."""
    parts = name.split("_")
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or any(not re.fullmatch("[a-z][a-z0-9_]*", x) for x in labels):
        yield "names are snake_case"
    if not meaning.strip():
        yield "help is missing"
    if (kind == "counter") != name.endswith("_total"):
        yield "counters, and only counters, end in _total"
    if (kind == "info") != name.endswith("_info"):
        yield "infos, and only infos, end in _info"
    if name.endswith(("_bucket", "_count", "_sum", "_created", "_timestamp")):
        yield "the suffix is reserved"
    if {"le", "quantile"} & set(labels):
        yield "the label is reserved"
    if TYPES & set(parts):
        yield "the type is in the name"
    if (UNITS | ABBREVIATIONS) & set(parts):
        yield "the unit is not a base unit"
    if any(label in parts for label in labels):
        yield "a label is repeated in the name"
    if {"seconds", "bytes"} & set(parts[:-1]):
        yield "the unit is not at the end"


@pytest.mark.parametrize("row", metrics_table(), ids=lambda row: row[0])
def test_every_name_passes_the_rules_of_promtool(row: tuple[str, str, str, str]) -> None:
    """Base units at the end, counters in _total, help for all, nothing reserved."""
    name, kind, labels, meaning = row
    assert name.startswith("correlator_")
    assert list(lint(name, kind, tuple(filter(None, labels.split(", "))), meaning)) == []


def test_the_lint_finds_what_is_wrong() -> None:
    """The rules above are not empty."""
    assert len(list(lint("correlator_gauge_latency_ms_count", "counter", ("le",), ""))) == 6


def test_every_family_of_the_catalogue_is_exposed_as_the_table_says(metrics: Metrics) -> None:
    """After one call of each method every name is there with its type, its labels and its help, and nothing else."""
    fill(metrics)
    exposed = families(metrics)
    for name, kind, labels, meaning in metrics_table():
        family = exposed[name.removesuffix("_total")]
        wanted = [s for s in family.samples if s.name in (name, f"{name}_sum")]
        assert wanted, name
        assert sorted(wanted[0].labels) == sorted(filter(None, labels.split(", ")))
        assert family.documentation == meaning
        assert family.type == {"info": "gauge"}.get(kind, kind)
    assert len(exposed) == len(FAMILIES)


def test_every_method_is_called_by_the_fixture() -> None:
    """A new method without a place in these tests is noticed."""
    methods = {name for name, _ in inspect.getmembers(Metrics, inspect.isfunction) if not name.startswith("_")}
    called = set(re.findall(r"metrics\.(\w+)\(", inspect.getsource(fill)))
    assert methods == called | {"exposition", "forget_shard", "forget_partition", "forget_standby"}


@pytest.mark.parametrize("accept", [None, "", "*/*", "text/html,*/*;q=0.8", "text/plain;version=0.0.4"])
def test_the_prometheus_text_format_is_the_default(metrics: Metrics, accept: str | None) -> None:
    """A browser or curl gets text that the parser reads."""
    fill(metrics)
    body, content_type = metrics.exposition(accept)
    assert content_type.startswith("text/plain; version=0.0.4")
    assert list(text_families(body.decode()))


def test_openmetrics_is_given_where_it_is_accepted(metrics: Metrics) -> None:
    """Prometheus asks for OpenMetrics and gets a body that the strict parser reads."""
    fill(metrics)
    body, content_type = metrics.exposition(f"{OPENMETRICS};q=0.5,text/plain;version=0.0.4;q=0.3")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    parsed = {family.name: family for family in openmetrics_families(body.decode())}  # type: ignore[no-untyped-call]
    assert parsed["correlator_build"].type == "info"
    assert parsed["correlator_verdicts"].type == "counter"
    assert len(parsed) == len(FAMILIES)


@pytest.mark.parametrize("accept", [None, OPENMETRICS])
def test_no_created_series_are_exposed(metrics: Metrics, accept: str | None) -> None:
    """The time of creation would double the number of series."""
    fill(metrics)
    assert b"_created" not in metrics.exposition(accept)[0]


def test_counters_of_closed_sets_start_at_zero(metrics: Metrics) -> None:
    """A rate over a reason works from its first occurrence on."""
    assert series(metrics, "correlator_rejected_total") == {(reason,): 0.0 for reason in REJECT_REASONS}
    states = {(state,): 0.0 for state in get_args(IncidentState)}
    assert series(metrics, "correlator_incidents_published_total") == states
    assert set(series(metrics, "correlator_alerts_received_total")) == {("alertmanager",), ("zabbix",)}


def test_verdicts_are_counted_by_shard(metrics: Metrics) -> None:
    """Counts add up; a verdict that did not happen makes no series."""
    metrics.verdicts("all", {"root": 1, "symptom": 4, "late": 0})
    metrics.verdicts("all", {"symptom": 2})
    assert series(metrics, "correlator_verdicts_total") == {("all", "root"): 1.0, ("all", "symptom"): 6.0}


def test_words_outside_a_closed_set_count_as_other(metrics: Metrics) -> None:
    """A dialect, reason, state or verdict that nobody declared makes one series, and no exception."""
    for word in ("a", "b", "c"):
        metrics.received(word)
        metrics.changed(word)
        metrics.rejected(word)
        metrics.published(word)
        metrics.verdicts("all", {word: 1})
    assert series(metrics, "correlator_alerts_received_total")[OTHER,] == 3.0
    assert series(metrics, "correlator_changes_received_total")[OTHER,] == 3.0
    assert series(metrics, "correlator_rejected_total")[OTHER,] == 3.0
    assert series(metrics, "correlator_incidents_published_total")[OTHER,] == 3.0
    assert series(metrics, "correlator_verdicts_total") == {("all", OTHER): 3.0}


def test_ten_thousand_shards_make_at_most_65_series(metrics: Metrics) -> None:
    """The first 64 shards have a series of their own, the rest share one; sums stay right."""
    for number in range(10_000):
        metrics.shard(f"tenant-{number}", incidents=1, alerts=2, difference=1 if number % 2 else -1)
        metrics.heartbeat(f"tenant-{number}", 1_000.0 - number / 100)
        metrics.verdicts(f"tenant-{number}", dict.fromkeys(VERDICTS, 1))
    for name in ("incidents_open", "alerts_active", "conservation_difference", "heartbeat_age_seconds"):
        assert len(series(metrics, f"correlator_{name}")) == LIMITS["shard"] + 1
    assert len(series(metrics, "correlator_verdicts_total")) == 65 * len(VERDICTS)
    assert sum(series(metrics, "correlator_alerts_active").values()) == 20_000.0
    assert sum(series(metrics, "correlator_verdicts_total").values()) == 10_000 * len(VERDICTS)
    assert series(metrics, "correlator_conservation_difference")[OTHER,] == 10_000 - 64
    assert series(metrics, "correlator_heartbeat_age_seconds")[OTHER,] == pytest.approx(99.99)


def test_every_other_open_label_is_bounded(metrics: Metrics) -> None:
    """Partitions, topics, limits and urgencies cannot grow without end either."""
    for number in range(1_000):
        metrics.checkpoint(number, 0.1, 100)
        metrics.watermark(number, 0.0)
        metrics.limit_reached(f"limit-{number}")
        metrics.paged(f"urgency-{number}")
        metrics.consumer_lag(f"topic-{number}", 0, 1)
        metrics.graph(f"version-{number}", 0.0, 0, 0)
    assert len(series(metrics, "correlator_checkpoint_age_seconds")) == LIMITS["partition"] + 1
    assert len(series(metrics, "correlator_watermark_lag_seconds")) == LIMITS["partition"] + 1
    assert len(series(metrics, "correlator_limits_reached_total")) == LIMITS["limit"] + 1
    assert len(series(metrics, "correlator_pages_total")) == LIMITS["urgency"] + 1
    assert len(series(metrics, "correlator_consumer_lag_records")) == LIMITS["topic"] + 1
    assert series(metrics, "correlator_graph_info") == {("version-999",): 1.0}


def test_ages_grow_while_nothing_happens(metrics: Metrics, clock: Clock) -> None:
    """Ages are computed when they are read; a worker that hangs cannot freeze them."""
    fill(metrics)
    clock.now = 1_060.0
    assert series(metrics, "correlator_heartbeat_age_seconds") == {("all",): 70.0}
    assert series(metrics, "correlator_watermark_lag_seconds") == {("0",): 65.0}
    assert series(metrics, "correlator_checkpoint_age_seconds") == {("0",): 60.0}
    assert series(metrics, "correlator_graph_age_seconds") == {(): 160.0}


def test_an_age_is_never_negative_and_an_old_heartbeat_changes_nothing(metrics: Metrics) -> None:
    """A sender's clock ahead of ours reads as 0; a late heartbeat does not make a fresh one old."""
    metrics.heartbeat("all", 2_000.0)
    metrics.heartbeat("all", 10.0)
    assert series(metrics, "correlator_heartbeat_age_seconds") == {("all",): 0.0}


def test_what_moved_to_another_worker_is_no_longer_reported(metrics: Metrics) -> None:
    """Gauges and ages of a revoked shard and partition go, the others stay, counters stay."""
    fill(metrics, "a", 1)
    fill(metrics, "b", 2)
    metrics.forget_shard("a")
    metrics.forget_partition(1)
    assert series(metrics, "correlator_alerts_active") == {("b",): 3.0}
    assert series(metrics, "correlator_heartbeat_age_seconds") == {("b",): 10.0}
    assert series(metrics, "correlator_checkpoint_age_seconds") == {("2",): 0.0}
    assert series(metrics, "correlator_consumer_lag_records") == {("2", "alerts.placed"): 7.0}
    metrics.forget_standby(2)
    assert series(metrics, "correlator_standby_keys") == series(metrics, "correlator_standby_lag_records") == {}
    assert series(metrics, "correlator_verdicts_total")["a", "root"] == 1.0


def test_the_silent_form_takes_every_call_and_exposes_nothing() -> None:
    """Code under test needs no registry and no condition around its measurements."""
    metrics = Metrics.none()
    fill(metrics)
    metrics.forget_shard("all")
    metrics.forget_partition(0)
    metrics.forget_standby(0)
    assert metrics.exposition()[0] == b""


def test_two_programs_can_live_in_one_process(clock: Clock) -> None:
    """Registries share nothing."""
    first, second = (Metrics(CollectorRegistry(), clock=clock) for _ in range(2))
    first.replayed(5)
    assert series(first, "correlator_replayed_total") == {(): 5.0}
    assert series(second, "correlator_replayed_total") == {(): 0.0}


def test_the_markdown_names_every_metric() -> None:
    """One row per metric, in the order of the catalogue."""
    rows = metrics_markdown().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [f"correlator_{family.name}" for family in FAMILIES]
    assert all(row.count("|") == 5 for row in rows)
