"""Every error this program raises on purpose, in one tree.

    CorrelatorError
    |-- RejectedError     one alert or record cannot be read      -> alerts.rejected, reason as metric label
    |-- SettingsError     settings that cannot be used            -> exit 2, one line per problem
    |-- ControlError      a control that cannot be applied        -> refused, reason to the sender
    |-- StateError        saved state and log do not fit together -> refuse to start
    |-- BrokerError       the broker lacks or refuses something   -> exit 3
    |-- FailOnError       a --fail-on rule of a comparison holds  -> exit 9
    `-- FencedError       another worker owns this partition now  -> drop the partition

Each carries ``reason``, a stable word of lower-case letters and underscores.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "EXIT_CODES",
    "REJECT_REASONS",
    "BrokerError",
    "ControlError",
    "CorrelatorError",
    "FailOnError",
    "FencedError",
    "RejectedError",
    "SettingsError",
    "StateError",
]

#: Why an input can be rejected: the reason is the metric label and the record header.
REJECT_REASONS: Final[dict[str, str]] = {
    "empty": "the record has no bytes",
    "tombstone": "the record has a null value",
    "too_large": "the record is larger than intake.max_record_bytes",
    "not_utf8": "the bytes are not UTF-8",
    "not_json": "the bytes are not JSON",
    "too_deep": "the JSON is nested deeper than intake.max_depth",
    "unknown_dialect": "no dialect recognises the record",
    "wrong_type": "a field has a type that the dialect does not allow",
    "missing_field": "a required field is absent or empty",
    "too_many_alerts": "the record holds more alerts than intake.max_alerts_per_record",
    "engine_error": "the engine raised on this alert; it was skipped and the state rolled back",
    "breaker_open": "the engine raised on too many alerts of this source; it was not tried",
}


#: Exit code by the reason of the error that ended the program; 1 for any other.
EXIT_CODES: Final[dict[str, int]] = {
    "settings": 2,
    "broker": 3,
    "state": 4,
    "fenced": 5,
    "stalled": 6,
    "engine": 7,
    "http": 8,
    "fail_on": 9,
}


class CorrelatorError(Exception):
    """Base of all errors raised on purpose. ``reason`` is stable, the message is for people."""

    reason: str = "error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class RejectedError(CorrelatorError):
    """One alert or one record cannot be read; its neighbours are not affected."""

    def __init__(self, reason: str, message: str) -> None:
        if reason not in REJECT_REASONS:
            raise ValueError(f"unknown reject reason {reason!r}; known: {', '.join(REJECT_REASONS)}")
        super().__init__(message, reason=reason)


class SettingsError(CorrelatorError):
    """Settings that cannot be used. ``problems`` has one line each: key, value, what is allowed."""

    reason = "settings"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ControlError(CorrelatorError):
    """A control that cannot be applied."""

    reason = "control"


class StateError(CorrelatorError):
    """Saved state and log do not fit together: starting would guess."""

    reason = "state"


class BrokerError(CorrelatorError):
    """The broker cannot be reached, lacks something, or refuses it."""

    reason = "broker"


class FencedError(CorrelatorError):
    """Another worker owns this partition now."""

    reason = "fenced"


class FailOnError(CorrelatorError):
    """Rules of ``--fail-on`` that hold; ``failed`` has one line each: the rule, and how often."""

    reason = "fail_on"

    def __init__(self, failed: list[str]) -> None:
        super().__init__(f"--fail-on {', '.join(failed)}")
        self.failed = failed
