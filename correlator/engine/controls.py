"""Controls: what operators and the topology writer say in the log. Each checks its own shape.

A control that cannot be applied changes nothing and is counted: the log is final, so raising would only stop the shard.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from correlator.engine import hiding, suspicion, verdicts
from correlator.engine.render import iso
from correlator.engine.rules import Rules
from correlator.engine.store import Store, Watermarks
from correlator.errors import ControlError

__all__ = ["apply", "rules_of", "tick"]


def apply(store: Store, control: dict[str, Any]) -> None:
    """Apply a control to a shard. One that is not known is for somebody else."""
    known = _CONTROLS.get(str(control.get("type", "")))
    if known is None:
        return
    try:
        known(store, control)
    except ControlError as error:
        store.limits["control_refused"] += 1
        if known is verdicts.apply:  # others are for every shard, and refused by most
            store.refused.append(f"verdict on incident {control.get('incident')}: {error}")


def tick(watermarks: Watermarks, control: dict[str, Any]) -> None:
    """Take over what a tick says about the raw partitions; what makes no sense is ignored."""
    partitions, read = control.get("partitions"), control.get("watermarks")
    if type(partitions) is int and partitions >= 0:
        watermarks.partitions = partitions
    for source, time in read.items() if isinstance(read, dict) else ():
        if isinstance(time, int | float) and math.isfinite(time):
            watermarks.advance(source, time)


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


def _forget(store: Store, control: dict[str, Any]) -> None:
    """What was learned about a service is forgotten, or about all of them where none is named."""
    service = control.get("service")
    if service is not None and not isinstance(service, str):
        raise ControlError(f"service is {service!r}; allowed: the name of one, or nothing for all")
    store.dirty.update(("h", name) for name in store.history.forget(service))
    store.dirty.update(("l", key) for key in store.patterns.forget(service))


_CONTROLS: Final[dict[str, Callable[[Store, dict[str, Any]], None]]] = {
    "acknowledge": _acknowledge,
    "change": suspicion.apply,
    "history_reset": _forget,
    "maintenance": hiding.apply,
    "maintenance_end": hiding.end,
    "verdict": verdicts.apply,
}
