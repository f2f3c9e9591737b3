"""From settings to the parts that they describe. One function per part; nothing is opened but the topology file."""

from __future__ import annotations

from pathlib import Path

from correlator.config import Settings
from correlator.dialects import REPLICA_LABELS, SERVICE_LABELS, Limits, Reader
from correlator.engine.rules import Rules
from correlator.place import Placer
from topology import Loaded, ServiceGraph, load

__all__ = ["load_graph", "placer_for", "reader_for", "rules_for"]


def reader_for(settings: Settings, topic: str) -> Reader:
    """The reader of a raw topic."""
    found = settings.dialects.by_topic.get(topic, settings.dialects.default)
    intake = settings.intake
    limits = Limits(
        max_record_bytes=intake.max_record_bytes,
        max_depth=intake.max_depth,
        max_alerts_per_record=intake.max_alerts_per_record,
        max_labels=intake.max_labels,
        max_label_bytes=intake.max_label_bytes,
        max_annotation_bytes=intake.max_annotation_bytes,
        future_skew=intake.future_skew,
    )
    return Reader(
        dialect=None if found == "auto" else found,
        ignore_labels=frozenset(settings.dialects.ignore_labels) or REPLICA_LABELS,
        service_labels=tuple(settings.dialects.service_labels) or SERVICE_LABELS,
        limits=limits,
    )


def placer_for(settings: Settings, graph: ServiceGraph) -> Placer:
    """What places alerts on ``graph``."""
    shards = settings.shards
    return Placer(
        graph,
        shard_labels=shards.labels,
        shard_attributes=shards.attribute,
        tenant_label=shards.tenant_label or None,
    )


def rules_for(settings: Settings) -> Rules:
    """The rules that the engine follows."""
    return Rules.of(settings.engine.model_dump())


def load_graph(settings: Settings) -> Loaded:
    """The service graph of the settings, with every problem of its file; empty where none is set."""
    topology = settings.topology
    if not topology.file:
        return Loaded(ServiceGraph.empty(), ())
    return load(
        Path(topology.file),
        format=None if topology.format == "auto" else topology.format,
        direction=None if topology.direction == "auto" else topology.direction,
    )
