"""A bypass incident as published: the same schema as an incident of the engine, with the flag ``bypass``.

Its revisions count from 0, since no record of the deciding log led to them; its confidence is 0, since nothing was
correlated. Values are replaced, never changed, except by :func:`counted` and :func:`at_least`, whose incident is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from correlator.bypass.backlog import Key, Waiting
from correlator.engine.render import INCIDENT_SCHEMA_VERSION, iso
from correlator.model import Alert

__all__ = ["FLAG", "SHARD", "at_least", "closed", "counted", "reopened", "resolved", "single", "summary"]

FLAG: Final = "bypass"
#: What stands in the field ``shard``; no shard of an installation has such a name.
SHARD: Final = "bypass"
_NO_GRAPH: Final = "0" * 16
_LISTED: Final = 20
_LINKS: Final = ("generator_url", "runbook_url", "dashboard_url", "panel_url", "link")


def single(identifier: str, found: Waiting, reason: str, now: float) -> dict[str, Any]:
    """An incident about one alert."""
    alert = found.alert
    value = _blank(identifier, found, reason, now)
    value |= {
        "title": f"{alert.name} on {alert.service} (not correlated: the correlator is silent)",
        "kind": "fault",
        "root": {
            "service": alert.service,
            "fingerprint": alert.fingerprint,
            "name": alert.name,
            "severity": alert.severity,
            "inferred": False,
        },
        "counts": {"alerts": 1, "symptoms": 0, "duplicates": 0, "services": 1},
        "services": [alert.service],
        "members": [_member(alert)],
        "runbook": alert.annotations.get("runbook_url"),
        "links": [{"rel": name, "href": alert.annotations[name]} for name in _LINKS if name in alert.annotations],
    }
    value["candidates"] = [{"service": alert.service, "confidence": 0.0, "reasons": value["reasons"]}]
    return value


def summary(identifier: str, key: Key, found: Waiting, reason: str, now: float) -> dict[str, Any]:
    """An incident that counts what is beyond a cap; empty so far."""
    whose = key[1] or "other teams and sources"
    value = _blank(identifier, found, reason, now)
    value |= {
        "title": "",
        "kind": "bundle",
        "root": {"service": whose, "fingerprint": "", "name": "", "severity": found.alert.severity, "inferred": False},
        "counts": {"alerts": 0, "symptoms": 0, "duplicates": 0, "services": 0},
        "services": [],
        "members": [],
    }
    if not key[1]:
        value["team"] = None
    value["candidates"] = [{"service": whose, "confidence": 0.0, "reasons": value["reasons"]}]
    return value


def _blank(identifier: str, found: Waiting, reason: str, now: float) -> dict[str, Any]:
    alert, (tenant, whose) = found.alert, found.key
    team = whose.removeprefix("team ") if whose.startswith("team ") else None
    return {
        "schema_version": INCIDENT_SCHEMA_VERSION,
        "id": identifier,
        "revision": 0,
        "title": "",
        "state": "open",
        "kind": "",
        "page": {
            "wanted": True,
            "seq": 1,
            "urgency": "high",
            "reason": reason,
            "first_wanted_at": iso(now),
            "shadow": [],
        },
        "root": {},
        "confidence": 0.0,
        "candidates": [],
        "reasons": [f"not correlated: {reason}"],
        "counts": {},
        "services": [],
        "members": [],
        "severity": alert.severity,
        "severity_max": alert.severity,
        "started_at": iso(alert.starts_at),
        "opened_at": iso(now),
        "updated_at": iso(now),
        "resolved_at": None,
        "resolution": None,
        "acknowledged": None,
        "merged_into": None,
        "related": [],
        "root_history": [],
        "impact": {"tiers": [], "customer_facing": False, "tenants": [tenant] if tenant else [], "sites": []},
        "owner": None,
        "team": team,
        "on_call": None,
        "runbook": None,
        "channel": None,
        "links": [],
        "changes": [],
        "maintenance": [],
        "verdict": None,
        "flags": [FLAG],
        "graph_version": _NO_GRAPH,
        "shard": SHARD,
    }


def _member(alert: Alert) -> dict[str, Any]:
    about = {"fingerprint": alert.fingerprint, "service": alert.service, "name": alert.name}
    return {**about, "severity": alert.severity, "verdict": "root", "path": [alert.service]}


# -- changes --------------------------------------------------------------------------------------------------


def counted(value: dict[str, Any], found: Waiting, count: int, now: float) -> bool:
    """Count an alert in a summary in place; ``count`` is how many this process has. Whether anything changed.

    After a restart the count stays until as many have been read again.
    """
    alert = found.alert
    if len(value["members"]) < _LISTED and all(m["fingerprint"] != alert.fingerprint for m in value["members"]):
        value["members"].append(_member(alert))
        value["services"] = list(dict.fromkeys([*value["services"], alert.service]))
        value["counts"]["services"] = len(value["services"])
    return at_least(value, count, now)


def at_least(value: dict[str, Any], count: int, now: float) -> bool:
    """Raise the count of a summary in place. Whether it changed."""
    if count <= value["counts"]["alerts"]:
        return False
    first = value["title"] == ""
    value["counts"]["alerts"] = count
    value["counts"]["symptoms"] = count - 1
    whose = value["root"]["service"]
    value["title"] = f"{count} more critical alerts of {whose} (not correlated: the correlator is silent)"
    if not first:
        value |= _next(value, now)
    return True


def reopened(value: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The alert fires again: page again."""
    page = {**value["page"], "wanted": True, "seq": value["page"]["seq"] + 1, "reason": "it fires again"}
    members = [{**member, "verdict": "root"} for member in value["members"]]
    again = {"state": "open", "page": page, "members": members, "resolved_at": None, "resolution": None}
    return {**value, **_next(value, now), **again}


def resolved(value: Mapping[str, Any], alert: Alert, now: float) -> dict[str, Any]:
    """A message says that the alert has ended."""
    members = [{**member, "verdict": "resolved"} for member in value["members"]]
    over = {"state": "resolved", "page": _unwanted(value), "resolution": "recovered", "members": members}
    ended = iso(alert.ends_at if alert.ends_at is not None else now)
    return {**value, **_next(value, now), **over, "resolved_at": ended}


def closed(value: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The correlator has taken over; whether the alert still fires is for it to say."""
    reasons = [*value["reasons"], "closed: the correlator is back and has decided this itself"]
    over = {"state": "closed", "page": _unwanted(value), "reasons": reasons}
    ended = {"resolution": value["resolution"] or "unknown", "resolved_at": value["resolved_at"] or iso(now)}
    return {**value, **_next(value, now), **over, **ended}


def _next(value: Mapping[str, Any], now: float) -> dict[str, Any]:
    return {"revision": value["revision"] + 1, "updated_at": iso(now)}


def _unwanted(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value["page"], "wanted": False}
