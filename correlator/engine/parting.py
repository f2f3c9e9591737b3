"""One shard as it is, and where everything in it goes: the half of a move that looks at where things come from.

An alert goes where it would be placed now. All else follows the alerts: an incident goes with them, and where they go
to several shards it stays with the one of its root, if that fires, else with the one in which most fires; each other
shard in which something of it fires gets an incident of its own, which names it. What belongs to no alert (counters,
tombstones to come) goes to the *main* shard: the one to which most alerts go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from correlator.engine.birth import id_of
from correlator.engine.groups import Node, subtree
from correlator.engine.infer import FLAGS
from correlator.engine.shard import Shard
from correlator.engine.shown import standing
from correlator.engine.state import MOST_RELATED, AlertState, Incident, Source

__all__ = ["Cut", "Old", "Routes"]

_SOLO: Final = ("ticket", "test")


class Routes(NamedTuple):
    """Where things belong.

    ``alert`` is the shard of an alert about a service with labels; ``service`` that of all alerts about a service, None
    where labels decide, and ``before`` the same in the layout that is left; ``possible`` says whether a shard of a name
    can be; ``partition`` is that of a shard.
    """

    alert: Callable[[str, Mapping[str, str]], str]
    service: Callable[[str], str | None]
    before: Callable[[str], str | None]
    possible: Callable[[str], bool]
    partition: Callable[[str], int]


class Cut(NamedTuple):
    """What becomes of an incident: its part in shard ``to``, as the row of an entity, under the id that it has there.

    ``root`` is its root service before; ``parts`` maps the other shards to the ids there.
    """

    incident: Incident
    to: str
    id: str
    row: list[Any]
    root: str
    parts: dict[str, str]


class Old:
    """A shard in ``partition``. ``to`` is the new shard by fingerprint, ``count`` the alerts by new shard."""

    def __init__(self, partition: int, shard: Shard, applied: int, routes: Routes) -> None:
        self.partition, self.shard, self.store = partition, shard, shard.store
        self.name = shard.store.shard
        self.last = shard.store.base + applied
        self.routes = routes
        store = self.store
        self.to = {key: routes.alert(alert.service, alert.labels) for key, alert in store.alerts.items()}
        self.count = Counter(self.to.values())
        found = [self._of_service(service) for service in (*store.history, *store.changes.services)]
        found += [routes.alert(*record.beats_for) for record in store.sources.values() if record.beats_for]
        self._aside = Counter(name for name in found if name is not None)
        self.main = self._main()
        self.targets = {*self.count, *self._aside} | ({self.main} if self.main is not None else set())
        self.silent = dict(self._silent())

    def _main(self) -> str | None:
        if not self.count and self.routes.possible(self.name):
            return self.name
        found = self.count or self._aside
        return min(found, key=lambda name: (-found[name], name), default=None)

    def stays(self) -> bool:
        """Whether nothing of it goes anywhere, as far as it alone decides."""
        return not self.targets or (self.targets == {self.name} and self.routes.partition(self.name) == self.partition)

    def all_of(self, service: str) -> set[str]:
        """The new shards that have to do with a service: one, or where labels decide all that alerts go to."""
        known = self._of_service(service)
        if known is not None:
            return {known}
        return set(self.count) or ({self.main} if self.main is not None else set())

    def _of_service(self, service: str) -> str | None:
        """The new shard of what is known about a service; None where labels decide, or it is another shard's."""
        return self.routes.service(service) if self.routes.before(service) in (None, self.name) else None

    def source_to(self, record: Source) -> str:
        """Where the heartbeats of a source go."""
        assert self.main is not None
        return self.routes.alert(*record.beats_for) if record.beats_for else self.main

    def _silent(self) -> Iterator[tuple[str, str]]:
        """Inferred services, with the new shard to which all goes that hangs on them."""
        for name, node in self.store.forest.inferred.items():
            below = {self.to[key] for under in subtree(node) for key in under.alerts}
            if len(below) == 1:
                yield name, below.pop()

    def nodes_in(self, target: str) -> dict[str, Node]:
        """The services of the forest of which an alert goes to ``target``, and the silent ones that go with them."""
        return {
            name: node
            for name, node in self.store.forest.nodes.items()
            if self.silent.get(name) == target or any(self.to[key] == target for key in node.alerts)
        }

    # -- incidents -------------------------------------------------------------------------------------------

    def cuts(self, winner: Callable[[str, str], AlertState]) -> Iterator[Cut]:
        """What becomes of every incident. ``winner`` is the alert of a shard and fingerprint that goes on there."""
        for _, incident in sorted(self.store.incidents.items()):
            yield from self._cut(incident, winner)

    def _cut(self, incident: Incident, winner: Callable[[str, str], AlertState]) -> Iterator[Cut]:
        live = [] if incident.group is None else [a for n in incident.group.members.values() for a in n.alerts.values()]
        keeper = self._keeper(incident, live)
        fires = {self.to[alert.fingerprint] for alert in live if alert.firing}
        parts = {name: id_of(incident.id, str(incident.revision), name) for name in sorted(fires - {keeper})}
        whole = {self.to[alert.fingerprint] for alert in (*live, *incident.left.values())} <= {keeper}
        for name, id in ((keeper, incident.id), *parts.items()):
            mine = (winner(name, a.fingerprint) for a in live if self.to[a.fingerprint] == name)
            alive = [alert for alert in mine if alert.live and _fits(alert, incident)]
            data = dict(zip(Incident.SAVED, incident.row(), strict=False))
            if name == keeper:
                data["related"] = _related(data["related"], [(other, "split_to") for other in parts.values()])
            else:
                data |= {**_FRESH, "id": id, "related": [{"id": incident.id, "relation": "split_from"}]}
            if not whole:
                data["listed"] = [key for key in incident.listed if self.to.get(key) == name]
            self._root(incident, data, name, alive, whole)
            ends = incident.group is not None and not alive
            if ends and incident.closes_at is None and not incident.final():
                data |= {"closes_at": self.store.now, "resolution": "unknown"}
            yield Cut(incident, name, id, [*data.values(), bool(alive)], incident.root_service, parts)

    def _keeper(self, incident: Incident, live: list[AlertState]) -> str:
        """The new shard in which an incident keeps its id."""
        store = self.store
        assert self.main is not None
        if incident.kind in ("source_lost", "bundle"):
            for _, record in sorted(store.sources.items()):
                if incident.id in (record.incident_id, record.bundle):
                    return self.source_to(record)
        members = {alert.fingerprint: alert for alert in (*live, *incident.left.values())}
        if not members:
            return self.main
        firing = Counter(self.to[alert.fingerprint] for alert in live if alert.firing)
        root = members.get(incident.root_fingerprint)
        if root is not None and (root.firing or not firing):
            return self.to[root.fingerprint]
        found = firing or Counter(self.to[key] for key in members)
        return min(found, key=lambda name: (-found[name], name))

    def _root(
        self, incident: Incident, data: dict[str, Any], target: str, alive: list[AlertState], whole: bool
    ) -> None:
        """See to it that the root of a part is in it: else it is the alert that stands for the part."""
        if not alive or (whole and self.silent.get(incident.root_service) == target):
            return
        data["flags"] = [flag for flag in data["flags"] if flag not in FLAGS]
        at_root = [alert for alert in alive if alert.service == incident.root_service]
        if all(alert.fingerprint != incident.root_fingerprint for alert in at_root):
            alert = min(at_root or alive, key=standing)
            data["root_service"], data["root_fingerprint"] = alert.service, alert.fingerprint


#: What an incident that was cut off another one does not take along.
_FRESH: Final[dict[str, Any]] = {
    **dict.fromkeys("duplicates duplicates_shown past_alerts seq".split(), 0),
    **dict.fromkeys("root_history alone candidates summed".split(), ()),
    "share": 1.0,
    "verdict": None,
}


def _fits(alert: AlertState, incident: Incident) -> bool:
    """Whether an alert can be in an incident: a ticket, or a test, is among its like."""
    return alert.kind == incident.kind if incident.kind in _SOLO else alert.kind not in _SOLO


def _related(known: list[dict[str, str]], more: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [*known, *({"id": id, "relation": relation} for id, relation in more)][-MOST_RELATED:]
