"""What the program measures: one object built on a registry, and a form of it that does nothing.

What there is to measure is said in :mod:`correlator.metrics_catalogue`. The number of series is bounded:
a label takes its values from a closed set, or keeps the first values it sees, and the rest counts as ``other``.
Ages are computed when they are read, from the clock that is passed in, so that they grow while nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Self, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from correlator.engine.trust import SAID, wilson
from correlator.errors import REJECT_REASONS
from correlator.metrics_catalogue import FAMILIES, LIMITS, OTHER, Family
from correlator.model import CHANGE_KINDS, VERDICTS, IncidentState

__all__ = ["Metrics"]

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

    ``clock`` gives epoch seconds when ages are read. ``dialects`` are the known dialect names, ``notes`` those
    of alerts.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float],
        version: str = "unknown",
        compiled: bool = False,
        dialects: Iterable[str] = (),
        notes: Iterable[str] = (),
    ) -> None:
        closed = {
            "dialect": tuple(dialects),
            "note": tuple(notes),
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
        self._set("build_info", 1.0, version, "yes" if compiled else "no")

    @classmethod
    def none(cls) -> Self:
        """Metrics that measure nothing and expose nothing."""
        metrics = cls(CollectorRegistry(), clock=lambda: 0.0)
        metrics._registry = None
        return metrics

    def received(self, dialect: str, n: int = 1) -> None:
        """``n`` alerts were read in ``dialect``."""
        self._add("alerts_received_total", n, dialect)

    def noted(self, note: str, n: int = 1) -> None:
        """``n`` alerts were read with a note, one of NOTES."""
        self._add("alerts_noted_total", n, note)

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

    def clocks(self, ahead: Mapping[str, float]) -> None:
        """The sources whose clocks are ahead, each with the seconds; no others are."""
        if self._registry is not None:
            self._gauges.values["clock_ahead_seconds"] = {(s or OTHER,): n for s, n in ahead.items()}

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
