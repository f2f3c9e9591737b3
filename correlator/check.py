"""What is wrong, or looks wrong, about settings and topology together: what a start would only show in the night."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final, NamedTuple

from correlator import calendars
from correlator.config import Settings
from correlator.config_sections import Matcher
from correlator.dialects import dialects
from correlator.engine.rules import ALL_TEAMS
from correlator.errors import SettingsError
from correlator.place import NODE_FIELDS
from topology import FORMATS, Loaded, ServiceGraph, Severity, lint

__all__ = ["Finding", "check_calendars", "check_settings", "check_together", "check_topology"]

_AUTO: Final = "auto"


class Finding(NamedTuple):
    """One problem. ``place`` is a key of the settings, a file with its place in it, or a service."""

    severity: Severity
    place: str
    text: str

    def __str__(self) -> str:
        """One line, as compilers write it."""
        return f"{self.place}: {self.severity}: {self.text}"


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Names in the settings that must be known to this program."""
    known = (_AUTO, *dialects())
    named = {"dialects.default": settings.dialects.default}
    named |= {f"dialects.by_topic.{topic}": name for topic, name in settings.dialects.by_topic.items()}
    for key, name in named.items():
        if name not in known:
            yield Finding("error", key, f"no dialect is called {name!r}{_hint(name, known)}; known: {', '.join(known)}")
    formats, name = (_AUTO, *FORMATS), settings.topology.format
    if name not in formats:
        text = f"no format is called {name!r}{_hint(name, formats)}; known: {', '.join(formats)}"
        yield Finding("error", "topology.format", text)


def check_calendars(settings: Settings, now: float) -> Iterator[Finding]:
    """Calendars that cannot be read, and events in them that slip. ``now`` is epoch seconds."""
    about = settings.maintenance
    if not about.calendars:
        return
    try:
        calendars.require()
    except SettingsError as error:
        yield Finding("error", "maintenance.calendars", error.problems[0])
        return
    for path in calendars.files(about.calendars):
        found = calendars.expand(path, now, now + about.horizon, about.zone)
        for problem in found.problems:
            yield Finding("warning" if found.readable else "error", "maintenance.calendars", problem)


def check_topology(loaded: Loaded) -> Iterator[Finding]:
    """What loading found, and what stands out in the graph. O(services + dependencies)."""
    found = (*loaded.problems, *(() if loaded.graph is None else lint(loaded.graph)))
    for problem in found:
        yield Finding(problem.severity, problem.place, f"{problem.message} [{problem.code}]")


def check_together(settings: Settings, graph: ServiceGraph) -> Iterator[Finding]:
    """Settings that name something in the graph which is not there. O(services x labels)."""
    if not graph:
        yield Finding("warning", "topology", "no service is known, so every alert will be an incident of its own")
        return
    yield from _attributes(settings, graph)
    yield from _tiers(settings, graph)
    yield from _services(settings, graph)
    yield from _teams(settings, graph)


def _attributes(settings: Settings, graph: ServiceGraph) -> Iterator[Finding]:
    named = {label for name in graph for label in graph.node(name).labels}
    stated = {field for field in NODE_FIELDS if any(getattr(graph.node(name), field) is not None for name in graph)}
    have = named | stated
    for name in settings.shards.attribute:
        if name not in have:
            text = f"no service has {name!r}{_hint(name, have)}: it would be '-' in every shard"
            yield Finding("warning", "shards.attribute", text)
            continue
        without = [
            it for it in graph if name not in graph.node(it).labels and getattr(graph.node(it), name, None) is None
        ]
        if without:
            text = f"{len(without)} of {len(graph)} services have no {name!r}, such as {without[0]!r}: it is '-' there"
            yield Finding("warning", "shards.attribute", text)
    for key in ("customer_facing_label", "tenant_label", "site_label"):
        name = getattr(settings.engine, key)
        if name not in named and key in settings.engine.model_fields_set:
            yield Finding("warning", f"engine.{key}", f"no service has the label {name!r}{_hint(name, named)}")


def _tiers(settings: Settings, graph: ServiceGraph) -> Iterator[Finding]:
    tiers = [tier for name in graph if (tier := graph.node(name).tier) is not None]
    top = settings.engine.top_tier
    if not tiers:
        text = "no service has a tier: engine.settle_top_tier has no effect, and no incident pages for a new tier"
        yield Finding("warning", "engine.top_tier", text)
    elif min(tiers) > top:
        text = (
            f"no service is of tier {top} or above (the highest is {min(tiers)}): engine.settle_top_tier has no effect"
        )
        yield Finding("warning", "engine.top_tier", text)
    elif len(tiers) == len(graph) and max(tiers) <= top:
        text = f"every service is of tier {top} or above: every incident pages after engine.settle_top_tier"
        yield Finding("notice", "engine.top_tier", text)


def _services(settings: Settings, graph: ServiceGraph) -> Iterator[Finding]:
    """Matchers whose service pattern fits no service."""
    lists: Iterable[tuple[str, tuple[Matcher, ...]]] = (
        ("never_suppress", settings.engine.never_suppress),
        ("test", settings.engine.test),
    )
    for key, matchers in lists:
        for number, matcher in enumerate(matchers):
            pattern = matcher.match.get("service")
            if pattern is not None and not any(re.fullmatch(pattern, name) for name in graph):
                text = f"{pattern!r} fits no service of the graph"
                yield Finding("warning", f"engine.{key}[{number}].match.service", text)


def _teams(settings: Settings, graph: ServiceGraph) -> Iterator[Finding]:
    """Suppression that is enabled for a team that nobody knows, and services that no team can enable it for."""
    enabled = settings.engine.suppress_teams
    if ALL_TEAMS in enabled:
        return
    teams = {team for name in graph if (team := graph.node(name).team)}
    for name in enabled:
        if name not in teams:
            yield Finding("warning", "engine.suppress_teams", f"no service has the team {name!r}{_hint(name, teams)}")
    without = [name for name in graph if not graph.node(name).team]
    if without and enabled:
        text = f"{len(without)} of {len(graph)} services have no team, such as {without[0]!r}: their alerts always page"
        yield Finding("notice", "engine.suppress_teams", text)


def _hint(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
