"""``correlator repair``, the mending: what was found by :mod:`correlator.stream.repair`, on request.

It needs that no worker of the group is alive, and writes as the partition's own writer, so that where the broker has
transactions a worker that was forgotten is fenced off.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from correlator.config import Settings
from correlator.engine.partition import MARKER, Output
from correlator.engine.render import iso
from correlator.engine.state import SCHEMA_VERSION
from correlator.errors import BrokerError, StateError
from correlator.stream import clients, rejected, topics
from correlator.stream.intake import partition_of
from correlator.stream.outlet import Outlet
from correlator.stream.refusals import FORGET_STATE
from correlator.stream.repair import Found, Look, Raw, metas

__all__ = ["apply"]


async def apply(settings: Settings, seen: Look, choice: str, only: Iterable[int] = ()) -> list[str]:
    """Mend with ``choice`` what it can mend, of the partitions ``only`` if given; a line for each thing done.

    Raises :class:`StateError` while workers are alive, or where nothing can be mended that way.
    """
    if seen.members:
        raise StateError(
            f"{seen.members} workers of the group {settings.worker.application} are alive: stop them first; one "
            f"that was killed counts for {settings.broker.session_timeout:g} s more",
            reason="busy",
        )
    wanted = set(only)
    broken = [
        f for f in seen.partitions if f.refusal and choice in f.refusal.choices and f.number in (wanted or {f.number})
    ]
    raw = [r for r in seen.raw if choice in r.refusal.choices and not wanted]
    if not broken and not raw:
        raise StateError(f"nothing here can be mended by --{choice}", reason="repair")
    said = []
    for found in broken:
        closed, homes = await _closings(settings, found) if choice == FORGET_STATE else ([], {})
        entries = _forgotten(seen, found) if choice == FORGET_STATE else _advanced(found)
        await _write(settings, found, Output(found.bounds.first - 1, closed, {}, entries, [], homes=homes))
        went = "made again from" if choice == FORGET_STATE else "kept, goes on at"
        tail = f", {len(closed)} incidents closed" if choice == FORGET_STATE else ""
        said.append(f"partition {found.number}: state {went} offset {found.bounds.first}{tail}")
    if raw:
        said += await _rewind(settings, seen, raw)
    return said


def _advanced(found: Found) -> dict[bytes, bytes | None]:
    """The marker, with everything before the log's start applied."""
    marker = orjson.loads(found.entries[MARKER])
    return {MARKER: orjson.dumps({**marker, "applied": found.bounds.first - 1})}


def _forgotten(seen: Look, found: Found) -> dict[bytes, bytes | None]:
    """Nothing but a new marker: the records that put the graph and the rules in force may be gone from the log."""
    entries: dict[bytes, bytes | None] = dict.fromkeys(found.entries)
    if seen.current is not None:
        fresh = {"schema": SCHEMA_VERSION, "applied": found.bounds.first - 1, "graph": seen.current["version"]}
        fresh |= {"rules": seen.current["rules"], "watermarks": {}, "partitions": 0}
        entries[MARKER] = orjson.dumps(fresh)
    return entries


async def _closings(settings: Settings, found: Found) -> tuple[list[tuple[str, dict[str, Any] | None]], dict[str, int]]:
    """Last revisions of the incidents that a state made from the log will not know, and where they are published.

    They are those of the partition's shards that are older than the log.
    """
    last: dict[str, tuple[dict[str, Any], float]] = {}
    homes: dict[str, int] = {}
    async for record in rejected.records(settings, settings.topics.incidents):
        if record.key is not None:
            key = record.key.decode(errors="replace")
            value = None if record.value is None else orjson.loads(record.value)
            if value is None or partition_of(value["shard"], settings.topics.partitions) != found.number:
                last.pop(key, None)
            else:
                last[key] = value, record.timestamp / 1000
                homes[key] = record.partition
    began = found.began_at
    closed: list[tuple[str, dict[str, Any] | None]] = []
    for key, (value, at) in sorted(last.items()):
        ours = value["state"] in ("forming", "open", "resolved") and "bypass" not in value["flags"]
        if ours and (began is None or value["opened_at"] < iso(began)):
            closed.append((key, _closed(value, at)))
    return closed, homes


def _closed(value: dict[str, Any], at: float) -> dict[str, Any]:
    """The incident, over without anybody knowing how."""
    why = "closed by correlator repair: the state that knew it was given up"
    over = {"state": "closed", "revision": value["revision"] + 1, "updated_at": iso(at), "resolution": "unknown"}
    over |= {"page": {**value["page"], "wanted": False}, "resolved_at": value["resolved_at"] or iso(at)}
    return {**value, **over, "reasons": [*value["reasons"], why]}


async def _write(settings: Settings, found: Found, output: Output) -> None:
    counts = await topics.require(settings)
    outlet = Outlet(
        settings,
        clients.Clients(settings),
        found.number,
        lambda: True,  # no group is asked: nobody is in it
        transactions=found.bounds.exact,
        rejected_partitions=counts[settings.topics.rejected],
    )
    await outlet.start()
    try:
        await outlet.write(output, found.graph or "")
    finally:
        await outlet.stop()


async def _rewind(settings: Settings, seen: Look, raw: list[Raw]) -> list[str]:
    """Let the group read new raw topics from their start, and the engine count them."""
    sources = {f"{r.tp.topic}/{r.tp.partition}" for r in raw}
    for found in seen.partitions:
        changed: dict[bytes, bytes | None] = {}
        marker = orjson.loads(found.entries.get(MARKER, b"{}"))
        floor = marker.get("layout", {}).get("floor", {})
        if not sources.isdisjoint(floor):
            marker["layout"]["floor"] = {source: mark for source, mark in floor.items() if source not in sources}
            changed[MARKER] = orjson.dumps(marker)
        for key, meta in metas(found).items():
            kept = {source: mark for source, mark in meta["marks"].items() if source not in sources}
            if len(kept) != len(meta["marks"]):
                changed[key] = orjson.dumps({**meta, "marks": kept})
        applied = -1 if found.applied is None else found.applied
        if changed:
            await _write(settings, found, Output(applied, [], {}, changed, []))
    consumer = clients.reader(settings, group=settings.worker.application)
    try:
        await consumer.start()
        consumer.assign([r.tp for r in raw])
        await consumer.commit({r.tp: OffsetAndMetadata(r.first, "") for r in raw})
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await consumer.stop()
    return [f"{r.tp.topic}/{r.tp.partition}: read from offset {r.first}" for r in raw]
