"""Where an alert belongs: its node in the service graph, and its shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from correlator.model import Alert
from topology import ServiceGraph

__all__ = ["DEFAULT_SHARD", "Placer"]

DEFAULT_SHARD: Final = "all"
_REMEMBERED: Final = 200_000


class Placer:
    """Places alerts on one graph under one choice of shards. Pure; remembers what it answered, bounded."""

    def __init__(
        self,
        graph: ServiceGraph,
        *,
        shard_labels: Sequence[str] = (),
        shard_attributes: Sequence[str] = (),
        tenant_label: str | None = None,
    ) -> None:
        self.graph = graph
        labels = list(shard_labels)
        if tenant_label and tenant_label not in labels:
            labels.append(tenant_label)
        self._labels, self._attributes = tuple(labels), tuple(shard_attributes)
        self._nodes: dict[str, tuple[str, bool, str]] = {}

    def row(self, alert: Alert, offset: int, index: int, received_at: float) -> tuple[str, list[Any]]:
        """The shard and the placed row (``PLACED_COLUMNS``) of an alert. O(shard labels)."""
        fingerprint, service, name, severity, status, starts_at, ends_at, labels, annotations, source, notes = alert
        found = self._nodes.get(service)
        if found is None:
            found = self._find(service)
        node, known, shard = found
        if self._labels:
            shard = self._shard(shard, labels)
        return shard, [
            offset,
            index,
            received_at,
            known,
            fingerprint,
            node,
            name,
            severity,
            status,
            starts_at,
            ends_at,
            labels,
            annotations,
            source,
            notes,
        ]

    def _find(self, service: str) -> tuple[str, bool, str]:
        if len(self._nodes) > _REMEMBERED:
            self._nodes.clear()
        node = self.graph.place(service)
        name = service if node is None else node
        found = self._nodes[service] = (name, node is not None, self._by_attributes(name))
        return found

    def _by_attributes(self, service: str) -> str:
        if not self._attributes:
            return "" if self._labels else DEFAULT_SHARD
        node = self.graph.node(service)
        return ",".join(f"{a}={_attribute(node, a) or '-'}" for a in self._attributes)

    def _shard(self, prefix: str, labels: dict[str, str]) -> str:
        rest = ",".join(f"{label}={labels.get(label) or '-'}" for label in self._labels)
        return f"{prefix},{rest}" if prefix else rest

    def shard_of_service(self, service: str) -> str | None:
        """The shard that the graph gives a service; None where only its alerts' labels tell."""
        return None if self._labels and not self._attributes else self._by_attributes(service)

    def moved(self, other: Placer) -> list[tuple[str, str, str]]:
        """Services whose shard differs in ``other``: (service, shard here, shard there). O(services)."""
        moved = []
        for service in self.graph.services:
            if service in other.graph:
                here, there = self.shard_of_service(service), other.shard_of_service(service)
                if here != there:
                    moved.append((service, str(here), str(there)))
        return moved


def _attribute(node: Any, name: str) -> str | None:
    value = getattr(node, name, None)
    if value is None or callable(value) or isinstance(value, (dict, tuple)):
        value = node.labels.get(name)
    return None if value is None else str(value)
