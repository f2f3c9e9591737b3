"""The root that an operator gave an incident, in words and as published.

It is kept as ``{root, said, of, by, at, note, offset}``: ``said`` is the kind of the verdict, ``of`` the incident that
it was about, ``offset`` the record that it came with.
"""

from __future__ import annotations

from typing import Any, Final

from correlator.engine.state import Incident

__all__ = ["LONGEST", "author", "hand_over", "reasons", "shown", "stands", "verdict"]

#: Characters kept of an author and of a note.
LONGEST: Final = 1_000


def verdict(
    incident: Incident, service: str, said: str, control: dict[str, Any], when: tuple[str, int]
) -> dict[str, Any]:
    """What is kept of a verdict that a control gave ``when``: the time (RFC 3339) and the offset of its record."""
    found = {"root": service, "said": said, "of": incident.id, "at": when[0], "offset": when[1]}
    return found | {name: str(control.get(name) or "")[:LONGEST] for name in ("by", "note")}


def stands(incident: Incident) -> bool:
    """Whether the root of now is the one that an operator named."""
    return incident.verdict is not None and bool(incident.verdict["root"] == incident.root_service)


def author(incident: Incident) -> str:
    """Who gave the verdict, in words."""
    return str((incident.verdict or {}).get("by") or "an operator")


def hand_over(incident: Incident, into: Incident) -> None:
    """``incident`` becomes part of ``into``: what was said last holds."""
    mine, other = incident.verdict, into.verdict
    if mine is not None and (other is None or mine["offset"] > other["offset"]):
        into.verdict = mine


def shown(incident: Incident) -> dict[str, Any] | None:
    """The verdict as published."""
    found = incident.verdict
    return None if found is None else {name: found[name] for name in ("root", "by", "at", "note")}


def reasons(incident: Incident) -> list[str]:
    """That an operator named the root, or a service that is the root no longer; nothing where nobody did."""
    found = incident.verdict
    if found is None:
        return []
    by, note = author(incident), f": {found['note']}" if found["note"] else ""
    if not stands(incident):
        return [f"{by} named {found['root']}, which is the root no longer{note}"]
    if found["said"] == "not_explained":
        return [f"{by} said that incident {found['of']} does not explain it{note}"]
    return [f"{by} named it as the root{note}"]
