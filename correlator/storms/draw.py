"""The draw: who fails and when, who alerts and how often, and what arrives in which order."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypedDict

from correlator.storms.wiring import LAYERS, MIN_SERVICES, Wiring, below, sample

__all__ = ["START", "VARIANTS", "Graph", "Storm", "Truth", "storm"]

VARIANTS: Final = ("a", "b", "c")
#: When the roots fail, epoch seconds.
START: Final = 1_750_000_000

_REGIONS: Final = ("eu-west", "eu-north", "us-east", "us-west", "ap-south")
#: Milliseconds: from a failure to that of a dependent, from a service's first alert to its last, from onset to arrival.
_HOP, _SPREAD, _LATE = (1_000, 20_000), 90_000, 60_000
_TIERS: Final = (1, 2, 2, 1)
_WORDS: Final = (
    ("dns", "network", "storage", "identity", "config"),
    ("postgres", "redis", "search", "queue", "blobs"),
    ("orders", "billing", "catalog", "profile", "pricing", "stock", "shipping"),
    ("web", "mobile", "partner", "checkout"),
)
_Kinds = tuple[tuple[str, str], ...]
_DOWN: Final[_Kinds] = (("ServiceDown", "critical"), ("InstanceDown", "critical"), ("EndpointUnreachable", "critical"))
_BROAD: Final[_Kinds] = (
    ("HighErrorRate", "critical"),
    ("AvailabilityLow", "critical"),
    ("SloBurnRateHigh", "critical"),
)
_SYMPTOMS: Final[_Kinds] = (
    *_BROAD,
    *((name, "error") for name in ("RequestTimeouts", "UpstreamErrors", "ConnectionPoolExhausted")),
    *((name, "warning") for name in ("HighLatency", "QueueBacklogHigh", "RetryRateHigh")),
)


class Graph(TypedDict):
    """Attributes of every service, and pairs ``(u, v)`` that read: u depends on v."""

    nodes: dict[str, dict[str, Any]]
    edges: list[tuple[str, str]]


class Truth(TypedDict):
    """What happened. ``members`` maps each alerting service of a cascade, its root included, to the root.

    ``silent`` failed without an alert. ``spurious`` alert outside the cascade; ``lone_spurious`` are those of them that
    depend on no alerting service, over any distance.
    """

    roots: list[str]
    members: dict[str, str]
    silent: list[str]
    spurious: list[str]
    lone_spurious: list[str]


@dataclass(frozen=True)
class Storm:
    """``alerts`` are in order of arrival, ``arrivals`` their times; ``starts_at`` in an alert is its onset."""

    variant: str
    seed: int
    graph: Graph
    alerts: list[dict[str, Any]]
    arrivals: list[float]
    truth: Truth


class _Plan:
    """What happens, by number. ``root`` is -1 for what is not hit; ``onset`` counts milliseconds after START."""

    def __init__(self, rng: Random, variant: str, services: int) -> None:
        regions = _REGIONS if variant == "b" else _REGIONS[:1]
        self.layer: list[int] = []
        self.region: list[str] = []
        self.deps: list[list[int]] = []
        self.root: list[int] = []
        for index, region in enumerate(regions):
            start, size = len(self.layer), services // len(regions) + (index < services % len(regions))
            part = Wiring(rng, size, spare=variant == "c")
            self.layer += part.layer
            self.region += [region] * size
            self.deps += [[start + target for target in targets] for targets in part.deps]
            self.root += [start if hit else -1 for hit in part.hit]
        self.onset = _onsets(rng, self.deps, self.root)
        self.silent, self.spurious = [False] * services, [False] * services
        if variant == "c":
            self._disturb(rng)
        self.names = [""] * services
        for label, number in enumerate(sample(rng, range(services), services)):
            words = _WORDS[self.layer[number]]
            self.names[number] = f"{words[below(rng, len(words))]}-{label:05d}"

    def _disturb(self, rng: Random) -> None:
        hit = [number for number, root in enumerate(self.root) if root >= 0]
        inner = sorted(
            {target for number in hit for target in self.deps[number] if self.root[target] not in (target, -1)}
        )
        for number in sample(rng, inner, round(len(inner) * 0.10)):
            self.silent[number] = True
        spared = [number for number, root in enumerate(self.root) if root < 0]
        for number in sample(rng, spared, round(len(self.root) * 0.05)):
            self.spurious[number] = True

    def member(self, number: int) -> bool:
        """Whether the service alerts because of a root, or is one."""
        return self.root[number] >= 0 and not self.silent[number]


def storm(variant: str, *, services: int = 5000, alerts: int | None = None, seed: int = 1) -> Storm:
    """Draw a storm.

    Parameters: ``variant`` is a, b or c; ``services`` is at least MIN_SERVICES; ``alerts`` is their number in total, at
    least one per service, five per service when None. Raises ValueError for other values. Takes time and memory in
    proportion to services and alerts.

    >>> drawn = storm("b", services=60)
    >>> len(drawn.alerts), len(drawn.graph["edges"]), len(drawn.truth["roots"])
    (300, 135, 5)
    """
    total = 5 * services if alerts is None else alerts
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; allowed: {', '.join(VARIANTS)}")
    if services < MIN_SERVICES:
        raise ValueError(f"services is {services}; allowed: {MIN_SERVICES} or more")
    if total < services:
        raise ValueError(f"alerts is {total}; allowed: {services} or more, one for each service")
    rng = Random(seed)
    plan = _Plan(rng, variant, services)
    rows = _rows(rng, plan, total, _LATE if variant == "c" else 0)
    graph = _graph(rng, plan)
    return Storm(variant, seed, graph, [row[2] for row in rows], [_time(row[0]) for row in rows], _truth(plan))


def _onsets(rng: Random, deps: list[list[int]], root: list[int]) -> list[int]:
    """A service fails when the failure of one of its dependencies has reached it: each edge takes its own time."""
    onset = [0] * len(deps)
    low, high = _HOP
    for number, targets in enumerate(deps):
        if root[number] not in (number, -1):
            onset[number] = min(onset[it] + low + below(rng, high - low) for it in targets if root[it] >= 0)
    return onset


def _rows(rng: Random, plan: _Plan, total: int, late: int) -> list[tuple[int, str, dict[str, Any]]]:
    """Arrival in milliseconds, key and alert, in order of arrival. Where alerts are late, those of a root come last."""
    members = [number for number in range(len(plan.root)) if plan.member(number)]
    further = [0] * len(plan.root)
    for _ in range(total - len(members) - sum(plan.spurious)):
        further[members[below(rng, len(members))]] += 1
    length = max(plan.onset) + _SPREAD
    rows = []
    for number, root in enumerate(plan.root):
        if plan.spurious[number]:
            onsets, kinds = [below(rng, length)], _BROAD
        elif plan.member(number):
            spread = [0] + [1 + below(rng, _SPREAD) for _ in range(further[number])]
            onsets, kinds = [plan.onset[number] + offset for offset in spread], _DOWN if root == number else _SYMPTOMS
        else:
            continue
        first = 0 if root == number else below(rng, len(kinds))
        for index, onset in enumerate(onsets):
            arrival = (length + late if late and root == number else onset) + below(rng, late)
            kind, instance = kinds[(first + index) % len(kinds)], index // len(kinds)
            alert = _alert(plan.names[number], plan.region[number], kind, instance, onset)
            rows.append((arrival, str(alert["key"]), alert))
    return sorted(rows, key=lambda row: row[:2])


def _alert(service: str, region: str, kind: tuple[str, str], instance: int, onset: int) -> dict[str, Any]:
    name, severity = kind
    return {
        "key": f"{service}/{instance}/{name}",
        "service": service,
        "name": name,
        "severity": severity,
        "status": "firing",
        "starts_at": _time(onset),
        "labels": {"instance": f"{service}/{instance}", "region": region},
        "annotations": {"summary": f"{name} on {service}"},
        "source": "storm",
    }


def _graph(rng: Random, plan: _Plan) -> Graph:
    names, teams = plan.names, max(3, len(plan.names) // 40)
    nodes = {}
    for number in sorted(range(len(names)), key=names.__getitem__):
        team = f"team-{below(rng, teams):03d}"
        nodes[names[number]] = {
            "team": team,
            "on_call": f"{team}@example.org",
            "tier": _TIERS[plan.layer[number]],
            "layer": LAYERS[plan.layer[number]],
            "labels": {"region": plan.region[number]},
        }
    edges = sorted((names[number], names[target]) for number, targets in enumerate(plan.deps) for target in targets)
    return {"nodes": nodes, "edges": edges}


def _truth(plan: _Plan) -> Truth:
    names, numbers = plan.names, sorted(range(len(plan.names)), key=plan.names.__getitem__)
    fed = [False] * len(names)  # whether the service depends on one that alerts
    for number, targets in enumerate(plan.deps):
        fed[number] = any(fed[it] or plan.spurious[it] or plan.member(it) for it in targets)
    return {
        "roots": [names[n] for n in numbers if plan.root[n] == n],
        "members": {names[n]: names[plan.root[n]] for n in numbers if plan.member(n)},
        "silent": [names[n] for n in numbers if plan.silent[n]],
        "spurious": [names[n] for n in numbers if plan.spurious[n]],
        "lone_spurious": [names[n] for n in numbers if plan.spurious[n] and not fed[n]],
    }


def _time(milliseconds: int) -> float:
    return (START * 1000 + milliseconds) / 1000
