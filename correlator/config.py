"""Every setting: one TOML file, overridden by the environment, frozen once read.

:func:`load_settings` is the only way in; how reading, errors and display work is in :mod:`correlator.config_load`.
Names, defaults and bounds are here and nowhere else; the README's table is :func:`settings_markdown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints

from correlator.config_load import Check, Kind, allowed, load, plain, seconds, toml_text, toml_value
from correlator.model import Severity

__all__ = [
    "Broker",
    "Bypass",
    "Checkpoint",
    "Dialects",
    "Engine",
    "Http",
    "Intake",
    "Maintenance",
    "Settings",
    "Shards",
    "Topics",
    "Topology",
    "Worker",
    "load_settings",
    "settings_markdown",
    "settings_table",
]

HOUR: Final = 3_600.0
DAY: Final = 24 * HOUR


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _one(value: object) -> object:
    return (value,) if isinstance(value, str) and value else value


def _none(value: object) -> object:
    return None if value == "" else value


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _distinct(value: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted({str(item) for item in value if value.count(item) > 1})
    if twice:
        raise ValueError(f"given twice: {', '.join(twice)}")
    return value


def _address(value: str) -> str:
    found = _ADDRESS.fullmatch(value)
    if found is None or not 0 < int(found[1]) < 65_536:
        raise ValueError("not a host:port")
    return value


def _web(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not re.fullmatch(r"https?://[^\s/]+\S*", value.get_secret_value()):
        raise ValueError("not an address that starts with http:// or https://")
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _zone(value: str) -> str:
    try:
        _zone_info(value)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise ValueError("no such time zone, or no time zones on this machine") from None
    return value


def _zone_info(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)  # a machine may have no time zones, and need none


def _selective(match: dict[str, str]) -> dict[str, str]:
    """Refuse a matcher that every alert satisfies: an absent label matches like an empty one."""
    if all(re.fullmatch(pattern, "") for pattern in match.values()):
        raise ValueError("matches every alert; at least one pattern must not match empty text")
    return match


_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_TOPIC: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"

Duration = Annotated[float, BeforeValidator(seconds), Kind("duration", 'seconds, or text such as "5m"')]
Retention = Annotated[Duration, Field(ge=HOUR, le=3_650 * DAY)]
Whole = Annotated[int, BeforeValidator(_not_bool), Kind("integer")]
Share = Annotated[float, BeforeValidator(_not_bool), Kind("number")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=249), Kind("text, not empty")]
Topic = Annotated[
    str, StringConstraints(pattern=_TOPIC, max_length=249), Kind("topic", "letters, digits, '.', '_', '-'; at most 249")
]
OptionalText = Annotated[str | None, BeforeValidator(_none), Kind("text", '"" is none')]
Secret = Annotated[SecretStr | None, BeforeValidator(_none), Kind("secret text", '"" is none')]
WebAddress = Annotated[
    SecretStr | None, BeforeValidator(_none), AfterValidator(_web), Kind("secret http(s) address", '"" is none')
]
File = Annotated[Path | None, BeforeValidator(_none), Kind("path", '"" is none')]
Zone = Annotated[str, AfterValidator(_zone), Kind("time zone", 'such as "Europe/Berlin"')]
Regex = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_regex)]
Listed = (BeforeValidator(_split), AfterValidator(_distinct))
Files = Annotated[tuple[Path, ...], *Listed, Kind("list of paths", "or text with commas")]
Words = Annotated[tuple[Word, ...], *Listed, Kind("list of text", "or text with commas")]
RawTopics = Annotated[
    tuple[Topic, ...],
    *Listed,
    Field(min_length=1),
    Kind("list of topics", "letters, digits, '.', '_', '-'; at least one"),
]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...],
    *Listed,
    Field(min_length=1),
    Kind("list of host:port", "or text with commas"),
]
Match = Annotated[
    dict[Word, Regex],
    AfterValidator(_selective),
    Kind("table label -> regex", "the whole value must match; service, name, severity, source mean the alert's own"),
]


def _key(default: Any, text: str, **bounds: Any) -> Any:
    return Field(default, description=text, **bounds)


class Section(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class Broker(Section):
    """How to reach Kafka."""

    bootstrap: Addresses = _key(("127.0.0.1:9092",), "Brokers to ask first")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = _key(
        "PLAINTEXT", "Encryption and login of the connection"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = _key(
        "PLAIN", "How to log in, with a SASL_ protocol"
    )
    sasl_username: OptionalText = _key(None, "Login name, with a SASL_ protocol")
    sasl_password: Secret = _key(None, "Login password, with a SASL_ protocol")
    ssl_cafile: File = _key(None, "PEM file of the authorities to trust; none: the system's")
    ssl_certfile: File = _key(None, "PEM file of the client certificate")
    ssl_keyfile: File = _key(None, "PEM file of the client key, unless the certificate file holds it")
    ssl_key_password: Secret = _key(None, "Password of the client key")
    session_timeout: Duration = _key(
        10.0, "Silence after which the group gives a worker's partitions away", ge=6, le=300
    )
    request_timeout: Duration = _key(40.0, "Longest wait for one answer of a broker", ge=1, le=600)
    transactions: Literal["auto", "required", "off"] = _key(
        "auto", "Fence writers by transactions: where the broker has them, always (else do not start), never"
    )


class Topics(Section):
    """Names and shapes of the topics."""

    raw: RawTopics = _key(("alerts.raw",), "Topics that alerts arrive on")
    changes: RawTopics = _key(("changes",), "Topics that deployments and other changes arrive on")
    placed: Topic = _key("alerts.placed", "The log that decides: alerts with their service and shard")
    incidents: Topic = _key("incidents", "Current incidents, compacted by incident id")
    history: Topic = _key("incidents.history", "Every revision of every incident")
    decisions: Topic = _key("decisions", "A receipt for every change of a verdict")
    rejected: Topic = _key("alerts.rejected", "Records that could not be read, byte for byte")
    controls: Topic = _key("alerts.controls", "Maintenance, silences and operators' verdicts")
    topology: Topic = _key("alerts.topology", "Versions of the service graph by content hash")
    partitions: Whole = _key(8, "Partitions of the placed topic and of the state; fixed once created", ge=1, le=4_096)
    raw_partitions: Whole = _key(8, "Partitions of each raw topic, when created here", ge=1, le=4_096)
    replication: Whole = _key(1, "Copies of each partition, when created here", ge=1, le=16)
    history_retention: Retention = _key(90 * DAY, "How long the history keeps a revision")
    decisions_retention: Retention = _key(30 * DAY, "How long a receipt is kept")
    rejected_retention: Retention = _key(14 * DAY, "How long a rejected record is kept")
    placed_retention: Retention = _key(7 * DAY, "How long the deciding log is kept for replay")


class Dialects(Section):
    """How to read the bytes of an alert."""

    default: Word = _key("auto", "Dialect of topics that by_topic does not name; auto: recognise it")
    by_topic: Annotated[dict[Topic, Word], Kind("table topic -> dialect")] = _key({}, "Dialect of a raw topic")
    ignore_labels: Words = _key((), "Labels that do not count for the fingerprint")
    service_labels: Words = _key((), "Labels that name the service, best first; none: the dialect's own")


class Intake(Section):
    """Limits on what arrives. A record over a limit is rejected; labels and annotations are cut, and counted."""

    max_record_bytes: Whole = _key(10_000_000, "Largest raw record, in bytes", ge=1_024, le=104_857_600)
    max_depth: Whole = _key(32, "Deepest nesting of a raw record, in levels", ge=4, le=200)
    max_alerts_per_record: Whole = _key(50_000, "Most alerts in one raw record", ge=1, le=1_000_000)
    max_labels: Whole = _key(64, "Most labels kept of one alert", ge=1, le=1_000)
    max_label_bytes: Whole = _key(1_024, "Longest label value kept, in bytes", ge=16, le=65_536)
    max_annotation_bytes: Whole = _key(4_096, "Longest annotation kept, in bytes", ge=16, le=65_536)
    future_skew: Duration = _key(
        300.0, "How far ahead of the broker's clock an onset may lie; more is clamped", ge=0, le=DAY
    )
    max_batch: Whole = _key(500, "Most alerts in one placed record", ge=1, le=10_000)


class Shards(Section):
    """What is kept apart. With nothing set there is one shard, all."""

    labels: Words = _key((), "Alert labels whose values make the shard")
    attribute: Words = _key((), "Attributes or labels of the service whose values make the shard")
    tenant_label: OptionalText = _key(None, "Label of the tenant; alerts of two tenants never share a shard")


class Maintenance(Section):
    """Windows from calendars. Events say what they cover; see the README."""

    calendars: Files = _key((), "iCalendar files, or folders of *.ics; read by the leading worker")
    horizon: Duration = _key(7 * DAY, "How far ahead windows are announced", ge=HOUR, le=90 * DAY)
    refresh: Duration = _key(300.0, "Time after which unchanged files are read again", ge=1, le=DAY)
    time_zone: Zone = _key("UTC", "Zone of whole days, and of times without a zone")

    @property
    def zone(self) -> tzinfo:
        """The same, to count with."""
        return _zone_info(self.time_zone)


class Topology(Section):
    """Where the service graph comes from."""

    file: File = _key(None, "File or folder of the service graph; none: an empty graph")
    format: Word = _key("auto", "Format of the file; auto: recognise it")
    direction: Literal["auto", "depends_on", "serves", "both"] = _key(
        "auto", "Meaning of an edge a -> b: as the file says, a depends on b, b depends on a, each on the other"
    )
    reload: bool = _key(True, "Read the file again when it changes")


class Matcher(Section):
    """Alerts that satisfy every pattern of ``match``."""

    match: Match = _key(..., "Label -> regex over its whole value")


class Heartbeat(Matcher):
    """Alerts that are healthy while firing."""

    interval: Duration = _key(300.0, "Silence after which the source is lost", ge=1, le=7 * DAY)


MatcherList = Annotated[tuple[Matcher, ...], Kind("list of { match }", 'such as [{ match = { team = "db.*" } }]')]
HeartbeatList = Annotated[
    tuple[Heartbeat, ...],
    Kind("list of { match, interval }", 'such as [{ match = { alertname = "Watchdog" }, interval = "5m" }]'),
]
#: 4.5 h: longer than the 4 h after which Alertmanager repeats an alert.
_REPEAT: Final = 4.5 * HOUR


class Engine(Section):
    """What decides. A change takes effect by a record in the log, so that a replay decides the same."""

    settle: Duration = _key(60.0, "Longest wait for the root before an incident pages", ge=0, le=HOUR)
    settle_top_tier: Duration = _key(0.0, "The same for services of the top tier", ge=0, le=HOUR)
    top_tier: Whole = _key(1, "Tiers up to this number are top", ge=0, le=100)
    page_severity: Severity = _key("critical", "Mildest severity that pages")
    repage_after: Duration = _key(60.0, "Least time between two pages of one incident", ge=0, le=DAY)
    bridge: Whole = _key(2, "Most silent services in a row between a root and a symptom", ge=0, le=32)
    storm_bridge: Whole = _key(6, "The same during a storm", ge=0, le=32)
    storm_share: Share = _key(0.1, "Share of all services alerting, 0 to 1, that is a storm", ge=0, le=1)
    storm_min_services: Whole = _key(50, "Fewest services alerting that are a storm", ge=1, le=1_000_000)
    onset_tolerance: Duration = _key(60.0, "How far two onsets may differ and count as one", ge=0, le=HOUR)
    grace: Duration = _key(300.0, "Time for symptoms to end after their root has", ge=0, le=DAY)
    reopen_window: Duration = _key(900.0, "Time in which a resolved incident reopens", ge=0, le=DAY)
    gap_window: Duration = _key(
        300.0, "Time in which a mass resolve and refire of one source pages nothing anew", ge=0, le=DAY
    )
    ttl: Duration = _key(
        _REPEAT, "Silence after which an alert ends as unknown; above the repeat interval", ge=60, le=30 * DAY
    )
    max_time_jump: Duration = _key(
        HOUR, "Most time that one record lets pass; more is counted and cut", ge=1, le=30 * DAY
    )
    late_window: Duration = _key(HOUR, "How long an early resolve or an ended episode is remembered", ge=0, le=30 * DAY)
    flap_window: Duration = _key(HOUR, "Time in which refires are counted as flapping", ge=1, le=7 * DAY)
    flap_threshold: Whole = _key(4, "Refires within flap_window that make an alert flapping", ge=2, le=1_000)
    flap_hold: Duration = _key(900.0, "Quiet time that ends flapping", ge=0, le=7 * DAY)
    members_listed: Whole = _key(100, "Most alerts listed in an incident; all are counted", ge=1, le=10_000)
    services_listed: Whole = _key(100, "Most services listed in an incident", ge=1, le=10_000)
    path_limit: Whole = _key(32, "Most services listed in a path of a receipt", ge=1, le=1_000)
    unplaced_burst: Whole = _key(
        20, "Incidents of unknown services in unplaced_window before they page as one", ge=1, le=100_000
    )
    unplaced_window: Duration = _key(300.0, "Time over which unplaced_burst counts", ge=1, le=DAY)
    incident_retention: Duration = _key(
        7 * DAY, "How long a closed incident stays in the incidents topic", ge=60, le=365 * DAY
    )
    max_active_alerts: Whole = _key(1_000_000, "Most active alerts in one shard", ge=1, le=100_000_000)
    max_deadlines_per_step: Whole = _key(
        20_000, "Most deadlines that fire in one step; the rest follow in the next", ge=1, le=10_000_000
    )
    breaker_errors: Whole = _key(
        50, "Alerts of one source that the engine raises on in breaker_window before the source is put aside", ge=1
    )
    breaker_window: Duration = _key(600.0, "Time over which breaker_errors counts", ge=1, le=DAY)
    breaker_retry: Duration = _key(60.0, "Time after which one alert of a source put aside is tried", ge=1, le=DAY)
    change_window: Duration = _key(
        HOUR, "How long before its onset a deployment or other change can have caused a fault", ge=0, le=7 * DAY
    )
    changes_kept: Whole = _key(1_000, "Most recent changes remembered in one shard", ge=1, le=100_000)
    changes_listed: Whole = _key(10, "Most suspected changes listed in an incident", ge=0, le=100)
    max_windows: Whole = _key(
        5_000, "Most maintenance windows and silences known in one shard, open or to come", ge=1, le=100_000
    )
    heartbeat: HeartbeatList = _key(
        (Heartbeat(match={"alertname": "Watchdog"}, interval=_REPEAT),),
        "Alerts that mean health; the default interval fits a repeat every 4 h: shorten both",
    )
    test: MatcherList = _key(
        (Matcher(match={"alertname": "TestAlert", "instance": "Grafana"}),), "Alerts that are only a test"
    )
    never_suppress: MatcherList = _key((), "Alerts that always page")
    suppress_teams: Words = _key(
        ("*",), "Teams whose symptoms stay quiet, * for all; alerts of any other team's services page on their own"
    )
    not_a_cause: Annotated[tuple[Regex, ...], BeforeValidator(_one), Kind("list of regexes")] = _key(
        ("(?i)expir|forecast|predict|ticket",),
        "Names of alerts that cause no failure; a pattern may match anywhere in the name",
    )
    customer_facing_label: Word = _key("customer_facing", "Attribute of services that customers use")
    tenant_label: Word = _key("tenant", "Label or attribute that names the tenant")
    site_label: Word = _key("site", "Label or attribute that names the site")


class Checkpoint(Section):
    """How often state is saved, and how much may wait."""

    interval: Duration = _key(0.1, "Time between checkpoints", ge=0.01, le=60)
    max_bytes: Whole = _key(
        4_000_000, "Largest checkpoint, in bytes; below the topic's max.message.bytes", ge=65_536, le=104_857_600
    )
    max_pending: Whole = _key(20_000, "Most events waiting before reading pauses", ge=100, le=10_000_000)
    tick_interval: Duration = _key(1.0, "Time between ticks, which let time pass in the log", ge=0.1, le=60)


class Bypass(Section):
    """When critical alerts go past a silent correlator; see `correlator bypass`."""

    failopen_after: Duration = _key(
        60.0, "Age of the last heartbeat that came through beyond which critical alerts go past", ge=10, le=HOUR
    )
    max_lag: Whole = _key(
        100_000, "Records of the raw topics, or of the placed topic, that may wait; more opens the bypass too", ge=1
    )
    cap: Whole = _key(10, "Most open bypass incidents of one team or source; the rest is counted in one more", ge=1)
    cap_total: Whole = _key(200, "Most open bypass incidents of all teams and sources", ge=1, le=10_000)
    buffer: Whole = _key(
        50_000, "Most critical alerts kept that are not proven to be decided; more are only counted", ge=100
    )
    team_label: Word = _key("team", "Label of the alert that names its team; without it the source counts")
    webhook: WebAddress = _key(None, "Address that each revision of a bypass incident is posted to as well")
    webhook_timeout: Duration = _key(10.0, "Longest wait for one answer of the webhook", ge=0.1, le=300)
    http_port: Whole = _key(9309, "Port for metrics and health, on http.host; 0: any free one", ge=0, le=65_535)


class Http(Section):
    """Metrics and health of a worker."""

    enabled: bool = _key(True, "Serve metrics and health")
    host: Word = _key("127.0.0.1", "Address to listen on")
    port: Whole = _key(9308, "Port to listen on; 0: any free one", ge=0, le=65_535)


class Worker(Section):
    """One process."""

    id: str = _key("", "Name of this worker in logs; empty: host name and process id", max_length=249)
    static_membership: bool = _key(
        False, "Keep the partitions over a restart of the worker of this id; then a stop does not give them up"
    )
    application: Topic = _key("correlator", "Consumer group, and prefix of the state's topics")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = _key(
        "INFO", "Mildest log lines that are written"
    )
    stop_timeout: Duration = _key(30.0, "Longest wait for the last checkpoint at stop", ge=1, le=600)
    stall_timeout: Duration = _key(
        120.0, "Time without progress, with work waiting, after which the worker exits", ge=5, le=HOUR
    )


class Settings(Section):
    """All sections; immutable. Equal settings compare equal."""

    broker: Broker = Broker()
    topics: Topics = Topics()
    dialects: Dialects = Dialects()
    intake: Intake = Intake()
    shards: Shards = Shards()
    maintenance: Maintenance = Maintenance()
    topology: Topology = Topology()
    engine: Engine = Engine()
    checkpoint: Checkpoint = Checkpoint()
    bypass: Bypass = Bypass()
    http: Http = Http()
    worker: Worker = Worker()

    def effective(self, mask: bool = True) -> dict[str, Any]:
        """Section -> key -> value as JSON types; durations in seconds; secrets as ``***`` unless ``mask`` is False."""
        return plain(self, mask=mask)

    def to_toml(self, mask: bool = True) -> str:
        """The same as a TOML file that :func:`load_settings` reads back to equal settings when ``mask`` is False."""
        return toml_text(plain(self, mask=mask, human=True))


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from the TOML file at ``path`` (None: defaults), overridden by ``CORRELATOR_<SECTION>__<KEY>``.

    Raises SettingsError with one line per problem: the key, its value, and what is allowed.
    """
    return load(Settings, path, environ, _checks)


def _checks(settings: Settings) -> Iterator[Check]:
    """Rules between keys."""
    yield from _login_checks(settings.broker)
    for low, high in (
        ("broker.session_timeout", "broker.request_timeout"),
        ("engine.settle_top_tier", "engine.settle"),
        ("engine.bridge", "engine.storm_bridge"),
        ("engine.reopen_window", "engine.incident_retention"),
        ("checkpoint.interval", "worker.stop_timeout"),
        ("checkpoint.tick_interval", "worker.stall_timeout"),
    ):
        (least, _), (most, shown) = _at(settings, low), _at(settings, high)
        if least > most:
            yield Check((low, high), f"must not be above {high} = {shown}")
    if settings.bypass.failopen_after < 10 * settings.checkpoint.tick_interval:
        keys = ("bypass.failopen_after", "checkpoint.tick_interval")
        yield Check(keys, "must be at least ten times checkpoint.tick_interval, which is how often heartbeats come")
    topics, owner = settings.topics, dict.fromkeys(settings.topics.raw, "topics.raw")
    for topic in topics.changes:
        if owner.setdefault(topic, "topics.changes") != "topics.changes":
            yield Check(("topics.changes", "topics.raw"), f"{topic} is already a topic of topics.raw")
    for key in ("placed", "incidents", "history", "decisions", "rejected", "controls", "topology"):
        first = owner.setdefault(getattr(topics, key), f"topics.{key}")
        if first != f"topics.{key}":
            yield Check((f"topics.{key}", first), f"already the name of {first}")
    for topic in settings.dialects.by_topic:
        if topic not in topics.raw:
            yield Check(("dialects.by_topic", "topics.raw"), f"{topic} is not in topics.raw ({', '.join(topics.raw)})")


def _login_checks(broker: Broker) -> Iterator[Check]:
    """Credentials that the protocol would leave unused, and ones that it needs."""
    protocol = ("broker.security_protocol",)
    for key in ("sasl_username", "sasl_password"):
        given, needed = getattr(broker, key) is not None, broker.security_protocol.startswith("SASL_")
        if given != needed:
            text = "must be set with" if needed else "has no use with"
            yield Check((f"broker.{key}", *protocol), f"{text} broker.security_protocol = {broker.security_protocol}")
    for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_key_password"):
        if getattr(broker, key) is not None and not broker.security_protocol.endswith("SSL"):
            text = f"has no use with broker.security_protocol = {broker.security_protocol}; use SSL or SASL_SSL"
            yield Check((f"broker.{key}", *protocol), text)
    for key in ("ssl_keyfile", "ssl_key_password"):
        if getattr(broker, key) is not None and broker.ssl_certfile is None:
            yield Check((f"broker.{key}", "broker.ssl_certfile"), "needs broker.ssl_certfile")


def _at(settings: Settings, key: str) -> tuple[float, Any]:
    section, name = key.split(".")
    values = getattr(settings, section)
    return getattr(values, name), plain(values, human=True)[name]


def settings_table() -> list[tuple[str, str, str, str, str]]:
    """Every key: (dotted key, what is allowed, default as TOML, environment variable, description)."""
    rows = []
    for section, value in plain(Settings(), human=True).items():
        fields = type(getattr(Settings(), section)).model_fields
        for name, field in fields.items():
            variable = f"CORRELATOR_{section}__{name}".upper()
            text = field.description or ""
            rows.append((f"{section}.{name}", allowed(field), toml_value(value[name]), variable, text))
    return rows


def settings_markdown() -> str:
    """The same as Markdown, one table per section."""
    lines: list[str] = []
    rows = settings_table()
    for section, info in Settings.model_fields.items():
        title = (getattr(info.default, "__doc__", "") or "").strip().splitlines()[0]
        lines += ["", f"### [{section}]", "", title, "", "| key | allowed | default | environment | meaning |"]
        lines.append("|---|---|---|---|---|")
        for key, kind, default, variable, text in (row for row in rows if row[0].startswith(f"{section}.")):
            cells = (f"`{key}`", kind, f"`{default}`", f"`{variable}`", text)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines[1:]) + "\n"
