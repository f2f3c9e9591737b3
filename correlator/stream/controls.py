"""Controls: what operators and their tools may say, checked before it enters the deciding log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiokafka.errors import KafkaError

from correlator.config import Settings
from correlator.engine.rules import Matcher
from correlator.errors import BrokerError, ControlError
from correlator.stream.clients import producer

__all__ = ["CONTROL_TYPES", "check", "read", "send"]

_TEXT, _TIME = (str,), (int, float)
#: type -> field -> (types, required)
CONTROL_TYPES: Final[dict[str, dict[str, tuple[tuple[type, ...], bool]]]] = {
    "maintenance": {
        "id": (_TEXT, True),
        "match": ((dict,), True),
        "starts_at": (_TIME, True),
        "ends_at": (_TIME, True),
        "author": (_TEXT, True),
        "reason": (_TEXT, True),
    },
    "maintenance_end": {"id": (_TEXT, True), "author": (_TEXT, False)},
    "acknowledge": {"incident": (_TEXT, True), "by": (_TEXT, True)},
    "history_reset": {"service": (_TEXT, False), "by": (_TEXT, True)},
}


def check(control: Mapping[str, Any]) -> dict[str, Any]:
    """A control that may enter the log. Raises :class:`ControlError` with the field and what is allowed."""
    kind = control.get("type")
    fields = CONTROL_TYPES.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise ControlError(f"type is {kind!r}; allowed: {', '.join(CONTROL_TYPES)}")
    for name in control:
        if name != "type" and name not in fields:
            raise ControlError(f"{kind}.{name} is not a field; allowed: {', '.join(fields)}")
    for name, (types, required) in fields.items():
        value = control.get(name)
        if value is None and not required:
            continue
        if not isinstance(value, types) or isinstance(value, bool) or value in ("", {}):
            raise ControlError(
                f"{kind}.{name} is {value!r}; allowed: {' or '.join(t.__name__ for t in types)}, not empty"
            )
    if kind == "maintenance":
        _check_window(control)
    return dict(control)


def _check_window(control: Mapping[str, Any]) -> None:
    if control["ends_at"] <= control["starts_at"]:
        raise ControlError("maintenance.ends_at must be later than starts_at (epoch seconds)")
    match = control["match"]
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in match.items()):
        raise ControlError(f"maintenance.match is {match!r}; allowed: label -> regular expression")
    try:
        Matcher(match).matches("", "", "", "", {})
    except Exception as error:
        raise ControlError(f"maintenance.match is not a regular expression: {error}") from None


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
