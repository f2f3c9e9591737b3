"""What outsiders can write, and what every reader of it promises: one function of bytes per input surface.

A promise holds for any bytes: the outcome is one that the reader documents (values, or its own error with a place), and
nothing that is marked as a secret stands in an error. A function here returns when the promise was kept and raises
otherwise; time, memory and depth are held by whoever calls it. The same functions serve Hypothesis, the saved corpus
and atheris.
"""

from __future__ import annotations

import math
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from correlator import calendars
from correlator.assemble import reader_for
from correlator.backtest.paged import read_csv, read_values
from correlator.changes.reader import ChangeReader
from correlator.config import Settings, load_settings
from correlator.covers import covers_of
from correlator.dialects import Limits, Reader, dialects
from correlator.engine import maintenance
from correlator.engine.partition import Output, Partition
from correlator.engine.rules import Rules
from correlator.errors import REJECT_REASONS, ControlError, SettingsError, StateError
from correlator.model import CHANGE_KINDS, SEVERITIES
from correlator.recordings import FileError, read_alerts
from correlator.replay import final, replay_placed
from correlator.stream import controls
from tests.engine.timeline import RAW, SHARD, START, depends, row
from topology import load
from topology.errors import PROBLEM_CODES

__all__ = ["SECRET", "SURFACES", "saved_state", "state_bytes"]

#: Marks what no error may repeat. Corpus files and generated documents hold it where a secret belongs.
SECRET: Final = "s3cr3t-marked"
_SECRETS: Final = (("broker", "sasl_password"), ("broker", "ssl_key_password"), ("bypass", "webhook"))
_HOUR: Final = 3_600.0
_GRAPH: Final = depends("web -> api -> db", "jobs -> db", "shop -> web", "a -> b -> a")
_SMALL: Final = Limits(max_alerts_per_record=50, max_labels=4, max_label_bytes=32, max_name_bytes=32, max_depth=3)
_READERS: Final = [
    *(Reader(dialect=name) for name in (None, *dialects())),
    Reader(limits=_SMALL),
]
_CHANGE_READERS: Final = (ChangeReader(), ChangeReader(_SMALL))
_FOLDER: Final = tempfile.TemporaryDirectory(prefix="correlator-fuzz-")


def _file(name: str, content: bytes) -> Path:
    path = Path(_FOLDER.name) / name
    path.write_bytes(content)
    return path


def _told(error: object, *words: str) -> None:
    """The error says something, these words among it."""
    text = str(error)
    assert text
    assert all(word in text for word in words), text


def _silent(lines: Iterable[str], *, secret: bool, most: int = 1_000) -> None:
    """No line fills a screen, and where a ``secret`` is kept none tells it."""
    for line in lines:
        assert len(line) <= most, f"{len(line)} characters: {line[:200]}"
        assert not secret or SECRET not in line, f"the secret is told: {line}"


# -- records --------------------------------------------------------------------------------------------------


def alerts(value: bytes) -> None:
    """Raw alerts: every position is an alert that can be written as JSON, or a reject with a known reason."""
    for reader in _READERS:
        for arrival in (START, None):
            reading = reader.read(value, received_at=arrival, topic="alerts.raw")
            assert len(reading.alerts) == len(reading.indices)
            assert all(error.reason in REJECT_REASONS and str(error) for _, error in reading.rejects)
            for alert in reading.alerts:
                assert alert.severity in SEVERITIES
                assert math.isfinite(alert.starts_at)
                orjson.dumps(tuple(alert))


def changes(value: bytes) -> None:
    """Change events, structured and in binary mode: changes that can be written as JSON, or known reasons."""
    binary = [("ce_specversion", b"1.0"), ("ce_type", value[:40]), ("ce_subject", b"web"), ("ce_id", None)]
    for reader in _CHANGE_READERS:
        for headers in ((), binary):
            for arrival in (START, None):
                reading = reader.read(value, headers, received_at=arrival)
                assert all(error.reason in REJECT_REASONS and str(error) for _, error in reading.rejects)
                for _, change in reading.changes:
                    assert change.kind in CHANGE_KINDS
                    assert math.isfinite(change.at)
                    orjson.dumps(tuple(change))


def control(value: bytes) -> None:
    """Controls: one that may enter the log and can be written there, or a ControlError."""
    try:
        checked = controls.read(value)
    except ControlError as error:
        _told(error)
        return
    orjson.dumps(checked)
    if checked["type"] == "maintenance":
        window = maintenance.read(checked)
        window.covers("web", {"service": "web"}, {"env": "a" * 1_000 + "!"}, _GRAPH)
        assert maintenance.Window.restored(orjson.loads(orjson.dumps(window.row())), START).row() == window.row()


def covers(value: bytes) -> None:
    """The line that says what a window covers: fields of a control, or a ControlError."""
    try:
        found = covers_of(value.decode(errors="surrogateescape"))
    except ControlError as error:
        _told(error)
        return
    assert found.keys() <= {"subtree", "matchers"}


# -- the deciding log and the state ---------------------------------------------------------------------------


def _started() -> Partition:
    """A partition with an incident, a hidden alert, a change and a window."""
    partition = Partition(_GRAPH, Rules(max_deadlines_per_step=100))
    window = {"type": "maintenance", "id": "CHG-7", "match": {"service": "jobs"}, "author": "ana", "reason": "upgrade"}
    change = {"type": "change", "id": "r1", "kind": "deployment", "service": "db", "summary": "v2", "at": START - 60}
    rows = [row(n, START + n, service, "Down", index=n) for n, service in enumerate(("web", "db", "jobs", "elsewhere"))]
    records: list[tuple[str, dict[str, Any]]] = [
        ("", {**window, "starts_at": START, "ends_at": START + _HOUR}),
        (SHARD, {**change, "author": "ana", "link": ""}),
        (SHARD, {"type": "alerts", "source": RAW, "rows": rows}),
    ]
    for offset, (shard, data) in enumerate(records):
        partition.apply(offset, START + offset, shard, orjson.dumps(data))
    partition.apply(len(records), START + 90, "", b"")
    return partition


def _save(partition: Partition, entries: dict[bytes, bytes]) -> Output:
    """Bring the saved entries up to date; what there was to say."""
    output = partition.take()
    partition.saved(output)
    for key, value in output.entries.items():
        entries.pop(key, None)
        if value is not None:
            entries[key] = value
    return output


def saved_state() -> dict[bytes, bytes]:
    """The entries of a state with some of everything."""
    entries: dict[bytes, bytes] = {}
    _save(_started(), entries)
    return entries


def placed(value: bytes) -> None:
    """A record of the deciding log, for a shard and for all: applied, or put aside alone.

    Time goes on after it, what there is to say can be written, and a restart reads the state of it. The only error is
    that of a graph that is nowhere to be had.
    """
    for shard in (SHARD, ""):
        partition, entries = _started(), dict[bytes, bytes]()
        _save(partition, entries)
        offset = partition.applied + 1
        try:
            partition.apply(offset, START + 100, shard, value)
        except StateError as error:
            _told(error, "graph")
            continue
        partition.apply(offset + 1, START + 2 * _HOUR, "", b"")
        assert partition.applied == offset + 1
        output = _save(partition, entries)
        orjson.dumps([output.incidents, output.decisions, output.refused])
        again = Partition(_GRAPH, Rules())
        again.load(entries)
        assert again.figures() == partition.figures()


def state_bytes(entries: Mapping[bytes, bytes]) -> bytes:
    """Entries as lines of key, tab and value."""
    return b"\n".join(b"%b\t%b" % item for item in sorted(entries.items()))


def state(value: bytes) -> None:
    """Saved entries: they load, or a StateError says that they do not make a whole."""
    entries = {key: text for line in value.split(b"\n") if line for key, _, text in (line.partition(b"\t"),)}
    partition = Partition(_GRAPH, Rules())
    try:
        partition.load(entries)
    except StateError as error:
        _told(error)


# -- files ----------------------------------------------------------------------------------------------------


def calendar(content: bytes) -> None:
    """iCalendar: windows that the log takes, and problems with the file's name."""
    path = _file("team.ics", content)
    found = calendars.expand(path, START, START + 7 * 24 * _HOUR, ZoneInfo("Europe/Berlin"))
    assert all(problem.startswith(f"{path}: ") for problem in found.problems)
    assert found.readable or not found.windows
    assert len(found.windows) <= calendars.MAX_WINDOWS
    for window in found.windows.values():
        assert controls.check(window) == window


def settings(content: bytes) -> None:
    """A settings file: settings that print without their secrets and load again, or one line per problem."""
    try:
        data: Any = tomllib.loads(content.decode())
    except (RecursionError, ValueError):
        data = {}
    _settings(_file("correlator.toml", content), {}, secret=not _misplaced(data))


def environment(content: bytes) -> None:
    """Lines of ``NAME=value`` as the environment: as for a file."""
    text = content.decode(errors="surrogateescape").replace("\0", "")
    environ = {name: value for line in text.splitlines() for name, mark, value in (line.partition("="),) if mark}
    found: dict[str, dict[str, str]] = {}
    for name, value in environ.items():
        section, _, key = name.removeprefix("CORRELATOR_").lower().partition("__")
        found.setdefault(section, {})[key] = value
    _settings(None, environ, secret=not _misplaced(found))


def _misplaced(data: Mapping[str, Any]) -> bool:
    """Whether the secret stands in a name, or as the value of a key that is no secret: there it may be told."""
    known = Settings().effective()
    for section, values in data.items():
        for key, value in values.items() if isinstance(values, dict) else [("", values)]:
            shown = not isinstance(values, dict) or key in known.get(section, {})
            if SECRET in f"{section} {key}" or (shown and SECRET in str(value) and (section, key) not in _SECRETS):
                return True
    return False


def _settings(path: Path | None, environ: Mapping[str, str], *, secret: bool) -> None:
    try:
        found = load_settings(path, environ)
    except SettingsError as error:
        _told(error)
        _silent(error.problems, secret=secret)
        return
    _silent((found.to_toml(), str(found.effective()), repr(found)), secret=secret, most=100_000)
    whole = _file("again.toml", found.to_toml(mask=False).encode(errors="surrogateescape"))
    assert load_settings(whole, {}) == found


def _topology(name: str, **options: Any) -> Callable[[bytes], None]:
    def check(content: bytes) -> None:
        for direction in (None, "depends_on", "both"):
            loaded = load(_file(name, content), direction=direction, **options)
            assert (loaded.graph is None) == any(problem.severity == "error" for problem in loaded.problems)
            assert all(problem.place and problem.code in PROBLEM_CODES for problem in loaded.problems)
            if loaded.graph is not None:
                orjson.dumps(loaded.graph.to_native())

    check.__doc__ = "A graph, or an error with its place."
    return check


def dump(content: bytes) -> None:
    """A dump of the deciding log: replayed, with lines about what is no record, or an error of the file or the log."""
    unread: list[str] = []
    path = _file("dump.ndjson", content)
    try:
        final(replay_placed(path, graph=_GRAPH, rules=Rules(max_deadlines_per_step=100), unread=unread.append)[1])
    except (FileError, StateError) as error:
        _told(error)
    assert all(str(path) in line for line in unread)


def recording(content: bytes) -> None:
    """A file of alerts, packed or not: alerts with their arrival, or an error of the file."""
    path = _file("alerts.ndjson", content)
    unread: list[str] = []
    try:
        for arrival in read_alerts([path], reader_for(Settings(), ""), unread.append):
            assert math.isfinite(arrival.at)
    except FileError as error:
        _told(error, str(path))
    assert all(str(path) in line for line in unread)


def paged_csv(content: bytes) -> None:
    """What a pager exported as CSV: pages, or a ValueError with the file's name."""
    unread: list[str] = []
    text = content.decode("utf-8-sig", errors="replace")
    try:
        reading = read_csv("pages.csv", text, {}, low_urgency=False, unread=unread.append)
    except ValueError as error:
        _told(error, "pages.csv")
        return
    orjson.dumps([page.plain() for page in reading.pages])


def paged_json(content: bytes) -> None:
    """What a pager or Alertmanager kept as JSON: pages, and lines about what is none."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return
    unread: list[str] = []
    found = read_values([("pages.json:1", value)], reader_for(Settings(), ""), low_urgency=False, unread=unread.append)
    orjson.dumps([page.plain() for page in found.pages])
    assert all(line.startswith("pages.json:1") for line in unread)


#: Surface -> its promise. The name is also that of its folder in the corpus.
SURFACES: Final[Mapping[str, Callable[[bytes], None]]] = {
    "alerts": alerts,
    "calendar": calendar,
    "changes": changes,
    "control": control,
    "covers": covers,
    "dump": dump,
    "environment": environment,
    "paged_csv": paged_csv,
    "paged_json": paged_json,
    "placed": placed,
    "recording": recording,
    "settings": settings,
    "state": state,
    "topology_csv": _topology("graph.csv"),
    "topology_json": _topology("graph.json"),
    "topology_node_link": _topology("graph.json", format="node-link"),
    "topology_yaml": _topology("graph.yaml"),
}
