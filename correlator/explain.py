"""Why an alert did, or did not, wake somebody: receipts put together to an answer in words.

A receipt says what was decided about an alert at that moment. Alerts point to incidents, so when an incident later gets
another root, or turns out to be part of another incident, that is one receipt of the incident and none of its alerts:
the answer follows them, from the alert's own receipt to the incident and the root that hold now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

__all__ = ["GAP", "SAME_SERVICE", "Answer", "Explained", "Query", "Step", "answer", "parse"]

Receipt = Mapping[str, Any]

#: In a path, stands for services that no receipt names.
GAP: Final = "..."
#: The rule by which one alert of a service stands for the others.
SAME_SERVICE: Final = "same_service"
#: Receipts of an incident, not of an alert.
_MOVES: Final = ("re_rooted", "merged")
#: Receipts of a message that changed nothing about the alert.
_ASIDE: Final = ("late", "rejected")
#: How what stands beside the alert of a root pages.
_WITH_IT: Final = "it pages with its incident"
#: What would have made a symptom page, where no receipt says it.
_SYMPTOM: Final = "no service on its path alerted, or it matched never_suppress"


class Query(NamedTuple):
    """What is asked for. ``alert`` is free text: a name, ``NAME on SERVICE``, or a part of either."""

    kind: Literal["alert", "fingerprint", "incident", "service"]
    text: str


class Step(NamedTuple):
    """Something that was decided: when (RFC 3339), and what in words."""

    at: str
    text: str


@dataclass(frozen=True)
class Explained:
    """One alert. ``root``, ``path`` and ``incident`` hold now; a path may contain ``GAP``."""

    fingerprint: str
    service: str
    name: str
    verdict: str
    rule: str
    reasons: tuple[str, ...]
    would_page_if: str
    root: str | None
    path: tuple[str, ...]
    incident: str | None
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Answer:
    """``alerts`` explained, of ``found`` that fit; ``incidents`` are the last values of those that they belong to, or
    whose root is the service that was asked for.

    ``steps`` are what happened to the incident, or by which incidents got the service, that was asked for as its root.
    """

    query: Query
    alerts: tuple[Explained, ...]
    found: int
    incidents: Mapping[str, Mapping[str, Any]]
    steps: tuple[Step, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.alerts or self.steps or self.incidents)


def parse(values: Iterable[Any]) -> tuple[list[Receipt], dict[str, dict[str, Any]]]:
    """Receipts and the last incidents from plain data: single receipts, records that pack many, incidents, or dumps of
    topics with any of these. What is none of them is left out."""
    receipts: list[Receipt] = []
    incidents: dict[str, dict[str, Any]] = {}
    for value in values:
        if type(value) is dict and "topic" in value and "value" in value:
            value = value["value"]
        if type(value) is not dict:
            continue
        if type(value.get("decisions")) is list:
            receipts += value["decisions"]
        elif "verdict" in value and "rule" in value:
            receipts.append(value)
        elif "page" in value and "id" in value:
            incidents[value["id"]] = value
    return receipts, incidents


def answer(
    query: Query, receipts: Iterable[Receipt], incidents: Mapping[str, Mapping[str, Any]], *, limit: int = 10
) -> Answer:
    """Explain what ``query`` asks for; an answer that is false found nothing.

    ``receipts`` are in the order of the log, ``incidents`` the last values by id as far as they are known. The first
    ``limit`` alerts are explained, newest first. O(receipts).
    """
    log = list(enumerate(receipts))
    moves = [(number, receipt) for number, receipt in log if receipt["rule"] in _MOVES]
    family = _family(query.text, moves)
    own: dict[str, list[tuple[int, Receipt]]] = {}
    for number, receipt in log:
        if receipt["rule"] not in _MOVES and _fits(query, receipt, family):
            own.setdefault(receipt["fingerprint"], []).append((number, receipt))
    if query.kind == "alert":
        own = _exact(query.text, own)
    chosen = sorted(own.values(), key=lambda said: -said[-1][0])
    if query.kind == "incident":
        root = incidents.get(query.text, {}).get("root", {}).get("fingerprint")
        chosen.sort(key=lambda said: said[-1][1]["fingerprint"] != root)
    explained = tuple(_explained(said, moves, incidents) for said in chosen[:limit])
    named = {one.incident for one in explained} | ({query.text} if query.kind == "incident" else set())
    if query.kind == "service":
        named |= {key for key, i in incidents.items() if i["root"]["service"] == query.text and i["state"] != "merged"}
    shown = {key: incidents[key] for key in sorted(filter(None, named)) if key in incidents}
    steps = tuple(_moved(r) for _, r in moves if _about(query, r, not explained))
    return Answer(query, explained, len(own), shown, steps)


def _about(query: Query, move: Receipt, silent: bool) -> bool:
    """Whether a move of an incident answers the question, of a service: that it is ``silent`` and became the root."""
    if query.kind == "incident":
        return query.text in (move["incident_id"], move.get("merged_into"))
    return query.kind == "service" and silent and bool(move["root"] == query.text)


def _family(incident: str, moves: Sequence[tuple[int, Receipt]]) -> set[str]:
    """The incident and all that became part of it."""
    family = {incident}
    for _, move in reversed(moves):
        if move.get("merged_into") in family:
            family.add(move["incident_id"])
    return family


def _fits(query: Query, receipt: Receipt, family: set[str]) -> bool:
    wanted = query.text
    match query.kind:
        case "fingerprint":
            return bool(receipt["fingerprint"] == wanted)
        case "service":
            return bool(receipt["service"] == wanted)
        case "incident":
            return receipt["incident_id"] in family
    text = f"{receipt['name']} on {receipt['service']} {receipt['fingerprint']}"
    return wanted.casefold() in text.casefold()


def _exact(wanted: str, own: dict[str, list[tuple[int, Receipt]]]) -> dict[str, list[tuple[int, Receipt]]]:
    """Only the alerts that are called exactly so, where there are any."""

    def names(receipt: Receipt) -> tuple[str, ...]:
        name, service = receipt["name"], receipt["service"]
        return name, f"{name} on {service}", f"{service}/{name}", receipt["fingerprint"]

    exact = {key: said for key, said in own.items() if wanted in names(said[-1][1])}
    return exact or own


# -- following ------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    incident: str | None
    root: str | None
    path: tuple[str, ...]


def _explained(
    said: Sequence[tuple[int, Receipt]],
    moves: Sequence[tuple[int, Receipt]],
    incidents: Mapping[str, Mapping[str, Any]],
) -> Explained:
    number, last = next((s for s in reversed(said) if s[1]["verdict"] not in _ASIDE), said[-1])
    place = _Place(last["incident_id"], last["root"], tuple(last["path"]))
    steps = [(n, _said(r)) for n, r in said]
    decided = last
    for at, move in moves:
        if at > number and place.incident is not None and move["incident_id"] == place.incident:
            place = _follow(place, move)
            found = _decided(last, move, place)
            decided = found if _kind(found) != _kind(decided) else decided  # the move that changed it
            steps.append((at, _moved(move)))
    return Explained(
        last["fingerprint"],
        last["service"],
        last["name"],
        decided["verdict"],
        decided["rule"],
        tuple(decided["reasons"]),
        decided["would_page_if"],
        *_as_published(place, last, incidents),
        tuple(step for _, step in sorted(steps, key=lambda s: s[0])),
    )


def _decided(last: Receipt, move: Receipt, place: _Place) -> Receipt:
    """What holds of a root or symptom after its incident moved: a root may be explained now, a symptom be the root, or
    be about the service that is."""
    if last["verdict"] == "root" and place.root != last["service"]:
        return {**move, "verdict": "symptom", "would_page_if": _SYMPTOM}
    if last["verdict"] == "symptom" and move["fingerprint"] == last["fingerprint"] and place.root == last["service"]:
        return {**move, "verdict": "root", "would_page_if": ""}
    if last["verdict"] == "symptom" and place.root == last["service"]:
        why = f"{move['name']} stands for {last['service']} as the root"
        return {**last, "rule": SAME_SERVICE, "reasons": [why], "would_page_if": _WITH_IT}
    return last


def _kind(receipt: Receipt) -> tuple[Any, bool]:
    return receipt["verdict"], receipt["rule"] == SAME_SERVICE


def _follow(place: _Place, move: Receipt) -> _Place:
    """Where an alert stands after its incident got another root, or was merged."""
    incident, way, root = move.get("merged_into") or place.incident, tuple(move["path"]), move["root"]
    if GAP not in place.path and place.path[-1:] == way[:1] and way[-1:] == (root,):
        return _Place(incident, root, place.path + way[1:])
    return _Place(incident, root, _open_path(place.path, root))


def _open_path(path: tuple[str, ...], root: str) -> tuple[str, ...]:
    """What is known of ``path``, and ``root`` at its end."""
    known = path[: path.index(GAP)] if GAP in path else path
    if root in known:
        return known[: known.index(root) + 1]
    return (*known, GAP, root) if known else (root,)


def _as_published(
    place: _Place, receipt: Receipt, incidents: Mapping[str, Mapping[str, Any]]
) -> tuple[str | None, tuple[str, ...], str | None]:
    """Root, path and incident; of an incident that is at hand its own word holds."""
    incident = incidents.get(place.incident or "")
    if incident is None or incident["state"] == "merged" or receipt["verdict"] in _ASIDE:
        return place.root, place.path, place.incident
    root = incident["root"]["service"]
    for member in incident["members"]:
        if member["fingerprint"] == receipt["fingerprint"] and member["path"][-1:] == [root]:
            return root, tuple(member["path"]), place.incident
    path = place.path if place.path[-1:] == (root,) else _open_path(place.path, root)
    return root, path, place.incident


def _said(receipt: Receipt) -> Step:
    verdict, root = receipt["verdict"], receipt["root"]
    of = f" of {root}" if verdict == "symptom" and root else ""
    incident = f", incident {receipt['incident_id']}" if receipt["incident_id"] else ""
    why = "; ".join(receipt["reasons"]) or receipt["rule"].replace("_", " ")
    return Step(receipt["at"], f"{verdict}{of}{incident}: {why}")


def _moved(move: Receipt) -> Step:
    said = "; ".join(move["reasons"])
    if move.get("merged_into"):
        return Step(move["at"], f"incident {move['incident_id']} became part of incident {move['merged_into']}: {said}")
    return Step(move["at"], f"incident {move['incident_id']} got the root {move['root']}: {said}")
