"""What one run of the engine ended in: its incidents, and which alert belongs to which of them.

An incident that became part of another one is counted with it, under the id of the one that stayed, and so are its
pages. Which alert belongs where is taken from the receipts, because an incident lists only some of its members:

* a **member** is an alert in one episode, a firing-to-resolved life. Its first receipt names the episode;
* it belongs to the incident of its last receipt, followed through merges;
* **ever** is every incident that it was in on its way there.

Without receipts the listed members have to do; episodes are then numbered, the first one of a fingerprint is 0.
An incident without alerts of its own (a lost source, a bundle) is its own member.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, Final, NamedTuple

from correlator.dialects.times import epoch_of
from correlator.model import SEVERITIES

__all__ = ["Gathering", "Incident", "Member", "Outcome", "Told", "told"]

Value = Mapping[str, Any]

Fields = Mapping[str, type | tuple[type, ...]]

_TEXT: Final = (str, NoneType)
_RECEIPT: Final[Fields] = {
    **dict.fromkeys(("verdict", "rule", "fingerprint", "service", "at"), str),
    "incident_id": _TEXT,
    "episode": (int, NoneType),
}
_INCIDENT: Final[Fields] = {
    **dict.fromkeys(("id", "title", "state", "kind", "opened_at", "updated_at", "severity_max"), str),
    **dict.fromkeys(("team", "merged_into", "resolved_at"), _TEXT),
    **dict.fromkeys(("page", "root", "counts"), dict),
    **dict.fromkeys(("members", "related"), list),
    "revision": int,
    "confidence": (int, float),
}
_ALONE: Final[Fields] = {"seq": int, "team": _TEXT}
#: Receipts of an incident, not of an alert.
_MOVES: Final = ("re_rooted", "merged")
#: Receipts that begin no episode and end none.
_ASIDE: Final = ("late", "rejected")


class Told(NamedTuple):
    """What one line of a file holds."""

    incidents: Sequence[Value] = ()
    receipts: Sequence[Value] = ()


def told(value: Any) -> Told | None:
    """What a JSON value says: an incident, a receipt, a record of many receipts, or any of these in a dump of a topic.

    None for what is none of them, or lacks what they have. A value that is null says nothing.
    """
    if type(value) is dict and "topic" in value and "value" in value:
        value = value["value"]
    if value is None:
        return Told()
    if type(value) is not dict:
        return None
    receipts = value["decisions"] if type(value.get("decisions")) is list else [value]
    if all(_has(receipt, _RECEIPT) for receipt in receipts):
        return Told(receipts=receipts)
    return Told(incidents=[value]) if _is_incident(value) else None


def _is_incident(value: Any) -> bool:
    """Whether it has all that is read here, of the right type; what else there is may differ by version."""
    return (
        _has(value, _INCIDENT)
        and _has(value["page"], {"seq": int, "first_wanted_at": (str, NoneType)})
        and _has(value["root"], {"service": str})
        and _has(value["counts"], {"alerts": int})
        and value["severity_max"] in SEVERITIES
        and all(_has(member, {"fingerprint": str, "service": str, "verdict": str}) for member in value["members"])
        and all(_has(other, {"id": str, "relation": str}) for other in value["related"])
        and all(_has(page, _ALONE) for page in value["page"].get("shadow") or ())
    )


def _has(value: Any, fields: Fields) -> bool:
    return type(value) is dict and all(name in value and isinstance(value[name], kind) for name, kind in fields.items())


class Member(NamedTuple):
    """An alert in one episode, which begins at ``episode``: epoch milliseconds, or a number without receipts."""

    fingerprint: str
    episode: int


@dataclass(frozen=True)
class Incident:
    """An incident and all that became part of it. Times are epoch seconds; ``first_page`` is None without a page.

    ``bundles`` are the incidents that page for it.
    """

    id: str
    title: str
    state: str
    kind: str
    root: str
    severity: str
    confidence: float
    team: str
    opened: float
    pages: int
    first_page: float | None
    wanted: bool
    members: frozenset[Member]
    ever: frozenset[Member]
    bundles: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For JSON; members are counted."""
        kept = ("id", "title", "state", "kind", "root", "severity", "confidence", "team", "opened", "pages")
        page = {"first_page": self.first_page, "wanted": self.wanted}
        return {**{key: getattr(self, key) for key in kept}, **page, "alerts": len(self.members)}


@dataclass(frozen=True)
class Outcome:
    """Incidents by id, oldest first. ``exact`` says whether the members come from receipts.

    Where they do not, ``cut`` counts the incidents that hold more alerts than they list.
    """

    incidents: Mapping[str, Incident]
    exact: bool
    cut: int

    @property
    def pages(self) -> int:
        """How often somebody was to be woken."""
        return sum(incident.pages for incident in self.incidents.values())

    def members(self) -> dict[Member, str]:
        """The incident of every member."""
        return {member: incident.id for incident in self.incidents.values() for member in incident.members}


#: Members of each incident in the end, and those that it ever had.
Membership = tuple[defaultdict[str, set[Member]], defaultdict[str, set[Member]]]


class Gathering:
    """Takes what a run says, in its order: every revision of every incident, or the last ones, and receipts."""

    def __init__(self) -> None:
        self._last: dict[str, Value] = {}
        self._listed: defaultdict[str, set[str]] = defaultdict(set)
        self._merged: dict[str, str] = {}
        self._episodes: dict[str, tuple[int, bool]] = {}  # current one of a fingerprint, and whether it is over
        self._at: dict[Member, str] = {}
        self._ever: defaultdict[str, set[Member]] = defaultdict(set)
        self._receipts = False

    def take(self, value: Any) -> bool:
        """Take what a line of a file says; False when it is neither an incident nor a receipt."""
        found = told(value)
        for receipt in found.receipts if found is not None else ():
            self.receipt(receipt)
        for incident in found.incidents if found is not None else ():
            self.incident(incident)
        return found is not None

    def incident(self, value: Value) -> None:
        """Take a revision; an older one than is known is ignored but for its members."""
        key = value["id"]
        if value["kind"] != "summary":  # its alerts are those of other incidents
            self._listed[key].update(member["fingerprint"] for member in value["members"])
        known = self._last.get(key)
        if known is None or value["revision"] >= known["revision"]:
            self._last[key] = value
        if value["merged_into"]:
            self._merged[key] = value["merged_into"]

    def receipt(self, receipt: Value) -> None:
        """Take a receipt."""
        self._receipts = True
        if receipt["rule"] in _MOVES:
            if receipt["incident_id"] and receipt.get("merged_into"):
                self._merged[receipt["incident_id"]] = receipt["merged_into"]
            return
        incident = receipt["incident_id"]
        if receipt["verdict"] in _ASIDE or incident is None or receipt["episode"] is None:
            return
        member = Member(receipt["fingerprint"], self._episode(receipt))
        self._at[member] = incident
        self._ever[incident].add(member)

    def _episode(self, receipt: Value) -> int:
        """The episode that a receipt is about: its onset may have been corrected since the first receipt."""
        ends = receipt["verdict"] == "resolved"
        fingerprint, episode = receipt["fingerprint"], int(receipt["episode"])
        current, over = self._episodes.get(fingerprint, (episode, False))
        if over and not (ends and receipt["rule"] != "resolved_before_firing"):
            current = episode
        self._episodes[fingerprint] = (current, ends)
        return current

    @property
    def exact(self) -> bool:
        """Whether there were receipts."""
        return self._receipts

    def outcome(self, *, listed: bool = False) -> Outcome:
        """What it all came to; by listed members, although there are receipts, where the other side has none."""
        exact = self._receipts and not listed
        families: defaultdict[str, list[Value]] = defaultdict(list)
        for key, value in self._last.items():
            families[self._home(key)].append(value)
        members, ever = self._from_receipts() if exact else self._from_lists()
        found: list[Incident] = []
        cut = 0
        for key, parts in families.items():
            head = self._last.get(key) or parts[0]
            mine, mine_ever = members[key], ever[key] | members[key]
            cut += not exact and head["kind"] not in ("bundle", "summary") and head["counts"]["alerts"] > len(mine)
            found.append(_incident(head, parts, mine, mine_ever))
        found.sort(key=lambda incident: (incident.opened, incident.id))
        return Outcome(_paged_by_bundles(_standing_alone(found)), exact, cut)

    def _home(self, key: str) -> str:
        seen = {key}
        while (key := self._merged.get(key, key)) not in seen:
            seen.add(key)
        return key

    def _from_receipts(self) -> Membership:
        members: defaultdict[str, set[Member]] = defaultdict(set)
        ever: defaultdict[str, set[Member]] = defaultdict(set)
        for member, key in self._at.items():
            members[self._home(key)].add(member)
        for key, found in self._ever.items():
            ever[self._home(key)] |= found
        return members, ever

    def _from_lists(self) -> Membership:
        members: defaultdict[str, set[Member]] = defaultdict(set)
        ever: defaultdict[str, set[Member]] = defaultdict(set)
        homes: defaultdict[str, list[str]] = defaultdict(list)
        for key, value in sorted(self._last.items(), key=lambda item: (item[1]["opened_at"], item[0])):
            home = self._home(key)
            final = {member["fingerprint"] for member in value["members"]}
            for fingerprint in sorted(self._listed[key]):
                if home not in homes[fingerprint]:
                    homes[fingerprint].append(home)
                member = Member(fingerprint, homes[fingerprint].index(home))
                ever[home].add(member)
                if fingerprint in final:
                    members[home].add(member)
        return members, ever


def _incident(head: Value, parts: Iterable[Value], members: set[Member], ever: set[Member]) -> Incident:
    pages = [part["page"] for part in parts]
    firsts = [time for page in pages if (time := epoch_of(page["first_wanted_at"])) is not None]
    return Incident(
        id=head["id"],
        title=head["title"],
        state=head["state"],
        kind=head["kind"],
        root=head["root"]["service"],
        severity=head["severity_max"],
        confidence=head["confidence"],
        team=head["team"] or "",
        opened=epoch_of(head["opened_at"]) or 0.0,
        pages=sum(page["seq"] for page in pages),
        first_page=min(firsts, default=None),
        wanted=bool(head["page"].get("wanted")),
        members=frozenset(members),
        ever=frozenset(ever),
        bundles=tuple(r["id"] for r in head["related"] if r["relation"] == "bundled_in"),
    )


def _standing_alone(incidents: Iterable[Incident]) -> dict[str, Incident]:
    """Incidents without any alert stand for themselves: the same one in two outcomes is the same member."""
    found: dict[str, Incident] = {}
    count: defaultdict[str, int] = defaultdict(int)
    for incident in incidents:
        if not incident.ever:
            name = f"{incident.kind}:{incident.root}"
            alone = frozenset([Member(name, count[name])])
            count[name] += 1
            incident = replace(incident, members=alone, ever=alone)
        found[incident.id] = incident
    return found


def _paged_by_bundles(incidents: dict[str, Incident]) -> dict[str, Incident]:
    """An incident that another one pages for counts as paged when that one paged."""
    for key, incident in incidents.items():
        firsts = [
            bundle.first_page
            for name in incident.bundles
            if (bundle := incidents.get(name)) is not None and bundle.first_page is not None
        ]
        if incident.first_page is None and firsts:
            incidents[key] = replace(incident, first_page=min(firsts))
    return incidents
