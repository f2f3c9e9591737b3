"""What changed hands in a step: services that went to another incident, and repeats by the incident that counts them.

While a step is being taken, trees grow together and fall apart in an order that only this process knows; a restart
would have another one. So nothing is attributed then: a service is known by its incident as of the last settling
(:meth:`Forest.before`), and repeats wait until it is certain whose they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from correlator.engine.groups import Group
from correlator.engine.state import Incident
from correlator.engine.store import Store

__all__ = ["count_repeats", "note"]


def note(store: Store, settled: Iterable[Group]) -> None:
    """What fires at a service that went to another incident gets a receipt that says so. O(services that moved).

    Where a whole incident was merged into another one, the receipt of that speaks for all of it. From here on every
    service is known by the incident of its group; ``settled`` are the groups that the step touched.
    """
    forest = store.forest
    left = sorted((name, was) for name, was in forest.moved.items() if was is not None and _left(store, name, was))
    if left:
        new = {alert.fingerprint for alert, _, _ in store.pending}
        for name, _ in left:
            cause = "not_explained" if name in store.named else "moved"
            found = sorted(forest.nodes[name].alerts.items())  # not as they came: a restart does not know that order
            store.pending += [(alert, "", cause) for key, alert in found if alert.firing and key not in new]
    forest.moved = {}
    for group in settled:
        group.was = group.owners[0] if group.owners else None
    if forest.given_up:
        store.limits["bridge_search"] += forest.given_up
        forest.given_up = 0


def _left(store: Store, service: str, was: Incident) -> bool:
    node = store.forest.nodes.get(service)
    return node is not None and bool(node.group.owners) and node.group.owners[0] is not store.current(was)


def count_repeats(store: Store) -> None:
    """Repeats count for the incident that their alert is in now; alone they make no revision. O(alerts repeated)."""
    for fingerprint, n in store.repeats.items():
        incident = store.incident_of(store.alerts[fingerprint])
        if incident is not None:
            incident.duplicates += n
            store.mark_incident(incident)
    store.repeats = {}
