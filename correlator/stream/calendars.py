"""Maintenance windows of calendars, kept in line with the deciding log by the worker that leads.

The files are read again when one changes and every ``maintenance.refresh``; occurrences within
``maintenance.horizon`` go into the log as maintenance controls. What is in force is asked of the engine and not
remembered here, so a new leader, or one whose write failed, does the same as the last one. A window that its calendar
no longer holds is ended; those of a calendar that cannot be read stay as they are, and all of them while a folder
cannot be looked into.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from correlator import calendars
from correlator.config_sections import Maintenance
from correlator.errors import BrokerError

__all__ = ["Calendars", "Windows", "difference", "expanded"]

log = logging.getLogger(__name__)

#: Seconds between two looks at the files' times.
_LOOK: Final = 2.0
#: Seconds after which what was written is compared once more with what is in force by then.
_AGAIN: Final = 10.0
#: Controls in one batch of the log.
_BATCH: Final = 500

#: Stands for the calendars of a folder that cannot be looked into; no file has this name.
_UNKNOWN: Final = ""

Windows = dict[str, dict[str, Any]]


def expanded(settings: Maintenance, now: float) -> tuple[Windows, set[str], list[str]]:
    """The windows of all calendars from ``now`` (epoch seconds) on, the calendars that cannot be read, and problems."""
    windows: Windows = {}
    unread: set[str] = set()
    problems: list[str] = []
    for path in calendars.files(settings.calendars):
        found = calendars.expand(path, now, now + settings.horizon, settings.zone)
        windows |= found.windows
        problems += found.problems
        if not found.readable:
            unread.add(path.name)
            if path in settings.calendars and path.suffix != calendars.SUFFIX:
                unread.add(_UNKNOWN)
    return windows, unread, problems


def difference(
    wanted: Windows, unread: set[str], in_force: Mapping[str, Any], now: float, room: int
) -> tuple[list[dict[str, Any]], int]:
    """The controls that bring what is in force in line with what calendars hold, and how many windows find no room.

    Windows of other origin stay. Of those that are new the earliest are taken, as long as there are at most ``room``
    windows in all. Ends come last: a window under another id must not leave a gap.
    """
    changed = [window for id, window in sorted(wanted.items()) if id in in_force and in_force[id] != window]
    new = sorted((w for id, w in wanted.items() if id not in in_force), key=lambda w: (w["starts_at"], w["id"]))
    free = max(0, room - len(in_force))
    ends = []
    for id, window in sorted(in_force.items()):
        name = calendars.calendar_of(id)
        known = name is not None and name not in unread and _UNKNOWN not in unread
        if known and id not in wanted and window.get("ends_at", now) > now:
            ends.append({"type": "maintenance_end", "id": id, "author": name})
    return [*changed, *new[:free], *ends], len(new[free:])


class Calendars:
    """Runs beside a worker. ``leads`` says whether this worker writes; ``in_force`` gives the windows of the log.

    ``room`` is how many windows there may be.
    """

    def __init__(
        self,
        settings: Maintenance,
        room: int,
        leads: Callable[[], bool],
        in_force: Callable[[], Awaitable[Mapping[str, Any]]],
        write: Callable[[list[dict[str, Any]]], Awaitable[None]],
    ) -> None:
        self.settings, self.room = settings, room
        self._leads, self._in_force, self._write = leads, in_force, write
        self._seen: Any = None
        self._said: list[str] = []

    async def run(self) -> None:
        """For ever; a failure of the broker is tried again."""
        due = 0.0
        while True:
            if not self.settings.calendars or not self._leads():
                self._seen = None
                await asyncio.sleep(_LOOK)
                continue
            seen = await asyncio.to_thread(self._stamps)
            if seen != self._seen or time.monotonic() >= due:
                try:
                    wrote = await self._align()
                    self._seen = seen
                    due = time.monotonic() + min(self.settings.refresh, _AGAIN if wrote else self.settings.refresh)
                except BrokerError as error:
                    log.warning("maintenance of the calendars is not written yet: %s", error)
            await asyncio.sleep(_LOOK)

    def _stamps(self) -> Any:
        found = []
        for path in calendars.files(self.settings.calendars):
            try:
                found.append((path.name, path.stat().st_mtime_ns))
            except OSError:
                found.append((path.name, 0))
        return self.settings, found

    async def _align(self) -> bool:
        """Write what differs; whether there was something to write."""
        now = time.time()
        wanted, unread, problems = await asyncio.to_thread(expanded, self.settings, now)
        controls, without = difference(wanted, unread, await self._in_force(), now, self.room)
        if without:
            problems.append(f"{without} windows of calendars find no room: engine.max_windows is {self.room}")
        for line in problems:
            if line not in self._said:
                log.warning("%s", line)
        self._said = problems
        for start in range(0, len(controls), _BATCH):
            await self._write(controls[start : start + _BATCH])
        if controls:
            log.info("%d maintenance controls from %d windows of calendars", len(controls), len(wanted))
        return bool(controls)
