"""Every setting: one TOML file, overridden by the environment, frozen once read.

:func:`load_settings` is the only way in. The keys are in :mod:`correlator.config_sections`, and nowhere else; how
reading, errors and display work is in :mod:`correlator.config_load`; the README's table is :func:`settings_markdown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from correlator.config_load import Check, allowed, load, plain, toml_text, toml_value
from correlator.config_sections import (
    Broker,
    Bypass,
    Checkpoint,
    Dialects,
    Engine,
    Http,
    Intake,
    Maintenance,
    Shards,
    Topics,
    Topology,
    Worker,
)
from correlator.config_types import Section

__all__ = ["Settings", "load_settings", "settings_markdown", "settings_table"]


class Settings(Section):
    """All sections; immutable. Equal settings compare equal."""

    broker: Broker = Broker()
    topics: Topics = Topics()
    dialects: Dialects = Dialects()
    intake: Intake = Intake()
    shards: Shards = Shards()
    maintenance: Maintenance = Maintenance()
    topology: Topology = Topology()
    engine: Engine = Engine()
    checkpoint: Checkpoint = Checkpoint()
    bypass: Bypass = Bypass()
    http: Http = Http()
    worker: Worker = Worker()

    def effective(self, mask: bool = True) -> dict[str, Any]:
        """Section -> key -> value as JSON types; durations in seconds; secrets as ``***`` unless ``mask`` is False."""
        return plain(self, mask=mask)

    def to_toml(self, mask: bool = True) -> str:
        """The same as a TOML file that :func:`load_settings` reads back to equal settings when ``mask`` is False."""
        return toml_text(plain(self, mask=mask, human=True))


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from the TOML file at ``path`` (None: defaults), overridden by ``CORRELATOR_<SECTION>__<KEY>``.

    Raises SettingsError with one line per problem: the key, its value, and what is allowed.
    """
    return load(Settings, path, environ, _checks)


def _checks(settings: Settings) -> Iterator[Check]:
    """What does not fit together: the keys, and what is wrong."""
    yield from _login_checks(settings.broker)
    for low, high in (
        ("broker.session_timeout", "broker.request_timeout"),
        ("engine.settle_top_tier", "engine.settle"),
        ("engine.bridge", "engine.storm_bridge"),
        ("engine.reopen_window", "engine.incident_retention"),
        ("checkpoint.interval", "worker.stop_timeout"),
        ("checkpoint.tick_interval", "worker.stall_timeout"),
    ):
        (least, _), (most, shown) = _at(settings, low), _at(settings, high)
        if least > most:
            yield Check((low, high), f"must not be above {high} = {shown}")
    if settings.bypass.failopen_after < 10 * settings.checkpoint.tick_interval:
        keys = ("bypass.failopen_after", "checkpoint.tick_interval")
        yield Check(keys, "must be at least ten times checkpoint.tick_interval, which is how often heartbeats come")
    topics, owner = settings.topics, dict.fromkeys(settings.topics.raw, "topics.raw")
    for topic in topics.changes:
        if owner.setdefault(topic, "topics.changes") != "topics.changes":
            yield Check(("topics.changes", "topics.raw"), f"{topic} is already a topic of topics.raw")
    for key in ("placed", "incidents", "history", "decisions", "rejected", "controls", "topology"):
        first = owner.setdefault(getattr(topics, key), f"topics.{key}")
        if first != f"topics.{key}":
            yield Check((f"topics.{key}", first), f"already the name of {first}")
    for topic in settings.dialects.by_topic:
        if topic not in topics.raw:
            yield Check(("dialects.by_topic", "topics.raw"), f"{topic} is not in topics.raw ({', '.join(topics.raw)})")


def _login_checks(broker: Broker) -> Iterator[Check]:
    """Credentials that the protocol would leave unused, and ones that it needs."""
    protocol = ("broker.security_protocol",)
    for key in ("sasl_username", "sasl_password"):
        given, needed = getattr(broker, key) is not None, broker.security_protocol.startswith("SASL_")
        if given != needed:
            text = "must be set with" if needed else "has no use with"
            yield Check((f"broker.{key}", *protocol), f"{text} broker.security_protocol = {broker.security_protocol}")
    for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_key_password"):
        if getattr(broker, key) is not None and not broker.security_protocol.endswith("SSL"):
            text = f"has no use with broker.security_protocol = {broker.security_protocol}; use SSL or SASL_SSL"
            yield Check((f"broker.{key}", *protocol), text)
    for key in ("ssl_keyfile", "ssl_key_password"):
        if getattr(broker, key) is not None and broker.ssl_certfile is None:
            yield Check((f"broker.{key}", "broker.ssl_certfile"), "needs broker.ssl_certfile")


def _at(settings: Settings, key: str) -> tuple[float, Any]:
    section, name = key.split(".")
    values = getattr(settings, section)
    return getattr(values, name), plain(values, human=True)[name]


def settings_table() -> list[tuple[str, str, str, str, str]]:
    """Every key: (dotted key, what is allowed, default as TOML, environment variable, description)."""
    rows = []
    for section, value in plain(Settings(), human=True).items():
        fields = type(getattr(Settings(), section)).model_fields
        for name, field in fields.items():
            variable = f"CORRELATOR_{section}__{name}".upper()
            text = field.description or ""
            rows.append((f"{section}.{name}", allowed(field), toml_value(value[name]), variable, text))
    return rows


def settings_markdown() -> str:
    """The same as Markdown, one table per section."""
    lines: list[str] = []
    rows = settings_table()
    for section, info in Settings.model_fields.items():
        title = (getattr(info.default, "__doc__", "") or "").strip().splitlines()[0]
        lines += ["", f"### [{section}]", "", title, "", "| key | allowed | default | environment | meaning |"]
        lines.append("|---|---|---|---|---|")
        for name, kind, default, variable, text in (row for row in rows if row[0].startswith(f"{section}.")):
            cells = (f"`{name}`", kind, f"`{default}`", f"`{variable}`", text)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines[1:]) + "\n"
