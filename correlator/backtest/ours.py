"""What we would have paged: the pages of each incident with their times, and which alert was in which incident when."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from correlator.backtest.outcome import Value, told
from correlator.dialects.times import epoch_of
from correlator.engine.render import iso

__all__ = ["About", "Life", "Ours", "Page", "Watch"]

_MOVES: Final = ("re_rooted", "merged")


class Page(NamedTuple):
    """One page of ours, for ``team``. ``number`` counts those of an incident and of all that became part of it."""

    at: float
    incident: str
    number: int
    team: str

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"at": iso(self.at), "incident": self.incident, "page": self.number, "team": self.team}


class About(NamedTuple):
    """An alert was in an incident from ``since`` to ``until`` (epoch seconds, infinite while it fires)."""

    incident: str
    since: float
    until: float
    service: str


@dataclass(frozen=True)
class Life:
    """An incident and all that became part of it: what it was about, and from when to when."""

    id: str
    title: str
    root: str
    team: str
    until: float
    pages: Sequence[Page]


@dataclass(frozen=True)
class Ours:
    """Incidents by id, and what was known about each alert by fingerprint and by service.

    ``shadow`` are the teams whose alerts paged on their own: nothing of theirs was suppressed.
    """

    lives: Mapping[str, Life]
    by_fingerprint: Mapping[str, Sequence[About]]
    by_service: Mapping[str, Sequence[About]]
    shadow: frozenset[str]

    def pages(self) -> Iterator[Page]:
        """All pages."""
        for life in self.lives.values():
            yield from life.pages


class Watch:
    """Takes revisions, all of them where they are at hand, and receipts, in the order of the log.

    Of an incident whose earlier revisions are missing only the first page has its own time.
    """

    def __init__(self) -> None:
        self._last: dict[str, Value] = {}
        self._pages: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        self._merged: dict[str, str] = {}
        self._held: dict[tuple[str, str], list[Any]] = {}  # (fingerprint, incident) -> [since, until, service]
        self._shadow: set[str] = set()

    def take(self, value: Any) -> bool:
        """Take what a line of a file says; False when it is neither an incident nor a receipt."""
        found = told(value)
        for receipt in found.receipts if found is not None else ():
            self.receipt(receipt)
        for incident in found.incidents if found is not None else ():
            self.incident(incident)
        return found is not None

    def incident(self, value: Value) -> None:
        """Take a revision; an older one than is known is left out."""
        key, page = value["id"], value["page"]
        known = self._last.get(key)
        if known is not None and value["revision"] < known["revision"]:
            return
        self._last[key] = value
        updated = epoch_of(value["updated_at"]) or 0.0
        first = epoch_of(page["first_wanted_at"])
        alone = {entry["seq"]: entry["team"] or "" for entry in page.get("shadow") or ()}
        self._shadow.update(alone.values())
        pages = self._pages[key]
        for seq in range(len(pages) + 1, page["seq"] + 1):
            at = first if seq == 1 and first is not None else updated
            pages.append((at, alone.get(seq, value["team"] or "")))
        if value["merged_into"]:
            self._merged[key] = value["merged_into"]
        for member in value["members"]:
            over = updated if member["verdict"] == "resolved" else math.inf
            self._hold(member["fingerprint"], key, member["service"], updated, over)

    def receipt(self, receipt: Value) -> None:
        """Take a receipt."""
        key = receipt["incident_id"]
        if receipt["rule"] in _MOVES:
            if key and receipt.get("merged_into"):
                self._merged[key] = receipt["merged_into"]
        elif key is not None and receipt["episode"] is not None:
            at = epoch_of(receipt["at"]) or 0.0
            began = min(at, receipt["episode"] / 1000)
            over = at if receipt["verdict"] == "resolved" else math.inf
            self._hold(receipt["fingerprint"], key, receipt["service"], began, over)

    def _hold(self, fingerprint: str, incident: str, service: str, since: float, until: float) -> None:
        held = self._held.setdefault((fingerprint, incident), [since, until, service])
        held[0] = min(held[0], since)
        held[1], held[2] = until, service

    def ours(self) -> Ours:
        """What it all came to."""
        families: defaultdict[str, list[str]] = defaultdict(list)
        for key in self._last:
            families[self._home(key)].append(key)
        lives = {key: self._life(key, parts) for key, parts in families.items()}
        by_fingerprint: defaultdict[str, list[About]] = defaultdict(list)
        by_service: defaultdict[str, list[About]] = defaultdict(list)
        for (fingerprint, incident), (since, until, service) in self._held.items():
            life = lives.get(self._home(incident))
            if life is not None:
                about = About(life.id, since, min(until, life.until), service)
                by_fingerprint[fingerprint].append(about)
                by_service[service].append(about)
        for life in lives.values():
            if life.root not in by_service and life.pages:  # a lost source, a bundle: no alert of its own
                by_service[life.root].append(About(life.id, life.pages[0].at, life.until, life.root))
        return Ours(lives, by_fingerprint, by_service, frozenset(self._shadow))

    def _life(self, key: str, parts: Sequence[str]) -> Life:
        head = self._last.get(key) or self._last[parts[0]]
        pages = sorted((at, team) for part in parts for at, team in self._pages[part])
        over = head["state"] in ("resolved", "closed", "merged")
        ended = epoch_of(head["resolved_at"]) or epoch_of(head["updated_at"])
        until = ended if over and ended is not None else math.inf
        numbered = tuple(Page(at, key, number, team) for number, (at, team) in enumerate(pages, 1))
        return Life(key, head["title"], head["root"]["service"], head["team"] or "", until, numbered)

    def _home(self, key: str) -> str:
        seen = {key}
        while (key := self._merged.get(key, key)) not in seen:
            seen.add(key)
        return key
