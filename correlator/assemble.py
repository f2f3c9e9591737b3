"""From settings to the parts that work by them: one place for the stream and for the offline commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from correlator.changes import ChangeReader
from correlator.config import Settings
from correlator.config_sections import Shards
from correlator.dialects import REPLICA_LABELS, SERVICE_LABELS, Limits, Reader
from correlator.engine.rules import Rules
from correlator.errors import SettingsError
from correlator.place import Placer
from topology import Loaded, Problem, ServiceGraph, load, merge, with_folding, with_shared_fate

__all__ = ["change_reader_for", "load_graph", "placer_for", "placer_of", "reader_for", "rules_for"]

_AUTO: Final = "auto"


def reader_for(settings: Settings, topic: str) -> Reader:
    """The reader of a raw topic. Labels that tell replicas apart never count for the fingerprint.

    Raises :class:`SettingsError` for a dialect that does not exist.
    """
    given = settings.dialects
    name = given.by_topic.get(topic, given.default)
    try:
        return Reader(
            dialect=None if name == _AUTO else name,
            ignore_labels=REPLICA_LABELS.union(given.ignore_labels),
            service_labels=given.service_labels or SERVICE_LABELS,
            limits=_limits(settings),
        )
    except ValueError as error:
        key = f"dialects.by_topic.{topic}" if topic in given.by_topic else "dialects.default"
        raise SettingsError([f'{key} = "{name}": {error}, {_AUTO}']) from None


def change_reader_for(settings: Settings) -> ChangeReader:
    """The reader of the topics of changes."""
    return ChangeReader(_limits(settings))


def _limits(settings: Settings) -> Limits:
    intake = settings.intake
    return Limits(
        max_record_bytes=intake.max_record_bytes,
        max_depth=intake.max_depth,
        max_alerts_per_record=intake.max_alerts_per_record,
        max_labels=intake.max_labels,
        max_label_bytes=intake.max_label_bytes,
        max_annotation_bytes=intake.max_annotation_bytes,
        future_skew=intake.future_skew,
    )


def placer_for(settings: Settings, graph: ServiceGraph) -> Placer:
    """Places alerts on ``graph``, in the shards of the settings."""
    return placer_of(settings.shards, graph)


def placer_of(shards: Shards, graph: ServiceGraph) -> Placer:
    """Places alerts on ``graph``, in shards of these keys."""
    return Placer(
        graph, shard_labels=shards.labels, shard_attributes=shards.attribute, tenant_label=shards.tenant_label
    )


def rules_for(settings: Settings) -> Rules:
    """The rules of the engine."""
    return Rules.of(settings.effective(mask=False)["engine"])


def load_graph(settings: Settings, paths: Sequence[Path] = ()) -> Loaded:
    """The graph of ``paths``, else of ``topology.file``; several files are merged, the first one holds.

    A folder stands for the files in it that are topologies, by name; names that start with a dot are left out.
    Without any file the graph is empty. What services share by their labels (``topology.shared_fate``, ``observers``,
    ``cuts``) has nodes of its own, and services depend on their instances and those on their hosts. Nothing is raised:
    problems are in the result.
    """
    found = _loaded(settings, paths)
    if found.graph is None:
        return found
    topology = settings.topology
    shared = with_shared_fate(found.graph, topology.shared_fate, topology.observers, topology.cuts)
    return replace(found, graph=with_folding(shared))


def _loaded(settings: Settings, paths: Sequence[Path]) -> Loaded:
    given = list(paths) or ([settings.topology.file] if settings.topology.file else [])
    loaded: list[tuple[str, Loaded]] = []
    for path in given:
        loaded += _folder(settings, path) if path.is_dir() else [_file(settings, path)]
    if not loaded:
        return Loaded(ServiceGraph.empty())
    return loaded[0][1] if len(loaded) == 1 else merge(loaded)


def _file(settings: Settings, path: Path) -> tuple[str, Loaded]:
    topology = settings.topology
    known = None if topology.format == _AUTO else topology.format
    direction = None if topology.direction == _AUTO else topology.direction
    return str(path), load(path, format=known, direction=direction)


def _folder(settings: Settings, path: Path) -> list[tuple[str, Loaded]]:
    try:
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        problem = Problem("error", str(path), "unreadable", f"the folder cannot be read: {error.strerror or error}")
        return [(str(path), Loaded(None, (problem,)))]
    loaded = [_file(settings, file) for file in files]
    if all(_is_foreign(part) for _, part in loaded):
        return [(str(path), Loaded(None, (Problem("error", str(path), "unreadable", "no topology in this folder"),)))]
    return [(name, _left_out(part) if _is_foreign(part) else part) for name, part in loaded]


def _is_foreign(loaded: Loaded) -> bool:
    """Whether a file is no topology at all, as far as its name and keys tell."""
    return loaded.graph is None and [problem.code for problem in loaded.problems] == ["unknown_format"]


def _left_out(loaded: Loaded) -> Loaded:
    problem = loaded.problems[0]
    note = Problem("notice", problem.place, problem.code, f"not read: {problem.message}")
    return Loaded(ServiceGraph.empty(), (note,))
