"""Kinds of values that settings have: how each is read from text, and the words for what is allowed."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints

from correlator.config_load import Kind, seconds
from correlator.engine import regex

__all__ = [
    "DAY",
    "HOUR",
    "Addresses",
    "Duration",
    "File",
    "Files",
    "Listed",
    "Match",
    "OptionalText",
    "RawTopics",
    "Regex",
    "Regexes",
    "Retention",
    "Secret",
    "Section",
    "Share",
    "Topic",
    "WebAddress",
    "Whole",
    "Word",
    "Words",
    "Zone",
    "key",
    "upper",
    "zone_info",
]

HOUR: Final = 3_600.0
DAY: Final = 24 * HOUR


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _one(value: object) -> object:
    return (value,) if isinstance(value, str) and value else value


def _none(value: object) -> object:
    return None if value == "" else value


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def upper(value: object) -> object:
    """Text in capitals; anything else as it is."""
    return value.upper() if isinstance(value, str) else value


def _distinct(value: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted({str(item) for item in value if value.count(item) > 1})
    if twice:
        raise ValueError(f"given twice: {', '.join(twice)}")
    return value


def _address(value: str) -> str:
    found = _ADDRESS.fullmatch(value)
    if found is None or not 0 < int(found[1]) < 65_536:
        raise ValueError("not a host:port")
    return value


def _web(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        try:
            split = urlsplit(value.get_secret_value())
            good = re.fullmatch(r"https?://[^\s/]+\S*", value.get_secret_value()) and split.hostname and split.port != 0
        except ValueError:  # brackets that do not close, a port that is none
            good = False
        if not good:
            raise ValueError("not an address that starts with http:// or https://")
    return value


def _regex(value: str) -> str:
    try:
        regex.check(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _zone(value: str) -> str:
    try:
        zone_info(value)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise ValueError("no such time zone, or no time zones on this machine") from None
    return value


def zone_info(name: str) -> tzinfo:
    """The zone of a name that was checked."""
    return UTC if name == "UTC" else ZoneInfo(name)  # a machine may have no time zones, and need none


def _selective(match: dict[str, str]) -> dict[str, str]:
    """Refuse a matcher that every alert satisfies: an absent label matches like an empty one."""
    if all(re.fullmatch(pattern, "") for pattern in match.values()):
        raise ValueError("matches every alert; at least one pattern must not match empty text")
    return match


_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_TOPIC: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"

Duration = Annotated[float, BeforeValidator(seconds), Kind("duration", 'seconds, or text such as "5m"')]
Retention = Annotated[Duration, Field(ge=HOUR, le=3_650 * DAY)]
Whole = Annotated[int, BeforeValidator(_not_bool), Kind("integer")]
Share = Annotated[float, BeforeValidator(_not_bool), Kind("number")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=249), Kind("text, not empty")]
Topic = Annotated[
    str, StringConstraints(pattern=_TOPIC, max_length=249), Kind("topic", "letters, digits, '.', '_', '-'; at most 249")
]
OptionalText = Annotated[str | None, BeforeValidator(_none), Kind("text", '"" is none')]
Secret = Annotated[SecretStr | None, BeforeValidator(_none), Kind("secret text", '"" is none')]
WebAddress = Annotated[
    SecretStr | None, BeforeValidator(_none), AfterValidator(_web), Kind("secret http(s) address", '"" is none')
]
File = Annotated[Path | None, BeforeValidator(_none), Kind("path", '"" is none')]
Zone = Annotated[str, AfterValidator(_zone), Kind("time zone", 'such as "Europe/Berlin"')]
Regex = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_regex)]
Regexes = Annotated[tuple[Regex, ...], BeforeValidator(_one), Kind("list of regexes")]
Listed = (BeforeValidator(_split), AfterValidator(_distinct))
Files = Annotated[tuple[Path, ...], *Listed, Kind("list of paths", "or text with commas")]
Words = Annotated[tuple[Word, ...], *Listed, Kind("list of text", "or text with commas")]
RawTopics = Annotated[
    tuple[Topic, ...],
    *Listed,
    Field(min_length=1),
    Kind("list of topics", "letters, digits, '.', '_', '-'; at least one"),
]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...],
    *Listed,
    Field(min_length=1),
    Kind("list of host:port", "or text with commas"),
]
Match = Annotated[
    dict[Word, Regex],
    AfterValidator(_selective),
    Kind("table label -> regex", "the whole value must match; service, name, severity, source mean the alert's own"),
]


def key(default: Any, text: str, **bounds: Any) -> Any:
    """A key with its default, what it means, and its bounds."""
    return Field(default, description=text, **bounds)


class Section(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
