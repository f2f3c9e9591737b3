"""The oracle: the engine itself, offline.

What was placed is replayed through it, up to the offsets that the state says were applied, and must say byte for byte
what the workers published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from benchmarks.outcome import Published
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from topology import ServiceGraph

__all__ = ["Oracle"]

#: Differences of one sort that are named; the rest is counted.
_NAMED: Final = 5


@dataclass
class Oracle:
    """What the engine says about a log."""

    last: dict[str, bytes | None] = field(default_factory=dict)
    receipts: Counter[bytes] = field(default_factory=Counter)
    rows: int = 0
    inputs: int = 0
    replayed: int = 0
    quarantined: int = 0
    shards: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, records: Iterable[Any], graphs: Mapping[str, ServiceGraph], applied: Mapping[int, int], cut: bytes = b""
    ) -> Oracle:
        """Replay ``records`` up to the offsets ``applied``, with a checkpoint before each that holds ``cut``."""
        oracle, partitions = cls(), dict[int, Partition]()
        for record in records:
            if record.offset > applied.get(record.partition, -1):
                continue
            partition = partitions.get(record.partition)
            if partition is None:
                partition = partitions[record.partition] = Partition(ServiceGraph.empty(), Rules(), graphs.__getitem__)
            data = orjson.loads(record.value) if record.value else {}
            oracle.rows += len(data.get("rows", ()))
            if cut and record.value and cut in record.value:  # what raises is cheap to go back to from here
                oracle._take(partition)
            partition.apply(record.offset, record.timestamp / 1000, (record.key or b"").decode(), record.value)
        for _, partition in sorted(partitions.items()):
            oracle._take(partition)
            for name, shard in partition.shards.items():
                assert name not in oracle.shards, f"shard {name} is in two partitions"
                oracle.shards[name] = shard
                oracle.inputs += shard.store.inputs
                oracle.replayed += shard.store.replayed
        return oracle

    def _take(self, partition: Partition) -> None:
        output = partition.take()
        partition.saved(output)
        self.quarantined += len(output.quarantined)
        for key, incident in output.incidents:
            self.last[key] = None if incident is None else orjson.dumps(incident)
        for receipts in output.decisions.values():
            self.receipts.update(orjson.dumps(receipt) for receipt in receipts)

    def differences(self, published: Published, *, once: bool, compacted: bool = False) -> list[str]:
        """What was published and is not what the engine says, in words; nothing when all is byte for byte the same.

        With ``once`` every revision and every receipt must be there once; without, a crash may have repeated some and
        may not have changed any. With ``compacted`` older values may be gone from ``incidents``.
        """
        told = Counter(orjson.dumps(receipt) for receipt in published.receipts)
        history = Counter((record.key, record.value) for record in published.history)
        said = Counter((record.key, record.value) for record in published.incidents if record.value is not None)
        if not once:
            told, history, said = Counter(set(told)), Counter(set(history)), Counter(set(said))
        expected = self.receipts if once else Counter(set(self.receipts))
        last = published.last
        lines = _listed(
            "last value of incident",
            [
                f"{key}: published {_short(last.get(key, b'none'))}, implied {_short(self.last.get(key, b'none'))}"
                for key in sorted(last.keys() | self.last.keys())
                if last.get(key, b"none") != self.last.get(key, b"none")
            ],
        )
        lines += _listed("receipt missing", [_short(key) for key in (expected - told).elements()])
        lines += _listed("receipt not implied", [_short(key) for key in (told - expected).elements()])
        lines += _listed("revision not in history", [_short(value) for _, value in (said - history).elements()])
        missing = history - said if not compacted else history - Counter(set(history))
        lines += _listed(
            "revision twice in history" if compacted else "revision only in history",
            [_short(value) for _, value in missing.elements()],
        )
        return lines


def _listed(what: str, found: list[str]) -> list[str]:
    lines = [f"{what}: {one}" for one in found[:_NAMED]]
    return [*lines, f"{what}: {len(found) - _NAMED} more"] if len(found) > _NAMED else lines


def _short(value: bytes | None) -> str:
    return "a tombstone" if value is None else value[:400].decode(errors="replace")
