"""Alerts of teams for which suppression is not enabled: correlated like all others, but they page as without us.

Such an alert pages on its own when it begins to fire, rises in severity, or comes out of a maintenance window,
at once, and its own team: explained or not, settled or not. The incident that holds it says so, and pages for itself
only for alerts of enabled teams. What takes no part in explanations (tests, unknown services) is not concerned:
nothing hides it.
"""

from __future__ import annotations

from typing import Any

from correlator.engine.state import AlertState
from correlator.engine.store import Store

__all__ = ["entry", "note", "pages_alone"]


def pages_alone(store: Store, alert: AlertState) -> bool:
    """Whether the alert is worth a page and suppression is not enabled for the team of its service."""
    rules = store.rules
    if rules.suppresses_all or alert.kind not in ("", "ticket"):
        return False
    if alert.rank < rules.page_rank or alert.window is not None:
        return False
    return store.graph.node(alert.service).team not in rules.suppress_teams


def note(store: Store, alert: AlertState) -> None:
    """The alert has become worth a page in this step."""
    if pages_alone(store, alert):
        store.alone.add(alert.fingerprint)


def entry(store: Store, alert: AlertState, seq: int) -> dict[str, Any]:
    """What an incident says about such a page: which one it is, and whom it is for."""
    node = store.graph.node(alert.service)
    about = {"fingerprint": alert.fingerprint, "service": alert.service, "name": alert.name}
    return {"seq": seq, **about, "team": node.team, "on_call": node.on_call}
