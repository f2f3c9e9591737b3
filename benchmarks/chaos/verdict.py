"""What must hold after a run, each with what and where when it does not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from benchmarks.chaos.traffic import BAD
from benchmarks.oracle import Oracle
from benchmarks.outcome import Outcome, Published
from benchmarks.poison import POISON
from correlator.config import Settings
from correlator.model import PLACED_COLUMNS
from correlator.stream.intake import HEARTBEAT

__all__ = ["Evidence", "Verdict", "judge", "repeats"]

_OFFSET, _INDEX = PLACED_COLUMNS.index("offset"), PLACED_COLUMNS.index("index")
_REASON_OF: Final = {value: reason for reason, value in BAD.items()}
_PUT_ASIDE: Final = ("engine_error", "breaker_open")
_OPERATED: Final = ("maintenance", "maintenance_end", "acknowledge", "change")
_NAMED: Final = 5
#: raw partition, offset, position in the record
Spot = tuple[int, int, int]


@dataclass
class Evidence:
    """All that the topics hold after a run."""

    raw: list[Any]
    controls: list[Any]
    changes: list[Any]
    published: Published

    @classmethod
    async def read(cls, outcome: Outcome) -> Evidence:
        """Read it. The workers must have stopped."""
        topics = outcome.settings.topics
        return cls(
            raw=await outcome.read(topics.raw[0]),
            controls=await outcome.read(topics.controls),
            changes=await outcome.read(topics.changes[0]),
            published=await outcome.published(),
        )

    def fed(self) -> tuple[set[Spot], dict[tuple[int, int], str]]:
        """Where the alerts are, and the records that must be rejected with their reasons."""
        alerts: set[Spot] = set()
        bad: dict[tuple[int, int], str] = {}
        for record in self.raw:
            if record.headers and record.headers[0][0] == HEARTBEAT:
                continue
            reason = _REASON_OF.get(record.value)
            if reason is not None:
                bad[record.partition, record.offset] = reason
                continue
            found = orjson.loads(record.value)
            alerts |= {
                (record.partition, record.offset, i) for i in range(len(found) if isinstance(found, list) else 1)
            }
        return alerts, bad


@dataclass
class Verdict:
    """Each law with what breaks it, and figures."""

    laws: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        """Everything that breaks a law, with the law."""
        return [f"{law}: {line}" for law, lines in self.laws.items() for line in lines]


def judge(evidence: Evidence, settings: Settings, *, exact: bool) -> Verdict:
    """Compare what was fed, what was placed and what was published. The engine of this process must be the workers'."""
    published = evidence.published
    oracle = Oracle.of(published.placed, published.graphs, published.applied, POISON.encode())
    alerts, bad = evidence.fed()
    placed, operated = _placed(published.placed, settings)
    rejected = _rejected(published.rejected)
    verdict = Verdict()
    verdict.laws = {
        "byte for byte what the log implies": oracle.differences(published, once=exact, compacted=True),
        "every alert placed": _sets("alert", alerts, placed),
        "every alert decided once": _decided(oracle, len(alerts)),
        "every bad record rejected": _bad(bad, rejected, settings.topics.raw[0]),
        "what the engine raised on put aside": _aside(oracle, rejected),
        "every control and change in the log": _some(
            "lost", sorted({_name(orjson.loads(r.value)) for r in [*evidence.controls, *evidence.changes]} - operated)
        ),
    }
    verdict.figures = {
        "alerts fed": len(alerts),
        "alerts decided": oracle.inputs,
        "alerts placed twice and ignored": oracle.replayed,
        "alerts put aside": oracle.quarantined,
        "bad records": len(bad),
        "incidents": len(oracle.last),
        "revisions": len(published.history),
        "receipts": len(published.receipts),
        "placed records": len(published.placed),
    }
    return verdict


def _placed(records: list[Any], settings: Settings) -> tuple[set[Spot], set[str]]:
    """Where the placed alerts came from, and the names of controls and changes."""
    spots: set[Spot] = set()
    names: set[str] = set()
    for record in records:
        data = orjson.loads(record.value) if record.value else {}
        kind = data.get("type")
        if kind == "alerts":
            topic, _, number = data["source"].rpartition("/")
            assert topic == settings.topics.raw[0], topic
            spots |= {(int(number), row[_OFFSET], row[_INDEX]) for row in data["rows"]}
        elif kind in _OPERATED:
            names.add(_name(data))
    return spots, names


def _name(operated: dict[str, Any]) -> str:
    """What tells a control, or a change as it was sent or placed, from others."""
    return f"{operated.get('type', 'change')} {operated.get('id') or operated.get('incident')}"


def _sets(what: str, fed: set[Any], found: set[Any]) -> list[str]:
    return _some(f"{what} lost", sorted(fed - found)) + _some(f"{what} that nobody sent", sorted(found - fed))


def _some(what: str, found: list[Any]) -> list[str]:
    lines = [f"{what}: {one}" for one in found[:_NAMED]]
    return [*lines, f"{what}: {len(found) - _NAMED} more"] if len(found) > _NAMED else lines


def _decided(oracle: Oracle, fed: int) -> list[str]:
    lines = []
    if oracle.inputs != fed:
        lines.append(f"{fed} alerts were fed, {oracle.inputs} decided")
    if oracle.rows != oracle.inputs + oracle.replayed:
        lines.append(f"{oracle.rows} rows were placed, {oracle.inputs} decided and {oracle.replayed} ignored")
    for name, shard in sorted(oracle.shards.items()):
        store = shard.store
        if (counted := sum(store.transitions.values())) != store.inputs:
            lines.append(f"shard {name}: {store.inputs} inputs, {counted} verdict transitions")
    return lines


def _rejected(records: list[Any]) -> dict[tuple[str, int, int, str], str]:
    """Topic, partition, offset and index of what was rejected, with the reason; at least once is enough."""
    found = {}
    for record in records:
        headers = {name: value.decode() for name, value in record.headers}
        place = (headers["topic"], int(headers["partition"]), int(headers["offset"]), headers["index"])
        found[place] = headers["reason"]
    return found


def _bad(bad: dict[tuple[int, int], str], rejected: dict[tuple[str, int, int, str], str], raw: str) -> list[str]:
    unread = {
        (place[1], place[2], reason)
        for place, reason in rejected.items()
        if place[0] == raw and reason not in _PUT_ASIDE
    }
    return _sets("bad record", {(*place, reason) for place, reason in bad.items()}, unread)


def _aside(oracle: Oracle, rejected: dict[tuple[str, int, int, str], str]) -> list[str]:
    found = sum(reason in _PUT_ASIDE for reason in rejected.values())
    if found == oracle.quarantined:
        return []
    return [f"the engine puts {oracle.quarantined} aside, {found} are on the rejected topic"]


async def repeats(outcome: Outcome) -> list[dict[str, Any]]:
    """What a reader sees that does not ask for committed records: how much, what of it twice, and what never held."""
    topics, rows = outcome.settings.topics, []
    for topic in (topics.incidents, topics.history, topics.decisions):
        naive = await outcome.read(topic, isolation="read_uncommitted")
        held = await outcome.read(topic)
        seen = Counter((record.key, record.value) for record in naive if record.value is not None)
        rows.append(
            {
                "topic": topic.partition(".")[2],
                "records": len(naive),
                "of aborted transactions": len(naive) - len(held),
                "seen again": seen.total() - len(seen),
            }
        )
    return rows
