"""How an incident begins."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from correlator.engine.state import Incident
from correlator.engine.store import Store

__all__ = ["id_of", "open_incident"]


def open_incident(store: Store, kind: str, service: str, fingerprint: str, started_at: float) -> Incident:
    """A new incident without a group. Its id is a hash of where in the log it was born.

    That is the offset of a record or the time of a deadline, which does not depend on the ticks that let it pass. A
    summary, of which there is one a team, is not counted with the others, so that they are the same without it.
    """
    if kind == "summary":
        number = f"summary {service}"
    else:
        store.births += 1
        store.births_here += 1
        number = str(store.births_here)
    incident = Incident()
    for column, value in _BLANK.items():
        setattr(incident, column, list(value) if isinstance(value, list) else value)
    incident.id = id_of(store.shard, store.here, number, fingerprint, repr(started_at))
    incident.kind = kind
    incident.born = [store.offset, store.births]
    incident.opened_at = incident.first_received = store.now
    incident.started_at = started_at
    incident.root_service, incident.root_fingerprint = service, fingerprint
    incident.graph_version = store.graph.version
    incident.opens_at = store.now + store.rules.settle
    incident.left, incident.heir = {}, None
    incident.group = None
    store.incidents[incident.id] = incident
    store.at(incident.opens_at, "open", incident.id)
    store.revise(incident)
    return incident


def id_of(*words: str) -> str:
    """The id of an incident: 16 hex digits (64 bits) of BLAKE2b over what tells it from every other one."""
    return hashlib.blake2b("\x1f".join(words).encode(), digest_size=8).hexdigest()


_COUNTS: Final = (
    "revision rank_max rank_now duplicates duplicates_shown alerts symptoms services seq past_alerts".split()
)
_ABSENT: Final = (
    "resolved_at closes_at first_wanted_at page_due paged acknowledged merged_into held_until verdict".split()
)
#: What an incident begins with, besides what :func:`open_incident` says of it.
_BLANK: Final[dict[str, Any]] = {
    **dict.fromkeys(_COUNTS, 0),
    **dict.fromkeys(_ABSENT),
    **dict.fromkeys(("page_reason", "resolution", "title"), ""),
    **{column: [] for column in "root_history listed related flags facets alone candidates summed".split()},
    "share": 1.0,
    "state": "forming",
    "severity_max": "info",
    "urgency": "none",
    "wanted": False,
    "updated_at": 0.0,
}
