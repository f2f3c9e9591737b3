"""The Faust application of a worker: which of Faust's parts are in use, with which settings, and which are replaced."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import faust
from yarl import URL

from correlator.config import Settings
from correlator.stream import clients
from correlator.stream.recovery import Duties, Recovery, StateTable, TableManager
from correlator.stream.transport import BatchTransport

__all__ = ["Agent", "app_of"]

#: Seconds between heartbeats; by the answer to one a worker learns that the group wants to distribute anew. A crash is
#: noticed a session after the last one of the dead, and at the next one of who lives on: at most twice this late.
_HEARTBEAT: Final = 0.3


class Agent(NamedTuple):
    """What one agent reads, and what it does with the stream of fetches."""

    topics: Sequence[str]
    work: Callable[[Any], Awaitable[None]]


def app_of(settings: Settings, name: str, partitions: int, agents: Mapping[str, Agent], duties: Duties) -> Any:
    """The application of the worker ``name``, not started, with ``agents`` by name.

    ``partitions`` are those of the placed topic; ``duties`` are what its recovery leaves to the worker.
    """
    broker = settings.broker
    app: Any = faust.App(
        settings.worker.application,
        broker=[URL(f"kafka://{address}") for address in broker.bootstrap],
        broker_credentials=clients.credentials(settings),
        broker_session_timeout=broker.session_timeout,
        broker_heartbeat_interval=_HEARTBEAT,
        broker_request_timeout=broker.request_timeout,
        broker_commit_interval=1.0,
        broker_max_poll_records=4_000,
        consumer_max_fetch_size=clients.MAX_BATCH_BYTES * 2,
        consumer_auto_offset_reset="earliest",
        store="memory://",
        topic_partitions=partitions,
        table_standby_replicas=settings.worker.standby_replicas,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_buffer_maxsize=16,
        stream_recovery_delay=0.0,
        producer_max_request_size=clients.MAX_BATCH_BYTES,
        canonical_url=f"http://{name}",
        consumer_group_instance_id=(settings.worker.id or None) if settings.worker.static_membership else None,
        web_enabled=False,
        TableManager=TableManager,
        logging_config=None,
    )
    app._create_directories = lambda: None  # nothing of ours is kept in files
    app._new_transport = types.MethodType(lambda self: BatchTransport(self.conf.broker_consumer, self), app)
    app.tables.add(StateTable(app, name="state", partitions=partitions))
    recovery = app.tables._recovery = Recovery(app, app.tables, beacon=app.tables.beacon)
    recovery.duties = duties
    raw: dict[str, Any] = {"key_type": bytes, "value_type": None, "key_serializer": "raw", "value_serializer": "raw"}
    for title, agent in agents.items():
        app.agent(app.topic(*agent.topics, **raw), name=title)(agent.work)
    return app
