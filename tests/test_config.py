"""Settings: one file, one environment, one frozen object, one line per problem."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from correlator.config import Settings, load_settings, settings_markdown, settings_table
from correlator.config_load import duration_text, seconds, toml_value
from correlator.config_sections import Topology
from correlator.dialects.limits import Limits
from correlator.engine.rules import Rules
from correlator.errors import SettingsError
from topology.direction import DIRECTIONS

SASL = {
    "CORRELATOR_BROKER__SECURITY_PROTOCOL": "SASL_SSL",
    "CORRELATOR_BROKER__SASL_USERNAME": "correlator",
    "CORRELATOR_BROKER__SASL_PASSWORD": "hunter2",
}


def load_text(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    path = folder / "correlator.toml"
    path.write_text(text)
    return load_settings(path, environ or {})


def problems(folder: Path, text: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_text(folder, text, environ)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


def test_nothing_given_is_the_defaults() -> None:
    """Without a file and without variables every key has its default."""
    assert load_settings(None, {"PATH": "/bin"}) == Settings()


def test_every_key_has_a_description_and_a_default() -> None:
    """The table leaves nothing blank, and descriptions are one line."""
    rows = settings_table()
    assert len(rows) == len({row[0] for row in rows}) == sum(len(s) for s in Settings().effective().values())
    for key, kind, default, variable, text in rows:
        assert kind, key
        assert default, key
        assert text, key
        assert "\n" not in text, key
        assert not text.endswith("."), key
        section, name = key.split(".")
        assert variable == f"CORRELATOR_{section.upper()}__{name.upper()}"


def test_the_table_tells_defaults_that_load() -> None:
    """Each default in the table is TOML, and setting it changes nothing."""
    text = "\n".join(f"{key} = {default}" for key, _, default, _, _ in settings_table())
    assert load_settings(None, {}) == Settings.model_validate(tomllib.loads(text))


def test_every_key_is_in_the_markdown() -> None:
    """The README's table has one row per key, and a pipe in a default does not break it."""
    rows = [line for line in settings_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [row[0] for row in settings_table()]
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)


def test_the_file_is_read(tmp_path: Path) -> None:
    """Numbers, durations as text, lists, and tables arrive as typed values."""
    loaded = load_text(
        tmp_path,
        """
        [broker]
        bootstrap = "a:9092, b:9092"
        [dialects]
        by_topic = { "alerts.raw" = "alertmanager" }
        [engine]
        settle = "1m30s"
        not_a_cause = "Quota{1,2}"
        heartbeat = [{ match = { alertname = "Watchdog", env = "prod|test" } }]
        [worker]
        log_level = "debug"
        """,
    )
    assert loaded.broker.bootstrap == ("a:9092", "b:9092")
    assert loaded.dialects.by_topic == {"alerts.raw": "alertmanager"}
    assert loaded.engine.settle == 90.0
    assert loaded.engine.not_a_cause == ("Quota{1,2}",)
    assert loaded.engine.heartbeat[0].match == {"alertname": "Watchdog", "env": "prod|test"}
    assert loaded.engine.heartbeat[0].interval == 300.0
    assert loaded.worker.log_level == "DEBUG"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable overrides one key and leaves its neighbours."""
    environ = {
        "CORRELATOR_ENGINE__SETTLE": "2m",
        "CORRELATOR_TOPICS__RAW": "a,b",
        "CORRELATOR_DIALECTS__BY_TOPIC": '{"a": "zabbix"}',
        "CORRELATOR_ENGINE__TEST": '[{"match": {"name": "Drill.*"}}]',
        "CORRELATOR_HTTP__ENABLED": "false",
    }
    loaded = load_text(tmp_path, "engine = { settle = 30, bridge = 3 }", environ)
    assert (loaded.engine.settle, loaded.engine.bridge) == (120.0, 3)
    assert loaded.topics.raw == ("a", "b")
    assert loaded.dialects.by_topic == {"a": "zabbix"}
    assert loaded.engine.test[0].match == {"name": "Drill.*"}
    assert not loaded.http.enabled


def test_text_keys_in_the_environment_are_never_json() -> None:
    """A password that looks like a number or a list stays what it is."""
    for password in ("12345", "[1]", "true", '"quoted"', "{"):
        secret = load_settings(None, SASL | {"CORRELATOR_BROKER__SASL_PASSWORD": password}).broker.sasl_password
        assert secret is not None
        assert secret.get_secret_value() == password


def test_variables_of_kubernetes_services_are_not_ours() -> None:
    """A service called correlator-http makes Kubernetes set variables that look like ours."""
    environ = {
        "CORRELATOR_HTTP_PORT": "tcp://10.0.0.1:9308",
        "CORRELATOR_HTTP_SERVICE_HOST": "10.0.0.1",
        "CORRELATOR_PORT": "tcp://10.0.0.1:80",
    }
    assert load_settings(None, environ) == Settings()


def test_settings_are_frozen() -> None:
    """Nothing changes once it is read."""
    loaded = Settings()
    for section in Settings.model_fields:
        for name in type(getattr(loaded, section)).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(getattr(loaded, section), name, None)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """Broken values, unknown keys, variables and rules between keys are one list, each with key, value, allowed."""
    text = """
    worker = 5
    [engin]
    settle = 5
    [engine]
    setle = 1
    grace = "soon"
    bridge = 99
    settle_top_tier = 70
    max_depth = 4
    not_a_cause = ["("]
    heartbeat = [{ match = {} }, { match = { a = "x" }, intervl = 4 }, { interval = 9 }, 5]
    [topics]
    raw = ["a b", "x"]
    placed = "incidents"
    partitions = true
    [http]
    port = 70000
    """
    environ = {
        "CORRELATOR_ENGINE__TTL": "x",
        "CORRELATOR_ENGIN__TTL": "1",
        "CORRELATOR_ENGINE__TL": "1",
        "CORRELATOR_ENGINE_TTL": "1",
        "CORRELATOR_DIALECTS__BY_TOPIC": "{a",
    }
    duration = 'duration (seconds, or text such as "5m")'
    expected = [
        'dialects.by_topic = "{a" (CORRELATOR_DIALECTS__BY_TOPIC): not JSON',
        "CORRELATOR_ENGINE_TTL: no such variable; did you mean CORRELATOR_ENGINE__TTL?",
        "CORRELATOR_ENGINE__TL: no such key; did you mean CORRELATOR_ENGINE__TTL?",
        "CORRELATOR_ENGIN__TTL: no such key; did you mean CORRELATOR_ENGINE__TTL?",
        "topics.raw[0] = \"a b\": allowed is list of topics (letters, digits, '.', '_', '-'; at least one)",
        "topics.partitions = true: not a number; allowed is integer, 1 to 4096",
        f'engine.grace = "soon": not a duration; allowed is {duration}, 0s to 1d',
        "engine.bridge = 99: allowed is integer, 0 to 32",
        f'engine.ttl = "x" (CORRELATOR_ENGINE__TTL): not a duration; allowed is {duration}, 1m to 30d',
        "engine.heartbeat[0].match = {}: matches every alert; at least one pattern must not match empty text",
        "engine.heartbeat[1].intervl: no such key; did you mean engine.heartbeat[1].interval?",
        "engine.heartbeat[2].match: missing; allowed is table label -> regex",
        "engine.heartbeat[3] = 5: allowed is list of { match, interval }",
        'engine.not_a_cause[0] = "(": not a regular expression: missing )',
        "engine.setle: no such key; did you mean engine.settle?",
        "engine.max_depth: no such key; did you mean intake.max_depth?",
        "http.port = 70000: allowed is integer, 0 to 65535",
        "worker = 5: allowed is a table of keys, [worker]",
        "engin: no such key; did you mean engine?",
        'engine.settle_top_tier = "1m10s": must not be above engine.settle = 1m',
        'topics.incidents = "incidents": already the name of topics.placed',
    ]
    found = problems(tmp_path, text, environ)
    for line, start in zip(sorted(found), sorted(expected), strict=True):
        assert line.startswith(start)


def test_an_unknown_key_without_a_neighbour_lists_the_known_ones(tmp_path: Path) -> None:
    """Where nothing is close, the error says what there is."""
    assert problems(tmp_path, "[http]\nqqq = 1") == ["http.qqq: no such key; known here: enabled, host, port"]


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"CORRELATOR_BROKER__SASL_USERNAME": "me"}, 'broker.sasl_username = "me" (CORRELATOR_BROKER__SASL_USERNAME)'),
        ({"CORRELATOR_BROKER__SECURITY_PROTOCOL": "SASL_SSL"}, 'broker.sasl_password = "": must be set with'),
        ({"CORRELATOR_BROKER__SSL_CAFILE": "ca.pem"}, "has no use with broker.security_protocol = PLAINTEXT"),
        (SASL | {"CORRELATOR_BROKER__SSL_KEYFILE": "key.pem"}, "needs broker.ssl_certfile"),
        ({"CORRELATOR_BROKER__REQUEST_TIMEOUT": "5s"}, "must not be above broker.request_timeout = 5s"),
        ({"CORRELATOR_BROKER__BOOTSTRAP": "host:70000"}, "not a host:port"),
        ({"CORRELATOR_BROKER__BOOTSTRAP": ""}, 'broker.bootstrap = "" (CORRELATOR_BROKER__BOOTSTRAP)'),
        ({"CORRELATOR_TOPICS__RAW": "a,a"}, "given twice: a"),
        ({"CORRELATOR_DIALECTS__BY_TOPIC": '{"x": "keep"}'}, "x is not in topics.raw (alerts.raw)"),
        ({"CORRELATOR_ENGINE__NEVER_SUPPRESS": '[{"match": {"a": ".*"}}]'}, "matches every alert"),
        ({"CORRELATOR_CHECKPOINT__TICK_INTERVAL": "7s"}, "must be at least ten times checkpoint.tick_interval"),
        ({"CORRELATOR_BYPASS__WEBHOOK": "ftp://pager"}, 'bypass.webhook = "***"'),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], text: str) -> None:
    """A rule between keys names the key to change and the key it collides with."""
    with pytest.raises(SettingsError) as caught:
        load_settings(None, environ)
    assert any(text in line for line in caught.value.problems)


def test_a_broken_key_raises_no_second_problem_elsewhere(tmp_path: Path) -> None:
    """A rule between keys is not judged while one of its keys is unreadable."""
    environ = SASL | {"CORRELATOR_BROKER__SECURITY_PROTOCOL": "SASL-SSL"}
    assert len(problems(tmp_path, "", environ)) == 1


@pytest.mark.parametrize("content", [b"[engine\nsettle = 1", b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    """Missing, not UTF-8, not TOML: the path and the reason."""
    path = tmp_path / "correlator.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{path}: ")


def test_secrets_are_masked_everywhere(tmp_path: Path) -> None:
    """A password is in no text that is printed by default: dump, TOML, repr, errors, misspelt keys."""
    loaded = load_settings(None, SASL)
    wrong = problems(tmp_path, '[broker]\nsasl_pasword = "hunter2"\nssl_key_password = ["hunter2"]')
    unused = problems(tmp_path, '[broker]\nsasl_password = "hunter2"')
    for text in (str(loaded.effective()), loaded.to_toml(), repr(loaded), str(wrong), str(unused)):
        assert "hunter2" not in text
    assert loaded.effective()["broker"]["sasl_password"] == "***"
    assert loaded.effective()["broker"]["ssl_key_password"] == ""
    assert loaded.effective(mask=False)["broker"]["sasl_password"] == "hunter2"


def test_the_printed_file_loads_to_the_same_settings(tmp_path: Path) -> None:
    """What ``check --print`` writes can be used as the file, secrets aside."""
    environ = SASL | {
        "CORRELATOR_ENGINE__SETTLE": "0.25",
        "CORRELATOR_ENGINE__TTL": "25h",
        "CORRELATOR_ENGINE__NEVER_SUPPRESS": '[{"match": {"team": "a\\"b\\\\d|\\u007f"}}]',
        "CORRELATOR_TOPICS__RAW": "a.b,c",
        "CORRELATOR_DIALECTS__BY_TOPIC": '{"a.b": "keep"}',
        "CORRELATOR_TOPOLOGY__FILE": "graph.json",
        "CORRELATOR_SHARDS__TENANT_LABEL": "tenant",
    }
    for loaded in (Settings(), load_settings(None, environ)):
        assert load_text(tmp_path, loaded.to_toml(mask=False)) == loaded


def test_the_engine_section_makes_the_rules() -> None:
    """Names are the same as in the engine, and so are the defaults, except for the matchers that are shipped."""
    dump = Settings().engine.model_dump()
    assert set(dump) == {field.name for field in fields(Rules) if not field.name.startswith("_")}
    rules = Rules.of(dump)
    assert rules.heartbeat[0].match == {"alertname": "Watchdog"}
    assert Rules.of(dump | {"heartbeat": (), "test": ()}) == Rules()


def test_words_and_limits_are_those_of_the_parts_that_use_them() -> None:
    """The directions are the graph's, after auto; limits with the name of a limit of the dialects have its default."""
    words = get_args(Topology.model_fields["direction"].annotation)
    assert words == ("auto", *DIRECTIONS)
    intake, limits = Settings().intake.model_dump(), asdict(Limits())
    assert {key: intake[key] for key in intake if key != "max_batch"} == {
        key: limits[key] for key in intake if key != "max_batch"
    }


@pytest.mark.parametrize("text", ["", "5 m", "m", "-5", "-5m", "1e3", "inf", "nan", "5y", True, None, [], float("inf")])
def test_what_is_not_a_duration_is_refused(text: object) -> None:
    """No guessing: a unit that is not known, a sign, or infinity is an error."""
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@settings(database=None, max_examples=200)
@given(st.floats(0, 1e10) | st.integers(0, 10**9).map(float))
def test_a_duration_reads_back_as_it_was_written(value: float) -> None:
    """Law: seconds(duration_text(x)) == x."""
    assert seconds(duration_text(value)) == value


PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(database=None, max_examples=200)
@given(PLAIN)
def test_a_toml_value_reads_back_as_it_was_written(value: Any) -> None:
    """Law: TOML text of any plain value parses to the same value."""
    assert tomllib.loads(f"key = {toml_value(value)}\n") == {"key": value}
