"""The topics: which there are, how they must be configured, and how they differ from what the broker has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from correlator.config import Settings
from correlator.errors import BrokerError
from correlator.stream.clients import MAX_BATCH_BYTES, admin

__all__ = [
    *("STATE_DELETE_RETENTION", "TopicPlan", "TopicState"),
    *("create", "grow", "inspect", "plan", "require", "state_topic"),
]

_BATCH: Final = str(MAX_BATCH_BYTES + (64 << 10))
#: How long a tombstone of the state stays in its compacted changelog at least, in seconds. Who reads the changelog
#: must not be out of step for longer; what is kept for longer is read by every recovery.
STATE_DELETE_RETENTION: Final = 600.0


@dataclass(frozen=True)
class TopicPlan:
    """One topic as it must be. ``fixed`` says whether the number of partitions must be exactly this one."""

    name: str
    purpose: str
    partitions: int
    fixed: bool
    configs: dict[str, str]


@dataclass(frozen=True)
class TopicState:
    """One topic as it is: ``partitions`` is None where it is missing; ``differences`` are in words."""

    plan: TopicPlan
    partitions: int | None
    differences: tuple[str, ...]


def state_topic(settings: Settings) -> str:
    """Changelog of the state table, named as Faust names it."""
    return f"{settings.worker.application}-state-changelog"


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


def plan(settings: Settings) -> list[TopicPlan]:
    """Every topic of an installation."""
    topics, n = settings.topics, settings.topics.partitions
    compact = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "max.compaction.lag.ms": "60000"}
    delete = {"cleanup.policy": "delete"}
    raw_bytes = str(settings.intake.max_record_bytes + (64 << 10))
    plans = [
        TopicPlan(
            name,
            "alerts of any dialect, from the sources",
            topics.raw_partitions,
            False,
            {"max.message.bytes": raw_bytes},
        )
        for name in topics.raw
    ]
    plans += [
        TopicPlan(name, "deployments and other changes", 1, False, {"max.message.bytes": raw_bytes})
        for name in topics.changes
    ]
    state = {
        **compact,
        "delete.retention.ms": _ms(STATE_DELETE_RETENTION),
        "segment.bytes": str(16 << 20),  # the open segment is never compacted; it must hold a batch
        "max.message.bytes": _BATCH,
    }
    placed = {**delete, "retention.ms": _ms(topics.placed_retention), "message.timestamp.type": "LogAppendTime"}
    history = {**delete, "retention.ms": _ms(topics.history_retention), "max.message.bytes": _BATCH}
    decisions = {**delete, "retention.ms": _ms(topics.decisions_retention), "max.message.bytes": _BATCH}
    rejected = {**delete, "retention.ms": _ms(topics.rejected_retention), "max.message.bytes": raw_bytes}
    return [
        *plans,
        TopicPlan(topics.placed, "the log that decides", n, True, {**placed, "max.message.bytes": _BATCH}),
        TopicPlan(state_topic(settings), "the state, as checkpoints", n, True, state),
        TopicPlan(topics.incidents, "current incidents", n, True, {**compact, "max.message.bytes": _BATCH}),
        TopicPlan(topics.history, "every revision of every incident", n, True, history),
        TopicPlan(topics.decisions, "receipts", n, True, decisions),
        TopicPlan(topics.rejected, "what could not be read, byte for byte", n, False, rejected),
        TopicPlan(topics.controls, "what operators say", 1, True, delete),
        TopicPlan(topics.topology, "graphs by version", 1, True, {**compact, "max.message.bytes": _BATCH}),
    ]


async def inspect(settings: Settings) -> list[TopicState]:
    """Compare the plan with the broker. Raises :class:`BrokerError` when it does not answer."""
    client = admin(settings)
    try:
        await client.start()
        plans = plan(settings)
        # listed without naming them: a broker may create a topic that a metadata request names
        existing = set(await client.list_topics())
        described = await client.describe_topics([p.name for p in plans if p.name in existing])
        found = {d["topic"]: len(d["partitions"]) for d in described if not d["error_code"]}
        configs = await _configs(client, sorted(found))
        return [_compare(p, found.get(p.name), configs.get(p.name)) for p in plans]
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await client.close()


async def _configs(client: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Configurations by topic; empty for a broker that does not tell."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        answers = await client.describe_configs(resources)
    except (KafkaError, NotImplementedError):
        return {}
    found: dict[str, dict[str, str]] = {}
    for answer in answers:
        for code, _, _, name, entries in answer.resources:
            if not code:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def _compare(wanted: TopicPlan, partitions: int | None, configs: dict[str, str] | None) -> TopicState:
    differences = []
    if partitions is not None and wanted.fixed and partitions != wanted.partitions:
        differences.append(f"partitions: wanted {wanted.partitions}, found {partitions}")
    for key, value in wanted.configs.items():
        has = (configs or {}).get(key)
        if has is None or not wanted.fixed or key.startswith(("min.", "segment.", "retention.")):
            continue
        larger_will_do = key.endswith("bytes") or key == "delete.retention.ms"
        if has != value and not (larger_will_do and int(has) >= int(value)):
            differences.append(f"{key}: wanted {value}, found {has}")
    return TopicState(wanted, partitions, tuple(differences))


async def create(settings: Settings, states: list[TopicState] | None = None) -> list[str]:
    """Create what is missing; the names of what was created. Raises :class:`BrokerError` on refusal."""
    missing = [s.plan for s in states or await inspect(settings) if s.partitions is None]
    if not missing:
        return []
    client = admin(settings)
    replication = settings.topics.replication
    try:
        await client.start()
        answer = await client.create_topics(
            [NewTopic(p.name, p.partitions, replication, topic_configs=p.configs) for p in missing]
        )
        refused = [
            f"{e[0]}: {e[2] if len(e) > 2 and e[2] else e[1]}" for e in answer.topic_errors if e[1] not in (0, 36)
        ]
        if refused:
            raise BrokerError(f"the broker refused to create topics: {'; '.join(refused)}")
        await _wait_created(client, [p.name for p in missing])
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await client.close()
    return [p.name for p in missing]


async def grow(settings: Settings, states: list[TopicState]) -> list[str]:
    """Add the partitions that topics with a fixed number of them lack; their names. Raises :class:`BrokerError`."""
    lacking = [s.plan for s in states if s.plan.fixed and s.partitions is not None and s.partitions < s.plan.partitions]
    if not lacking:
        return []
    client = admin(settings)
    try:
        await client.start()
        await client.create_partitions({plan.name: NewPartitions(plan.partitions) for plan in lacking})
        for _ in range(100):
            described = await client.describe_topics([plan.name for plan in lacking])
            has = {d["topic"]: len(d["partitions"]) for d in described if not d["error_code"]}
            if all(has.get(plan.name) == plan.partitions for plan in lacking):
                return [plan.name for plan in lacking]
            await asyncio.sleep(0.1)
    except (KafkaError, OSError, NotImplementedError) as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: cannot add partitions: {error!r}") from error
    finally:
        await client.close()
    raise BrokerError(f"partitions do not appear: {', '.join(plan.name for plan in lacking)}")


async def _wait_created(client: AIOKafkaAdminClient, names: list[str]) -> None:
    for _ in range(100):
        described: list[dict[str, Any]] = await client.describe_topics(names)
        if all(not d["error_code"] and d["partitions"] for d in described):
            return
        await asyncio.sleep(0.1)
    raise BrokerError(f"topics do not appear after creation: {', '.join(names)}")


async def require(settings: Settings, *, make: bool = False) -> dict[str, int]:
    """Partitions of every topic by name, after refusing what is missing or differs.

    With ``make`` missing topics are created. Raises :class:`BrokerError` with every difference on one line.
    """
    states = await inspect(settings)
    if make and any(s.partitions is None for s in states):
        await create(settings, states)
        states = await inspect(settings)
    problems = [f"{s.plan.name} is missing" for s in states if s.partitions is None]
    problems += [f"{s.plan.name}: {d}" for s in states for d in s.differences]
    if problems:
        hint = ""
        if any(s.partitions is None for s in states):
            hint = "; create them with: correlator topics --create"
            if settings.broker.security_protocol != "PLAINTEXT":
                hint += "; a broker also hides topics from users without the right Describe"
        raise BrokerError("topics: " + "; ".join(problems) + hint)
    return {s.plan.name: s.partitions or 0 for s in states}
