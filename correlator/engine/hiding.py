"""What maintenance windows do to alerts and incidents: hide them, say so, and let out what still fires."""

from __future__ import annotations

from typing import Any, Final

from correlator.engine import maintenance, places
from correlator.engine.groups import Group
from correlator.engine.state import AlertState, Incident
from correlator.engine.store import Store
from correlator.engine.words import iso
from correlator.errors import ControlError

__all__ = ["alert_reasons", "apply", "arm", "end", "hush", "listed", "root_reasons", "turn"]

#: Windows listed in an incident.
_LISTED: Final = 20


# -- controls and deadlines -----------------------------------------------------------------------------------


def apply(store: Store, control: dict[str, Any]) -> None:
    """Open a window, now or later; another one of the same id is replaced. Raises :class:`ControlError`.

    One more than ``max_windows`` is refused and counted: what is not hidden pages.
    """
    window = maintenance.read(control)
    if store.windows.get(window.id) is None and len(store.windows) >= store.rules.max_windows:
        store.limits["max_windows"] += 1
        return
    _put(store, window)


def end(store: Store, control: dict[str, Any]) -> None:
    """End a window now. Raises :class:`ControlError` where there is none."""
    window = store.windows.get(str(control.get("id", "")))
    if window is None:
        raise ControlError("no such maintenance window is open")
    _put(store, window.ended(store.now))


def _put(store: Store, window: maintenance.Window) -> None:
    was = store.windows.get(window.id)
    begun = window.starts_at <= store.now
    store.windows[window.id] = window = window.started() if begun else window
    store.dirty.add(("w", window.id))
    if not begun and (was is None or was.begun or was.starts_at != window.starts_at):
        store.at(window.starts_at, "window", window.id)
    if was is None or was.ends_at != window.ends_at:
        store.at(window.ends_at, "window", window.id)
    _turn(store, window, store.now, told=True)


def turn(store: Store, key: str, time: float) -> bool:
    """A window begins or ends: what fires is hidden or comes out. O(alerts)."""
    window = store.windows.get(key)
    if window is None or time < (window.ends_at if window.begun else min(window.starts_at, window.ends_at)):
        return False
    if not window.begun:
        store.windows[key] = window = window.started()
        store.dirty.add(("w", key))
    _turn(store, window, time)
    return True


def _turn(store: Store, window: maintenance.Window, time: float, told: bool = False) -> None:
    """Hide and let out by this window alone: with what others say, the order would matter in which times are reached.

    ``told`` says that it may be described differently now.
    """
    key, is_open = window.id, window.starts_at <= time < window.ends_at
    found: list[tuple[str, AlertState, bool]] = []
    for fingerprint, alert in store.alerts.items():
        if alert.firing:
            was = alert.window is not None and key in alert.window
            hidden = is_open and store.covers(window, alert)
            if was != hidden or (told and hidden):
                found.append((fingerprint, alert, hidden))
    for _, alert, hidden in sorted(found, key=lambda row: row[0]):
        others = [other for other in alert.window or () if other != key]
        masks = sorted([*others, key]) if hidden else others
        if masks != (alert.window or []):
            places.mask(store, alert, masks or None)
        elif (node := store.node_of(alert)) is not None:
            places.touch(store, node)
    if time >= window.ends_at:
        del store.windows[key]
        store.dirty.add(("w", key))


def arm(store: Store) -> None:
    """Ask again for the deadlines of all windows."""
    for key in store.windows:
        window = store.windows.get(key)
        assert window is not None
        if not window.begun:
            store.at(window.starts_at, "window", key)
        store.at(window.ends_at, "window", key)


# -- paging ---------------------------------------------------------------------------------------------------


def hush(store: Store, incident: Incident) -> None:
    """Look whether windows hide everything of an incident that fires: then nobody should be at it.

    What paged before is remembered with the windows' ids: when they are over and it still fires, it pages again.
    """
    if incident.rank_now >= 0 or not incident.group or not incident.group.firing:
        return
    incident.wanted = False
    incident.page_due = None
    if incident.paged is not None and "hidden" not in incident.paged:
        incident.paged = {**incident.paged, "hidden": sorted(_hiding(incident.group))}
        store.mark_incident(incident)


# -- words ----------------------------------------------------------------------------------------------------


def _hiding(group: Group) -> dict[str, list[AlertState]]:
    """The alerts that fire and are hidden, by the id of each window."""
    found: dict[str, list[AlertState]] = {}
    for node in group.members.values():
        for alert in node.alerts.values():
            for key in alert.window or () if alert.firing else ():
                found.setdefault(key, []).append(alert)
    return found


def listed(store: Store, incident: Incident) -> list[dict[str, Any]]:
    """The windows that hide alerts of an incident, as published. O(alerts of the incident) where there are any."""
    if incident.group is None or "maintenance" not in incident.flags:
        return []
    found = []
    for key, alerts in sorted(_hiding(incident.group).items())[:_LISTED]:
        window = store.windows.get(key)
        if window is not None:
            found.append(
                {
                    "id": key,
                    "covers": str(window),
                    "reason": window.reason,
                    "author": window.author,
                    "starts_at": iso(window.starts_at),
                    "ends_at": iso(window.ends_at),
                    "alerts": len(alerts),
                    "root": any(alert.fingerprint == incident.root_fingerprint for alert in alerts),
                }
            )
    return found


def root_reasons(store: Store, alert: AlertState | None) -> list[str]:
    """That windows hide the root although it fires, one reason for each."""
    if alert is None or not alert.firing or alert.window is None:
        return []
    return [f"the root fires, and {_words(store, key)}" for key in alert.window]


def alert_reasons(store: Store, alert: AlertState) -> list[str]:
    """Every window that hides an alert, by name."""
    return [_words(store, key) for key in alert.window or ()]


def _words(store: Store, key: str) -> str:
    window = store.windows.get(key)
    if window is None:
        return f"maintenance window {key} hides it"
    why = f": {window.reason}" if window.reason else ""
    by = f" ({window.author})" if window.author else ""
    return f"maintenance window {key} hides it until {iso(window.ends_at)}{why}{by}"
