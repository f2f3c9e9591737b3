"""correlator maintenance, change and check with calendars, as far as they need no broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

SHOP = Path(__file__).resolve().parent / "data" / "shop.yaml"

Call = Callable[..., Result]

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tests//EN
BEGIN:VEVENT
UID:patch
DTSTAMP:20260101T000000Z
DTSTART:20260301T020000Z
DTEND:20260301T040000Z
SUMMARY:Patch day [subtree=db]
END:VEVENT
BEGIN:VEVENT
UID:lunch
DTSTAMP:20260101T000000Z
DTSTART:20260301T120000Z
DTEND:20260301T130000Z
SUMMARY:Lunch
END:VEVENT
END:VCALENDAR
"""


def test_the_windows_of_a_calendar_can_be_previewed(call: Call, tmp_path: Path) -> None:
    """Without a broker, as a table or as the controls that would be sent; what is wrong is an exit code."""
    path = tmp_path / "patches.ics"
    path.write_text(CALENDAR.replace("\n", "\r\n"))
    asked = ["maintenance", "preview", str(path), "--from", "2026-03-01T00:00:00Z"]
    result = call(*asked)
    assert result.exit_code == 0
    assert (
        result.stdout.split()
        == (
            "state from to id covers reason author to come 2026-03-01T02:00Z 2026-03-01T04:00Z "
            "ical/patches.ics/patch/20260301T020000Z subtree=db Patch day patches.ics"
        ).split()
    )
    assert result.stderr == "1 windows, 1 events that cover nothing\n"
    window = json.loads(call(*asked, "--format", "json").stdout)
    assert (window["subtree"], window["starts_at"], window["author"]) == ("db", 1_772_330_400.0, "patches.ics")
    path.write_text("BEGIN:VCALENDAR")
    broken = call(*asked)
    assert (broken.exit_code, broken.stdout) == (1, "")
    assert f"correlator: {path}: not a calendar: " in broken.stderr


def test_check_reads_the_calendars(call: Call, tmp_path: Path) -> None:
    """A file that is none is an error, an event that slips a warning."""
    (tmp_path / "a.ics").write_text("BEGIN:")
    begin, end = (f"{year}0101T000000Z" for year in (2000, 2099))
    slip = CALENDAR.replace("subtree=db", "subtree!=db").replace("20260301T020000Z", begin)
    (tmp_path / "b.ics").write_text(slip.replace("20260301T040000Z", end))
    config = tmp_path / "correlator.toml"
    config.write_text(f'[maintenance]\ncalendars = ["{tmp_path}"]\n')
    result = call("check", "--config", str(config), "--topology", str(SHOP))
    assert result.exit_code == 1
    assert f"maintenance.calendars: error: {tmp_path}/a.ics: not a calendar: " in result.stdout
    assert f"maintenance.calendars: warning: {tmp_path}/b.ics: event 'Patch day [subtree!=db]' of 2000" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["maintenance", "add", "Room 5", "--reason", "x"], 1, "'Room 5' is no matcher"),
        (
            ["maintenance", "add", "a=b", "--reason", "x", "--for", "1h", "--end", "5"],
            2,
            "--end and --for say the same",
        ),
        (["maintenance", "add", "a=b", "--reason", "x", "--end", "5"], 1, "ends_at must be later than starts_at"),
        (["maintenance", "add", "a!=b", "--reason", "x"], 1, "covers every alert that lacks these labels"),
        (["maintenance", "add", "a=b"], 2, "Missing option '--reason'"),
        (["maintenance", "add", "a=b", "--reason", "x", "--start", "noon"], 2, "'noon' is no time"),
        (["change", "db", "deployed", "--at", "noon"], 1, "the time of a change cannot be 'noon'"),
        (["change", "db", "deployed", "--label", "env"], 2, "'env' is not NAME=VALUE"),
        (["change", "", "deployed"], 1, "a change needs a service"),
    ],
)
def test_what_makes_no_sense_is_not_sent(call: Call, arguments: list[str], code: int, text: str) -> None:
    """It is refused before a broker is asked."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert text in result.stderr
