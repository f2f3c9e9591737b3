"""A program of schema 1, the one before ours: what it would have saved, and a worker that saves so and reads no more.

``python -m tests.older run --config FILE`` is such a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import orjson

from correlator.engine import entries, partition
from correlator.engine.entries import MARKER, window_of
from correlator.engine.partition import Output, Partition
from correlator.engine.state import SCHEMA_VERSION, AlertState, Incident

__all__ = ["NEW_RULES", "older"]

#: Rules that came with schema 2.
NEW_RULES: Final = (
    "breaker_errors",
    "breaker_retry",
    "breaker_window",
    "change_window",
    "changes_kept",
    "changes_listed",
    "judge_interval",
    "kinds",
    "max_windows",
    "suppress_teams",
    "trust_floor",
    "trust_memory",
    "trust_min_verdicts",
    "trust_window",
)
#: What came with it to be remembered: changes, history, likeness, places by evidence, suspects, reviews.
_NEW_KINDS: Final = (b"c", b"h", b"l", b"p", b"u", b"v")
_WINDOW: Final = AlertState.SAVED.index("window")


def older(saved: Mapping[bytes, bytes], standing: Mapping[str, dict[str, Any]]) -> dict[bytes, bytes]:
    """Entries as a program of schema 1 would have saved them; ``standing`` are the windows of all shards."""
    found: dict[bytes, bytes] = {}
    for key, value in saved.items():
        data = orjson.loads(value)
        if key == MARKER:
            found[key] = _marker(data, standing)
        elif window_of(key) is None and (kind := key.split(b"\x1f")[1]) not in _NEW_KINDS:
            found[key] = _older(kind, data)
    return found


def _older(kind: bytes, data: Any) -> bytes:
    if kind == b"a":
        if data[_WINDOW] is not None:
            (data[_WINDOW],) = data[_WINDOW]
        data = data[: -len(AlertState.ADDED)]
    elif kind == b"i":
        data = [*data[: -len(Incident.ADDED) - 1], data[-1]]
    elif kind == b"m":
        del data["judge_due"], data["judge_from"], data["judged_at"], data["failing"], data["said"]
    elif kind == b"w":
        id, conditions, subtree, *rest, begun = data
        assert (subtree, begun) == ("", True)
        data = [id, {name: pattern for name, pattern, _, _ in conditions}, *rest]
    return orjson.dumps(data)


def _marker(marker: dict[str, Any], standing: Mapping[str, dict[str, Any]]) -> bytes:
    for name in ("breakers", "layout"):
        del marker[name]
    for name in NEW_RULES:
        del marker["rules"][name]
    return orjson.dumps({**marker, "schema": 1, "windows": standing})


@contextmanager
def _installed() -> Iterator[None]:
    """This process saves schema 1, and takes every other for newer."""
    take = Partition.take

    def taken(self: Partition, *, entries: bool = True) -> Output:
        output = take(self, entries=entries)
        present = {key: value for key, value in output.entries.items() if value is not None}
        gone = dict.fromkeys(output.entries.keys() - present.keys())
        return output._replace(entries={**gone, **older(present, self.windows)})

    for module in (entries, partition):
        module.SCHEMA_VERSION = 1  # type: ignore[attr-defined]
    Partition.take = taken  # type: ignore[method-assign]
    yield


if __name__ == "__main__":
    from correlator.__main__ import main

    assert SCHEMA_VERSION == 2
    with _installed():
        main(prog_name="correlator")
