"""The bypass incidents: which are open, what is counted in a summary, and what has to be published. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from correlator.bypass import incident as render
from correlator.bypass.backlog import Excess, Key, Waiting
from correlator.model import Alert

__all__ = ["Page", "Pages", "identity"]

#: Seconds between two revisions of a summary, whose count grows with every alert.
SUMMARY_EVERY: Final = 10.0


class Page:
    """One bypass incident: its value as published, and the last raw offset, by raw partition, that it is about."""

    def __init__(self, value: dict[str, Any], key: Key, upto: dict[str, int]) -> None:
        self.value, self.key, self.upto = value, key, upto
        self.seen: set[str] = set()
        self.told_at = float("-inf")

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.value["id"])

    @property
    def summary(self) -> bool:
        """Whether it counts alerts rather than being about one."""
        return bool(self.value["kind"] == "bundle")

    def note(self) -> dict[str, Any]:
        """What a bypass that starts needs to go on, beside the value."""
        return {"key": list(self.key), "upto": self.upto}


class Limits(NamedTuple):
    """Most open incidents of one key, and of all."""

    each: int
    total: int


def identity(*parts: object) -> str:
    """An id from where in the raw log an incident began: the same after a restart, and in a second bypass."""
    return hashlib.blake2b("\x1f".join(map(str, ("bypass", *parts))).encode(), digest_size=8).hexdigest()


class Pages:
    """Open bypass incidents. ``changed`` holds, by id, those that differ from what was published."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.open: dict[str, Page] = {}
        self.changed: dict[str, Page] = {}
        self._single: dict[str, Page] = {}
        self._summaries: dict[Key, Page] = {}
        self._count: Counter[Key] = Counter()

    def restore(self, value: dict[str, Any], note: Mapping[str, Any]) -> None:
        """Go on with an open incident that an earlier bypass, or another one, has published."""
        tenant, whose = note["key"]
        self._add(Page(value, (tenant, whose), dict(note["upto"])))

    def _add(self, page: Page) -> None:
        self.open[page.id] = page
        if page.summary:
            self._summaries[page.key] = page
        else:
            self._single[page.value["root"]["fingerprint"]] = page
            self._count[page.key] += 1

    # -- opening ---------------------------------------------------------------------------------------------

    def cover(self, waiting: Iterable[Waiting], reason: Callable[[str], str], now: float) -> None:
        """Page each of ``waiting``, or count it in a summary; ``reason`` says why, by raw partition. ``now`` is epoch
        seconds."""
        for found in waiting:
            page = self._single.get(found.alert.fingerprint)
            if page is not None:
                self._again(page, found, now)
            elif self._count[found.key] >= self._limits.each or len(self._single) >= self._limits.total:
                self._sum_up(self._summary(found, reason, now), found, now)
            else:
                value = render.single(
                    identity(found.source, found.offset, found.number), found, reason(found.source), now
                )
                page = Page(value, found.key, {found.source: found.offset})
                self._add(page)
                self.changed[page.id] = page

    def _again(self, page: Page, found: Waiting, now: float) -> None:
        if page.value["state"] == "resolved" and found.offset > page.upto.get(found.source, -1):
            page.value = render.reopened(page.value, now)
            page.upto = {found.source: found.offset}
            self.changed[page.id] = page

    def _summary(self, found: Waiting, reason: Callable[[str], str], now: float) -> Page:
        """The summary of the alert's key; of its tenant when there are as many summaries as incidents may be."""
        key = found.key
        if key not in self._summaries and len(self._summaries) >= self._limits.total:
            key = (key[0], "")
        page = self._summaries.get(key)
        if page is None:
            which = identity("summary", *key, found.source, found.offset, found.number)
            page = Page(render.summary(which, key, found, reason(found.source), now), key, {})
            self._add(page)
            self.changed[page.id] = page
        return page

    def _sum_up(self, page: Page, found: Waiting, now: float) -> None:
        if found.alert.fingerprint in page.seen:
            return
        page.seen.add(found.alert.fingerprint)
        page.upto[found.source] = max(found.offset, page.upto.get(found.source, -1))
        if render.counted(page.value, found, len(page.seen), now):
            self.changed[page.id] = page

    def overflow(self, excess: Iterable[Excess], reason: Callable[[str], str], now: float) -> None:
        """Alerts that the backlog had no room for are counted in the summary of their key."""
        for found in excess:
            page = self._summary(found.first, reason, now)
            if render.at_least(page.value, len(page.seen) + found.count, now):
                page.upto.update(found.upto)
                self.changed[page.id] = page

    # -- closing ---------------------------------------------------------------------------------------------

    def ended(self, alert: Alert, source: str, offset: int, now: float) -> None:
        """A resolve came: the incident that is about this alert alone is resolved, and closed later."""
        page = self._single.get(alert.fingerprint)
        if page is None or page.value["state"] == "resolved" or offset <= page.upto.get(source, -1):
            return
        page.value = render.resolved(page.value, alert, now)
        page.upto[source] = max(offset, page.upto.get(source, -1))
        self.changed[page.id] = page

    def close(self, decided: Mapping[str, int], shut: Callable[[str], bool], now: float) -> None:
        """Close what the correlator has taken over: everything in it is decided, and its heartbeat is young again."""
        for page in list(self.open.values()):
            if all(offset < decided.get(source, 0) and shut(source) for source, offset in page.upto.items()):
                page.value = render.closed(page.value, now)
                self.changed[page.id] = page
                del self.open[page.id]
                if page.summary:
                    del self._summaries[page.key]
                else:
                    del self._single[page.value["root"]["fingerprint"]]
                    self._count[page.key] -= 1

    # -- telling ---------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[Page]:
        """What to publish now; to be confirmed with :meth:`told`. A summary that only grew waits for its turn."""
        found = []
        for page in self.changed.values():
            fresh = page.told_at == float("-inf") or page.id not in self.open
            if not page.summary or fresh or now - page.told_at >= SUMMARY_EVERY:
                found.append(page)
        return found

    def told(self, pages: Iterable[Page], now: float) -> None:
        """The broker has them."""
        for page in pages:
            page.told_at = now
            self.changed.pop(page.id, None)
