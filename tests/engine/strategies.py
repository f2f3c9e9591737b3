"""Random small worlds for the laws: graphs with cycles, soft edges and redundancy groups; logs of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st

from correlator.engine.partition import Output, Partition
from correlator.engine.rules import Rules
from correlator.model import SEVERITIES
from tests.engine.timeline import RAW, START, row
from topology import Edge, Node, ServiceGraph

LAW = settings.get_profile("engine")
SERVICES = "abcdefg"
SHARDS = ("s", "t")

#: Short times, so that everything happens within a few minutes of a random log.
RULES = Rules.of(
    {
        "settle": 10.0,
        "repage_after": 7.0,
        "grace": 20.0,
        "reopen_window": 60.0,
        "gap_window": 15.0,
        "ttl": 100.0,
        "max_time_jump": 100_000.0,
        "late_window": 45.0,
        "flap_window": 90.0,
        "flap_threshold": 3,
        "flap_hold": 12.0,
        "onset_tolerance": 6.0,
        "judge_interval": 2.0,
        "storm_min_services": 4,
        "storm_share": 0.3,
        "bridge": 1,
        "storm_bridge": 3,
        "unplaced_burst": 1,
        "unplaced_window": 30.0,
        "incident_retention": 50.0,
        "page_severity": "error",
        "members_listed": 4,
        "change_window": 40.0,
        "changes_kept": 6,
        "changes_listed": 3,
        "trust_min_verdicts": 1,
        "trust_window": 25.0,
        "trust_memory": 90.0,
        "heartbeat": [{"match": {"name": "Watchdog"}, "interval": 25.0}],
        "test": [{"match": {"name": "Test.*"}}],
        "never_suppress": [{"match": {"name": "Never.*"}}],
    }
)

#: With all of these a service stands out.
MUCH = ("PodCrash", "OutOfMemory", "HighCpu", "HighErrorRate")
#: fingerprint -> service, name, source
ALERTS = {
    **{f"{service}1": (service, "Down", "am") for service in SERVICES},
    **{f"{service}3": (service, "NoRequests", "am") for service in SERVICES},
    **{f"{service}9": (service, "HighErrorRate", "am") for service in SERVICES},
    **{f"{service}{n}": (service, name, "am") for service in "bf" for n, name in enumerate(MUCH, 4)},
    "a2": ("a", "Slow", "zabbix"),
    "b2": ("b", "CertificateExpiry", "am"),
    "c2": ("c", "TestPage", "am"),
    "d2": ("d", "NeverQuiet", "zabbix"),
    "g1": ("ghost", "Down", "am"),
    "g2": ("ghost", "Slow", "am"),
    "h1": ("phantom", "Down", "am"),
    "w1": ("watch", "Watchdog", "am"),
}


@st.composite
def graphs(draw: st.DrawFn, plain: bool = False) -> ServiceGraph:
    """Up to seven services; edges in any direction, so cycles too; soft edges and k-of-n groups unless ``plain``."""
    names = SERVICES[: draw(st.integers(2, len(SERVICES)))]
    pairs = [(u, v) for u in names for v in names if u != v]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12))
    edges = {pair: Edge() for pair in chosen}
    if not plain:
        for pair in draw(st.lists(st.sampled_from(chosen), unique=True, max_size=3)) if chosen else []:
            edges[pair] = Edge(kind="soft")
        user = draw(st.sampled_from(names))
        targets = [pair for pair in chosen if pair[0] == user]
        if len(targets) > 1 and draw(st.booleans()):
            needs = draw(st.integers(1, len(targets) - 1))
            edges.update({pair: Edge(kind=edges[pair].kind, group="any", needs=needs) for pair in targets})
    tiers = draw(st.lists(st.sampled_from([None, 1, 2]), min_size=len(names), max_size=len(names)))
    return ServiceGraph.build({n: Node(tier=t) for n, t in zip(names, tiers, strict=True)}, edges)


# -- logs -----------------------------------------------------------------------------------------------------

_GAPS = (0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 4.0, 4.0, 11.0, 11.0, 21.0, 46.0, 70.0, 130.0)
_WHAT = ("fire",) * 4 + ("repeat",) * 2 + ("resolve",) * 4 + ("old",)
_KINDS = ("rows",) * 12 + ("tick", "change", "change", "maintenance", "maintenance_end", "graph", "verdict", "verdict")


@dataclass
class Log:
    """Records of one partition: (offset, time, shard, value). Offsets leave room for more records in between."""

    graph: ServiceGraph
    other: ServiceGraph
    records: list[tuple[int, float, str, bytes]] = field(default_factory=list)
    rules: Rules = RULES

    def partition(self) -> Partition:
        """An empty partition that knows both graphs."""
        known = {g.version: g for g in (self.graph, self.other)}
        return Partition(self.graph, self.rules, known.__getitem__)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """A log of alerts, ticks and controls, in which time passes in every record or not at all.

    Only its seed, its length and what is left out are drawn: stories in which services fire, recover and fire again
    need some fifty records, and drawing each of their parts would cost ten times as much as running them.
    """
    random = Random(draw(st.integers(0, 2**32 - 1)))
    log = Log(_graph(random), _graph(random))
    size = draw(st.sampled_from([6, 12, 25, 50, 50, 50]))
    events = _events(random, log.graph)
    written(log, [next(events) for _ in range(size)])
    without = draw(st.sets(st.integers(0, size - 2), max_size=4))
    log.records = [r for n, r in enumerate(log.records) if n not in without]
    return log


def _graph(random: Random) -> ServiceGraph:
    """Mostly in layers, as services are, with a circle or a soft or redundant dependency here and there."""
    shared = random.random() < 0.4  # most depend on the last one, and on little else
    pairs = [
        (u, v)
        for u in SERVICES
        for v in SERVICES
        if u < v and random.random() < (0.35 if not shared else 0.8 if v == SERVICES[-1] else 0.1)
    ]
    pairs += [(u, v) for u in SERVICES for v in SERVICES if u > v and random.random() < 0.06]
    edges = {pair: Edge(kind="soft" if random.random() < 0.1 else "hard") for pair in pairs}
    user = random.choice(SERVICES)
    targets = [pair for pair in pairs if pair[0] == user]
    if len(targets) > 1 and random.random() < 0.5:
        needs = random.randint(1, len(targets) - 1)
        edges.update({pair: Edge(kind=edges[pair].kind, group="any", needs=needs) for pair in targets})
    return ServiceGraph.build({name: Node(tier=random.choice([None, 1, 2])) for name in SERVICES}, edges)


def _events(random: Random, graph: ServiceGraph) -> Iterator[tuple[float, str, Any, str]]:
    mostly = random.choice("1119")  # services are down, or all suffer from something
    downs = [name for name in ALERTS if name.endswith(mostly)]
    names = random.sample(downs, 5) + random.sample(sorted(ALERTS), 3)
    gaps = random.sample(_GAPS, 7)
    while True:
        kind, shard = random.choice(_KINDS), random.choice("sssst")
        what: Any = None
        if kind == "rows":
            what = [
                (
                    random.choice(_WHAT),
                    random.choice(names),
                    random.choice(SEVERITIES),
                    random.choice([0.0, 0.0, 2.0, 15.0]),
                    random.choice([None] * 8 + [20.0]),
                    random.choice([0.0] * 5 + [3.0, 9.0, 20.0]),
                )
                for _ in range(random.choice([1, 1, 1, 3]))
            ]
        elif kind == "change":
            what = (random.choice([*graph.services, "ghost"]), random.choice([-3.0, 0.0, 8.0, 30.0]))
        elif kind == "maintenance":
            what = (random.choice(graph.services), random.choice([-5.0, 0.0, 15.0]))
        elif kind == "graph":
            what = random.randint(0, 1)
        elif kind == "verdict":
            what = (
                random.choice(["root", "root", "not_explained", "not_explained", "rightly_hidden"]),
                random.random(),
            )
        yield random.choice(gaps), kind, what, shard


def written(log: Log, events: list[tuple[float, str, Any, str]]) -> None:
    """Write the records of drawn events."""
    now, raw, since = START, 0, dict.fromkeys(ALERTS, START)
    told = log.partition()  # a verdict is about an incident: only a run knows its id
    for number, (gap, kind, what, shard) in enumerate(events):
        now += gap
        value: dict[str, Any]
        if kind == "rows":
            rows = []
            for message in what:
                rows.append(_row(log.graph, raw, now, message, since))
                raw += 1
            value = {"source": RAW, "rows": rows}
            if ahead := what[0][-1]:
                value["ahead"] = {"am": ahead}
        elif kind == "tick":
            value, shard = {"type": "tick"}, ""
        elif kind == "change":
            service, lag = what
            value = {"type": kind, "id": f"c{number % 9}", "kind": "deployment", "service": service, "at": now - lag}
            value |= {"summary": f"deployed {number}", "author": "ana", "link": ""}
        elif kind == "maintenance":
            service, lead = what
            value = {"type": kind, "id": f"m{number % 2}", **_covers(number, service)}
            value |= {"starts_at": now + lead, "ends_at": now + lead + 30.0, "reason": "patch day"}
            shard = "" if shard == "t" else shard
        elif kind == "maintenance_end":
            value = {"type": kind, "id": f"m{number % 2}"}
        elif kind == "verdict":
            value, shard = _verdict(told, *what), ""
        else:
            value, shard = {"type": kind, "version": (log.graph, log.other)[what].version}, ""
        log.records.append((10 * number, now, shard, orjson.dumps(value)))
        told.apply(*log.records[-1])


def _verdict(told: Partition, said: str, chance: float) -> dict[str, Any]:
    """About any incident and any of its services or alerts, now and then about another one's."""
    stores = [shard.store for _, shard in sorted(told.shards.items())]
    incidents = [(key, store) for store in stores for key in sorted({*store.incidents, *store.tombs})]
    if not incidents:
        return {"type": "verdict", "incident": "0" * 16, said: "a", "by": "ana"}
    random = Random(chance)
    key, store = random.choice(incidents)
    incident = store.incidents.get(key)
    mine = [a for _, a in sorted(store.alerts.items()) if store.incident_of(a) is incident or random.random() < 0.1]
    alert = random.choice(mine) if mine else None
    about = (
        ("a" if alert is None else alert.service) if said == "root" else "a1" if alert is None else alert.fingerprint
    )
    value = {"type": "verdict", "incident": key, said: about, "by": "ana"}
    if incident is not None and incident.candidates and said == "root" and random.random() < 0.4:
        value["root"] = random.choice(incident.candidates)[0]
    return value if said == "root" or random.random() < 0.4 else {**value, "sampled": True, "note": "seen"}


def _covers(number: int, service: str) -> dict[str, Any]:
    """What a window covers: by each of the three ways in turn."""
    if number % 3 == 0:
        return {"subtree": service}
    if number % 3 == 1:
        return {
            "matchers": [{"name": "service", "value": service}, {"name": "name", "value": "Slow", "isEqual": False}]
        }
    return {"match": {"service": service}}


def _row(graph: ServiceGraph, raw: int, now: float, message: tuple[Any, ...], since: dict[str, float]) -> list[Any]:
    kind, fingerprint, severity, lag, ttl, _ = message
    service, name, source = ALERTS[fingerprint]
    if kind == "fire":
        since[fingerprint] = now - lag
    starts = since[fingerprint] - (30.0 if kind == "old" else 0.0)
    more = {"fingerprint": fingerprint, "severity": severity, "source": source, "starts_at": starts}
    more |= {"known": service in graph, "labels": {"team": service}}
    if kind == "resolve":
        return row(raw, now, service, name, "resolved", **more, ends_at=now - lag)
    return row(raw, now, service, name, **more, ends_at=None if ttl is None else now + ttl)


# -- runs -----------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What came out of a run: every revision, the last values, receipts by shard, the saved entries."""

    revisions: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list)
    receipts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    entries: dict[bytes, bytes] = field(default_factory=dict)
    quarantined: list[Any] = field(default_factory=list)

    @property
    def last(self) -> dict[str, bytes]:
        """Last value per incident id, as bytes."""
        return {id: orjson.dumps(value) for id, value in self.revisions}

    @property
    def values(self) -> dict[str, dict[str, Any] | None]:
        """Last value per incident id."""
        return dict(self.revisions)

    def take(self, partition: Partition) -> Output:
        """Take and confirm everything that the partition has to say."""
        out = partition.take()
        partition.saved(out)
        self.revisions += out.incidents
        self.quarantined += out.quarantined
        for shard, receipts in out.decisions.items():
            self.receipts.setdefault(shard, []).extend(receipts)
        for key, entry in out.entries.items():
            if entry is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = entry
        return out


def run(log: Log, *, every: int = 1, restart: frozenset[int] = frozenset()) -> tuple[Run, Partition]:
    """Replay a log, taking the outputs after ``every`` records, restarting after those with the numbers ``restart``."""
    result, partition = Run(), log.partition()
    for number, record in enumerate(log.records):
        partition.apply(*record)
        if number % every == every - 1 or number in restart:
            result.take(partition)
        if number in restart:
            partition = log.partition()
            partition.load(result.entries)
    result.take(partition)
    return result, partition
