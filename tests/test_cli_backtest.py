"""replay --compare, compare and shadow-report, as a person or a pipeline calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import Result

DATA = Path(__file__).resolve().parent / "data"
SHOP = ["--topology", str(DATA / "shop.yaml")]
ALERTS = str(DATA / "shop.ndjson")
T0 = 1_750_000_000.0

Call = Callable[..., Result]


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def settings(folder: Path, text: str, name: str = "b.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


QUIET = '[engine]\ntest = [{ match = { service = "web|api|jobs|db" } }]\n'


# -- replay --compare -----------------------------------------------------------------------------------------


def test_equal_settings_make_no_difference(call: Call, tmp_path: Path) -> None:
    """No row, exit code 0, whatever the rules."""
    result = call("replay", ALERTS, *SHOP, "--compare", settings(tmp_path, ""), "--fail-on", "any")
    assert result.exit_code == 0
    assert "incidents: 3 same; alerts: 5 kept, 0 moved, 0 gone, 0 new" in result.stdout.splitlines()


def test_a_lost_page_is_the_first_thing_that_is_said(call: Call, tmp_path: Path) -> None:
    """In capitals above the table, and exit code 9 when it must not happen."""
    result = call("replay", ALERTS, *SHOP, "--compare", settings(tmp_path, QUIET), "--fail-on", "page-lost")
    assert result.exit_code == 9
    first = result.stdout.splitlines()[0]
    assert first.startswith("PAGE LOST: Down on db, ")
    assert first.endswith("nobody is woken in B")
    assert result.stderr.splitlines()[-1] == "correlator: --fail-on page-lost: 1"


def test_as_json_it_is_a_difference_per_line_and_a_summary(call: Call, tmp_path: Path) -> None:
    """The summary says which rules hold."""
    later = settings(tmp_path, '[engine]\nsettle = "4m"\nsettle_top_tier = "4m"\n')
    asked = ("replay", ALERTS, *SHOP, "--compare", later, "--format", "json", "--fail-on", "page-later=1m,incidents>9")
    result = call(*asked)
    *found, last = lines(result)
    assert result.exit_code == 9
    assert [(one["change"], one["words"], one["a"]["root"]) for one in found if "page-later" in one["words"]] == [
        ("changed", ["page-later", "pages-fewer"], "db")
    ]
    assert all(one["page_later_seconds"] == 240.0 for one in found if "page-later" in one["words"])
    assert last["summary"]["failed"] == ["page-later=1m: 1"]
    assert call(*asked).stdout == result.stdout


def test_another_graph_is_compared_with_the_same_settings(call: Call, tmp_path: Path) -> None:
    """Without the dependency of jobs its alert stands alone."""
    graph = {"version": 1, "direction": "depends_on", "services": {"web": {"depends_on": ["api"]}, "jobs": None}}
    graph["services"] |= {"api": {"depends_on": ["db"]}, "db": {"aliases": ["db.internal"]}, "reports": None}  # type: ignore[operator]
    (tmp_path / "b.json").write_text(json.dumps(graph))
    *found, _ = lines(call("replay", ALERTS, *SHOP, "--compare-topology", str(tmp_path / "b.json"), "--format", "json"))
    assert [one["b"]["root"] for one in found if one["change"] == "split"] == ["jobs"]


def test_a_dump_of_the_log_is_compared_although_it_names_its_own_rules(call: Call, tmp_path: Path) -> None:
    """What is given holds throughout; the rest stays as the log says."""
    row = [0, 0, T0 + 100, True, "0" * 16, "db", "Down", "critical", "firing", T0, None, {}, {}, "s", []]
    web = [1, 0, T0 + 100, True, "1" * 16, "web", "Slow", "critical", "firing", T0, None, {}, {}, "s", []]
    graph = {"version": 1, "direction": "depends_on", "services": {"web": {"depends_on": ["db"]}, "db": None}}
    other = {"version": 1, "direction": "depends_on", "services": {"web": None, "db": None}}
    for name, content in (("graph.json", graph), ("other.json", other)):
        (tmp_path / name).write_text(json.dumps(content))
    values = [{"type": "rules", "rules": {"settle": 30.0}}, {"source": "raw/0", "rows": [row, web]}, {"type": "tick"}]
    about = {"topic": "alerts.placed", "partition": 0}
    dump = tmp_path / "dump"
    dump.write_bytes(
        b"".join(
            orjson.dumps(
                {**about, "offset": n, "timestamp": (T0 + 100 * n) * 1000, "key": "all" if n else "", "value": value}
            )
            + b"\n"
            for n, value in enumerate(values)
        )
    )
    asked = ("replay", str(dump), "--placed", "--topology", str(tmp_path / "graph.json"), "--format", "json")
    *found, _ = lines(call(*asked, "--compare", settings(tmp_path, '[engine]\nsettle = "50s"\n')))
    assert [one["page_later_seconds"] for one in found] == [20.0]
    *found, _ = lines(call(*asked, "--compare-topology", str(tmp_path / "other.json")))
    assert sorted(one["change"] for one in found) == ["changed", "split"]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--fail-on", "page-lost"], "--fail-on needs --compare"),
        (["--compare", "absent.toml"], "absent.toml: cannot be read"),
        (["--compare-topology", "absent.yaml"], "absent.yaml: error"),
        (["--compare-topology", str(DATA / "shop.yaml"), "--fail-on", "worse"], "'worse' is not a rule; allowed: "),
        (["--compare-topology", str(DATA / "shop.yaml"), "--revisions"], "no --revisions"),
    ],
)
def test_a_wrong_comparison_is_exit_code_2(call: Call, more: list[str], text: str) -> None:
    """Before anything is printed."""
    result = call("replay", ALERTS, *SHOP, *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert text in " ".join(result.stderr.split())


# -- compare --------------------------------------------------------------------------------------------------


def recorded(call: Call, folder: Path, name: str, *more: str) -> tuple[str, str]:
    receipts, path = folder / f"{name}.receipts", folder / f"{name}.jsonl"
    path.write_text(call("replay", ALERTS, *SHOP, "--format", "json", "--decisions", str(receipts), *more).stdout)
    return str(path), str(receipts)


def test_recorded_outcomes_are_compared_as_replays_are(call: Call, tmp_path: Path) -> None:
    """The same lines, from the files of two earlier runs with their receipts."""
    config = settings(tmp_path, QUIET)
    a, receipts_a = recorded(call, tmp_path, "a", "--after", "2m")
    b, receipts_b = recorded(call, tmp_path, "b", "--after", "2m", "--config", config)
    result = call("compare", a, b, "--decisions-a", receipts_a, "--decisions-b", receipts_b, "--format", "json")
    assert result.stdout == call("replay", ALERTS, *SHOP, "--compare", config, "--format", "json").stdout
    same = call("compare", a, a, "--format", "json", "--all", "--fail-on", "any")
    assert same.exit_code == 0
    assert [one.get("change") for one in lines(same)] == ["same", "same", "same", None]


def test_a_line_that_is_no_incident_is_named(call: Call, tmp_path: Path) -> None:
    """And passed over."""
    a, _ = recorded(call, tmp_path, "a")
    wrong = tmp_path / "wrong"
    wrong.write_text('{"name": "x"}\n' + Path(a).read_text())
    result = call("compare", str(wrong), a)
    assert result.exit_code == 0
    assert f"{wrong}: value 1: neither an incident nor a receipt" in result.stderr


# -- shadow-report --------------------------------------------------------------------------------------------

PAGES = (
    "Incident Number,Description,Service Name,Created On,Team Name,Urgency\n"
    "1,5xx,web,2025-06-15T15:06:41Z,Shop,high\n"
    "2,Dead,db.internal,2025-06-15T15:06:50Z,Data,high\n"
    "3,Down,vpn,2025-06-15T15:10:00Z,Network,high\n"
    "4,Slow,reports,2025-06-15T15:10:00Z,Reports,low\n"
)


@pytest.fixture
def paged(tmp_path: Path) -> str:
    path = tmp_path / "pages.csv"
    path.write_text(PAGES)
    return str(path)


def test_the_report_says_what_was_missed_and_which_teams_are_ready(call: Call, paged: str) -> None:
    """Exit code 9 when a page was missed and must not be."""
    asked = ("shadow-report", "--paged", paged, "--replay", ALERTS, *SHOP)
    result = call(*asked, "--fail-on", "missed")
    assert result.exit_code == 9
    text = result.stdout.splitlines()
    assert text[1].split()[:2] == ["MISSED", "Network"]
    assert text[-2:] == ["ready, nothing was missed: data, shop", "not ready, pages were missed: Network"]
    assert "1 pages of low urgency left out" in result.stderr
    assert call(*asked, "--fail-on", "missed", "--team", "shop").exit_code == 0
    assert call(*asked, "--fail-on", "missed>1").exit_code == 0


def test_the_report_as_json_has_every_page_and_the_teams(call: Call, paged: str) -> None:
    """With the outcome of each."""
    *found, last = lines(call("shadow-report", "--paged", paged, "--replay", ALERTS, *SHOP, "--format", "json"))
    outcomes = {one["paged"]["title"]: one["outcome"] for one in found if one["paged"]}
    assert outcomes == {"5xx": "same", "Dead": "avoided", "Down": "missed"}
    assert [(t["team"], t["ready"]) for t in last["summary"]["teams"]] == [
        ("Network", "no"),
        ("data", "yes"),
        ("shop", "yes"),
        ("all", "no"),
    ]


def test_the_history_of_an_installation_will_do_as_well(call: Call, paged: str, tmp_path: Path) -> None:
    """The same pages as from the replay that wrote it."""
    receipts, history = tmp_path / "receipts", tmp_path / "history"
    written = call("replay", ALERTS, *SHOP, "--format", "json", "--revisions", "--decisions", str(receipts))
    history.write_text(written.stdout)
    there = call("shadow-report", "--paged", paged, "--history", str(history), "--history", str(receipts), *SHOP)
    assert there.stdout == call("shadow-report", "--paged", paged, "--replay", ALERTS, *SHOP).stdout


def test_a_replay_reports_on_suppression_for_every_team(call: Call, paged: str, tmp_path: Path) -> None:
    """Although it is not enabled yet: that is the question."""
    off = settings(tmp_path, "[engine]\nsuppress_teams = []\n")
    asked = ("shadow-report", "--paged", paged, "--replay", ALERTS, *SHOP)
    assert call(*asked, "--config", off).stdout == call(*asked).stdout


def test_notifications_are_matched_by_the_fingerprints_that_we_give(call: Call, tmp_path: Path) -> None:
    """The alerts of a replay and the webhook bodies of the pager are read alike."""
    body = json.loads((DATA / "webhook.json").read_text())
    path = tmp_path / "hooks.ndjson"
    path.write_text(json.dumps({"received_at": T0 + 10, "body": body}) + "\n")
    asked = ("shadow-report", "--paged", str(path), "--replay", str(DATA / "webhook.json"), *SHOP, "--format", "json")
    *found, _ = lines(call(*asked))
    assert [one["outcome"] for one in found] == ["same"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "Missing option '--paged'"),
        (["--paged", "PAGES"], 2, "give --history FILE or --replay FILE"),
        (["--paged", "PAGES", "--replay", ALERTS, "--history", ALERTS], 2, "give --history FILE or --replay FILE"),
        (["--paged", "absent.csv", "--replay", ALERTS], 1, "absent.csv: cannot be read: No such file"),
        (["--paged", "PAGES", "--replay", ALERTS, "--column", "when=x"], 2, "'when=x' is not FIELD=HEADER"),
        (["--paged", "PAGES", "--replay", ALERTS, "--column", "key=x"], 1, "no column 'x' for key"),
        (["--paged", "PAGES", "--replay", ALERTS, "--fail-on", "lost"], 2, "'lost' is not a rule; allowed: missed"),
        (["--paged", "PAGES", "--replay", ALERTS, "--window", "x"], 2, "'x' is not a duration"),
    ],
)
def test_a_wrong_report_is_a_line_and_an_exit_code(
    call: Call, paged: str, arguments: list[str], code: int, text: str
) -> None:
    """Nothing on stdout."""
    result = call("shadow-report", *(paged if a == "PAGES" else a for a in arguments), *SHOP)
    assert (result.exit_code, result.stdout) == (code, "")
    assert text in " ".join(result.stderr.split())


def test_check_knows_the_teams(call: Call, tmp_path: Path) -> None:
    """A typo would leave a team without suppression, and a service without a team never has it."""
    config = settings(tmp_path, '[engine]\nsuppress_teams = ["shopp", "data"]\n')
    found = call("check", "--config", config, *SHOP).stdout
    assert "engine.suppress_teams: warning: no service has the team 'shopp' (did you mean 'shop'?)" in found
    assert "engine.suppress_teams: notice: 3 of 6 services have no team, such as 'cache'" in found
    assert "suppress_teams" not in call("check", *SHOP).stdout
