"""Our own format as plain data: mappings, lists, text and numbers, whether from YAML, JSON or ``to_native``.

    version: 1
    direction: depends_on            # or serves, and then the key of a service is serves as well
    defaults: {team: platform}       # for every service without its own
    services:
      checkout:
        depends_on: [payments, {service: search, kind: soft, delay: 30s}]
        tier: 1
      payments: {owner: ada}
      search:

``read_native`` and ``native_data`` are inverse to each other, up to defaults and order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Literal

from topology.direction import Direction, oriented, settled
from topology.draft import Draft, Path
from topology.fields import EDGE_KEYS, NODE_KEYS, read_edge, read_kind, read_name, read_node, type_name, unknown_key
from topology.model import HARD, Edge, Node

__all__ = ["VERSION", "native_data", "native_entry", "read_native"]

_Stated = Literal["depends_on", "serves"]

#: The version of the format, not of a graph.
VERSION: Final = 1

_TOP: Final = ("version", "direction", "defaults", "services")
_DEFAULTS: Final = ("owner", "team", "on_call", "runbook", "channel", "tier", "labels")
_EDGE: Final = ("service", *EDGE_KEYS)
_TEXTS: Final = ("service", "hosted_on", "owner", "team", "on_call", "runbook", "channel", "tier")


def read_native(data: object, draft: Draft, *, option: Direction | None = None) -> None:
    """Read plain data into the draft. Problems go to the draft; nothing is raised."""
    if not isinstance(data, dict):
        draft.error((), "bad_type", f"the file must be a mapping with {', '.join(_TOP)}, not {type_name(data)}")
        return
    for key in data:
        if key not in _TOP:
            unknown_key(str(key), _TOP, (), draft)
    _version(data, draft)
    direction = _direction(data, option, draft)
    base = _defaults(data.get("defaults"), draft)
    services = data.get("services")
    if services is None and "services" not in data:
        draft.error((), "missing_key", "the key 'services' is absent")
    elif services is not None and not isinstance(services, dict):
        draft.error(("services",), "bad_type", f"services must be a mapping, not {type_name(services)}")
    elif services:
        for key, raw in services.items():
            name = read_name(key, ("services", str(key)), draft)
            _service(str(key) if name is None else name, raw, base, direction, draft)


def native_data(entries: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return plain data for entries made by ``native_entry``."""
    return {"version": VERSION, "direction": "depends_on", "services": dict(entries)}


def native_entry(node: Node, dependencies: Iterable[tuple[str, Edge]]) -> dict[str, Any]:
    """Return one service as plain data: what is stated and nothing else, so equal content gives equal data."""
    entry: dict[str, Any] = {key: value for key in _TEXTS if (value := getattr(node, key)) not in (None, "")}
    if node.labels:
        entry["labels"] = dict(node.labels)
    if node.aliases:
        entry["aliases"] = list(node.aliases)
    stated = [v if edge == HARD else _edge_entry(v, edge) for v, edge in dependencies]
    if stated:
        entry["depends_on"] = stated
    return entry


def _edge_entry(v: str, edge: Edge) -> dict[str, Any]:
    entry: dict[str, Any] = {"service": v}
    if edge.kind != "hard":
        entry["kind"] = edge.kind
    entry.update({key: value for key in ("group", "needs", "delay") if (value := getattr(edge, key)) is not None})
    return entry


def _version(data: dict[Any, Any], draft: Draft) -> None:
    version = data.get("version")
    if "version" not in data:
        draft.error((), "missing_key", f"the key 'version' is absent; write version: {VERSION}")
    elif type(version) is not int or version != VERSION:
        draft.error(("version",), "bad_value", f"version is {version!r}; this program reads version {VERSION}")


def _direction(data: dict[Any, Any], option: Direction | None, draft: Draft) -> _Stated:
    how = "write direction: depends_on (a service lists what it depends on) or direction: serves"
    stated: Any = data.get("direction")
    if "direction" not in data:
        draft.error((), "direction_missing", f"the key 'direction' is absent; {how}")
    elif stated not in ("depends_on", "serves"):
        draft.error(("direction",), "bad_value", f"direction is {stated!r}; {how}")
    else:
        settled(stated, option, ("direction",), draft, how=how)
    return "serves" if stated == "serves" else "depends_on"


def _defaults(raw: object, draft: Draft) -> Node | None:
    at: Path = ("defaults",)
    if raw is None:
        return None
    if not isinstance(raw, dict):
        draft.error(at, "bad_type", f"defaults must be a mapping, not {type_name(raw)}")
        return None
    for key in raw:
        if key not in _DEFAULTS:
            unknown_key(str(key), _DEFAULTS, at, draft)
    return read_node({key: raw[key] for key in raw if key in _DEFAULTS}, at, draft, lambda key, value: None)


def _service(name: str, raw: object, base: Node | None, direction: _Stated, draft: Draft) -> None:
    at: Path = ("services", name)
    if raw is not None and not isinstance(raw, dict):
        draft.error(at, "bad_type", f"a service must be a mapping, not {type_name(raw)}")
    fields = raw if isinstance(raw, dict) else {}

    def unknown(key: str, value: object) -> None:
        if key == direction:
            return
        if key in ("depends_on", "serves"):
            message = f"the file says direction: {direction}, so the key must be {direction!r}, not {key!r}"
            draft.error((*at, key), "direction_conflict", message)
        else:
            unknown_key(str(key), (*NODE_KEYS, direction), at, draft)

    node = read_node(fields, at, draft, unknown)
    draft.add_node(name, node if base is None else _with_defaults(node, base), at)
    for key in (direction, "serves" if direction == "depends_on" else "depends_on"):
        _ends(name, fields.get(key), direction, (*at, key), draft)


def _ends(name: str, raw: object, direction: Direction, at: Path, draft: Draft) -> None:
    if raw is None:
        return
    if not isinstance(raw, list):
        draft.error(at, "bad_type", f"{at[-1]} must be a list of services, not {type_name(raw)}")
        return
    for index, item in enumerate(raw):
        place: Path = (*at, index)
        edge = HARD
        if isinstance(item, dict):
            edge = _edge(item, place, draft)
            if "service" not in item:
                draft.error(place, "missing_key", "the key 'service' is absent: which service is this edge about?")
                continue
            item = item["service"]
        other = read_name(item, place, draft)
        if other is not None:
            for u, v in oriented(name, other, direction):
                draft.add_edge(u, v, edge, place)


def _edge(raw: dict[Any, Any], at: Path, draft: Draft) -> Edge:
    for key in raw:
        if key not in _EDGE:
            unknown_key(str(key), _EDGE, at, draft)
    return read_edge(raw, read_kind(raw.get("kind"), at, draft), at, draft)


def _with_defaults(node: Node, base: Node) -> Node:
    absent: dict[str, Any] = {
        key: value
        for key in ("owner", "team", "on_call", "runbook", "channel", "tier")
        if getattr(node, key) is None and (value := getattr(base, key)) is not None
    }
    if base.labels:
        absent["labels"] = {**base.labels, **node.labels}
    return replace(node, **absent) if absent else node
