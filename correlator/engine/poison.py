"""What became of an input on which the engine raises."""

from __future__ import annotations

import traceback
from pathlib import PurePath
from typing import Any, Final, NamedTuple, Self

from correlator.engine.shard import StepError
from correlator.errors import CorrelatorError

__all__ = ["EngineError", "Fault", "Quarantined"]

#: Calls that a trace lists.
_FRAMES: Final = 12


class EngineError(CorrelatorError):
    """The engine raised on a record that has no alert to put aside."""

    reason = "engine"


class Quarantined(NamedTuple):
    """What was put aside: its place in the log, and why.

    An alert has its raw partition as ``source``, and its ``row``. A control or a foreign record has its shard as
    ``source``, no row, and its bytes as ``value``. ``trace`` says where the engine raised, innermost last.
    """

    offset: int
    source: str
    row: Any
    error: str
    reason: str = "engine_error"
    value: bytes = b""
    trace: str = ""


class Fault(NamedTuple):
    """Why the engine could not take something, and where in the engine that was."""

    text: str
    trace: str

    @classmethod
    def of(cls, failure: StepError) -> Self:
        """Of a step that raised."""
        cause = failure.__cause__
        frames = traceback.walk_tb(cause.__traceback__ if cause is not None else None)
        places = [f"{PurePath(f.f_code.co_filename).name}:{line} {f.f_code.co_name}" for f, line in frames]
        return cls(str(failure), " > ".join(places[-_FRAMES:]))
