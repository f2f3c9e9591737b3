"""What the metrics learn of one partition."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque

from correlator.engine.partition import Output, Partition
from correlator.metrics import Metrics

__all__ = ["Figures"]

log = logging.getLogger(__name__)


class Figures:
    """Tells the metrics what a checkpoint has brought. Counters grow by what is new since the partition was loaded."""

    def __init__(self, metrics: Metrics, number: int) -> None:
        self._metrics, self._number = metrics, number
        self._arrivals: deque[tuple[int, float]] = deque()
        self._reported = 0.0
        self._told: dict[str, Counter[str]] = {}
        self._said: dict[str, Counter[str]] = {}
        self._limits: dict[str, Counter[str]] = {}
        self._replayed: dict[str, int] = {}

    def loaded(self, partition: Partition, seconds: float, records: int, keys: int) -> None:
        """The partition was taken over, with ``keys`` keys, for which ``records`` of the changelog were read."""
        stores = {name: shard.store for name, shard in partition.shards.items()}
        self._told = {name: store.transitions.copy() for name, store in stores.items()}
        self._said = {name: store.said.copy() for name, store in stores.items()}
        self._replayed = {name: store.replayed for name, store in stores.items()}
        self._limits = {}
        self._metrics.recovered(self._number, seconds, records, keys)

    def arrived(self, offset: int, received: float) -> None:
        """The record at ``offset`` has an alert that the broker received at that time (Unix seconds)."""
        self._arrivals.append((offset, received))

    def forget_arrivals(self) -> None:
        """What has arrived will be read again."""
        self._arrivals.clear()

    def saved(self, partition: Partition, output: Output, seconds: float, size: int) -> None:
        """The broker has acknowledged ``output``, whose checkpoint has ``size`` bytes, after ``seconds``."""
        metrics, now = self._metrics, time.time()
        metrics.checkpoint(self._number, seconds, size)
        while self._arrivals and self._arrivals[0][0] <= output.applied:
            metrics.alert_to_incident(now - self._arrivals.popleft()[1])
        for _, incident in output.incidents:
            if incident is not None:
                metrics.published(incident["state"])
        for reason, n in Counter(put_aside.reason for put_aside in output.quarantined).items():
            metrics.rejected(reason, n)
            metrics.quarantined(n if reason == "engine_error" else 0)
        for line in output.refused:
            log.warning("ignored: %s", line)
        metrics.breakers(self._number, len(partition.breakers.open))
        if now - self._reported >= 1.0:
            self._reported = now
            self._shards(partition, now)

    def closed(self, partition: Partition) -> None:
        """The partition is not ours any more."""
        self._metrics.forget_partition(self._number)
        for name in partition.shards:
            self._metrics.forget_shard(name)

    def _shards(self, partition: Partition, now: float) -> None:
        metrics = self._metrics
        heard = partition.watermarks.limit(now) if partition.watermarks.partitions else 0.0
        for name, figures in partition.figures().items():
            difference = abs(figures["inputs"] - figures["transitions"]) + abs(figures["active"] - figures["counted"])
            metrics.shard(name, incidents=figures["open"], alerts=figures["active"], difference=difference)
            metrics.maintenance(name, windows=figures["windows"], alerts=figures["hidden"])
            metrics.precision(
                name,
                right=figures["right"],
                reviewed=figures["reviewed"],
                complaints=figures["complaints"],
                failed=bool(figures["failing"]),
            )
            store, told = partition.shards[name].store, self._told.get(name, Counter())
            metrics.verdicts(name, store.transitions - told)
            self._told[name] = store.transitions.copy()
            metrics.said(name, store.said - self._said.get(name, Counter()))
            self._said[name] = store.said.copy()
            for limit, n in (store.limits - self._limits.get(name, Counter())).items():
                metrics.clock_jumped(n) if limit == "max_time_jump" else metrics.limit_reached(limit, n)
            self._limits[name] = store.limits.copy()
            metrics.replayed(store.replayed - self._replayed.get(name, 0))
            self._replayed[name] = store.replayed
            if heard:
                metrics.heartbeat(name, heard)
