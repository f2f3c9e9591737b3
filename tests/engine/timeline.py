"""A story in time, told to the engine message by message: what fires when, what passes, what an operator sees.

story = Timeline(depends("web -> api -> db"))
story.at("0s").fires("web").at("5s").fires("db").expect("db", members={"web", "db"})
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

import orjson

from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from topology import Edge, Node, ServiceGraph

START = 1_750_000_000.0
RAW = "alerts.raw/0"
SHARD = "shop"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ARROW = re.compile(r"\s*(->|~>)\s*")


def seconds(text: str | float) -> float:
    """Seconds of '90s', '1m30s', '2h'.

    >>> seconds("1m30s")
    90.0
    """
    if not isinstance(text, str):
        return float(text)
    return float(sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)([smhd])", text)))


def depends(*lines: str, groups: Mapping[str, int] | None = None, **attributes: Mapping[str, Any]) -> ServiceGraph:
    """A graph from lines such as 'web -> api -> db' or, softly, 'web ~> search'; keywords are attributes of services.

    ``groups`` maps a service to how many of its dependencies must work; they all form one redundancy group then.
    """
    names: dict[str, None] = {}
    edges: dict[tuple[str, str], Edge] = {}
    for line in lines:
        parts = _ARROW.split(line)
        names.update(dict.fromkeys(parts[::2]))
        for user, arrow, other in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
            edges[user, other] = Edge(kind="soft" if arrow == "~>" else "hard")
    for service, needs in (groups or {}).items():
        edges.update({pair: Edge(group="any", needs=needs) for pair in edges if pair[0] == service})
    return ServiceGraph.build({name: Node(**attributes.get(name, {})) for name in names}, edges)


def row(offset: int, time: float, service: str, name: str, status: str = "firing", **more: Any) -> list[Any]:
    """A row of an ``alerts.placed`` record in the order of PLACED_COLUMNS. The fingerprint is service:name."""
    return [
        offset,
        more.get("index", 0),
        more.get("received_at", time),
        more.get("known", True),
        more.get("fingerprint", f"{service}:{name}"),
        service,
        name,
        more.get("severity", "critical"),
        status,
        more.get("starts_at", time),
        more.get("ends_at"),
        more.get("labels", {}),
        more.get("annotations", {}),
        more.get("source", "prometheus"),
        [],
    ]


class Timeline:
    """One shard, one record per message, outputs taken after every record."""

    def __init__(self, graph: ServiceGraph, later: Iterable[ServiceGraph] = (), **rules: Any) -> None:
        self.graphs = {g.version: g for g in (graph, *later)}
        self.graph = graph
        self.rules = Rules.of(rules)
        self.partition = Partition(graph, self.rules, self.graphs.__getitem__)
        self.now = START
        self.offset = self.raw = 0
        self.ahead: dict[str, float] = {}
        self.revisions: list[tuple[str, dict[str, Any] | None]] = []
        self.last: dict[str, dict[str, Any] | None] = {}
        self.receipts: list[dict[str, Any]] = []
        self.entries: dict[bytes, bytes] = {}
        self._since: dict[str, float] = {}

    # -- what happens ----------------------------------------------------------------------------------------

    def at(self, when: str | float) -> Self:
        """From here on it is this long after the start; nothing is sent."""
        self.now = START + seconds(when)
        return self

    def fires(self, service: str, name: str = "Down", severity: str = "critical", **more: Any) -> Self:
        """A firing message, now; with the onset of the last one unless ``starts_at`` (after the start) says another.

        ``again=True`` begins a new episode.
        """
        starts = self._start(service, name, more)
        known = more.pop("known", service in self.graph)
        return self._send(
            row(self.raw, self.now, service, name, severity=severity, known=known, **{**more, "starts_at": starts})
        )

    def resolves(self, service: str, name: str = "Down", **more: Any) -> Self:
        """A resolved message, now; it ended now unless ``ends_at`` (after the start) says another time."""
        ended = START + seconds(more.pop("ends_at")) if "ends_at" in more else self.now
        key = f"{service}:{name}"
        starts = self._since.pop(key, self.now)
        known = more.pop("known", service in self.graph)
        return self._send(
            row(self.raw, self.now, service, name, "resolved", known=known, starts_at=starts, ends_at=ended, **more)
        )

    def _start(self, service: str, name: str, more: dict[str, Any]) -> float:
        key = f"{service}:{name}"
        if "starts_at" in more:
            return START + seconds(more.pop("starts_at"))
        if more.pop("again", False):
            self._since.pop(key, None)
        return self._since.setdefault(key, self.now)

    def clock(self, source: str, ahead: str) -> Self:
        """From here on the clock of a source is known to be so far ahead; onsets are said by that clock."""
        self.ahead[source] = seconds(ahead)
        return self

    def _send(self, sent: list[Any]) -> Self:
        self.raw += 1
        return self._place([sent])

    def _place(self, rows: list[list[Any]]) -> Self:
        return self.record({"source": RAW, "rows": rows, "ahead": self.ahead})

    def together(self, *services: str, name: str = "Down", severity: str = "critical") -> Self:
        """Several services fire in one record."""
        rows = []
        for service in services:
            starts, known = self._start(service, name, {}), service in self.graph
            rows.append(row(self.raw, self.now, service, name, severity=severity, starts_at=starts, known=known))
            self.raw += 1
        return self._place(rows)

    def passes(self, duration: str | float) -> Self:
        """Time passes, and a tick says so. No jump of the clock is longer than the engine allows."""
        goal = self.now + seconds(duration)
        while self.now < goal:
            self.now = min(goal, self.now + self.rules.max_time_jump)
            self.tick()
        return self

    def tick(self, **more: Any) -> Self:
        """A tick, now."""
        return self.control(type="tick", **more)

    def control(self, **control: Any) -> Self:
        """Any control record, now."""
        return self.record(control)

    def changes(self, service: str, summary: str = "deployed v2", ago: str = "0s", **more: Any) -> Self:
        """Somebody changed a service ``ago`` before now; the message comes now."""
        about = {"id": f"{service}:{summary}", "kind": "deployment", "author": "ana", "link": "", **more}
        return self.control(type="change", service=service, summary=summary, at=self.now - seconds(ago), **about)

    def suspects(self, root: str) -> list[str]:
        """The services of the changes that the incident with this root lists, in their order."""
        return [change["service"] for change in self.the(root)["changes"]]

    def maintenance(self, id: str, lasts: str, **match: str) -> Self:
        """A maintenance window from now on for alerts that match."""
        return self.control(
            type="maintenance", id=id, match=match, starts_at=self.now, ends_at=self.now + seconds(lasts)
        )

    def uses(self, graph: ServiceGraph) -> Self:
        """Another version of the graph holds from here on."""
        self.graph = graph
        return self.control(type="graph", version=graph.version)

    def record(self, value: object) -> Self:
        """Apply a record and take everything that it led to."""
        self.partition.apply(self.offset, self.now, SHARD, value if isinstance(value, bytes) else orjson.dumps(value))
        self.offset += 1
        out = self.partition.take()
        self.partition.saved(out)
        self.revisions += out.incidents
        self.last.update(out.incidents)
        self.receipts += out.decisions.get(SHARD, [])
        for key, entry in out.entries.items():
            if entry is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = entry
        figures = self.partition.figures().get(SHARD)
        if figures is not None:
            assert figures["inputs"] == figures["transitions"]
            assert figures["active"] == figures["counted"]
        return self

    def restarts(self) -> Self:
        """The worker dies and another one goes on from what was saved."""
        first = next(iter(self.graphs.values()))
        self.partition = Partition(first, self.rules, self.graphs.__getitem__)
        self.partition.load(self.entries)
        return self

    # -- what is seen ----------------------------------------------------------------------------------------

    def shown(self, *states: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Last values in one of these states (forming, open and resolved unless told), oldest first."""
        wanted = states or ("forming", "open", "resolved")
        found = [v for v in self.last.values() if v is not None and v["state"] in wanted]
        return sorted((v for v in found if kind in (None, v["kind"])), key=lambda v: (v["opened_at"], v["id"]))

    def roots(self, *states: str) -> list[str]:
        """Root services of those, sorted."""
        return sorted(v["root"]["service"] for v in self.shown(*states))

    def the(self, root: str, *states: str) -> dict[str, Any]:
        """The one incident with this root."""
        found = [v for v in self.shown(*states) if v["root"]["service"] == root]
        assert len(found) == 1, f"{len(found)} incidents of {root}; there are {self.roots(*states)}"
        return found[0]

    def value(self, id: str) -> dict[str, Any]:
        """The last value of an incident."""
        found = self.last[id]
        assert found is not None, f"{id} has a tombstone"
        return found

    def pages(self, root: str, *states: str) -> int:
        """How often the incident with this root has paged."""
        count: int = self.the(root, *states)["page"]["seq"]
        return count

    def all_pages(self) -> int:
        """How many pages there were, of all incidents ever, as a reader of every revision counts them."""
        seen: dict[str, int] = {}
        for id, value in self.revisions:
            if value is not None:
                assert value["page"]["seq"] >= seen.get(id, 0), "page.seq never shrinks"
                seen[id] = value["page"]["seq"]
        return sum(seen.values())

    def verdicts(self, service: str, name: str = "Down") -> list[str]:
        """The verdicts of an alert, in order."""
        return [r["verdict"] for r in self.receipts if r["fingerprint"] == f"{service}:{name}"]

    def expect(self, root: str, **fields: Any) -> Self:
        """One live incident with this root, with these fields; ``members`` that fire, ``paged``: how often."""
        value = self.the(root)
        for field, wanted in fields.items():
            if field == "members":
                assert {m["service"] for m in value["members"] if m["verdict"] != "resolved"} == wanted
            elif field == "paged":
                assert value["page"]["seq"] == wanted, value["page"]
            elif field == "flagged":
                assert wanted in value["flags"]
            else:
                assert value[field] == wanted, (field, value[field])
        return self
