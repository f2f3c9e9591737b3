"""``correlator shards plan``: what a move would do, as plain data."""

from __future__ import annotations

from typing import Any

from correlator.config import Settings
from correlator.stream.bulletin import Bulletin
from correlator.stream.clients import Clients
from correlator.stream.layouts import layout_of
from correlator.stream.move import obstacles
from correlator.stream.survey import Survey, survey
from topology import ServiceGraph

__all__ = ["planned"]


async def planned(settings: Settings, graph: ServiceGraph) -> dict[str, Any]:
    """What moves from where to where, and what becomes of incidents and pages; found out by doing it in memory.

    Raises :class:`BrokerError` and :class:`StateError`.
    """
    bulletin = Bulletin(settings, Clients(settings), settings.topics.partitions)
    await bulletin.start()
    try:
        return _planned(await survey(settings, graph, bulletin))
    finally:
        await bulletin.stop()


def _planned(seen: Survey) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "layout": layout_of(seen.settings, seen.number),
        "in_force": seen.current.get("layout"),
        "topics": seen.grows,
        "obstacles": obstacles(seen),
    }
    nothing: dict[str, Any] = {"legs": [], "cut": [], "merged": [], "joined": 0, "pages": [], "due": 0}
    if seen.ended:
        return {**plain, **nothing, "needed": True}
    found = seen.plan()
    plain["needed"] = seen.needed(found) or seen.current.get("move") is not None
    if not plain["needed"]:
        return {**plain, **nothing}
    open_ = {id: incident for _, store in seen.stores() for id, incident in store.incidents.items()}
    told = {id: incident.seq for id, incident in open_.items()}
    due = sum(incident.page_due is not None for incident in open_.values())
    after = seen.rehearse(found)
    return {
        **plain,
        "legs": [leg._asdict() for leg in found.legs],
        "cut": [{"id": cut.id, "root": cut.root, "shard": cut.to, "parts": cut.parts} for cut in found.cuts],
        "merged": [
            {"id": id, "root": value["root"]["service"], "into": value["merged_into"]}
            for id, value in sorted(after.items())
            if value["state"] == "merged" and id in open_
        ],
        "joined": found.joined,
        "pages": [
            {"id": id, "root": value["root"]["service"], "reason": value["page"]["reason"]}
            for id, value in sorted(after.items())
            if value["page"]["seq"] > told.get(id, 0)
        ],
        "due": due,
    }
