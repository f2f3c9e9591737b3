"""When the rule is applied, to which services, and how its outcome reaches the forest.

The forest answers every record at once, from the graph alone. What the alerts themselves say is weighed
(:mod:`correlator.engine.judge`) at most once every ``judge_interval``, later while many services alert, or come to
while it is waited for, so that the cost stays a share of the time that passes: a deadline like any other, in the log's
own time.

What became more since the last time is judged by *region*: all alerting services that the rule may connect with it.
The outcome is assigned to the forest, whole regions at a time, and is a function of the alerts of the region: order,
cuts and restarts do not show. A tree of more than SMALL services that is *quiet* is left to the forest and no region
reaches into it: nobody in it suffers from its callers, and what depends on something that alerts stands out at most by
its symptoms. A region that touches such a tree is left to the forest too. So a storm costs a look at what changed in
it, and no more.

What an operator said stands: a pinned service belongs to no region, and the others are judged without it.

Alerts that end change no judgement: during a recovery an incident keeps its root. Each alert keeps how usual it was
when it came, so that what is learned meanwhile changes none either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Final

from correlator.engine import changes
from correlator.engine.evidence import Evidence, Extract, key_of
from correlator.engine.groups import Group, Node
from correlator.engine.history import UNKNOWN
from correlator.engine.infer import conclusion, infer
from correlator.engine.judge import BRIDGE, MOST_SHARING, Finding, judge, limit
from correlator.engine.state import AlertState, Incident
from correlator.engine.store import Outcome, Store

__all__ = ["SMALL", "again", "arm", "fire", "learn", "note", "start_over"]

#: Alerting services up to which a region is judged whatever it shows.
SMALL: Final = 64
#: Seconds that the next judgement waits for each alerting service, and the longest that it waits.
_PER_SERVICE, _LONGEST = 0.01, 60.0
#: Reasons of a candidate that an incident keeps.
_REASONS: Final = 5
#: Neighbours are exposed to an incident, as long as a service has no more of them than this.
_NEIGHBOURS: Final = 64


def note(store: Store, alert: AlertState, node: Node) -> None:
    """An alert of the service starts to count: that is to be judged, by how usual the alert is now."""
    alert.entered = store.offset
    usual = UNKNOWN
    if store.history:
        usual = store.history.usual(alert.service, key_of(alert.name, alert.labels))
    alert.usual, scales = usual, store.scales
    alert.extract = extract = scales.extract(alert.service, alert.name, alert.labels, usual)
    pile = node.pile if node.alerts else scales.empty
    if pile is not None:
        node.pile = pile.more.get(extract.number) or scales.add(pile, extract)
    store.unjudged.add(alert.service)
    if store.judge_due is None:
        _wait(store)


def again(store: Store, service: str) -> None:
    """Something else than its alerts speaks for a service now, or no longer: it is to be judged again. O(alerts)."""
    node = store.forest.nodes.get(service)
    if node is not None and node.alerts:
        alert = node.alerts[min(node.alerts)]  # by which a restart knows it
        alert.entered = store.offset
        store.mark_alert(alert)
        store.unjudged.add(service)
        if store.judge_due is None:
            _wait(store)


def _wait(store: Store) -> None:
    store.judge_from, store.judge_due = store.now, store.now + _pause(store)
    arm(store)


def _pause(store: Store) -> float:
    return max(store.rules.judge_interval, min(_LONGEST, _PER_SERVICE * len(store.forest.nodes)))


def arm(store: Store) -> None:
    """Ask for the next judgement, if there is one to come."""
    if store.judge_due is not None:
        store.at(store.judge_due, "judge", "")


def start_over(store: Store) -> None:
    """Everything is to be judged again: on another graph, or by other rules."""
    store.judged_at = -1
    store.unjudged = {alert.service for alert in store.alerts.values() if alert.counts}
    store.judge_due = store.now + store.rules.judge_interval if store.unjudged else None
    store.judge_from = 0.0


def fire(store: Store, time: float) -> bool:
    """Judge what became more since the last time. O(alerting services of the regions, and the edges at them)."""
    if store.judge_due is None or store.judge_due > time:
        return False
    later = store.judge_from + _pause(store)
    if later > time:
        store.judge_due = later
        arm(store)
        return False
    store.judge_due, store.judged_at = None, store.offset - 1
    due, store.unjudged = store.unjudged, set()
    nodes, quiet = store.forest.nodes, _Quiet(store)
    loud: list[str] = []
    whole: dict[int, Group] = {}
    for service in due:
        node = nodes.get(service)
        if node is not None and service in store.graph and not node.pinned:
            if quiet(service):
                whole[id(node.group)] = node.group
            else:
                loud.append(service)
    for group in sorted(whole.values(), key=lambda group: group.root.name):
        _leave(store, list(group.members))
    done: set[str] = set()
    for service in sorted(loud):
        if service not in done:
            region, alone = _around(store, service, quiet)
            done.update(region)
            if alone:
                _judge(store, region)
            else:
                _leave(store, [name for name in region if not quiet(name)])
    return True


def _around(store: Store, service: str, quiet: _Quiet) -> tuple[list[str], bool]:
    """The region of a service, and whether it touches no tree that is left to the forest."""
    nodes, alone, region = store.forest.nodes, True, []
    hops = max(BRIDGE, store.forest.limit)
    for name in store.forest.terrain.around(service, hops, MOST_SHARING, lambda n: nodes[n].pinned or quiet(n)):
        if not nodes[name].pinned:
            region.append(name)
            alone = alone and not quiet(name)
    return region, alone


class _Quiet:
    """Whether a service is in a tree of more than SMALL services of which the graph alone says all there is to say."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[int, bool] = {}

    def __call__(self, service: str) -> bool:
        group = self._store.forest.nodes[service].group
        if len(group.members) <= SMALL:
            return False
        found = self._known.get(id(group))
        if found is None:
            found = self._known[id(group)] = self._ask(group)
        return found

    def _ask(self, group: Group) -> bool:
        """Nobody suffers from its callers, and what depends on something that alerts shows no more than symptoms."""
        store, nodes = self._store, self._store.forest.nodes
        own, rest = [], []
        for name, node in group.members.items():
            if not node.silent:
                found = _weigh(store, node)
                if found.effect:
                    return False
                own.append(found.own)
                if found.own > found.symptoms:
                    rest.append((name, found.own - found.symptoms))
        most = limit(median(own), len(own))
        return not any(r > most and any(d in nodes for d in store.graph.dependencies(name)) for name, r in rest)


def _judge(store: Store, region: list[str]) -> None:
    nodes = store.forest.nodes
    evidence = {name: _timed(store, node) for name in region if not (node := nodes[name]).silent}
    changed, tolerance = _changed(store, evidence), store.rules.onset_tolerance
    findings = judge(evidence, store.forest.terrain, store.forest.limit, changed, tolerance)
    _assign(store, findings, evidence)
    infer(store, {f.root: evidence[f.root] for f in findings if nodes[f.root].via is None})
    total = sum(len(nodes[name].alerts) for name in evidence)
    for finding in findings:
        if nodes[finding.root].parent is None:
            alerts = sum(len(nodes[name].alerts) for name in finding.members)
            _announce(store, finding.root, (_candidates(finding), round(alerts / total, 3)))
    above = {parent.name for finding in findings if (parent := nodes[finding.root].parent) is not None}
    for silent in sorted(above):
        if nodes[silent].silent and nodes[silent].parent is None:
            alerts = sum(len(node.alerts) for node in nodes[silent].group.members.values())
            _announce(store, silent, (conclusion(store, silent), round(min(1.0, alerts / total), 3)))


def _timed(store: Store, node: Node) -> Evidence:
    """The evidence of a service with its onsets."""
    found = _weigh(store, node)
    onset, ahead = node.onset, node.onset - node.early
    if not found.inner:
        return found._replace(onset=onset, ahead=ahead)
    broke = (a.starts_at for a in node.alerts.values() if (a.extract or _extract(store, a)).proof.inner)
    return found._replace(onset=onset, ahead=ahead, broke=min(broke))


def _changed(store: Store, evidence: Mapping[str, Evidence]) -> dict[str, str]:
    """What was changed shortly before its trouble, or that of a service that depends on it, began."""
    found: dict[str, str] = {}
    if store.changes:
        for name, seen in evidence.items():
            for service in (name, *store.graph.dependencies(name)):
                if service in store.changes.services and (service == name or service not in evidence):
                    change = changes.recent(store, service, seen.onset)
                    if change is not None:
                        found[service] = changes.in_words(change, seen.onset)
    return found


def _assign(store: Store, findings: list[Finding], evidence: Mapping[str, Evidence]) -> None:
    """Incidents that the graph alone would not make as they are get their places assigned, the others none.

    A root that broke by itself is assigned too: what alerts below it later has to be judged before it explains it.
    """
    forest = store.forest
    trees: dict[str, set[str]] = {}
    for name, root in forest.unassigned(evidence).items():
        trees.setdefault(root, set()).add(name)
    places: dict[str, tuple[str | None, tuple[str, ...]]] = {}
    for finding in findings:
        if trees.get(finding.root) != set(finding.members):
            places.update((name, _place(path, evidence)) for name, path in finding.members.items())
        elif evidence[finding.root].inner:
            places[finding.root] = (None, ())
    forest.assign(places)
    forest.free([name for name in evidence if name not in places and forest.nodes[name].via is not None])


def _weigh(store: Store, node: Node) -> Evidence:
    """The evidence of a service that alerts, without its onset."""
    scales, pile = store.scales, node.pile
    if pile is None:
        pile = scales.gather(alert.extract or _extract(store, alert) for alert in node.alerts.values())
        node.pile = pile
    return pile.evidence or scales.weigh(pile)


def _extract(store: Store, alert: AlertState) -> Extract:
    alert.extract = store.scales.extract(alert.service, alert.name, alert.labels, alert.usual)
    return alert.extract


def _leave(store: Store, region: list[str]) -> None:
    """The graph alone decides about the region, from now on."""
    nodes = store.forest.nodes
    store.forest.free([name for name in region if nodes[name].via is not None and not nodes[name].pinned])
    for name in region:
        if nodes[name].parent is None and not nodes[name].pinned:
            _announce(store, name, ([], 1.0))


def _place(path: tuple[str, ...], alerting: Mapping[str, Evidence]) -> tuple[str | None, tuple[str, ...]]:
    """The next alerting service on a path, and the silent ones before it."""
    for number, name in enumerate(path[1:], 1):
        if name in alerting:
            return name, path[1:number]
    return None, ()


def _candidates(finding: Finding) -> list[list[object]]:
    return [[c.service, round(c.confidence, 3), list(c.reasons[:_REASONS])] for c in finding.candidates]


def _announce(store: Store, root: str, outcome: Outcome) -> None:
    """Have the incident of a root take over what was found, if that is news."""
    group = store.forest.nodes[root].group
    owner = group.owners[0] if group.owners else None
    if owner is None or [owner.candidates, owner.share] != [*outcome]:
        store.outcomes[root] = outcome
        store.forest.touch(group)


# -- learning ----------------------------------------------------------------------------------------------------


def learn(store: Store, incident: Incident) -> None:
    """Remember what fired in an incident that closes, and what was to blame. O(its alerts + edges near them).

    Where an operator named the root, that is certain, whatever was left of the incident in the end.
    """
    blamed = incident.root_service if incident.verdict is None else incident.verdict["root"]
    if incident.kind != "fault" or blamed not in store.graph:
        return
    alerts: dict[str, list[str]] = {}
    for alert in _alerts(incident):
        if alert.kind == "":
            alerts.setdefault(alert.service, []).append(key_of(alert.name, alert.labels))
    near = {other for service in alerts for other in _neighbours(store, service)}
    exposed = near.union(*(_neighbours(store, service) for service in sorted(near - alerts.keys())))
    like = store.patterns.note(alerts, blamed)
    sure = 1.0
    if incident.verdict is None:
        sure = like.recurs * (incident.candidates[0][1] if incident.candidates else 1.0)
    share = max(incident.share, 0.001)
    changed = store.history.observe(
        alerts, exposed, blamed, certainty=sure, share=share, weight=like.weight, own=like.own
    )
    store.dirty.update(("h", service) for service in changed)
    store.dirty.add(("l", like.key))


def _alerts(incident: Incident) -> Iterator[AlertState]:
    yield from incident.left.values()
    for node in () if incident.group is None else incident.group.members.values():
        yield from node.alerts.values()


def _neighbours(store: Store, service: str) -> Iterator[str]:
    for found in (store.graph.dependencies(service), store.graph.dependents(service)):
        if len(found) <= _NEIGHBOURS:
            yield from found
