"""Where reading has got to, so that no fetch is stepped twice and none is left out.

Fetches can come from before a rebalance or a seek: the client had them at hand. What was read before is left out; when
something is missing in front, reading goes back. A gap that is still there then is one of the log (transaction markers,
retention).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Cursor"]


class Cursor:
    """The next offset of one partition."""

    __slots__ = ("_gap", "next")

    def __init__(self, at: int) -> None:
        self.next = at
        self._gap = -1

    def admit(self, records: Sequence[Any]) -> Sequence[Any] | None:
        """Those of a fetch that are due; None when reading must go back to ``next`` first."""
        first, due = records[0].offset, self.next
        if first == due:
            return records
        if first < due:
            return [record for record in records if record.offset >= due]
        if first == self._gap:
            return records
        self._gap = first
        return None
