"""Controls: what operators and their tools may say, checked before it enters the deciding log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiokafka.errors import KafkaError

from correlator.config import Settings
from correlator.dialects.fingerprint import digest
from correlator.dialects.times import epoch_of
from correlator.engine import maintenance
from correlator.engine.trust import SAID
from correlator.errors import BrokerError, ControlError
from correlator.stream.clients import producer

__all__ = ["CONTROL_TYPES", "check", "read", "send"]

_TEXT, _TIME = (str,), (int, float)
#: Characters kept of a silence's author and comment.
_WORDS: Final = 1_000
#: type -> field -> (types, required)
CONTROL_TYPES: Final[dict[str, dict[str, tuple[tuple[type, ...], bool]]]] = {
    "maintenance": {
        "id": (_TEXT, True),
        "match": ((dict,), False),
        "matchers": ((list,), False),
        "subtree": (_TEXT, False),
        "starts_at": (_TIME, True),
        "ends_at": (_TIME, True),
        "author": (_TEXT, True),
        "reason": (_TEXT, True),
    },
    "maintenance_end": {"id": (_TEXT, True), "author": (_TEXT, False)},
    "silence": {
        "id": (_TEXT, False),
        "matchers": ((list,), True),
        "startsAt": (_TEXT, True),
        "endsAt": (_TEXT, True),
        "createdBy": (_TEXT, True),
        "comment": (_TEXT, True),
        "updatedAt": (_TEXT, False),
        "status": ((dict,), False),
    },
    "acknowledge": {"incident": (_TEXT, True), "by": (_TEXT, True)},
    "verdict": {
        "incident": (_TEXT, True),
        "root": (_TEXT, False),
        "not_explained": (_TEXT, False),
        "rightly_hidden": (_TEXT, False),
        "sampled": ((bool,), False),
        "by": (_TEXT, True),
        "note": (_TEXT, False),
    },
    "history_reset": {"service": (_TEXT, False), "by": (_TEXT, True)},
}


def check(control: Mapping[str, Any]) -> dict[str, Any]:
    """A control that may enter the log; a silence is a maintenance window there.

    Raises :class:`ControlError` with the field and what is allowed.
    """
    kind = control.get("type")
    fields = CONTROL_TYPES.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise ControlError(f"type is {kind!r}; allowed: {', '.join(CONTROL_TYPES)}")
    for name in control:
        if name != "type" and name not in fields:
            raise ControlError(f"{kind}.{name} is not a field; allowed: {', '.join(fields)}")
    for name, (types, required) in fields.items():
        if name not in control and not required:
            continue
        value = control.get(name)
        odd = isinstance(value, bool) and bool not in types
        if not isinstance(value, types) or odd or value in ("", {}, []):
            raise ControlError(
                f"{kind}.{name} is {value!r}; allowed: {' or '.join(t.__name__ for t in types)}, not empty"
            )
    given = _window_of(control) if kind == "silence" else dict(control)
    if given["type"] == "maintenance":
        _check_window(given)
    if given["type"] == "verdict":
        _check_verdict(given)
    return given


def _window_of(silence: Mapping[str, Any]) -> dict[str, Any]:
    """The maintenance window that a silence of Alertmanager is; without an id it gets a hash of the rest.

    Alertmanager ends a silence before its begin by putting both times to now: that is the end of the window.
    """
    times = {}
    for field, name in (("startsAt", "starts_at"), ("endsAt", "ends_at")):
        time = epoch_of(silence[field])
        if time is None:
            raise ControlError(f"silence.{field} is {silence[field]!r}; allowed: RFC 3339")
        times[name] = time
    if times["ends_at"] == times["starts_at"] and silence.get("id"):
        return {"type": "maintenance_end", "id": silence["id"], "author": silence["createdBy"][:_WORDS]}
    window = {
        "type": "maintenance",
        "matchers": silence["matchers"],
        **times,
        "author": silence["createdBy"][:_WORDS],
        "reason": silence["comment"][:_WORDS],
    }
    return {**window, "id": silence.get("id") or f"silence-{digest(orjson.dumps(window))}"}


def _check_window(control: Mapping[str, Any]) -> None:
    if control["ends_at"] <= control["starts_at"]:
        raise ControlError("maintenance.ends_at must be later than starts_at (epoch seconds)")
    if maintenance.read(control).vague():
        raise ControlError(
            "the window covers every alert that lacks these labels: add a matcher that they do not satisfy, "
            "such as service = .+, or a subtree"
        )


def _check_verdict(control: Mapping[str, Any]) -> None:
    said = [name for name in SAID if name in control]
    if len(said) != 1:
        raise ControlError(f"a verdict says {' and '.join(said) or 'nothing'}; allowed: one of {', '.join(SAID)}")
    if "sampled" in control and said == ["root"]:
        raise ControlError("verdict.sampled is about a hidden alert, not about a root")


def read(value: bytes | None) -> dict[str, Any]:
    """A control from the bytes of a record. Raises :class:`ControlError`."""
    try:
        data = orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        raise ControlError(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ControlError("not a JSON object")
    return check(data)


async def send(settings: Settings, control: Mapping[str, Any]) -> None:
    """Publish a control to the controls topic. Raises :class:`ControlError`, :class:`BrokerError`."""
    value = orjson.dumps(check(control))
    made = producer(settings)
    try:
        await made.start()
        at = round(time.time() * 1000)
        await made.send_and_wait(settings.topics.controls, value, key=b"control", partition=0, timestamp_ms=at)
    except KafkaError as error:
        raise BrokerError(f"{settings.broker.bootstrap[0]}: {error!r}") from error
    finally:
        await made.stop()
