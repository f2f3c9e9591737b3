"""What operators say about an incident: its root is another service, or it does not explain one of its alerts.

Either holds at once and until the incident closes or the named root goes; a judgement does not change it
(:mod:`correlator.engine.pins`). What is said of hidden alerts is also counted (:mod:`correlator.engine.trust`), for an
incident that is over too, as long as its id is remembered. A verdict is for the shard that knows its incident; saying
the same twice changes nothing.
"""

from __future__ import annotations

from typing import Any

from correlator.engine import lifecycle, pins, trust
from correlator.engine.named import LONGEST, verdict
from correlator.engine.state import Incident
from correlator.engine.store import Store
from correlator.engine.words import iso
from correlator.errors import ControlError

__all__ = ["allowed", "apply"]

#: Services named in a refusal; former roots that an incident lists.
_NAMED, _ROOT_HISTORY = 20, 20


def apply(store: Store, control: dict[str, Any]) -> None:
    """Take a verdict. Raises :class:`ControlError` where it makes no sense; that of another shard is none of ours."""
    key, said = control.get("incident"), [name for name in trust.SAID if isinstance(control.get(name), str)]
    if not isinstance(key, str) or len(said) != 1:
        raise ControlError(f"a verdict needs its incident and one of {', '.join(trust.SAID)}")
    incident = store.incidents.get(key)
    if incident is None and key not in store.tombs:
        return
    what, about = said[0], control[said[0]][:LONGEST]
    if what == "root":
        if incident is None:
            raise ControlError(f"incident {key} is over: it keeps its root")
        fresh = _name(store, incident, about, control)
    else:
        right = what == "rightly_hidden"
        fresh = trust.review(store, f"{key}/{about}", right=right, sampled=control.get("sampled") is True)
        if not right and incident is not None:
            _separate(store, incident, about, control, fresh)
    store.said[what] += fresh


# -- another root ------------------------------------------------------------------------------------------------


def _name(store: Store, incident: Incident, name: str, control: dict[str, Any]) -> bool:
    """Make a service the root; False where the same was said before and holds."""
    service = store.graph.place(name) or name
    if incident.kind != "fault":
        raise ControlError(f"incident {incident.id} is of kind {incident.kind}; allowed: fault")
    known = allowed(store, incident)
    if service not in known:
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        raise ControlError(f"{name!r} cannot be the root; allowed: {', '.join(sorted(known)[:_NAMED])}{more}")
    said = verdict(incident, service, "root", control, (iso(store.now), store.offset))
    if _holds(store, incident, said):
        return False
    group = incident.group
    if group is None:
        _rename(store, incident, service)
        store.revise(incident)
    else:
        if service in group.members:
            pins.crown(store.forest, service)
        elif not pins.graft(store.forest, group, service):
            raise ControlError(f"nothing connects {service!r} with incident {incident.id}")
        store.forest.touch(store.forest.nodes[service].group)
    incident.verdict = said
    return True


def allowed(store: Store, incident: Incident) -> set[str]:
    """What can be named as the root: services of the incident that alert, and its candidates as far as they do."""
    if incident.group is None:
        return {alert.service for alert in incident.left.values()}
    candidates = (row[0] for row in incident.candidates)
    return {*incident.group.members, *(name for name in candidates if name in store.forest.nodes)}


def _holds(store: Store, incident: Incident, said: dict[str, Any]) -> bool:
    was, node = incident.verdict, store.forest.nodes.get(said["root"])
    if was is None or any(was[name] != said[name] for name in ("root", "said", "by", "note")):
        return False
    return incident.group is None or (incident.group.root is node and node.pinned)


def _rename(store: Store, incident: Incident, service: str) -> None:
    """Another root of an incident that is quiet and waits to be closed."""
    mine = [alert for alert in incident.left.values() if alert.service == service]
    if service != incident.root_service:
        best = min(mine, key=lambda a: (-a.rank, a.starts_at, a.fingerprint))
        entry = {"service": incident.root_service, "fingerprint": incident.root_fingerprint, "until": iso(store.now)}
        incident.root_history = [*incident.root_history, entry][-_ROOT_HISTORY:]
        incident.root_service, incident.root_fingerprint = service, best.fingerprint


# -- not explained -----------------------------------------------------------------------------------------------


def _separate(store: Store, incident: Incident, fingerprint: str, control: dict[str, Any], fresh: bool) -> None:
    """The service of an alert leaves the incident, with what hangs on it, and is one of its own."""
    alert = store.alerts.get(fingerprint)
    node = None if alert is None else store.node_of(alert)
    if alert is None or node is None or node.solo or node.group is not incident.group or not alert.firing:
        return  # it is over, or elsewhere
    if node.group.root is not node:
        pins.cut_off(store.forest, alert.service)
        when = (iso(store.now), store.offset)
        store.named[alert.service] = verdict(incident, alert.service, "not_explained", control, when)
    elif fresh and fingerprint != incident.root_fingerprint and lifecycle.worth(store, alert):
        # Another alert of the root's own service: there is nothing to separate, but it should not have been quiet.
        lifecycle.page(store, incident, f"not explained: {alert.name} on {alert.service}")
