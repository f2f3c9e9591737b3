"""What the program measures: one object built on a registry, and a form of it that does nothing.

:data:`FAMILIES` is the catalogue; families, README table and tests follow from it. The number of series is bounded:
a label takes its values from a closed set, or keeps the first values it sees, and the rest counts as ``other``.
Ages are computed when they are read, from the clock that is passed in, so that they grow while nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Self, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from correlator.engine.trust import SAID, wilson
from correlator.errors import REJECT_REASONS
from correlator.model import CHANGE_KINDS, VERDICTS, IncidentState

__all__ = ["FAMILIES", "OTHER", "Family", "Metrics", "metrics_markdown", "metrics_table"]

OTHER: Final = "other"
#: How many values a label keeps whose values are not known beforehand. Labels that are not here have a closed set.
LIMITS: Final = {"shard": 64, "partition": 256, "topic": 32, "limit": 32, "urgency": 8}


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
    Family("build_info", "info", ("version",), "Version of the program"),
)
_READ: Final = ("gauge", "age", "info")
_LABELS: Final = {family.name: family.labels for family in FAMILIES}
_FOLDS: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "abs": lambda values: sum(map(abs, values)),
}


class _Known:
    """Values that a label may take: a closed set, or the first ``limit`` ones. Never forgets one, so a value that
    got a series keeps it for the life of the process."""

    def __init__(self, values: Iterable[str] = (), limit: int = 0) -> None:
        self._values = set(values)
        self._room = limit

    def __call__(self, value: str) -> str:
        if value in self._values:
            return value
        if self._room == 0 or value == OTHER:
            return OTHER
        self._room -= 1
        self._values.add(value)
        return value


class _Gauges(Collector):
    """Gauges, ages and infos by their raw labels; labels are folded to the bounded ones when read.

    Holds one number per raw label set until :meth:`drop`; a set that is dropped was another worker's from then on.
    """

    def __init__(self, clock: Callable[[], float], known: Mapping[str, _Known]) -> None:
        self._clock, self._known = clock, known
        self.values: dict[str, dict[tuple[str, ...], float]] = {f.name: {} for f in FAMILIES if f.kind in _READ}

    def drop(self, label: str, value: str) -> None:
        """Forget every number whose ``label`` is ``value``."""
        for family in FAMILIES:
            if label in family.labels and family.name in self.values:
                at, numbers = family.labels.index(label), self.values[family.name]
                self.values[family.name] = {key: number for key, number in numbers.items() if key[at] != value}

    def collect(self) -> Iterator[Metric]:
        """The families with at least one number, now."""
        now = self._clock()
        for family in FAMILIES:
            if numbers := self.values.get(family.name):
                yield self._family(family, dict(numbers), now)

    def _family(self, family: Family, numbers: dict[tuple[str, ...], float], now: float) -> Metric:
        name = f"correlator_{family.name}"
        if family.kind == "info":
            info = InfoMetricFamily(name.removesuffix("_info"), family.meaning)
            for key in numbers:
                info.add_metric([], dict(zip(family.labels, key, strict=True)))
            return info
        folded: dict[tuple[str, ...], list[float]] = {}
        for key, number in numbers.items():
            labels = tuple(self._known[label](value) for label, value in zip(family.labels, key, strict=True))
            folded.setdefault(labels, []).append(max(0.0, now - number) if family.kind == "age" else number)
        gauge = GaugeMetricFamily(name, family.meaning, labels=family.labels)
        for labels, group in folded.items():
            gauge.add_metric(labels, _FOLDS[family.fold](group) if len(group) > 1 else group[0])
        return gauge


class _Exposed(Collector):
    """A registry without the ``_created`` samples, which double the number of series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """The families of the registry."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Metrics:
    """Every measurement as a method. Times are epoch seconds, durations seconds. No method raises on odd labels.

    ``clock`` gives epoch seconds when ages are read. ``dialects`` are the known dialect names.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float],
        version: str = "unknown",
        dialects: Iterable[str] = (),
    ) -> None:
        closed = {
            "dialect": tuple(dialects),
            "verdict": VERDICTS,
            "reason": tuple(REJECT_REASONS),
            "state": get_args(IncidentState),
            "stage": ("raw", "placed"),
            "outcome": ("taken", "failed"),
            "kind": (*CHANGE_KINDS, "ignored"),
            "said": SAID,
        }
        self._clock = clock
        self._registry: CollectorRegistry | None = registry
        self._known = {label: _Known(values) for label, values in closed.items()}
        self._known |= {label: _Known(limit=limit) for label, limit in LIMITS.items()}
        self._gauges = _Gauges(clock, self._known)
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for family in FAMILIES:
            name = f"correlator_{family.name}"
            if family.kind == "counter":
                self._counters[family.name] = Counter(name, family.meaning, family.labels, registry=registry)
            elif family.kind == "histogram":
                histogram = Histogram(name, family.meaning, buckets=family.buckets, registry=registry)
                self._histograms[family.name] = histogram
        for name, label in (("alerts_received_total", "dialect"), ("rejected_total", "reason")):
            for value in closed[label]:
                self._counters[name].labels(value)
        for state in closed["state"]:
            self._counters["incidents_published_total"].labels(state)
        registry.register(self._gauges)
        self._set("build_info", 1.0, version)

    @classmethod
    def none(cls) -> Self:
        """Metrics that measure nothing and expose nothing."""
        metrics = cls(CollectorRegistry(), clock=lambda: 0.0)
        metrics._registry = None
        return metrics

    def received(self, dialect: str, n: int = 1) -> None:
        """``n`` alerts were read in ``dialect``."""
        self._add("alerts_received_total", n, dialect)

    def changed(self, kind: str, n: int = 1) -> None:
        """``n`` changes of a kind were read, or events that are none (``ignored``)."""
        self._add("changes_received_total", n, kind)

    def verdicts(self, shard: str, counts: Mapping[str, int]) -> None:
        """Alerts were decided: verdict -> number."""
        for verdict, n in counts.items():
            self._add("verdicts_total", n, shard, verdict)

    def rejected(self, reason: str, n: int = 1) -> None:
        """``n`` inputs went to the rejected topic for ``reason``, one of REJECT_REASONS."""
        self._add("rejected_total", n, reason)

    def replayed(self, n: int = 1) -> None:
        """``n`` placed alerts had been applied before."""
        self._add("replayed_total", n)

    def quarantined(self, n: int = 1) -> None:
        """The engine raised on ``n`` alerts; they were skipped."""
        self._add("quarantined_total", n)

    def breakers(self, partition: int, n: int) -> None:
        """So many sources are put aside in the partition."""
        self._set("breakers_open", n, str(partition))

    def published(self, state: str, n: int = 1) -> None:
        """``n`` revisions of incidents in ``state`` were published."""
        self._add("incidents_published_total", n, state)

    def paged(self, urgency: str, n: int = 1) -> None:
        """The page sequence of incidents grew by ``n``."""
        self._add("pages_total", n, urgency)

    def shard(self, shard: str, *, incidents: int, alerts: int, difference: int) -> None:
        """The shard has so many open incidents and active alerts; ``difference`` is alerts placed minus decided."""
        self._set("incidents_open", incidents, shard)
        self._set("alerts_active", alerts, shard)
        self._set("conservation_difference", difference, shard)

    def maintenance(self, shard: str, *, windows: int, alerts: int) -> None:
        """So many windows are open in the shard, and hide so many alerts that fire."""
        self._set("maintenance_windows_open", windows, shard)
        self._set("alerts_hidden", alerts, shard)

    def precision(self, shard: str, *, right: int, reviewed: int, complaints: int, failed: bool) -> None:
        """Of so many reviews of sampled hidden alerts so many say that it was right; ``failed``: hidden alerts page."""
        lower, upper = wilson(right, reviewed)
        self._set("suppression_precision_lower", lower, shard)
        self._set("suppression_precision_upper", upper, shard)
        self._set("suppression_reviewed", reviewed, shard)
        self._set("suppression_complaints", complaints, shard)
        self._set("suppression_failed", float(failed), shard)

    def said(self, shard: str, counts: Mapping[str, int]) -> None:
        """Operators gave verdicts: kind -> number."""
        for said, n in counts.items():
            self._add("operator_verdicts_total", n, shard, said)

    def alert_to_incident(self, seconds: float) -> None:
        """From the raw record's time to the publish of the first revision that counts the alert."""
        self._observe("alert_to_incident_seconds", seconds)

    def heartbeat(self, shard: str, at: float) -> None:
        """A heartbeat of epoch second ``at`` came through; an older one changes nothing."""
        self._set(
            "heartbeat_age_seconds", max(at, self._gauges.values["heartbeat_age_seconds"].get((shard,), at)), shard
        )

    def watermark(self, partition: int, at: float) -> None:
        """Everything in the raw topics up to epoch second ``at`` has reached this placed partition."""
        self._set("watermark_lag_seconds", at, str(partition))

    def consumer_lag(self, topic: str, partition: int, records: int) -> None:
        """So many records of the partition wait to be read."""
        self._set("consumer_lag_records", records, topic, str(partition))

    def clock_jumped(self, n: int = 1) -> None:
        """``n`` records lay further ahead than engine.max_time_jump."""
        self._add("clock_jumps_total", n)

    def limit_reached(self, limit: str, n: int = 1) -> None:
        """A limit, named by its settings key, was reached ``n`` times."""
        self._add("limits_reached_total", n, limit)

    def checkpoint(self, partition: int, seconds: float, size: int) -> None:
        """A checkpoint of ``size`` bytes was acknowledged after ``seconds``."""
        self._observe("checkpoint_duration_seconds", seconds)
        self._observe("checkpoint_bytes", size)
        self._set("checkpoint_age_seconds", self._clock(), str(partition))

    def recovered(self, partition: int, seconds: float, records: int, keys: int) -> None:
        """State of ``keys`` keys was recovered in ``seconds``, for which ``records`` of the changelog were read.

        The checkpoint age starts here.
        """
        self._set("recovery_seconds", seconds)
        self._add("recovered_records_total", records)
        self._add("recovered_keys_total", keys)
        self._set("checkpoint_age_seconds", self._clock(), str(partition))

    def rebalanced(self) -> None:
        """The group has said which partitions are this worker's."""
        self._add("rebalances_total", 1)

    def standby(self, partition: int, *, lag: int, keys: int) -> None:
        """A standby keeps ``keys`` keys and has ``lag`` records to read."""
        self._set("standby_lag_records", lag, str(partition))
        self._set("standby_keys", keys, str(partition))

    def forget_standby(self, partition: int) -> None:
        """The partition is no longer followed."""
        for name in ("standby_lag_records", "standby_keys"):
            self._gauges.values[name].pop((str(partition),), None)

    def standby_anew(self) -> None:
        """A standby could not go on from where it was."""
        self._add("standby_anew_total", 1)

    def graph(self, version: str, at: float, services: int, dependencies: int) -> None:
        """The graph ``version`` is in use since epoch second ``at``."""
        self._gauges.values["graph_info"] = {}
        self._set("graph_info", 1.0, version)
        self._set("graph_age_seconds", at)
        self._set("graph_services", services)
        self._set("graph_dependencies", dependencies)

    def bypass_read(self, alerts: int, overflow: int) -> None:
        """The bypass read so many alerts, and had no room for ``overflow`` critical ones."""
        self._add("bypass_alerts_read_total", alerts)
        self._add("bypass_overflow_total", overflow)

    def bypass_state(self, *, is_open: bool, age: float, lag: Mapping[str, int], waiting: int, incidents: int) -> None:
        """What the bypass sees: seconds since the last proof, records that wait by stage, and what it holds."""
        self._set("bypass_open", float(is_open))
        self._set("bypass_proof_age_seconds", age)
        for stage, records in lag.items():
            self._set("bypass_lag_records", records, stage)
        self._set("bypass_waiting_alerts", waiting)
        self._set("bypass_incidents_open", incidents)

    def bypass_published(self, state: str) -> None:
        """A revision of a bypass incident was published."""
        self._add("bypass_published_total", 1, state)

    def bypass_posted(self, taken: bool) -> None:
        """The webhook took an incident, or did not."""
        self._add("bypass_posts_total", 1, "taken" if taken else "failed")

    def forget_shard(self, shard: str) -> None:
        """The shard belongs to another worker now: its gauges and ages go, its counters stay."""
        self._gauges.drop("shard", shard)

    def forget_partition(self, partition: int) -> None:
        """The same for a partition number, in every topic; a lag that still matters is set again by its next figure."""
        self._gauges.drop("partition", str(partition))

    def exposition(self, accept: str | None = None) -> tuple[bytes, str]:
        """Body and content type for an Accept header: OpenMetrics where asked for, else the Prometheus text format."""
        encode, content_type = choose_encoder(accept or "")
        return encode(_Exposed(self._registry or CollectorRegistry())), content_type

    def _add(self, name: str, n: int, *labels: str) -> None:
        if self._registry is None or n == 0:
            return
        counter = self._counters[name]
        bounded = [self._known[label](value) for label, value in zip(_LABELS[name], labels, strict=True)]
        (counter.labels(*bounded) if bounded else counter).inc(n)

    def _observe(self, name: str, value: float) -> None:
        if self._registry is not None:
            self._histograms[name].observe(value)

    def _set(self, name: str, value: float, *labels: str) -> None:
        if self._registry is not None:
            self._gauges.values[name][labels] = value


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
