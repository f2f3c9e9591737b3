"""The sections of the settings: every key with its default, its bounds and its meaning."""

from __future__ import annotations

from datetime import tzinfo
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator

from correlator.config_load import Kind
from correlator.config_types import (
    DAY,
    HOUR,
    Addresses,
    Duration,
    File,
    Files,
    Match,
    OptionalText,
    RawTopics,
    Regex,
    Regexes,
    Retention,
    Secret,
    Section,
    Share,
    Topic,
    WebAddress,
    Whole,
    Word,
    Words,
    Zone,
    key,
    upper,
    zone_info,
)
from correlator.model import Severity

__all__ = [
    "Broker",
    "Bypass",
    "Checkpoint",
    "Dialects",
    "Engine",
    "Heartbeat",
    "Http",
    "Intake",
    "Maintenance",
    "Matcher",
    "Shards",
    "Topics",
    "Topology",
    "Worker",
]


class Broker(Section):
    """How to reach Kafka."""

    bootstrap: Addresses = key(("127.0.0.1:9092",), "Brokers to ask first")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = key(
        "PLAINTEXT", "Encryption and login of the connection"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = key(
        "PLAIN", "How to log in, with a SASL_ protocol"
    )
    sasl_username: OptionalText = key(None, "Login name, with a SASL_ protocol")
    sasl_password: Secret = key(None, "Login password, with a SASL_ protocol")
    ssl_cafile: File = key(None, "PEM file of the authorities to trust; none: the system's")
    ssl_certfile: File = key(None, "PEM file of the client certificate")
    ssl_keyfile: File = key(None, "PEM file of the client key, unless the certificate file holds it")
    ssl_key_password: Secret = key(None, "Password of the client key")
    session_timeout: Duration = key(6.0, "Silence after which the group gives a worker's partitions away", ge=6, le=300)
    request_timeout: Duration = key(40.0, "Longest wait for one answer of a broker", ge=1, le=600)
    transactions: Literal["auto", "required", "off"] = key(
        "auto", "Fence writers by transactions: where the broker has them, always (else do not start), never"
    )


class Topics(Section):
    """Names and shapes of the topics."""

    raw: RawTopics = key(("alerts.raw",), "Topics that alerts arrive on")
    changes: RawTopics = key(("changes",), "Topics that deployments and other changes arrive on")
    placed: Topic = key("alerts.placed", "The log that decides: alerts with their service and shard")
    incidents: Topic = key("incidents", "Current incidents, compacted by incident id")
    history: Topic = key("incidents.history", "Every revision of every incident")
    decisions: Topic = key("decisions", "A receipt for every change of a verdict")
    rejected: Topic = key("alerts.rejected", "Records that could not be read, byte for byte")
    controls: Topic = key("alerts.controls", "Maintenance, silences and operators' verdicts")
    topology: Topic = key("alerts.topology", "Versions of the service graph by content hash")
    partitions: Whole = key(8, "Partitions of the placed topic and of the state; fixed once created", ge=1, le=4_096)
    raw_partitions: Whole = key(8, "Partitions of each raw topic, when created here", ge=1, le=4_096)
    replication: Whole = key(1, "Copies of each partition, when created here", ge=1, le=16)
    history_retention: Retention = key(90 * DAY, "How long the history keeps a revision")
    decisions_retention: Retention = key(30 * DAY, "How long a receipt is kept")
    rejected_retention: Retention = key(14 * DAY, "How long a rejected record is kept")
    placed_retention: Retention = key(7 * DAY, "How long the deciding log is kept for replay")


class Dialects(Section):
    """How to read the bytes of an alert."""

    default: Word = key("auto", "Dialect of topics that by_topic does not name; auto: recognise it")
    by_topic: Annotated[dict[Topic, Word], Kind("table topic -> dialect")] = key({}, "Dialect of a raw topic")
    ignore_labels: Words = key((), "Labels that do not count for the fingerprint")
    service_labels: Words = key((), "Labels that name the service, best first; none: the dialect's own")


class Intake(Section):
    """Limits on what arrives. A record over a limit is rejected; labels and annotations are cut, and counted."""

    max_record_bytes: Whole = key(10_000_000, "Largest raw record, in bytes", ge=1_024, le=104_857_600)
    max_depth: Whole = key(32, "Deepest nesting of a raw record, in levels", ge=4, le=200)
    max_alerts_per_record: Whole = key(50_000, "Most alerts in one raw record", ge=1, le=1_000_000)
    max_labels: Whole = key(64, "Most labels kept of one alert", ge=1, le=1_000)
    max_label_bytes: Whole = key(1_024, "Longest label value kept, in bytes", ge=16, le=65_536)
    max_annotation_bytes: Whole = key(4_096, "Longest annotation kept, in bytes", ge=16, le=65_536)
    future_skew: Duration = key(
        300.0, "How far ahead of the broker's clock an onset may lie; more is clamped", ge=0, le=DAY
    )
    max_batch: Whole = key(500, "Most alerts in one placed record", ge=1, le=10_000)


class Shards(Section):
    """What is kept apart. With nothing set there is one shard, all."""

    labels: Words = key((), "Alert labels whose values make the shard")
    attribute: Words = key((), "Attributes or labels of the service whose values make the shard")
    tenant_label: OptionalText = key(None, "Label of the tenant; alerts of two tenants never share a shard")


class Maintenance(Section):
    """Windows from calendars. Events say what they cover; see the README."""

    calendars: Files = key((), "iCalendar files, or folders of *.ics; read by the leading worker")
    horizon: Duration = key(7 * DAY, "How far ahead windows are announced", ge=HOUR, le=90 * DAY)
    refresh: Duration = key(300.0, "Time after which unchanged files are read again", ge=1, le=DAY)
    time_zone: Zone = key("UTC", "Zone of whole days, and of times without a zone")

    @property
    def zone(self) -> tzinfo:
        """The same, to count with."""
        return zone_info(self.time_zone)


class Topology(Section):
    """Where the service graph comes from."""

    file: File = key(None, "File or folder of the service graph; none: an empty graph")
    format: Word = key("auto", "Format of the file; auto: recognise it")
    direction: Literal["auto", "depends_on", "serves", "both"] = key(
        "auto", "Meaning of an edge a -> b: as the file says, a depends on b, b depends on a, each on the other"
    )
    shared_fate: Words = key((), "Labels whose value services share their fate with: rack, power, zone, link")
    observers: Words = key((), "Labels that name who watches a service: an exporter, a probe, a proxy")
    cuts: Words = key((), "Labels between whose values the network may be cut: site, zone, region")
    reload: bool = key(True, "Read the file again when it changes")


class Matcher(Section):
    """Alerts that satisfy every pattern of ``match``."""

    match: Match = key(..., "Label -> regex over its whole value")


class Heartbeat(Matcher):
    """Alerts that are healthy while firing."""

    interval: Duration = key(300.0, "Silence after which the source is lost", ge=1, le=7 * DAY)


MatcherList = Annotated[tuple[Matcher, ...], Kind("list of { match }", 'such as [{ match = { team = "db.*" } }]')]
HeartbeatList = Annotated[
    tuple[Heartbeat, ...],
    Kind("list of { match, interval }", 'such as [{ match = { alertname = "Watchdog" }, interval = "5m" }]'),
]


class KindRow(Section):
    """Names of alerts that are of one kind."""

    kind: Literal["fault", "change", "saturation", "error", "latency", "idle", "harmless", "other"] = key(
        ..., "What such an alert says"
    )
    match: Regex = key(..., "Regex over the name in lower-case words, which may match anywhere in it")


KindList = Annotated[
    tuple[KindRow, ...],
    Kind("list of { kind, match }", 'such as [{ kind = "error", match = "cargo lost" }]'),
]
#: 4.5 h: longer than the 4 h after which Alertmanager repeats an alert.
_REPEAT: Final = 4.5 * HOUR


class Engine(Section):
    """What decides. A change takes effect by a record in the log, so that a replay decides the same."""

    settle: Duration = key(60.0, "Longest wait for the root before an incident pages", ge=0, le=HOUR)
    settle_top_tier: Duration = key(0.0, "The same for services of the top tier", ge=0, le=HOUR)
    top_tier: Whole = key(1, "Tiers up to this number are top", ge=0, le=100)
    page_severity: Severity = key("critical", "Mildest severity that pages")
    repage_after: Duration = key(60.0, "Least time between two pages of one incident", ge=0, le=DAY)
    bridge: Whole = key(2, "Most silent services in a row between a root and a symptom", ge=0, le=32)
    storm_bridge: Whole = key(6, "The same during a storm", ge=0, le=32)
    storm_share: Share = key(0.1, "Share of all services alerting, 0 to 1, that is a storm", ge=0, le=1)
    storm_min_services: Whole = key(50, "Fewest services alerting that are a storm", ge=1, le=1_000_000)
    onset_tolerance: Duration = key(60.0, "How far two onsets may differ and count as one", ge=0, le=HOUR)
    judge_interval: Duration = key(
        1.0, "Least time between two judgements of a region; longer while many services alert", ge=0.1, le=HOUR
    )
    kinds: KindList = key((), "What alerts of certain names say; these rows come before the built-in ones")
    grace: Duration = key(300.0, "Time for symptoms to end after their root has", ge=0, le=DAY)
    reopen_window: Duration = key(900.0, "Time in which a resolved incident reopens", ge=0, le=DAY)
    gap_window: Duration = key(
        300.0, "Time in which a mass resolve and refire of one source pages nothing anew", ge=0, le=DAY
    )
    ttl: Duration = key(
        _REPEAT, "Silence after which an alert ends as unknown; above the repeat interval", ge=60, le=30 * DAY
    )
    max_time_jump: Duration = key(
        HOUR, "Most time that one record lets pass; more is counted and cut", ge=1, le=30 * DAY
    )
    late_window: Duration = key(HOUR, "How long an early resolve or an ended episode is remembered", ge=0, le=30 * DAY)
    flap_window: Duration = key(HOUR, "Time in which refires are counted as flapping", ge=1, le=7 * DAY)
    flap_threshold: Whole = key(4, "Refires within flap_window that make an alert flapping", ge=2, le=1_000)
    flap_hold: Duration = key(900.0, "Quiet time that ends flapping", ge=0, le=7 * DAY)
    members_listed: Whole = key(100, "Most alerts listed in an incident; all are counted", ge=1, le=10_000)
    services_listed: Whole = key(100, "Most services listed in an incident", ge=1, le=10_000)
    path_limit: Whole = key(32, "Most services listed in a path of a receipt", ge=1, le=1_000)
    unplaced_burst: Whole = key(
        20, "Incidents of unknown services in unplaced_window before they page as one", ge=1, le=100_000
    )
    unplaced_window: Duration = key(300.0, "Time over which unplaced_burst counts", ge=1, le=DAY)
    incident_retention: Duration = key(
        7 * DAY, "How long a closed incident stays in the incidents topic", ge=60, le=365 * DAY
    )
    max_active_alerts: Whole = key(1_000_000, "Most active alerts in one shard", ge=1, le=100_000_000)
    max_deadlines_per_step: Whole = key(
        20_000, "Most deadlines that fire in one step; the rest follow in the next", ge=1, le=10_000_000
    )
    breaker_errors: Whole = key(
        50, "Alerts of one source that the engine raises on in breaker_window before the source is put aside", ge=1
    )
    breaker_window: Duration = key(600.0, "Time over which breaker_errors counts", ge=1, le=DAY)
    breaker_retry: Duration = key(60.0, "Time after which one alert of a source put aside is tried", ge=1, le=DAY)
    change_window: Duration = key(
        HOUR, "How long before its onset a deployment or other change can have caused a fault", ge=0, le=7 * DAY
    )
    changes_kept: Whole = key(1_000, "Most recent changes remembered in one shard", ge=1, le=100_000)
    changes_listed: Whole = key(10, "Most suspected changes listed in an incident", ge=0, le=100)
    max_windows: Whole = key(
        5_000, "Most maintenance windows and silences known in one shard, open or to come", ge=1, le=100_000
    )
    trust_min_verdicts: Whole = key(
        30, "Reviews of sampled alerts below which hiding in a shard is unproven, not failed", ge=1, le=100_000
    )
    trust_floor: Share = key(
        0.9,
        "Share of hidden alerts rightly hidden, upper 95 % bound, below which they page in summaries; 0: never",
        ge=0,
        le=1,
    )
    trust_window: Duration = key(900.0, "Time of one summary a team, and so least time between two", ge=60, le=DAY)
    trust_memory: Duration = key(30 * DAY, "How long a review of a hidden alert counts", ge=HOUR, le=365 * DAY)
    heartbeat: HeartbeatList = key(
        (Heartbeat(match={"alertname": "Watchdog"}, interval=_REPEAT),),
        "Alerts that mean health; the default interval fits a repeat every 4 h: shorten both",
    )
    test: MatcherList = key(
        (Matcher(match={"alertname": "TestAlert", "instance": "Grafana"}),), "Alerts that are only a test"
    )
    never_suppress: MatcherList = key((), "Alerts that always page")
    suppress_teams: Words = key(
        ("*",), "Teams whose symptoms stay quiet, * for all; alerts of any other team's services page on their own"
    )
    not_a_cause: Regexes = key(
        ("(?i)expir|forecast|predict|ticket",),
        "Names of alerts that cause no failure; a pattern may match anywhere in the name",
    )
    customer_facing_label: Word = key("customer_facing", "Attribute of services that customers use")
    tenant_label: Word = key("tenant", "Label or attribute that names the tenant")
    site_label: Word = key("site", "Label or attribute that names the site")


class Checkpoint(Section):
    """How often state is saved, and how much may wait."""

    interval: Duration = key(0.1, "Time between checkpoints", ge=0.01, le=60)
    max_bytes: Whole = key(
        4_000_000, "Largest checkpoint, in bytes; below the topic's max.message.bytes", ge=65_536, le=104_857_600
    )
    max_pending: Whole = key(20_000, "Most events waiting before reading pauses", ge=100, le=10_000_000)
    tick_interval: Duration = key(1.0, "Time between ticks, which let time pass in the log", ge=0.1, le=60)


class Bypass(Section):
    """When critical alerts go past a silent correlator; see `correlator bypass`."""

    failopen_after: Duration = key(
        60.0, "Age of the last heartbeat that came through beyond which critical alerts go past", ge=10, le=HOUR
    )
    max_lag: Whole = key(
        100_000, "Records of the raw topics, or of the placed topic, that may wait; more opens the bypass too", ge=1
    )
    cap: Whole = key(10, "Most open bypass incidents of one team or source; the rest is counted in one more", ge=1)
    cap_total: Whole = key(200, "Most open bypass incidents of all teams and sources", ge=1, le=10_000)
    buffer: Whole = key(
        50_000, "Most critical alerts kept that are not proven to be decided; more are only counted", ge=100
    )
    team_label: Word = key("team", "Label of the alert that names its team; without it the source counts")
    webhook: WebAddress = key(None, "Address that each revision of a bypass incident is posted to as well")
    webhook_timeout: Duration = key(10.0, "Longest wait for one answer of the webhook", ge=0.1, le=300)
    http_port: Whole = key(9309, "Port for metrics and health, on http.host; 0: any free one", ge=0, le=65_535)


class Http(Section):
    """Metrics and health of a worker."""

    enabled: bool = key(True, "Serve metrics and health")
    host: Word = key("127.0.0.1", "Address to listen on")
    port: Whole = key(9308, "Port to listen on; 0: any free one", ge=0, le=65_535)


class Worker(Section):
    """One process."""

    id: str = key("", "Name of this worker in logs; empty: host name and process id", max_length=249)
    static_membership: bool = key(
        False, "Keep the partitions over a restart of the worker of this id; then a stop does not give them up"
    )
    standby_replicas: Whole = key(
        1, "Workers that follow the state of each partition, to take it over quickly, beside its owner", ge=0, le=16
    )
    application: Topic = key("correlator", "Consumer group, and prefix of the state's topics")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(upper)] = key(
        "INFO", "Mildest log lines that are written"
    )
    stop_timeout: Duration = key(30.0, "Longest wait for the last checkpoint at stop", ge=1, le=600)
    stall_timeout: Duration = key(
        120.0, "Time without progress, with work waiting, after which the worker exits", ge=5, le=HOUR
    )
