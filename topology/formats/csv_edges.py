"""Edge lists as CSV: one dependency a line; services are those that the lines name.

    service,depends_on,kind,group,needs,delay     the header states the direction (so does service,serves)
    source,target,kind,group,needs,delay          the option ``direction`` states it

The columns after the first two are optional and may stand in any order. With ``service,depends_on`` a line
may leave the second cell empty: a service without dependencies.
"""

from __future__ import annotations

import csv
import io
from typing import Final

from topology.direction import Direction, oriented, settled
from topology.draft import Draft, Path
from topology.fields import EDGE_KEYS, read_edge, read_kind, read_name, unknown_key
from topology.formats.source import Source

__all__ = ["read"]

_ENDS: Final[dict[tuple[str, str], Direction | None]] = {
    ("service", "depends_on"): "depends_on",
    ("service", "serves"): "serves",
    ("source", "target"): None,
}
_HOW: Final = "name the columns service,depends_on, or pass the option direction=depends_on or direction=serves"


def read(source: Source, direction: Direction | None) -> Draft:
    """Return the draft of a CSV file. Raises SourceError when it is not UTF-8."""
    rows = csv.reader(io.StringIO(source.text, newline=""), strict=True)
    draft = Draft(lambda path: f"{source.name}:{path[0] if path else max(rows.line_num, 1)}")
    ends: tuple[str, str] | None = None
    columns: list[str] = []
    agreed: Direction = "depends_on"
    try:
        for cells in rows:
            at: Path = (rows.line_num,)
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            if not columns:
                columns = row
                ends = _header(columns, at, draft)
                if ends is None:
                    return draft
                agreed = settled(_ENDS[ends], direction, at, draft, how=_HOW)
            elif ends is not None:
                _row(row, columns, ends, agreed, at, draft)
    except csv.Error as exc:
        draft.error((rows.line_num,), "bad_syntax", f"line {rows.line_num}: not CSV: {exc}")
    if not columns:
        draft.error((1,), "missing_key", "the file has no header; the first line names the columns")
    return draft


def _header(columns: list[str], at: Path, draft: Draft) -> tuple[str, str] | None:
    found = [pair for pair in _ENDS if set(pair) <= set(columns)]
    known = tuple(dict.fromkeys((*(name for pair in found or _ENDS for name in pair), *EDGE_KEYS)))
    for index, name in enumerate(columns):
        if name in columns[:index]:
            draft.error(at, "duplicate_key", f"column {name!r} occurs twice")
        elif name not in known:
            unknown_key(name, known, at, draft)
    if len(found) > 1:
        draft.error(at, "direction_conflict", f"the columns {' and '.join(map(','.join, found))} exclude each other")
    if not found:
        draft.error(at, "missing_key", "the columns service,depends_on (or service,serves, source,target) are absent")
        return None
    return found[0]


def _row(
    row: list[str], columns: list[str], ends: tuple[str, str], direction: Direction, at: Path, draft: Draft
) -> None:
    if len(row) > len(columns):
        draft.error(at, "bad_syntax", f"the line has {len(row)} cells and the header {len(columns)}")
        return
    cells = dict(zip(columns, row, strict=False))
    first = read_name(cells.get(ends[0], ""), at, draft)
    if first is None:
        return
    draft.imply_node(first, at)
    if ends[0] == "service" and not cells.get(ends[1]):
        return
    second = read_name(cells.get(ends[1], ""), at, draft)
    values: dict[str, object] = dict(cells)
    if cells.get("needs", "").isascii() and cells.get("needs", "").isdigit():
        values["needs"] = int(cells["needs"][:18])
    edge = read_edge(values, read_kind(values.get("kind"), at, draft), at, draft)
    if second is not None:
        draft.imply_node(second, at)
        for u, v in oriented(first, second, direction):
            draft.add_edge(u, v, edge, at)
