"""One graph from several sources: the union of their services and dependencies, conflicts reported.

The order of the sources is their rank: where two state different values, the first source holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from topology.draft import Draft, Path, path_text
from topology.loaded import Loaded, finished
from topology.model import Edge, Node

__all__ = ["merge"]

_NODE: Final = ("service", "hosted_on", "owner", "team", "on_call", "runbook", "channel", "tier")
_EDGE: Final = ("kind", "group", "needs", "delay")
#: Notices about one source that are made anew for the whole.
_MADE_ANEW: Final = ("cycle", "empty")


def merge(sources: Sequence[tuple[str, Loaded]]) -> Loaded:
    """Return the union of named, loaded sources.

    Attributes that one source leaves open are taken from the next that states them; labels are merged one by
    one; aliases are united. A different value is a warning ``attribute_conflict`` and the first source holds.
    The problems of all sources are kept. A source with an error makes the whole an error: half of a
    topology would place alerts wrongly without saying so. O(services + edges of all sources).
    """
    draft = Draft(_place)
    for name, loaded in sources:
        kept = loaded.problems if loaded.graph is None else _still_true(loaded)
        draft.problems.extend(kept)
        if loaded.graph is not None:
            _add(name, loaded, draft)
    return finished(draft)


def _still_true(loaded: Loaded) -> list[Any]:
    return [problem for problem in loaded.problems if problem.code not in _MADE_ANEW]


def _place(path: Path) -> str:
    return f"{path[0]}:{path_text(path[1:])}" if path else "merge"


def _add(source: str, loaded: Loaded, draft: Draft) -> None:
    graph = loaded.graph_or_raise()
    for u in graph:
        at: Path = (source, u)
        if u in draft.nodes:
            draft.nodes[u] = _node(draft.nodes[u], graph.node(u), at, draft)
        else:
            draft.add_node(u, graph.node(u), at)
        for v in graph.dependencies(u):
            known, edge = draft.edges.get((u, v)), graph.edge(u, v)
            if known is None:
                draft.add_edge(u, v, edge, (source, u, "depends_on", v))
            elif known != edge:
                _edge_conflict(known, edge, (source, u, "depends_on", v), draft)


def _node(first: Node, second: Node, at: Path, draft: Draft) -> Node:
    if first == second:
        return first
    values = {key: _first(getattr(first, key), getattr(second, key), (*at, key), draft) for key in _NODE}
    labels = dict(first.labels)
    for key, value in second.labels.items():
        labels[key] = _first(labels.get(key), value, (*at, "labels", key), draft)
    return Node(**values, labels=labels, aliases=(*first.aliases, *second.aliases))


def _first(first: Any, second: Any, at: Path, draft: Draft) -> Any:
    if first is None:
        return second
    if second is not None and first != second:
        earlier = draft.node_place(str(at[1]))
        message = f"{path_text(at[2:])} is {second!r} here and {first!r} at {earlier}; the first source holds"
        draft.report("warning", at, "attribute_conflict", message)
    return first


def _edge_conflict(first: Edge, second: Edge, at: Path, draft: Draft) -> None:
    pair = (str(at[1]), str(at[3]))
    different = [key for key in _EDGE if getattr(first, key) != getattr(second, key)]
    here = ", ".join(f"{key} {getattr(second, key)!r}" for key in different)
    there = ", ".join(f"{key} {getattr(first, key)!r}" for key in different)
    message = f"the edge has {here} here and {there} at {draft.edge_place(pair)}; the first source holds"
    draft.report("warning", at, "attribute_conflict", message)
