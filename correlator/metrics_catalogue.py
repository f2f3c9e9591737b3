"""The catalogue of the metrics: names, types, labels and meanings, from which families, tables and tests follow."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FAMILIES", "LIMITS", "OTHER", "Family", "metrics_markdown", "metrics_table"]

OTHER: Final = "other"
#: How many values a label keeps whose values are not known beforehand. Labels that are not here have a closed set.
LIMITS: Final = {"shard": 64, "partition": 256, "topic": 32, "limit": 32, "urgency": 8, "source": 64}


class Family(NamedTuple):
    """One metric. ``kind``: counter, histogram, gauge, age (a gauge of seconds since a moment) or info.

    ``fold`` says how gauges of several values behind ``other`` become one: sum, max, min, or absolute (sum of sizes).
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    fold: str = "sum"


_WAIT: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WRITE: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZE: Final = (1e3, 1e4, 1e5, 2.5e5, 5e5, 1e6, 2e6, 4e6, 8e6)

FAMILIES: Final[tuple[Family, ...]] = (
    Family("alerts_received_total", "counter", ("dialect",), "Alerts read from the raw topics"),
    Family("alerts_noted_total", "counter", ("note",), "Alerts read with a note: what was mended, cut or left out"),
    Family("changes_received_total", "counter", ("kind",), "Changes read; ignored: events that change no service"),
    Family("verdicts_total", "counter", ("shard", "verdict"), "Alerts decided, by verdict"),
    Family("rejected_total", "counter", ("reason",), "Alerts and records sent to the rejected topic"),
    Family("replayed_total", "counter", (), "Placed alerts ignored because they were applied before"),
    Family("quarantined_total", "counter", (), "Alerts skipped because the engine raised on them"),
    Family("incidents_published_total", "counter", ("state",), "Incident revisions published, by incident state"),
    Family("pages_total", "counter", ("urgency",), "Pages wanted: growth of the page sequence of an incident"),
    Family("incidents_open", "gauge", ("shard",), "Incidents that are forming or open"),
    Family("alerts_active", "gauge", ("shard",), "Alerts that are firing now"),
    Family("alerts_hidden", "gauge", ("shard",), "Alerts that are firing now under a maintenance window or silence"),
    Family("maintenance_windows_open", "gauge", ("shard",), "Maintenance windows and silences that are open"),
    Family(
        "suppression_precision_lower",
        "gauge",
        ("shard",),
        "Share of hidden alerts rightly hidden: lower 95 % bound",
        fold="min",
    ),
    Family("suppression_precision_upper", "gauge", ("shard",), "The same, upper 95 % bound", fold="min"),
    Family("suppression_reviewed", "gauge", ("shard",), "Reviews of sampled alerts that the precision is made of"),
    Family("suppression_complaints", "gauge", ("shard",), "Hidden alerts that somebody complained about, not sampled"),
    Family("suppression_failed", "gauge", ("shard",), "1 while hidden alerts page, because hiding is not trusted"),
    Family(
        "operator_verdicts_total", "counter", ("shard", "said"), "Verdicts of operators that changed something, by kind"
    ),
    Family(
        "conservation_difference", "gauge", ("shard",), "Alerts placed minus alerts decided; 0 is right", fold="abs"
    ),
    Family("alert_to_incident_seconds", "histogram", (), "From the raw record's time to the revision's publish", _WAIT),
    Family("heartbeat_age_seconds", "age", ("shard",), "Since the last heartbeat came through", fold="max"),
    Family("watermark_lag_seconds", "age", ("partition",), "How far the raw watermark is behind now", fold="max"),
    Family("consumer_lag_records", "gauge", ("topic", "partition"), "Records that wait to be read"),
    Family(
        "clock_ahead_seconds",
        "gauge",
        ("source",),
        "How far the clock of a source was seen ahead of the broker's, where it is; a lower bound",
        fold="max",
    ),
    Family("clock_jumps_total", "counter", (), "Records whose time jumped further than engine.max_time_jump"),
    Family("limits_reached_total", "counter", ("limit",), "Times that a configured limit was reached"),
    Family("checkpoint_duration_seconds", "histogram", (), "Time that a checkpoint took", _WRITE),
    Family("checkpoint_bytes", "histogram", (), "Size of a checkpoint", _SIZE),
    Family("checkpoint_age_seconds", "age", ("partition",), "Since the last checkpoint or recovery", fold="max"),
    Family("recovery_seconds", "gauge", (), "Time that the last recovery of state took"),
    Family("recovered_records_total", "counter", (), "Changelog records read by recoveries"),
    Family("recovered_keys_total", "counter", (), "Keys of the state that recoveries ended with"),
    Family("rebalances_total", "counter", (), "Times that the group gave this worker its partitions"),
    Family("standby_lag_records", "gauge", ("partition",), "Changelog records that a standby here has not read"),
    Family("standby_keys", "gauge", ("partition",), "Keys of the state that a standby here keeps"),
    Family("standby_anew_total", "counter", (), "Standbys that could not go on and started anew"),
    Family("graph_info", "info", ("version",), "Version of the service graph in use, by content hash"),
    Family("graph_age_seconds", "age", (), "Since the service graph in use took effect"),
    Family("graph_services", "gauge", (), "Services in the graph"),
    Family("graph_dependencies", "gauge", (), "Dependencies in the graph"),
    Family("breakers_open", "gauge", ("partition",), "Sources put aside because the engine raised on their alerts"),
    Family("bypass_open", "gauge", (), "1 while the bypass lets critical alerts go past the correlator"),
    Family(
        "bypass_proof_age_seconds", "gauge", (), "Since a heartbeat was seen that came through, worst raw partition"
    ),
    Family("bypass_lag_records", "gauge", ("stage",), "Records that wait for the workers, as the bypass sees it"),
    Family("bypass_waiting_alerts", "gauge", (), "Critical alerts that are not proven to be decided"),
    Family("bypass_incidents_open", "gauge", (), "Bypass incidents that are not closed"),
    Family("bypass_alerts_read_total", "counter", (), "Alerts that the bypass has read"),
    Family("bypass_overflow_total", "counter", (), "Critical alerts beyond bypass.buffer: counted, not kept"),
    Family("bypass_published_total", "counter", ("state",), "Revisions of bypass incidents published, by state"),
    Family("bypass_posts_total", "counter", ("outcome",), "Posts to the webhook, by outcome"),
    Family("build_info", "info", ("version", "compiled"), "Version of the program, and whether its engine is compiled"),
)


def metrics_table() -> list[tuple[str, str, str, str]]:
    """Every metric: (name, type, labels with commas, meaning)."""
    types = {"age": "gauge"}
    return [
        (f"correlator_{family.name}", types.get(family.kind, family.kind), ", ".join(family.labels), family.meaning)
        for family in FAMILIES
    ]


def metrics_markdown() -> str:
    """The same as a Markdown table."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {labels} | {meaning} |" for name, kind, labels, meaning in metrics_table()]
    return "\n".join(lines) + "\n"
