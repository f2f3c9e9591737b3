"""iCalendar files as maintenance windows: what an event covers, what recurs, what moves, and what is wrong."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from correlator import calendars
from correlator.calendars import MAX_WINDOWS, Expanded, calendar_of, expand
from correlator.config_sections import Maintenance
from correlator.covers import covers_of
from correlator.engine.maintenance import read
from correlator.errors import ControlError, SettingsError
from correlator.stream.calendars import Windows, difference, expanded
from correlator.stream.controls import check

WEEK = 7 * 86_400.0
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    """Epoch seconds of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def event(*lines: str, uid: str = "patch", summary: str = "Patch day [subtree=db]") -> str:
    """An event of some lines; from 02:00 to 03:30 in Berlin on 1 March 2026 unless they say another time."""
    own = {line.split(":", 1)[0].split(";", 1)[0] for line in lines}
    usual = {
        "DTSTART": "DTSTART;TZID=Europe/Berlin:20260301T020000",
        "DTEND": "DTEND;TZID=Europe/Berlin:20260301T033000",
        "SUMMARY": f"SUMMARY:{summary}",
    }
    body = [line for name, line in usual.items() if name not in own and not (name == "DTEND" and "DURATION" in own)]
    return "\n".join(["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *body, *lines, "END:VEVENT"])


def calendar(folder: Path, *events: str, name: str = "patches.ics", head: str = "") -> Path:
    """A file of these events."""
    path = folder / name
    text = "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//tests//EN", head, *events, "END:VCALENDAR", ""])
    path.write_text("\r\n".join(line for line in text.split("\n") if line) + "\r\n")
    return path


def windows(
    folder: Path, *events: str, start: str = "2026-03-01", weeks: int = 1, zone: Any = UTC, head: str = ""
) -> list[dict[str, Any]]:
    """The windows of a calendar without problems, in order."""
    found = expand(calendar(folder, *events, head=head), at(start), at(start) + weeks * WEEK, zone)
    assert found.problems == []
    assert all(check(window) == window for window in found.windows.values())
    return sorted(found.windows.values(), key=lambda window: window["starts_at"])


def begins(found: list[dict[str, Any]]) -> list[str]:
    """Their begins in UTC."""
    return [f"{datetime.fromtimestamp(window['starts_at'], UTC):%m-%d %H:%M}" for window in found]


# -- what an event covers -------------------------------------------------------------------------------------


def test_an_event_with_brackets_in_its_summary_is_a_window(tmp_path: Path) -> None:
    """Its reason is the rest of the summary, its author the organizer, its id tells file, event and occurrence."""
    (found,) = windows(tmp_path, event("ORGANIZER;CN=Ana Berg:mailto:ana@example.org"))
    assert found == {
        "type": "maintenance",
        "id": "ical/patches.ics/patch/20260301T010000Z",
        "subtree": "db",
        "starts_at": at("2026-03-01T01:00"),
        "ends_at": at("2026-03-01T02:30"),
        "author": "Ana Berg",
        "reason": "Patch day",
    }
    assert calendar_of(found["id"]) == "patches.ics"
    assert calendar_of("CHG-7") is None


@pytest.mark.parametrize(
    ("lines", "covers"),
    [
        (["X-CORRELATOR-COVERS:subtree=db\\, env=prod", "LOCATION:env=test"], "subtree=db, env=prod"),
        (["SUMMARY:Patch [service=~db-.*] of all"], "service=~db-.*"),
        (["SUMMARY:Patch", "LOCATION:subtree=db"], "subtree=db"),
        (["SUMMARY:Patch", "LOCATION:Room 5", "CATEGORIES:work,env=prod,service=db"], "env=prod, service=db"),
        (['X-CORRELATOR-COVERS:env="a\\, b"; severity!=critical'], "env=a, b, severity!=critical"),
    ],
)
def test_what_is_covered_may_be_said_in_four_places(tmp_path: Path, lines: list[str], covers: str) -> None:
    """The property before the summary before the location before the categories."""
    (found,) = windows(tmp_path, event(*lines))
    assert str(read(found)) == covers


def test_other_events_are_counted_and_are_none_of_ours(tmp_path: Path) -> None:
    """A calendar also holds lunches."""
    path = calendar(tmp_path, event("SUMMARY:Lunch = good"), event("SUMMARY:Standup", "LOCATION:Room 5", uid="b"))
    found = expand(path, at("2026-03-01"), at("2026-03-08"), UTC)
    assert (found.windows, found.problems, found.ignored) == ({}, [], 2)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["X-CORRELATOR-COVERS:the database"], "'the database' is no matcher"),
        (["SUMMARY:Patch [subtree=a subtree=b]"], "subtree is given as"),
        (
            [
                "SUMMARY:Patch [service=~(]",
            ],
            "not a regular expression",
        ),
        (["SUMMARY:Patch [env!=prod]"], "covers every alert that lacks its labels"),
        (["DTEND;TZID=Europe/Berlin:20260301T020000"], "it has no duration"),
    ],
)
def test_a_slip_is_said_with_the_event_and_leaves_the_others_alone(tmp_path: Path, lines: list[str], says: str) -> None:
    """Whoever wrote it finds it by its summary and day."""
    path = calendar(tmp_path, event(*lines, uid="slip"), event(uid="good"))
    found = expand(path, at("2026-03-01"), at("2026-03-08"), UTC)
    (problem,) = found.problems
    assert problem.startswith(f"{path}: event 'Patch")
    assert "of 2026-03-01 01:00 UTC: " in problem
    assert says in problem
    assert [id.split("/")[2] for id in found.windows] == ["good"]


# -- time -----------------------------------------------------------------------------------------------------


def test_a_recurring_event_is_a_window_each_time(tmp_path: Path) -> None:
    """At the same hour in its zone, in summer time too; without the day that is left out; within the span."""
    weekly = event("RRULE:FREQ=WEEKLY", "EXDATE;TZID=Europe/Berlin:20260315T020000")
    assert begins(windows(tmp_path, weekly, weeks=6)) == [
        "03-01 01:00",
        "03-08 01:00",
        "03-22 01:00",
        "03-29 01:00",
        "04-05 00:00",
    ]


def test_a_moved_occurrence_keeps_its_id(tmp_path: Path) -> None:
    """So that the window that was announced is replaced."""
    weekly = event("RRULE:FREQ=WEEKLY;COUNT=3")
    moved = event(
        "RECURRENCE-ID;TZID=Europe/Berlin:20260308T020000",
        "DTSTART;TZID=Europe/Berlin:20260309T040000",
        "DTEND;TZID=Europe/Berlin:20260309T050000",
    )
    before = windows(tmp_path, weekly, weeks=4)
    after = windows(tmp_path, weekly, moved, weeks=4)
    assert [window["id"] for window in after] == [window["id"] for window in before]
    assert begins(after) == ["03-01 01:00", "03-09 03:00", "03-15 01:00"]


def test_a_cancelled_event_is_no_window(tmp_path: Path) -> None:
    """Of a series, just that day."""
    weekly = event("RRULE:FREQ=WEEKLY;COUNT=2")
    cancelled = event("RECURRENCE-ID;TZID=Europe/Berlin:20260308T020000", "STATUS:CANCELLED")
    assert begins(windows(tmp_path, weekly, cancelled, weeks=4)) == ["03-01 01:00"]


def test_whole_days_and_times_without_a_zone_are_in_the_zone_of_the_settings(tmp_path: Path) -> None:
    """Midnight in Berlin is 23:00 in UTC."""
    day = event("DTSTART;VALUE=DATE:20260302", "DTEND;VALUE=DATE:20260304")
    floating = event("DTSTART:20260305T100000", "DURATION:PT30M", uid="b")
    first, second = windows(tmp_path, day, floating, zone=BERLIN)
    assert (first["starts_at"], first["ends_at"]) == (at("2026-03-01T23:00"), at("2026-03-03T23:00"))
    assert (second["starts_at"], second["ends_at"]) == (at("2026-03-05T09:00"), at("2026-03-05T09:30"))


def test_an_event_that_runs_is_a_window_and_one_that_is_over_is_none(tmp_path: Path) -> None:
    """From now on, as the leading worker asks."""
    assert begins(windows(tmp_path, event(), start="2026-03-01T02:00")) == ["03-01 01:00"]
    assert windows(tmp_path, event(), start="2026-03-01T02:31") == []
    assert windows(tmp_path, event(), start="2026-02-01") == []


def test_an_event_that_recurs_each_minute_is_bounded_and_says_so(tmp_path: Path) -> None:
    """The first thousand, and a problem in words."""
    path = calendar(tmp_path, event("RRULE:FREQ=MINUTELY", "DTEND;TZID=Europe/Berlin:20260301T020010"))
    found = expand(path, at("2026-03-01"), at("2026-03-08"), UTC)
    assert len(found.windows) == MAX_WINDOWS
    assert "more than 1000 occurrences until 2026-03-08 00:00 UTC: the rest is left out" in found.problems[0]


# -- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"garbage", b"BEGIN:VCALENDAR\r\n", b"\xff\xfe", b"\x00" * 99])
def test_a_file_that_is_no_calendar_is_said_and_nothing_is_concluded_from_it(tmp_path: Path, content: bytes) -> None:
    """It may be half written: what was announced of it stays."""
    path = tmp_path / "x.ics"
    path.write_bytes(content)
    found = expand(path, 0.0, WEEK, UTC)
    assert not found.readable
    assert found.problems[0].startswith(f"{path}: not a calendar: ")
    assert not expand(tmp_path / "absent.ics", 0.0, WEEK, UTC).readable


_LINES = ["RRULE:FREQ=DAILY;COUNT=3", "RRULE:X", "DTSTART:x", "DTEND:20250101T000000Z", "UID:", "EXDATE:1"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.sampled_from(_LINES), max_size=4), st.text(alphabet='[]=~!,;: "\\abdb\u00e4', max_size=20))
def test_whatever_an_event_holds_nothing_raises(tmp_path: Path, lines: list[str], summary: str) -> None:
    """Windows that may be sent, problems in words, or nothing."""
    found = expand(calendar(tmp_path, event(*lines, summary=f"P [{summary}]")), at("2026-03-01"), at("2026-03-08"), UTC)
    assert isinstance(found, Expanded)
    for window in found.windows.values():
        assert check(window) == window


@pytest.mark.parametrize("line", ["RRULE:FREQ=SOMETIMES", "DTSTART:tomorrow", "DTEND:never"])
def test_a_property_that_cannot_be_read_is_said(tmp_path: Path, line: str) -> None:
    """With the event and the property."""
    found = expand(calendar(tmp_path, event(line), event(uid="good")), at("2026-03-01"), at("2026-03-08"), UTC)
    assert any(f"event 'Patch day [subtree=db]': {line.split(':')[0]}: " in problem for problem in found.problems)
    assert "good" in str(list(found.windows))


def test_a_folder_stands_for_the_calendars_in_it(tmp_path: Path) -> None:
    """By name; of two files of one name the first one."""
    folder, other = tmp_path / "a", tmp_path / "b"
    folder.mkdir()
    other.mkdir()
    calendar(folder, event())
    calendar(folder, event(uid="x"), name="more.ics")
    (folder / "notes.txt").write_text("")
    named = calendar(other, event(uid="y"))
    assert [path.name for path in calendars.files([folder])] == ["more.ics", "patches.ics"]
    assert calendars.files([folder, named])[1] == folder / "patches.ics"


def test_without_the_libraries_the_settings_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are an extra: who has no calendars does not need them."""
    calendars.require()
    monkeypatch.setitem(sys.modules, "icalendar", None)
    with pytest.raises(SettingsError, match=r"pip install 'alert-correlator\[calendar\]'"):
        calendars.require()


# -- what is sent ---------------------------------------------------------------------------------------------


def sent(wanted: Windows, unread: set[str], in_force: Windows, now: float, room: int = 1_000) -> list[dict[str, Any]]:
    """The controls for the difference."""
    return difference(wanted, unread, in_force, now, room)[0]


def test_what_differs_is_sent_and_nothing_else(tmp_path: Path) -> None:
    """New and changed windows, the end of those that are gone; not those of another origin, nor past ones."""
    now = at("2026-03-01")
    calendar(tmp_path, event("RRULE:FREQ=WEEKLY;COUNT=2"))
    about = Maintenance(calendars=(tmp_path,), horizon=2 * WEEK)
    wanted, unread, problems = expanded(about, now)
    assert (len(wanted), unread, problems) == (2, set(), [])
    first, second = sorted(wanted)
    assert ([control["id"] for control in sent(wanted, unread, {}, now)]) == [first, second]
    assert sent(wanted, unread, wanted, now) == []

    in_force = {**wanted, first: {**wanted[first], "reason": "x"}, "CHG-7": {"ends_at": now + 9}}
    gone = {"ical/patches.ics/old/1": {"ends_at": now + 9}, "ical/patches.ics/past/1": {"ends_at": now - 9}}
    controls = sent(wanted, unread, in_force | gone, now)
    assert controls == [
        wanted[first],
        {"type": "maintenance_end", "id": "ical/patches.ics/old/1", "author": "patches.ics"},
    ]
    assert all(check(control) == control for control in controls)


def test_the_windows_of_a_calendar_that_cannot_be_read_stay(tmp_path: Path) -> None:
    """Of one that is gone they end."""
    now = at("2026-03-01")
    path = calendar(tmp_path, event())
    about = Maintenance(calendars=(tmp_path,))
    in_force, _, _ = expanded(about, now)
    path.write_text("BEGIN:")
    wanted, unread, problems = expanded(about, now)
    assert (wanted, unread, len(problems)) == ({}, {"patches.ics"}, 1)
    assert sent(wanted, unread, in_force, now) == []
    path.unlink()
    wanted, unread, _ = expanded(about, now)
    assert [control["type"] for control in sent(wanted, unread, in_force, now)] == ["maintenance_end"]


def test_all_windows_stay_while_a_folder_cannot_be_looked_into(tmp_path: Path) -> None:
    """Nobody knows which calendars are in it; it may only be unmounted."""
    now, folder = at("2026-03-01"), tmp_path / "mounted"
    folder.mkdir()
    calendar(folder, event())
    about = Maintenance(calendars=(folder,))
    in_force, _, _ = expanded(about, now)
    folder.rename(tmp_path / "elsewhere")
    wanted, unread, problems = expanded(about, now)
    assert (wanted, problems) == ({}, [f"{folder}: cannot be read: No such file or directory"])
    assert sent(wanted, unread, in_force, now) == []
    folder.mkdir()
    wanted, unread, _ = expanded(about, now)
    assert [control["type"] for control in sent(wanted, unread, in_force, now)] == ["maintenance_end"]


def test_windows_that_find_no_room_are_left_out_the_latest_first(tmp_path: Path) -> None:
    """The engine would refuse them; they come when others have ended."""
    now = at("2026-03-01")
    calendar(tmp_path, event("RRULE:FREQ=WEEKLY;COUNT=4"))
    wanted, unread, _ = expanded(Maintenance(calendars=(tmp_path,), horizon=5 * WEEK), now)
    order = sorted(wanted)
    by_hand: Windows = {"CHG-7": {"ends_at": now + 9}}
    controls, without = difference(wanted, unread, by_hand, now, 3)
    assert ([control["id"] for control in controls], without) == (order[:2], 2)
    full = {id: wanted[id] for id in order[:2]} | by_hand
    assert difference(wanted, unread, full, now, 3) == ([], 2)


def test_a_window_under_another_id_leaves_no_gap(tmp_path: Path) -> None:
    """The new one is opened before the old one is ended."""
    now = at("2026-03-01")
    old, _, _ = expanded(Maintenance(calendars=(calendar(tmp_path, event(uid="old")),)), now)
    new, unread, _ = expanded(Maintenance(calendars=(calendar(tmp_path, event(uid="new")),)), now)
    assert [control["type"] for control in sent(new, unread, old, now)] == ["maintenance", "maintenance_end"]


# -- covers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "Room 5", "a=", "=a", "subtree!=x", "subtree=a,subtree=b", 'a="b', "a=b c"])
def test_text_that_covers_nothing_is_refused(text: str) -> None:
    """With what is allowed."""
    with pytest.raises(ControlError, match="allowed"):
        covers_of(text)
