"""From the bytes of one raw record to alerts, whatever dialect they are written in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from orjson import JSONDecodeError, loads

from correlator.dialects.alertmanager import ALERTMANAGER
from correlator.dialects.alertmanager_v2 import ALERTMANAGER_V2
from correlator.dialects.dialect import Dialect, Outcome
from correlator.dialects.limits import Limits
from correlator.dialects.native import NATIVE
from correlator.dialects.normalise import Normaliser
from correlator.dialects.payload import documents_of
from correlator.errors import RejectedError
from correlator.model import Alert

__all__ = ["REPLICA_LABELS", "SERVICE_LABELS", "Reader", "Reading", "dialects"]

#: All dialects, in the order in which they are asked. Native comes first because it is frequent; a dialect that
#: shares two field names with it must come before it.
_DIALECTS: Final[dict[str, Dialect]] = {dialect.name: dialect for dialect in (NATIVE, ALERTMANAGER, ALERTMANAGER_V2)}

#: Labels that name one copy of a redundant sender, as Prometheus Operator, Thanos, Cortex and Mimir set them.
#: ``prometheus``, ``monitor`` and ``cluster`` are not among them: they tell apart senders that watch different
#: things, and two alerts taken for one is the worse mistake.
REPLICA_LABELS: Final = frozenset(
    {
        "__replica__",
        "prometheus_replica",
        "receive_replica",
        "replica",
        "rule_replica",
        "ruler_replica",
        "thanos_ruler_replica",
    }
)
#: Labels that name the service of an alert that does not say it, best first.
SERVICE_LABELS: Final = (
    "service",
    "service_name",
    "app",
    "application",
    "deployment",
    "statefulset",
    "daemonset",
    "workload",
    "pod",
    "host",
    "hostname",
    "node",
    "job",
    "instance",
)


class Reading(NamedTuple):
    """What one record held.

    ``indices[i]`` is the position of ``alerts[i]`` in the record, counted from 0 over all alerts and, in a record
    of several lines, over lines that cannot be read. ``rejects`` are positions with the reason; None stands for
    the whole record. ``dialect`` is "" when none was recognised.
    """

    alerts: list[Alert]
    indices: list[int]
    rejects: list[tuple[int | None, RejectedError]]
    dialect: str


def dialects() -> tuple[str, ...]:
    """Names of all dialects, in the order in which they are asked to recognise a record."""
    return tuple(_DIALECTS)


class Reader:
    """Reads raw records under one set of settings.

    ``dialect`` names the one dialect of the records; None detects it for each. ``ignore_labels`` are left out of
    the fingerprint (and stay on the alert). ``service_labels`` are asked, in order, for the service of an alert
    that does not name it. Raises ValueError for a dialect that does not exist.
    """

    __slots__ = ("_dialect", "_limits", "_normaliser")

    def __init__(
        self,
        *,
        dialect: str | None = None,
        ignore_labels: Iterable[str] = REPLICA_LABELS,
        service_labels: Sequence[str] = SERVICE_LABELS,
        limits: Limits | None = None,
    ) -> None:
        if dialect is not None and dialect not in _DIALECTS:
            raise ValueError(f"unknown dialect {dialect!r}; known: {', '.join(_DIALECTS)}")
        self._dialect = None if dialect is None else _DIALECTS[dialect]
        self._limits = limits or Limits()
        self._normaliser = Normaliser(ignore_labels, service_labels, self._limits)

    def read(self, value: bytes | None, *, received_at: float | None, topic: str = "") -> Reading:
        """The alerts of one record, and what of it could not be read. Raises nothing, whatever the bytes are.

        ``received_at`` is the broker's timestamp in epoch seconds, against which times are clamped; None, or one
        that is not positive, is unknown. ``topic`` is the source of alerts that name none.
        """
        arrival = received_at if received_at is not None and 0.0 < received_at < 1e11 else None
        limits = self._limits
        dialect = self._dialect
        try:
            if not value or len(value) > limits.max_record_bytes:
                raise _unread(value, limits)
            try:
                document = loads(value)
            except JSONDecodeError:
                return self._read_documents(value, arrival, topic)
            dialect = dialect or _detect(document)
            outcomes = dialect.decode(document, self._normaliser, arrival, topic)
        except RejectedError as error:
            return Reading([], [], [(None, error)], dialect.name if dialect else "")
        if len(outcomes) == 1 and type(alert := outcomes[0]) is Alert:
            return tuple.__new__(Reading, ([alert], [0], [], dialect.name))
        return _reading(outcomes, dialect.name)

    def _read_documents(self, value: bytes, arrival: float | None, topic: str) -> Reading:
        """A record that is not one JSON document to the letter: mended, or line by line."""
        limits = self._limits
        outcomes: list[Outcome] = []
        names: list[str] = []
        documents = documents_of(value, limits.max_alerts_per_record)
        for content, mended in documents:
            try:
                if isinstance(content, RejectedError):
                    raise content
                dialect = self._dialect or _detect(content)
                names.append(dialect.name)
                read = dialect.decode(content, self._normaliser, arrival, topic)
            except RejectedError as error:
                if len(documents) == 1:
                    raise
                read = [error]
            outcomes.extend(_with_note(read) if mended else read)
            if len(outcomes) > limits.max_alerts_per_record:
                raise RejectedError("too_many_alerts", f"at most {limits.max_alerts_per_record} are read")
        return _reading(outcomes, names[0] if names else "")


def _with_note(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [
        outcome._replace(notes=(*outcome.notes, "mended_json")) if isinstance(outcome, Alert) else outcome
        for outcome in outcomes
    ]


def _detect(document: Any) -> Dialect:
    for dialect in _DIALECTS.values():
        if dialect.detect(document):
            return dialect
    raise RejectedError("unknown_dialect", f"none of {', '.join(_DIALECTS)} recognises the record")


def _unread(value: bytes | None, limits: Limits) -> RejectedError:
    if value is None:
        return RejectedError("tombstone", "null value")
    if not value:
        return RejectedError("empty", "no bytes")
    return RejectedError("too_large", f"{len(value)} bytes, at most {limits.max_record_bytes} are read")


def _reading(outcomes: Sequence[Outcome], dialect: str) -> Reading:
    alerts = [outcome for outcome in outcomes if type(outcome) is Alert]
    if len(alerts) == len(outcomes):
        return Reading(alerts, list(range(len(alerts))), [], dialect)
    indices = [index for index, outcome in enumerate(outcomes) if type(outcome) is Alert]
    rejects = [(index, outcome) for index, outcome in enumerate(outcomes) if isinstance(outcome, RejectedError)]
    return Reading(alerts, indices, list(rejects), dialect)
