"""The way back: the last confirmed state, the records since, and what of them is left out because the engine raises.

A record on which the engine raises is applied again without the alert at fault, on the state as it was before it: the
state is rebuilt from the last confirmed entries and the records since. So poison costs time, and nothing else. A
control, or a graph, on which the engine raises is left out as a whole; not one of a move, without which alerts would
be lost, and not the mere passing of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from correlator.engine.layout import MOVES
from correlator.engine.poison import EngineError, Fault
from correlator.engine.records import decoded
from correlator.engine.shard import StepError

__all__ = ["Entry", "Journal"]

#: Alerts left out between two checkpoints beyond which the engine, and not the alerts, is at fault.
_MAX_POISON: Final = 100


class Entry(NamedTuple):
    """A record of ``alerts.placed`` that was applied."""

    offset: int
    time: float
    shard: str
    value: bytes


class Journal:
    """``rebuild`` applies :attr:`since` to :attr:`saved`, asking for each record what to leave out."""

    def __init__(self, rebuild: Callable[[], None]) -> None:
        self._rebuild = rebuild
        self.restart({})

    def restart(self, saved: Mapping[bytes, bytes], applied: int = -1) -> None:
        """Begin at a saved state, that of the records up to ``applied``."""
        self.saved: dict[bytes, bytes] = dict(saved)
        self.since: list[Entry] = []
        self.taken = applied
        self._skips: dict[int, frozenset[int]] = {}
        self._faults: dict[tuple[int, int], Fault] = {}
        self._bad: dict[int, Fault] = {}

    def confirm(self, applied: int, entries: Mapping[bytes, bytes | None]) -> None:
        """The broker has the state up to ``applied``: these are the entries that have changed."""
        for key, value in entries.items():
            if value is None:
                self.saved.pop(key, None)
            else:
                self.saved[key] = value
        self.since = [entry for entry in self.since if entry.offset > applied]
        self._skips = {offset: skip for offset, skip in self._skips.items() if offset > applied}
        self._faults = {place: fault for place, fault in self._faults.items() if place[0] > applied}
        self._bad = {offset: fault for offset, fault in self._bad.items() if offset > applied}

    # -- what is left out ------------------------------------------------------------------------------------

    def skips(self, offset: int) -> frozenset[int]:
        """The rows of a record that are left out."""
        return self._skips.get(offset, frozenset())

    def fault(self, offset: int, index: int) -> Fault | None:
        """Why the engine cannot take a row; None where it is not to blame."""
        return self._faults.get((offset, index))

    def bad(self, offset: int) -> Fault | None:
        """Why the engine cannot take a control; None where it can."""
        return self._bad.get(offset)

    def leave_out(self, failure: StepError) -> None:
        """Find what the engine raises on in the last record, row by row, and go on without it.

        Raises :class:`EngineError` when there is nothing to leave out, or too much.
        """
        offset, _, _, value = self.since[-1]
        data = decoded(value) or {}
        if data.get("type", "alerts") != "alerts":
            self._leave_out_control(failure, data["type"])
            return
        rows = len(data.get("rows", ()))
        while True:
            known = self.skips(offset)
            index = failure.index if failure.index is not None else self._culprit(offset, rows, known)
            if index is None or index in known:
                raise EngineError(f"the engine raised at offset {offset}: {failure}") from failure
            self._faults[offset, index] = Fault.of(failure)
            if len(self._faults) > _MAX_POISON:
                raise EngineError(
                    f"the engine raised on more than {_MAX_POISON} alerts since the last checkpoint, last: {failure}"
                ) from failure
            again = self._try(offset, known | {index})
            if again is None:
                return
            failure = again

    def _leave_out_control(self, failure: StepError, kind: str) -> None:
        offset = self.since[-1].offset
        self._bad[offset] = Fault.of(failure)
        if kind == "tick" or kind in MOVES or len(self._bad) > _MAX_POISON or self._attempt() is not None:
            raise EngineError(f"the engine raised at offset {offset}: {failure}") from failure

    def _culprit(self, offset: int, rows: int, known: frozenset[int]) -> int | None:
        """The first row with which the record raises outside of the rows: by halves, so that one is left out."""
        low, high = 0, rows  # without any row it must not raise; with all of them it does
        if not rows or self._try(offset, frozenset(range(rows))) is not None:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self._try(offset, known | frozenset(range(middle, rows))) is None:
                low = middle
            else:
                high = middle
        return high - 1

    def _try(self, offset: int, skip: frozenset[int]) -> StepError | None:
        self._skips[offset] = skip
        return self._attempt()

    def _attempt(self) -> StepError | None:
        try:
            self._rebuild()
        except StepError as failure:
            return failure
        return None
