"""Silent causes: a service without an alert of its own whose dependents fail together.

A service that does not alert is *inferred* to be the cause when at least FEWEST of its direct dependents are roots that
nothing else explains, with symptoms, or out of reach, rather than with faults that began in them; when at least MOST of
all its dependents alert; and when their onsets may lie within ``onset_tolerance``. So a shared database that is not
monitored, or a rack or a link (:mod:`topology.fate`), is one incident and not one for each that hangs on it. Of several
that qualify the one with the most such roots is taken first, and each root has one cause.

The network between two sites (:mod:`topology.fate`) is one of these services, so a partition is one incident; where a
service explains as much as what it shares with others, it is the service.

What only watches services explains no more than that nothing is seen of them: then visibility is lost, and nobody says
that a service is down.

An inferred service stays until nothing hangs on it, alerts itself, or is explained by something that it depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from correlator.engine.evidence import Evidence
from correlator.engine.store import Store
from topology import CUT, OBSERVER, ServiceGraph, is_made

__all__ = ["FEWEST", "FLAGS", "MOST", "conclusion", "flags", "infer"]

FEWEST: Final = 3
MOST: Final = 0.75
#: Share of symptoms and faults from elsewhere in the evidence of a root from which on it looks like a victim.
_VICTIM: Final = 0.5
#: What an incident is flagged with for what stands for no service, by its mark in the graph.
_FLAGS: Final = {OBSERVER: "visibility_lost", CUT: "network_cut"}
#: All flags of incidents of inferred services.
FLAGS: Final = frozenset(("inferred", *_FLAGS.values()))
#: Confidence in an inferred service all of whose dependents alert.
_SURE: Final = 0.8


def infer(store: Store, roots: Mapping[str, Evidence]) -> None:
    """Take silent services for the cause of ``roots``, which the graph alone makes roots. O(dependencies of roots)."""
    forest = store.forest
    tops = {name: evidence for name, evidence in roots.items() if forest.nodes[name].parent is None}
    unseen = {name for name, evidence in tops.items() if evidence.blind}
    hit = {name for name, e in tops.items() if e.symptoms + e.outer >= _VICTIM * e.own}
    victims = unseen | hit
    found: dict[str, list[str]] = {}
    for name in sorted(victims):
        for other in forest.terrain.passages(name):
            if other in forest.nodes or store.graph.in_cycle(other):
                continue
            if name in (unseen if OBSERVER in store.graph.node(other).labels else hit):
                found.setdefault(other, []).append(name)

    def rank(service: str) -> tuple[int, float, bool, str]:
        return -len(found[service]), -_share(store, service), is_made(store.graph.node(service)), service

    for service in sorted(found, key=rank):
        mine = [name for name in found[service] if name in victims]
        onsets = [forest.nodes[name].onset for name in mine]
        latest = max(forest.nodes[name].early for name in mine) if mine else 0.0
        if len(mine) < FEWEST or latest - min(onsets) > store.rules.onset_tolerance:
            continue
        if _share(store, service) >= MOST:
            forest.infer(service, min(onsets), store.facets(service))
            victims.difference_update(mine)


def flags(graph: ServiceGraph, service: str) -> set[str]:
    """What an incident of an inferred service is flagged with."""
    return {"inferred", *(flag for mark, flag in _FLAGS.items() if mark in graph.node(service).labels)}


def _share(store: Store, service: str) -> float:
    """Share of the dependents of a service that alert."""
    users = store.graph.dependents(service)
    return sum(name in store.forest.nodes for name in users) / len(users)


def conclusion(store: Store, service: str) -> list[list[object]]:
    """The candidates of the incident of an inferred service: itself, then what hangs on it."""
    node, users = store.forest.nodes[service], store.graph.dependents(service)
    alerting = sum(name in store.forest.nodes for name in users)
    sure = round(_SURE * alerting / len(users), 3)
    labels = store.graph.node(service).labels
    if OBSERVER in labels:
        why = f"nothing is seen of {alerting} of the {len(users)} services that it watches, and nothing else is wrong"
    elif CUT in labels:
        why = f"{alerting} of the {len(users)} services that reach across it alert, and nothing else explains them"
    else:
        tie = "run on it" if store.graph.hosted(service) == users else "depend on it"
        why = f"{alerting} of the {len(users)} services that {tie} alert, and nothing else explains them"
    others = sorted(node.children)
    rest = round((1.0 - sure) / (len(others) + 1), 3)
    said = f"depends on {service}, which is silent"
    return [[service, sure, [why]], *([name, rest, [said]] for name in others[:9])]
