"""What the offline commands print: incidents as a table, and the answer to "why" in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console

from correlator.explain import SAME_SERVICE, Answer, Explained
from correlator.tables import Row, show

__all__ = ["explanation", "incident_table", "many", "summary"]

_COLUMNS: Final = ("id", "state", "root", "name", "severity", "alerts", "services", "page", "title")
_NUMBERS: Final = ("alerts", "services")
_SEVERITY: Final = _COLUMNS.index("severity")
_STYLES: Final = {"critical": "bold red", "error": "red", "warning": "yellow"}
_VERDICTS: Final = {
    "root": "root: no other alerting service explains it, so it stands for its incident",
    "symptom": "symptom: a service that it depends on explains it",
    "resolved": "resolved: it is over",
    "unplaced": "unplaced: the service graph does not know its service, so nothing can explain it",
    "maintenance": "maintenance: a maintenance window or silence covers it",
    "test": "test: it only tests the way of an alert",
    "late": "late: the message came after the end of what it is about",
    "rejected": "rejected: the engine could not take it",
    "duplicate": "duplicate: it was known already",
    "heartbeat": "heartbeat: it only says that its source is alive",
}
_STOOD_FOR: Final = "symptom: another alert of the same service stands for it"
_FLAGS: Final = {
    "bypass": "published past a silent correlator, not correlated",
    "degraded_source": "its source is lost",
    "expired": "an alert was not repeated in time",
    "flapping": "an alert comes and goes; it is held until it has been quiet, and pages once",
    "inferred": "its root does not alert; it is concluded from what depends on it",
    "maintenance": "a window hides an alert of it",
    "network_cut": "its root is the network between two places",
    "root_in_maintenance": "a window hides its root, although that fires",
    "shadow": "an alert paged on its own, because suppression is not enabled for its team",
    "test": "it is only a test",
    "unplaced": "the graph does not know its service",
    "visibility_lost": "nothing is seen of what its root watches; that may be well",
}
_RULES: Final = {
    "depends_on": "its service depends directly on a service that alerts",
    "bridged": "its service depends on a service that alerts, through services that are silent",
    SAME_SERVICE: "another alert stands for the same service",
    "no_alerting_dependency": "nothing that its service depends on alerts",
    "verdict": "an operator said so",
    "not_explained": "an operator said that its incident does not explain it",
    "stands_out": "its service shows more than what it depends on can explain",
    "broke_first": "it broke by itself before anything that could explain it alerted",
    "inferred": "a silent service that it depends on is the likely cause: nearly all of its dependents alert",
    "effect": "a service that depends on its own alerts and shows more; this follows from there",
    "beside": "another service with the same dependency alerts and shows more",
    "cycle": "its service depends on itself through others; one service of such a circle stays as the root",
    "unplaced": "its service is not in the graph",
    "not_a_cause": "an alert of this name announces something and cannot cause a failure",
    "test_matcher": "a test matcher of the settings covers it",
    "resolved": "its source said that it is over",
    "expired": "its source did not repeat it in time; that is not a recovery",
    "resolved_before_firing": "its end arrived before its beginning",
    "escalated": "it became more severe",
    "maintenance": "a maintenance window began",
    "maintenance_over": "the maintenance window ended",
    "ended_episode": "it belongs to an episode that has ended",
    "engine_error": "the engine raised on it, and it was put aside",
    "breaker_open": "the engine raised on many alerts of its source, and it was put aside without being tried",
    "resolve_before_firing": "it ended before anything was known to fire",
    "max_active_alerts": "more alerts were active than engine.max_active_alerts allows",
    "left": "its service was quiet for so long that it explains nothing any more",
    "moved": "another incident explains it better now",
    "re_rooted": "its incident got another root",
    "merged": "its incident turned out to be part of another one",
}


# -- incidents ------------------------------------------------------------------------------------------------


def incident_table(incidents: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Print a row per incident; those that became part of another one are left out. Aligned text off a terminal."""
    shown = [incident for incident in incidents if incident["state"] != "merged"]
    rows = []
    for incident in shown:
        cells = _cells(incident)
        over = "dim" if incident["state"] in ("resolved", "closed") else ""
        rows.append(Row(cells, over, {_SEVERITY: style} if (style := _STYLES.get(cells[_SEVERITY])) else {}))
    show(_COLUMNS, rows, console, right=_NUMBERS, whole=("id", "state"))


def _cells(incident: Mapping[str, Any]) -> tuple[str, ...]:
    root, counts, page = incident["root"], incident["counts"], incident["page"]
    times = f" x{page['seq']}" if page["seq"] > 1 else ""
    paged = "-" if not page["seq"] else f"yes{times}" if page["wanted"] else f"was{times}"
    return (
        incident["id"],
        incident["state"],
        root["service"],
        root["name"] or "-",
        incident["severity"],
        str(counts["alerts"]),
        str(counts["services"]),
        paged,
        incident["title"],
    )


def summary(alerts: int, rejected: int, incidents: Sequence[Mapping[str, Any]]) -> str:
    """One line of totals.

    >>> summary(3, 1, [])
    '3 alerts in, 1 rejected; 0 incidents out, 0 pages'
    """
    merged = sum(incident["state"] == "merged" for incident in incidents)
    pages = sum(incident["page"]["seq"] for incident in incidents)
    more = f" (and {merged} that became part of them)" if merged else ""
    return (
        f"{many(alerts, 'alert')} in, {rejected} rejected; "
        f"{many(len(incidents) - merged, 'incident')} out{more}, {many(pages, 'page')}"
    )


def many(count: int, word: str) -> str:
    """A number and what is counted: ``1 page``, ``2 pages``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


# -- answers --------------------------------------------------------------------------------------------------


def _rule(rule: str) -> str:
    return _RULES.get(rule, rule.replace("_", " "))


def explanation(found: Answer) -> str:
    """The answer for people, ends without a line break. Why an incident has its root is said once."""
    asked, steps = found.query.text, [f"  {step.at}  {step.text}" for step in found.steps]
    if found.query.kind == "incident":
        told = {asked}
        blocks = [[*_incident_lines(asked, found.incidents.get(asked)), *steps]]
    else:
        told = found.incidents.keys() - {one.incident for one in found.alerts}
        blocks = [[f"{asked} does not alert itself", *steps]] if steps else []
        blocks += [list(_incident_lines(key, found.incidents[key])) for key in sorted(told)]
    for one in found.alerts:
        incident = found.incidents.get(one.incident or "")
        blocks.append(list(_alert_lines(one, incident, news=one.incident not in told)))
        told = {*told, one.incident or ""}
    left = found.found - len(found.alerts)
    if left > 0:
        blocks.append([f"{left} more alerts fit; ask for one of them by --fingerprint"])
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _incident_lines(key: str, incident: Mapping[str, Any] | None) -> Iterator[str]:
    yield f"incident {key}"
    if incident is not None:
        yield f"  title      {incident['title']}"
        yield f"  state      {_state(incident)}"
        yield f"  root       {incident['root']['service']}, confidence {incident['confidence']}"
        yield from _why(incident, "because")
        counts = incident["counts"]
        yield f"  holds      {counts['alerts']} alerts of {counts['services']} services"
        yield f"  page       {_page(incident)}"


def _why(incident: Mapping[str, Any], word: str) -> Iterator[str]:
    """Why the incident has its root, what is special about it, and what hides its alerts."""
    for number, reason in enumerate(incident["reasons"]):
        yield f"  {'' if number else word:<10} {reason}"
    yield from (f"  {flag:<10} {_FLAGS.get(flag, '')}" for flag in incident["flags"])
    for window in incident["maintenance"]:
        said = f"{window['id']} by {window['author'] or 'nobody'} ({window['reason'] or 'no reason given'})"
        hides = f"hides {many(window['alerts'], 'alert')} until {window['ends_at']}"
        yield f"  window     {said} {hides}: {window['covers']}"


def _alert_lines(one: Explained, incident: Mapping[str, Any] | None, *, news: bool) -> Iterator[str]:
    """``incident`` is its own, if that is at hand; ``news``: nothing was said about it yet."""
    yield f"{one.name} on {one.service}  ({one.fingerprint})"
    same = one.verdict == "symptom" and one.rule == SAME_SERVICE
    yield f"  verdict    {_STOOD_FOR if same else _VERDICTS.get(one.verdict, one.verdict)}"
    yield f"  rule       {one.rule}: {_rule(one.rule)}"
    yield from (f"  because    {reason}" for reason in one.reasons)
    if one.root is not None:
        yield f"  root       {one.root}"
    if len(one.path) > 1:
        yield f"  path       {' -> '.join(one.path)}  (each depends on the next)"
    if one.incident is None:
        yield "  incident   none"
    elif incident is None:
        yield f"  incident   {one.incident}, of which only receipts are at hand"
    else:
        yield f"  incident   {one.incident}, {_state(incident)}: {incident['title']}"
        yield f"  page       {_page(incident)}"
        if news and incident["state"] != "merged":
            yield from _why(incident, "its root")
    if one.would_page_if.startswith("it pages "):
        yield f"  pages      {one.would_page_if.removeprefix('it pages ')}"
    elif one.would_page_if:
        yield f"  would page if {one.would_page_if}"
    yield "  history"
    yield from (f"    {step.at}  {step.text}" for step in one.steps)


def _state(incident: Mapping[str, Any]) -> str:
    state = str(incident["state"])
    return f"{state} into {incident['merged_into']}" if incident["merged_into"] else state


def _page(incident: Mapping[str, Any]) -> str:
    page = incident["page"]
    if not page["seq"]:
        return "the incident has not paged"
    times = "once" if page["seq"] == 1 else f"{page['seq']} times"
    now = "and still wants somebody" if page["wanted"] else "and wants nobody any more"
    return f"the incident paged {times} {now}; last because: {page['reason']}"
