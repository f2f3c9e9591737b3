"""Bounds of time and memory around a call, held from outside of it."""

from __future__ import annotations

import signal
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["OverTimeError", "memory_bounded", "time_bounded"]


class OverTimeError(BaseException):
    """The bound of CPU time was reached. Not an ``Exception``, so that no reader takes it for a fault of its input."""


@contextmanager
def time_bounded(seconds: float) -> Iterator[None]:
    """Raise :class:`OverTimeError` inside the block after so many seconds of this process' CPU time.

    The main thread only. A machine that is busy with other things does not count. What never looks for signals, such
    as a search for one character, is found too slow when it is done.
    """

    def over(_signal: int, _frame: FrameType | None) -> None:
        raise OverTimeError(f"more than {seconds:g} s of CPU time")

    before, began = signal.signal(signal.SIGVTALRM, over), time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
    if time.process_time() - began > seconds:
        over(signal.SIGVTALRM, None)


@contextmanager
def memory_bounded(size: int) -> Iterator[None]:
    """Fail when the block had more than ``size`` bytes of Python objects more than before. Slows the block down."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= size, f"{peak - before:,} bytes, at most {size:,} are allowed"
