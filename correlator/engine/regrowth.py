"""The forest grown anew, with its incidents: the graph or the rules have changed, or a shard was restored."""

from __future__ import annotations

from correlator.engine import assess, changes, deadlines, pins, places, shadow, trust
from correlator.engine.groups import Group
from correlator.engine.rules import Rules
from correlator.engine.state import AlertState, Incident, solo
from correlator.engine.store import Store, matches, solo_key
from topology import ServiceGraph

__all__ = ["attach", "plant", "use"]


def use(store: Store, graph: ServiceGraph, rules: Rules) -> None:
    """Change the graph or the rules: the forest is grown anew and the incidents follow it. O(state)."""
    homes = {node.name: owners[0] for node in store.forest.nodes.values() if (owners := node.group.owners)}
    storm, pinned = store.forest.storm, pins.held(store.forest)
    store.rules = rules
    store.dirty.update(("p", node.name) for node in store.forest.nodes.values() if node.via is not None)
    store.dirty.update(("g", name) for name in store.forest.inferred)
    store.use_graph(graph)
    store.forest.storm = storm
    store.solos.clear()
    for _, alert in sorted(store.alerts.items()):
        _replace(store, alert, homes)
    plant(store)
    pins.renew(store.forest, pinned)
    store.forest.settle()
    changes.replace(store)
    for incident in store.incidents.values():
        store.revise(incident)
        if incident.group is not None and "inferred" in incident.flags:  # to be concluded anew, or not
            incident.root_service = store.alerts[incident.root_fingerprint].service
        if incident.group is not None:
            attach(store, incident)
    store.forest.moved = {name: homes.get(name) for name in store.forest.nodes}
    for group in store.forest.groups():
        store.forest.touch(group)
    for node in store.solos.values():
        store.forest.touch(node.group)
    assess.start_over(store)
    trust.update(store)
    deadlines.arm(store)


def _replace(store: Store, alert: AlertState, homes: dict[str, Incident]) -> None:
    """Find the place of an alert in another graph, and what the rules say about it."""
    alert.extract = None
    if alert.kind in ("", "unknown"):
        was, placed = alert.service, store.graph.place(alert.service)
        alert.kind = "unknown" if placed is None else ""
        home = homes.get(was)
        if placed is not None and placed != was:
            alert.service = placed
            if home is not None and alert.live:
                homes.setdefault(placed, home)
                home.root_service = placed if home.root_service == was else home.root_service
    if alert.firing:
        alert.urgent = any(matches(m, alert) for m in store.rules.never_suppress)
        hidden, alert.window = alert.window, store.masks(alert)
        if alert.window != hidden:
            cause = "maintenance_over" if alert.window is None else "maintenance"
            store.pending.append((alert, "", cause))
            shadow.note(store, alert)
    store.mark_alert(alert)


def plant(store: Store) -> None:
    """Put the live alerts back to where they count, without any consequence for the incidents. O(state)."""
    live = [alert for alert in store.alerts.values() if alert.live]
    onsets: dict[str, tuple[float, float]] = {}
    for alert in live:
        if alert.kind not in ("ticket", "test"):
            starts, early = alert.starts_at, alert.starts_at - alert.ahead
            first, earliest = onsets.get(alert.service, (starts, early))
            onsets[alert.service] = min(starts, first), min(early, earliest)
    store.forest.plant({service: (*both, store.facets(service)) for service, both in onsets.items()})
    for alert in live:
        if alert.kind in ("ticket", "test"):
            key = solo_key(alert)
            node = store.solos.get(key) or solo(key, alert, store.facets(alert.service))
            store.solos[key] = node
        else:
            node = store.forest.nodes[alert.service]
        node.alerts[alert.fingerprint] = alert
        node.group.alerts += 1
        if alert.firing:
            places.count_firing(node, alert, 1)
    store.forest.settle()
    store.forest.moved = {}


def attach(store: Store, incident: Incident) -> Group:
    """Give an incident the tree, or the alerts on their own, that its root is in."""
    keys = {"ticket": f"ticket/{incident.root_service}", "test": f"test/{incident.root_fingerprint}"}
    key = keys.get(incident.kind)
    node = store.forest.nodes.get(incident.root_service) if key is None else store.solos.get(key)
    assert node is not None, f"incident {incident.id} has no service {incident.root_service}"
    incident.group = node.group
    node.group.owners.append(incident)
    return node.group
