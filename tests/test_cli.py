"""The offline commands, as a person or a script calls them."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from correlator.cli import main
from correlator.errors import BrokerError

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
SHOP = ["--topology", str(DATA / "shop.yaml")]
ALERTS = str(DATA / "shop.ndjson")
CASE = ROOT.parent / "shared" / "cases" / "petshop_temporal1"

Call = Callable[..., Result]


def incidents(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


# -- replay ---------------------------------------------------------------------------------------------------


def test_replay_prints_a_table_and_the_totals(call: Call) -> None:
    """Off a terminal the table is plain text, a line per incident; merged ones are only counted."""
    result = call("replay", ALERTS, *SHOP)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == "id state root name severity alerts services page title".split()
    assert {line.split()[2] for line in lines[1:-1]} == {"db", "reports", "ghost"}
    assert lines[-1].startswith("9 alerts in, 2 rejected; 3 incidents out (and 1 that became part of them), ")


def test_replay_names_what_it_could_not_read_on_stderr(call: Call) -> None:
    """One line each with the place; that is no reason to fail."""
    result = call("replay", ALERTS, *SHOP)
    assert [line.split(": ")[:3] for line in result.stderr.splitlines()] == [
        ["correlator", f"{ALERTS}:3", "not_json"],
        ["correlator", f"{ALERTS}:8", "wrong_type"],
    ]


def test_many_complaints_are_counted(call: Call, tmp_path: Path) -> None:
    """The first ones are written out."""
    path = tmp_path / "broken"
    path.write_text("{}\n" * 50)
    result = call("replay", str(path), *SHOP)
    lines = result.stderr.splitlines()
    assert (result.exit_code, len(lines), lines[-1]) == (0, 21, "correlator: 30 more could not be read")
    assert result.stdout == "50 alerts in, 50 rejected; 0 incidents out, 0 pages\n"


def test_replay_as_json_is_an_incident_per_line_and_the_same_twice(call: Call) -> None:
    """As published: a script can read it."""
    first, second = (call("replay", ALERTS, *SHOP, "--format", "json") for _ in range(2))
    assert first.stdout_bytes == second.stdout_bytes
    found = incidents(first)
    assert [one["state"] for one in found if one["root"]["service"] == "db"] == ["open"]
    assert len({one["id"] for one in found}) == len(found) == 4


def test_replay_prints_every_revision_on_request(call: Call) -> None:
    """The last one of each incident is what is printed without."""
    last = {one["id"]: one for one in incidents(call("replay", ALERTS, *SHOP, "--format", "json"))}
    every = incidents(call("replay", ALERTS, *SHOP, "--format", "json", "--revisions"))
    assert len(every) > len(last)
    assert {one["id"]: one for one in every} == last
    for key in last:
        revisions = [one["revision"] for one in every if one["id"] == key]
        assert revisions == sorted(set(revisions))


def test_replay_takes_any_dialect(call: Call) -> None:
    """A captured webhook body; a dialect that it is not written in rejects it."""
    webhook = str(DATA / "webhook.json")
    (one,) = incidents(call("replay", webhook, *SHOP, "--format", "json"))
    assert (one["root"]["service"], one["root"]["name"]) == ("db", "Down")
    result = call("replay", webhook, *SHOP, "--dialect", "alertmanager_v2")
    assert "0 incidents out" in result.stdout


def test_after_decides_how_long_the_last_alerts_may_settle(call: Call) -> None:
    """A duration, as in the settings."""
    asked = ("replay", ALERTS, *SHOP, "--format", "json")
    assert {one["state"] for one in incidents(call(*asked, "--after", "0s"))} > {"forming"}
    assert "forming" not in {one["state"] for one in incidents(call(*asked, "--after", "2m"))}
    assert call(*asked, "--after", "soon").exit_code == 2


def test_settings_hold_for_a_replay(call: Call, tmp_path: Path) -> None:
    """The file, and the environment above it."""
    config = tmp_path / "correlator.toml"
    config.write_text(f'[engine]\npage_severity = "info"\n[topology]\nfile = "{DATA / "shop.yaml"}"\n')
    asked = ("replay", ALERTS, "--config", str(config), "--format", "json")
    assert all(one["page"]["seq"] for one in incidents(call(*asked)) if one["state"] == "open")
    fewer = incidents(call(*asked, CORRELATOR_ENGINE__PAGE_SEVERITY="critical"))
    assert not all(one["page"]["seq"] for one in fewer if one["state"] == "open")


def test_without_a_topology_every_alert_stands_alone(call: Call) -> None:
    """That is allowed, and said."""
    result = call("replay", ALERTS)
    assert result.exit_code == 0
    assert "no topology" in result.stderr
    assert "5 incidents out" in result.stdout


def test_receipts_are_written_on_request_and_explain_reads_them(call: Call, tmp_path: Path) -> None:
    """The same answer as from a replay, but for the incident's last state, which receipts do not have."""
    receipts, last = tmp_path / "receipts", tmp_path / "incidents"
    last.write_text(call("replay", ALERTS, *SHOP, "--format", "json", "--decisions", str(receipts)).stdout)
    asked = ("explain", "--service", "jobs")
    alone = call(*asked, "--decisions", str(receipts))
    assert "of which only receipts are at hand" in alone.stdout
    together = call(*asked, "--decisions", str(receipts), "--decisions", str(last))
    assert together.stdout == call(*asked, "--replay", ALERTS, *SHOP).stdout
    assert together.exit_code == alone.exit_code == 0


def test_a_dump_of_the_log_is_replayed(call: Call, tmp_path: Path) -> None:
    """Graph, rules and alerts are in it; what else is in it is said."""
    graph = {"version": 1, "direction": "depends_on", "services": {"web": {"depends_on": ["db"]}, "db": None}}
    row = [0, 0, 1.75e9, True, "0" * 16, "db", "Down", "critical", "firing", 1.75e9, None, {}, {}, "s", []]
    other = [1, 0, 1.75e9, True, "1" * 16, "web", "Slow", "critical", "firing", 1.75e9, None, {}, {}, "s", []]
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    values = [{"source": "raw/0", "rows": [row, other]}, {"type": "tick"}]
    about = {"topic": "alerts.placed", "partition": 0, "key": "all"}
    lines = [{**about, "offset": n, "timestamp": 1.75e12 + n * 1e5, "value": value} for n, value in enumerate(values)]
    dump = tmp_path / "dump"
    dump.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {**about, "topic": "x", "offset": 0}]))
    result = call("replay", str(dump), "--placed", "--topology", str(tmp_path / "graph.json"))
    assert result.stdout.splitlines()[-1] == "2 alerts in, 0 rejected; 1 incident out, 1 page"
    assert "not a record of a dump" in result.stderr
    assert call("replay", str(dump), str(dump), "--placed").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["replay"], 2, "Missing argument"),
        (["replay", "absent.ndjson", *SHOP], 1, "absent.ndjson: cannot be read: No such file or directory"),
        (["replay", ALERTS, "--topology", "absent.yaml"], 2, "absent.yaml: error: the file cannot be read"),
        (["replay", ALERTS, *SHOP, "--direction", "serves"], 2, "direction_conflict"),
        (["replay", ALERTS, *SHOP, "--direction", "up"], 2, "'up' is not one of"),
        (["replay", ALERTS, *SHOP, "--config", "absent.toml"], 2, "absent.toml: cannot be read"),
        (["replay", ALERTS, *SHOP, "--dialect", "smoke"], 2, "'smoke' is not one of"),
        (["replay", ALERTS, *SHOP, "--decisions", "absent/file"], 1, "absent/file: cannot be written"),
        (["explain", "--replay", ALERTS, *SHOP], 2, "ask for one of"),
        (["explain", "--service", "db", "--alert", "x", "--replay", ALERTS], 2, "ask for one of"),
        (["explain", "--service", "db", "--replay", ALERTS, "--decisions", ALERTS], 2, "not both"),
        (["explain", "--service", "none", "--replay", ALERTS, *SHOP], 1, "no receipt is about service 'none'"),
        (["weather"], 2, "No such command"),
    ],
)
def test_an_error_is_a_line_and_an_exit_code(call: Call, arguments: list[str], code: int, text: str) -> None:
    """1 for a file, 2 for a wrong call, settings or topology; nothing on stdout."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert text in result.stderr


def test_settings_with_several_problems_are_a_line_each(call: Call, tmp_path: Path) -> None:
    """All at once, and none with the value of a secret."""
    config = tmp_path / "correlator.toml"
    config.write_text('[engine]\nbridge = -1\n[broker]\nsasl_password = "hush"\n')
    result = call("replay", ALERTS, *SHOP, "--config", str(config))
    assert result.exit_code == 2
    assert [line.split(" = ")[0] for line in result.stderr.splitlines()] == [
        "correlator: engine.bridge",
        "correlator: broker.sasl_password",
    ]
    assert "hush" not in result.output


def test_errors_of_other_commands_are_lines_too(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group turns every error of ours into a line."""

    @click.command()
    def fails() -> None:
        raise BrokerError("nobody answers")

    monkeypatch.setitem(main.commands, "fails", fails)
    result = call("fails")
    assert (result.exit_code, result.stderr) == (3, "correlator: nobody answers\n")


# -- explain --------------------------------------------------------------------------------------------------


def test_explain_answers_by_alert_fingerprint_service_and_incident(call: Call) -> None:
    """All lead to the same root."""
    (shop,) = (
        one
        for one in incidents(call("replay", ALERTS, *SHOP, "--format", "json"))
        if one["root"]["service"] == "db" and one["state"] != "merged"
    )
    (web,) = (member for member in shop["members"] if member["service"] == "web")
    for asked in (
        ["--alert", "HighErrorRate on web"],
        ["--fingerprint", web["fingerprint"]],
        ["--service", "web"],
        ["--incident", shop["id"]],
    ):
        result = call("explain", *asked, "--replay", ALERTS, *SHOP)
        assert result.exit_code == 0, asked
        assert "web -> api -> db" in result.stdout, asked
        assert f"incident   {shop['id']}, open: {shop['title']}" in result.stdout, asked


# -- check ----------------------------------------------------------------------------------------------------


def test_check_finds_nothing_wrong_with_a_good_set(call: Call) -> None:
    """Notices and warnings do not fail."""
    result = call("check", *SHOP)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("0 errors, ")
    assert "reports: notice: " in result.stdout


def test_check_names_the_place_of_every_problem(call: Call, tmp_path: Path) -> None:
    """Settings and topology together, each in the other's light."""
    config = tmp_path / "correlator.toml"
    config.write_text(
        '[dialects]\ndefault = "alertmanger"\n[shards]\nattribute = ["regin", "tenant"]\n'
        '[engine]\ntop_tier = 1\nsite_label = "site"\nnever_suppress = [{ match = { service = "payments.*" } }]\n'
    )
    result = call("check", "--config", str(config), *SHOP)
    assert result.exit_code == 1
    for line in (
        "dialects.default: error: no dialect is called 'alertmanger' (did you mean 'alertmanager'?)",
        "shards.attribute: warning: no service has 'regin' (did you mean 'region'?)",
        "shards.attribute: warning: 4 of 6 services have no 'tenant'",
        "engine.site_label: warning: no service has the label 'site'",
        "engine.never_suppress[0].match.service: warning: 'payments.*' fits no service",
    ):
        assert line in result.stdout, line
    assert result.stdout.splitlines()[-1].startswith("1 error, 4 warnings, ")


def test_check_looks_at_tiers_and_owners(call: Call, tmp_path: Path) -> None:
    """Who is called for what is important, and whether tiers mean anything."""
    path = tmp_path / "graph.yaml"
    path.write_text(
        "version: 1\ndirection: depends_on\nservices:\n  web: {depends_on: [db], tier: 0}\n  db: {tier: 5}\n"
    )
    result = call("check", "--topology", str(path))
    assert "web: warning: 'web' is of tier 0; it has no owner and no team [no_owner]" in result.stdout
    path.write_text(
        "version: 1\ndirection: depends_on\nservices:\n  web: {depends_on: [db], tier: 7}\n  db: {tier: 5}\n"
    )
    assert "engine.top_tier: warning: no service is of tier 1 or above" in call("check", "--topology", str(path)).stdout
    path.write_text("version: 1\ndirection: depends_on\nservices:\n  web: {depends_on: [db]}\n  db: {}\n")
    assert "engine.top_tier: warning: no service has a tier" in call("check", "--topology", str(path)).stdout


def test_check_lists_broken_settings_and_still_looks_at_the_topology(call: Call, tmp_path: Path) -> None:
    """Every problem in one go."""
    config = tmp_path / "correlator.toml"
    config.write_text("[engine]\nbridge = -1\n")
    result = call("check", "--config", str(config), "--topology", "absent.yaml")
    assert result.exit_code == 1
    assert f"{config}: error: engine.bridge = -1: allowed is integer" in result.stdout
    assert "absent.yaml: error: the file cannot be read" in result.stdout


def test_check_prints_the_effective_settings_without_secrets(call: Call, tmp_path: Path) -> None:
    """On stdout nothing but TOML, so it can be kept as a file; findings go to stderr."""
    config = tmp_path / "correlator.toml"
    config.write_text(
        '[broker]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "u"\nsasl_password = "hush"\n[engine]\nbridge = 3\n'
    )
    result = call("check", "--config", str(config), *SHOP, "--print", CORRELATOR_ENGINE__SETTLE="30s")
    told = tomllib.loads(result.stdout)
    assert (told["engine"]["bridge"], told["engine"]["settle"], told["broker"]["sasl_password"]) == (3, "30s", "***")
    assert "hush" not in result.output
    assert "0 errors" in result.stderr


# -- the program ----------------------------------------------------------------------------------------------


def test_the_program_runs_as_a_module() -> None:
    """From another process, and says its version."""
    done = subprocess.run([sys.executable, "-m", "correlator", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("correlator, version ")


def commands(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command by its words, those within groups too."""
    for name, command in sorted(group.commands.items()):
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


@pytest.mark.parametrize(("words", "command"), [pytest.param(*it, id=" ".join(it[0])) for it in commands(main)])
def test_every_command_has_help(call: Call, words: tuple[str, ...], command: click.Command) -> None:
    """One sentence for the list, and words for every option."""
    assert command.get_short_help_str()
    assert call(*words, "--help").exit_code == 0
    for parameter in command.params:
        if isinstance(parameter, click.Option) and words[0] in ("replay", "explain", "check", "change", "maintenance"):
            shown = parameter.help or parameter.type.name == "choice"
            assert shown, parameter.name


@pytest.mark.skipif(not CASE.exists(), reason="no labelled cases beside the repository")
def test_a_real_case_is_replayed_alike_twice(call: Call) -> None:
    """An application with noise before the fault: every alert is read and decided."""
    files = [str(CASE / "alerts.jsonl"), "--topology", str(CASE / "topology.json"), "--direction", "depends_on"]
    first, second = (call("replay", *files, "--format", "json") for _ in range(2))
    assert first.stdout_bytes == second.stdout_bytes
    assert incidents(first)
    assert (
        f"{len((CASE / 'alerts.jsonl').read_text().splitlines())} alerts in, 0 rejected"
        in call("replay", *files).stdout
    )
