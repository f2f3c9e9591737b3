"""The saved form of a shard: an entry for each entity, and one for what belongs to it as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from correlator.engine import assess, changes, deadlines, trust
from correlator.engine.maintenance import Window
from correlator.engine.regrowth import attach, plant
from correlator.engine.state import AlertState, Incident, Source
from correlator.engine.store import Store

__all__ = ["entity", "keys", "meta", "restore"]


def meta(store: Store) -> dict[str, Any]:
    """What belongs to the shard as a whole."""
    return {
        "now": store.now,
        "base": store.base,
        "marks": store.marks,
        "storm": store.forest.storm,
        "judge_due": store.judge_due,
        "judge_from": store.judge_from,
        "failing": store.failing,
        "said": dict(store.said),
        "judged_at": store.judged_at,
        "inputs": store.inputs,
        "replayed": store.replayed,
        "transitions": dict(store.transitions),
        "limits": dict(store.limits),
    }


def keys(store: Store) -> Iterator[tuple[str, str]]:
    """Kind and key of every entity."""
    for kind, name in (_TABLES | _PLAIN).items():
        for key in getattr(store, name):
            yield kind, key
    yield from (("g", service) for service in store.forest.inferred)
    yield from (("h", service) for service in store.history)
    yield from (("l", key) for key in store.patterns)
    yield from (("p", node.name) for node in store.forest.nodes.values() if node.via is not None)


def entity(store: Store, kind: str, key: str) -> Any:
    """Saved form of one entity, None where it is gone."""
    if kind == "g":
        inferred = store.forest.inferred.get(key)
        return None if inferred is None else inferred.onset
    if kind == "h":
        return store.history.row(key)
    if kind == "l":
        return store.patterns.row(key)
    if kind == "p":
        node = store.forest.nodes.get(key)
        if node is None or node.via is None:
            return None
        return [None if node.parent is None else node.parent.name, node.via, node.pinned]
    if kind in _PLAIN:
        return getattr(store, _PLAIN[kind]).get(key)
    table = getattr(store, _TABLES[kind])
    found = table.get(key)
    return None if found is None else found.row()


def restore(store: Store, meta: dict[str, Any], entities: dict[str, dict[str, Any]]) -> None:
    """Rebuild from saved forms: ``entities[kind][key]``. The order of the entries has no effect."""
    store.now, store.marks = meta["now"], meta["marks"]
    store.base = meta.get("base", 0)
    store.inputs, store.replayed = meta["inputs"], meta["replayed"]
    store.transitions.update(meta["transitions"])
    store.limits.update(meta["limits"])
    store.forest.storm = meta["storm"]
    store.history.restore(entities.get("h", {}))
    store.patterns.restore(entities.get("l", {}))
    store.failing = meta.get("failing", False)
    store.said.update(meta.get("said", {}))
    store.judge_due, store.judge_from = meta.get("judge_due"), meta.get("judge_from", 0.0)
    store.judged_at = meta.get("judged_at", -1)
    for kind, name in _PLAIN.items():
        setattr(store, name, dict(entities.get(kind, {})))
    for kind, make in _MAKE.items():
        table = getattr(store, _TABLES[kind])
        for key, row in sorted(entities.get(kind, {}).items()):
            table[key] = make(row, store.now) if kind == "w" else make(row)
    store.summaries = {i.root_service: i.id for i in store.incidents.values() if i.kind == "summary"}
    for alert in store.alerts.values():
        store.active += alert.firing
        if not alert.live and alert.incident_id in store.incidents:
            store.incidents[alert.incident_id].left[alert.fingerprint] = alert
        if alert.counts and alert.entered > store.judged_at:
            store.unjudged.add(alert.service)
    plant(store)
    for service, onset in sorted(entities.get("g", {}).items()):
        store.forest.infer(service, onset, store.facets(service))
    places = entities.get("p", {})
    pinned = {key for key, (_, _, pinned) in places.items() if pinned}
    store.forest.assign({key: (parent, tuple(via)) for key, (parent, via, _) in places.items()}, pinned)
    store.forest.settle()
    store.forest.moved, store.forest.reassigned, store.forest.reinferred = {}, {}, {}
    grouped = {key for key, row in entities.get("i", {}).items() if row[-1]}
    for key, incident in store.incidents.items():
        if key in grouped:
            attach(store, incident).was = incident
    store.forest.touched = {}
    if "judge_due" not in meta:  # schema 1 has no judgements
        assess.start_over(store)
    deadlines.arm(store)


_WINDOW: Final = AlertState.SAVED.index("window")


def _alert(row: list[Any]) -> AlertState:
    alert = AlertState()
    if isinstance(row[_WINDOW], str):  # before schema version 2 one was named, where there were several too
        row[_WINDOW] = [row[_WINDOW]]
    alert.restore(row)
    alert.extract = None
    return alert


def _incident(row: list[Any]) -> Incident:
    incident = Incident()
    incident.restore(row[:-1])
    incident.left, incident.heir = {}, None
    incident.group = None
    return incident


def _source(row: list[Any]) -> Source:
    source = Source()
    source.restore(row)
    return source


#: Kind of an entity -> table of the store; the plain ones are saved as they are.
_TABLES: Final = {"a": "alerts", "c": "changes", "i": "incidents", "s": "sources", "v": "trust", "w": "windows"}
_PLAIN: Final = {"o": "homes", "t": "tombs", "u": "suspects"}
_MAKE: Final[dict[str, Any]] = {
    "a": _alert,
    "c": lambda row: changes.Changed(*row),
    "i": _incident,
    "s": _source,
    "v": lambda row: trust.Review(*row),
    "w": Window.restored,
}
