"""networkx node-link JSON, as networkx and many exporters write it.

    {"directed": true, "multigraph": false, "graph": {"direction": "depends_on"},
     "nodes": [{"id": "shop", "tier": 1, "region": "eu"}],
     "edges": [{"source": "shop", "target": "db", "kind": "hard"}]}

The edges are under ``edges`` or ``links``. Attributes that are ours keep their meaning; other attributes of a node
become labels when they are text, numbers or truth values. The direction stands in ``graph.direction``
or is an option; an edge of the kind ``hosted_on`` or ``has_instance`` has its own, from source to target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from topology.direction import DIRECTIONS, Direction, is_direction, oriented, settled
from topology.draft import Draft, Path, listed
from topology.fields import EDGE_KEYS, NODE_KEYS, label_text, read_edge, read_kind, read_name, read_node, type_name
from topology.formats.source import Source
from topology.model import Kind
from topology.suggest import did_you_mean

__all__ = ["read"]

_TOP: Final = ("directed", "multigraph", "graph", "nodes", "edges", "links")
#: Kinds of edges that say what the two are to each other.
_RELATIONS: Final = ("hosted_on", "has_instance")
_EDGE_KNOWN: Final = frozenset(("source", "target", "key", *EDGE_KEYS))
_HOW: Final = 'write "direction": "depends_on" (or "serves") into "graph", or pass the option direction=depends_on'


def read(source: Source, direction: Direction | None) -> Draft:
    """Return the draft of a node-link file. Raises SourceError when it is not JSON."""
    draft = Draft(source.where)
    data = source.json
    if not isinstance(data, dict):
        draft.error((), "bad_type", f"the file must be an object with nodes and edges, not {type_name(data)}")
        return draft
    for key in data:
        if key not in _TOP:
            hint = "; it is read inside 'graph'" if key == "direction" else did_you_mean(key, _TOP)
            draft.report("notice", (key,), "unknown_key", f"{key!r} is not used{hint}")
    agreed = _direction(data, direction, draft)
    _nodes(_list_of(data, ("nodes",), draft), draft)
    key = "links" if "links" in data and "edges" not in data else "edges"
    if "edges" in data and "links" in data:
        draft.error(("links",), "duplicate_key", "both 'edges' and 'links' are there; keep one")
    _edges(key, _list_of(data, (key,), draft), agreed, draft, parallel=_flag(data, "multigraph", draft) is True)
    return draft


def _direction(data: Mapping[str, Any], option: Direction | None, draft: Draft) -> Direction:
    attributes = data.get("graph")
    at: Path = ("graph",)
    if attributes is not None and attributes != [] and not isinstance(attributes, dict):
        draft.error(at, "bad_type", f"graph must be an object, not {type_name(attributes)}")
    stated: Any = attributes.get("direction") if isinstance(attributes, dict) else None
    at = ("graph", "direction")
    if stated is not None and not is_direction(stated):
        draft.error(at, "bad_value", f"direction is {stated!r}; allowed: {', '.join(DIRECTIONS)}")
        return option or "depends_on"
    directed = _flag(data, "directed", draft)
    if directed is False:
        if "both" not in (stated, option):
            message = "the file is undirected; pass direction=both to make each link two edges, or export it directed"
            draft.error(("directed",), "undirected", message)
            return "both"
    elif directed is True and "both" in (stated, option):
        message = "the file is directed, so direction cannot be 'both'; allowed: depends_on, serves"
        draft.error(at if stated == "both" else ("directed",), "direction_conflict", message)
        return "depends_on"
    return settled(stated, option, at, draft, how=_HOW)


def _flag(data: Mapping[str, Any], key: str, draft: Draft) -> bool | None:
    value = data.get(key)
    if value is not None and not isinstance(value, bool):
        draft.error((key,), "bad_type", f"{key} must be true or false, not {value!r}")
        return None
    return value


def _list_of(data: Mapping[str, Any], at: tuple[str], draft: Draft) -> list[Any]:
    value = data.get(at[0])
    if at[0] not in data:
        hint = " (or 'links')" if at[0] == "edges" else ""
        draft.error((), "missing_key", f"the key {at[0]!r}{hint} is absent")
    elif not isinstance(value, list):
        draft.error(at, "bad_type", f"{at[0]} must be a list, not {type_name(value)}")
    return value if isinstance(value, list) else []


def _nodes(raw: list[Any], draft: Draft) -> None:
    kept: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for index, item in enumerate(raw):
        at: Path = ("nodes", index)
        if not isinstance(item, dict):
            draft.error(at, "bad_type", "the node is not an object")
            continue
        name = None
        if "id" in item:
            name = read_name(item["id"], (*at, "id"), draft)
        else:
            draft.error(at, "missing_key", "the node has no 'id'")
        fields, extra = _labelled(item, lost)
        kept.update(extra)
        node = read_node(fields, at, draft, lambda key, value: None)
        if name is not None:
            draft.add_node(name, node, at)
    for key, count in sorted(kept.items()):
        hint = did_you_mean(key, NODE_KEYS)
        if hint:
            message = f"{key!r} on {count} nodes is kept as a label{hint}"
            draft.report("notice", ("nodes",), "unknown_key", message)
    if lost:
        message = f"node attributes that are neither text, number nor truth value are not used: {_counts(lost)}"
        draft.report("notice", ("nodes",), "ignored_attribute", message)


def _labelled(item: dict[str, Any], lost: Counter[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the node with foreign attributes moved into its labels, and the names of those attributes."""
    foreign: dict[str, str] = {}
    for key, value in item.items():
        if key not in NODE_KEYS and key != "id" and key and value is not None and value != "":
            text = label_text(value)
            if text is None:
                lost[key] += 1
            else:
                foreign[key] = text
    if not foreign:
        return item, []
    labels = item.get("labels")
    if labels is not None and not isinstance(labels, dict):
        return item, []
    return {**item, "labels": {**foreign, **(labels or {})}}, list(foreign)


def _edges(key: str, raw: list[Any], direction: Direction, draft: Draft, *, parallel: bool) -> None:
    kinds: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for index, item in enumerate(raw):
        at: Path = (key, index)
        if not isinstance(item, dict):
            draft.error(at, "bad_type", "the edge is not an object")
            continue
        if not item.keys() <= _EDGE_KNOWN:
            lost.update(item.keys() - _EDGE_KNOWN)
        ends: list[str] = []
        for end in ("source", "target"):
            if end not in item:
                draft.error(at, "missing_key", f"the edge has no {end!r}")
            elif (name := read_name(item[end], (*at, end), draft)) is not None:
                ends.append(name)
        relation = item.get("kind")
        if relation in _RELATIONS:
            edge = read_edge(item, "hard", at, draft)
            if len(ends) == 2:
                _relate(relation, ends[0], ends[1], draft)
                draft.add_edge(ends[0], ends[1], edge, at, parallel=parallel)
            continue
        edge = read_edge(item, _kind(relation, at, kinds, draft), at, draft)
        if len(ends) == 2:
            for u, v in oriented(ends[0], ends[1], direction):
                draft.add_edge(u, v, edge, at, parallel=parallel)
    if kinds:
        message = f"the kind of {kinds.total()} edges is not hard or soft and is read as hard: {_counts(kinds)}"
        draft.report("notice", (key,), "foreign_kind", message)
    if lost:
        draft.report("notice", (key,), "ignored_attribute", f"edge attributes that are not used: {_counts(lost)}")


def _relate(relation: str, source: str, target: str, draft: Draft) -> None:
    """Have the part know its whole, if it names no other one."""
    part = source if relation == "hosted_on" else target
    node = draft.nodes.get(part)
    if node is not None and relation == "hosted_on" and node.hosted_on is None:
        draft.nodes[part] = replace(node, hosted_on=target)
    elif node is not None and relation == "has_instance" and node.service is None:
        draft.nodes[part] = replace(node, service=source)


def _kind(value: object, at: Path, kinds: Counter[str], draft: Draft) -> Kind:
    if value is None or value in ("", "hard", "soft"):
        return read_kind(value, at, draft)
    kinds[str(value)] += 1
    return "hard"


def _counts(counter: Counter[str]) -> str:
    """Return names with their counts, the most frequent first."""
    return listed(f"{name} ({count})" for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0])))
