"""A table for people: drawn on a terminal, aligned text anywhere else, so that it can be searched and cut."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Row", "show"]


class Row(NamedTuple):
    """The cells of a row; ``style`` is that of the whole row, ``styles`` those of single cells by position."""

    cells: Sequence[str]
    style: str = ""
    styles: dict[int, str] = {}  # noqa: RUF012 - never changed


def show(
    columns: Sequence[str],
    rows: Sequence[Row],
    console: Console,
    *,
    right: Collection[str] = (),
    whole: Collection[str] = (),
) -> None:
    """Print the rows under the columns; nothing without rows. ``right`` are numbers, ``whole`` never wrap."""
    if not rows:
        return
    if not console.is_terminal:
        for line in _aligned((columns, *(row.cells for row in rows)), columns, right):
            console.out(line, highlight=False)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column in whole)
    for row in rows:
        table.add_row(*(Text(cell, style=row.styles.get(n, row.style)) for n, cell in enumerate(row.cells)))
    console.print(table)


def _aligned(rows: Sequence[Sequence[str]], columns: Sequence[str], right: Collection[str]) -> Iterator[str]:
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for column, cell, width in zip(columns, row, widths, strict=True):
            blank = " " * (width - cell_len(cell))
            cells.append(blank + cell if column in right else cell + blank)
        yield "  ".join(cells).rstrip()
