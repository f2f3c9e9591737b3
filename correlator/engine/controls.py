"""Controls: what operators and the topology writer say in the log. Each checks its own shape.

A control that cannot be applied changes nothing and is counted: the log is final, so raising would only stop the shard.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from correlator.engine import deadlines, suspicion
from correlator.engine.render import iso
from correlator.engine.rules import Matcher, Rules
from correlator.engine.state import Window
from correlator.engine.store import Store, Watermarks
from correlator.errors import ControlError

__all__ = ["apply", "over", "rules_of", "tick"]


def apply(store: Store, control: dict[str, Any]) -> None:
    """Apply a control to a shard. One that is not known is for somebody else."""
    known = _CONTROLS.get(str(control.get("type", "")))
    if known is None:
        return
    try:
        known(store, control)
    except ControlError:
        store.limits["control_refused"] += 1


def tick(watermarks: Watermarks, control: dict[str, Any]) -> None:
    """Take over what a tick says about the raw partitions; what makes no sense is ignored."""
    partitions, read = control.get("partitions"), control.get("watermarks")
    if type(partitions) is int and partitions >= 0:
        watermarks.partitions = partitions
    for source, time in read.items() if isinstance(read, dict) else ():
        if isinstance(time, int | float) and math.isfinite(time):
            watermarks.advance(source, time)


def over(window: dict[str, Any], time: float) -> bool:
    """Whether a maintenance control has nothing more to say at ``time``, or never had."""
    try:
        return _time(window, "ends_at") <= time
    except ControlError:
        return True


def rules_of(data: object) -> Rules:
    """Rules from a control record. Raises ControlError where they cannot be used."""
    try:
        rules = Rules.of(data)  # type: ignore[arg-type]
        rules.check()
    except (TypeError, ValueError, AttributeError, LookupError, re.error) as error:
        raise ControlError(f"rules: {error}") from error
    return rules


def _acknowledge(store: Store, control: dict[str, Any]) -> None:
    incident = store.incidents.get(str(control.get("incident", "")))
    if incident is None:
        raise ControlError("no such incident is open")
    incident.acknowledged = {"by": str(control.get("by", "")), "at": iso(store.now)}
    store.revise(incident)


def _maintenance(store: Store, control: dict[str, Any]) -> None:
    window = Window()
    match = control.get("match")
    window.id = str(control.get("id", ""))
    if not window.id or not isinstance(match, dict) or not match:
        raise ControlError("a maintenance window needs an id, and a match of at least one label")
    window.match = {str(k): str(v) for k, v in match.items()}
    window.starts_at, window.ends_at = _time(control, "starts_at"), _time(control, "ends_at")
    window.author, window.reason = str(control.get("author", "")), str(control.get("reason", ""))
    window.matcher = Matcher(window.match)
    try:
        window.matcher.check()
    except re.error as error:
        raise ControlError(f"match: {error}") from error
    store.windows[window.id] = window
    store.dirty.add(("w", window.id))
    if window.starts_at > store.now:
        store.at(window.starts_at, "window", window.id)
    store.at(window.ends_at, "window", window.id)
    deadlines.fire(store, store.now, [("window", window.id)])


def _end_maintenance(store: Store, control: dict[str, Any]) -> None:
    window = store.windows.get(str(control.get("id", "")))
    if window is None:
        raise ControlError("no such maintenance window is open")
    window.ends_at = min(window.ends_at, store.now)
    deadlines.fire(store, store.now, [("window", window.id)])


def _time(control: dict[str, Any], key: str) -> float:
    time = control.get(key)
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        raise ControlError(f"{key} is {time!r}; allowed: epoch seconds")
    return float(time)


_CONTROLS: Final[dict[str, Callable[[Store, dict[str, Any]], None]]] = {
    "acknowledge": _acknowledge,
    "change": suspicion.apply,
    "maintenance": _maintenance,
    "maintenance_end": _end_maintenance,
}
