"""Where an alert belongs: the service of the graph that it is about, and the shard that decides about it.

A shard is named by its keys, ``region=eu,tenant=acme``. A key takes its value from the service
(``shard_attributes``), from the alert (``shard_labels``), or, for the tenant, from the alert and else from the
service. A value that is not there is ``-``. Without keys there is one shard, ``all``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from correlator.model import Alert
from topology import ServiceGraph

__all__ = ["ALL", "NODE_FIELDS", "Placer"]

#: The shard of an installation that keeps nothing apart.
ALL: Final = "all"
_ABSENT: Final = "-"
#: In the text of a shard, stands for a value that the alert decides.
_ANY: Final = "*"
#: Attributes of a service that are no labels.
NODE_FIELDS: Final = ("service", "owner", "team", "on_call", "runbook", "channel", "tier")
#: Would make two different shards read alike, or break the keys of the saved state.
_UNSAFE: Final = re.compile(r"[%,=*\x00-\x1f\x7f]")
#: Places remembered: senders name few services, and a hostile one must not fill the memory.
_REMEMBERED: Final = 100_000


class _Key(NamedTuple):
    """One key of a shard: where its value comes from. ``first`` is asked before the other where both are."""

    name: str
    text: str
    label: bool
    attribute: bool
    first: str


class Placer:
    """Places alerts on one graph. The same alert on the same graph and keys always gets the same place."""

    __slots__ = ("_asked", "_graph", "_keys", "_places")

    def __init__(
        self,
        graph: ServiceGraph,
        *,
        shard_labels: Sequence[str] = (),
        shard_attributes: Sequence[str] = (),
        tenant_label: str | None = None,
    ) -> None:
        self._graph = graph
        tenant = (tenant_label,) if tenant_label else ()
        self._keys = tuple(
            _Key(
                name,
                _safe(name),
                name in shard_labels or name in tenant,
                name in shard_attributes or name in tenant,
                "attribute" if name in shard_attributes else "label",
            )
            for name in sorted({*shard_labels, *shard_attributes, *tenant})
        )
        #: Labels of the alert that have a say.
        self._asked = tuple(key.name for key in self._keys if key.label)
        # By service and values of the asked labels. Never stale: graph and keys do not change.
        self._places: dict[Any, tuple[str, bool, str]] = {}

    def row(self, alert: Alert, offset: int, index: int, received_at: float) -> tuple[str, list[Any]]:
        """The shard of ``alert``, and its row in the order of ``PLACED_COLUMNS``.

        ``offset`` and ``index`` say where it was in the raw log; ``received_at`` is the broker's time of that record in
        epoch seconds. O(1), about half a microsecond: called for every alert that arrives.
        """
        asked = self._asked
        found = self._places.get((alert[1], *map(alert[7].get, asked)) if asked else alert[1])
        shard, known, node = found or self._find(alert)
        row = [offset, index, received_at, known, *alert]
        row[5] = node
        return shard, row

    def spot(self, service: str, labels: Mapping[str, str]) -> tuple[str, str]:
        """The shard and the node of what is about ``service``, a sender's word, and has these labels. O(keys)."""
        node = self._graph.place(service)
        return self._text(self._values(node, labels)), service if node is None else node

    def _find(self, alert: Alert) -> tuple[str, bool, str]:
        node = self._graph.place(alert.service)
        shard = self._text(self._values(node, alert.labels))
        place = (shard, node is not None, alert.service if node is None else node)
        if len(self._places) >= _REMEMBERED:
            self._places.clear()
        key = (alert.service, *(alert.labels.get(name) for name in self._asked)) if self._asked else alert.service
        self._places[key] = place
        return place

    def shard_of_service(self, service: str) -> str | None:
        """The shard of all alerts about ``service``; None when the alert has a say, or the graph does not know it."""
        if service not in self._graph:
            return None
        values = self._values(service, None)
        return None if _ANY in values else self._text(values)

    def possible(self, shard: str) -> bool:
        """Whether these keys can give a shard of this name."""
        if not self._keys:
            return shard == ALL
        return [part.partition("=")[0] for part in shard.split(",")] == [key.text for key in self._keys]

    def moved(self, other: Placer) -> list[tuple[str, str, str]]:
        """Services that ``other`` puts elsewhere: (service, shard here, shard there), of those that both graphs know.

        ``*`` in a shard stands for what the alert decides; the service ``*`` for all that neither graph knows.
        """
        names: list[str | None] = [name for name in self._graph if name in other._graph]
        found = []
        for name in [*names, None]:
            here, there = (it._text(it._values(name, None)) for it in (self, other))
            if here != there:
                found.append((name or _ANY, here, there))
        return found

    def _values(self, service: str | None, labels: Mapping[str, str] | None) -> list[str]:
        """The value of every key; without ``labels`` those that an alert may decide are ``*``."""
        values = []
        for key in self._keys:
            stated = _safe(self._attribute(service, key.name)) if key.attribute else ""
            said = "" if not key.label else _ANY if labels is None else _safe(labels.get(key.name) or "")
            values.append((stated or said if key.first == "attribute" else said or stated) or _ABSENT)
        return values

    def _text(self, values: Sequence[str]) -> str:
        return ",".join(f"{key.text}={value}" for key, value in zip(self._keys, values, strict=True)) or ALL

    def _attribute(self, service: str | None, name: str) -> str:
        if service is None:
            return ""
        node = self._graph.node(service)
        value = node.labels.get(name)
        if value is None and name in NODE_FIELDS:
            value = getattr(node, name)
        return "" if value is None else str(value)


def _safe(text: str) -> str:
    if text == _ABSENT:
        return f"%{ord(_ABSENT):02X}"
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", text)
