"""correlator verdict and sample, as far as they need no broker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from correlator.sample import draw, hidden

DATA = Path(__file__).resolve().parent / "data"

Call = Callable[..., Result]


def receipt(number: int, rule: str = "depends_on", **more: Any) -> dict[str, Any]:
    """A hidden alert."""
    return {
        "fingerprint": f"{number:016x}",
        "episode": 1_000,
        "service": f"s{number}",
        "name": "Down",
        "verdict": "symptom",
        "incident_id": "a" * 16,
        "root": "db",
        "path": [f"s{number}", "db"],
        "rule": rule,
        "reasons": ["it depends on db, which alerts"],
        "would_page_if": "",
        "at": f"2026-01-01T00:{number % 60:02}:00.000Z",
        "revision": number,
        **more,
    }


RECEIPTS = [receipt(n) for n in range(50)] + [receipt(n, "bridged") for n in range(50, 60)] + [receipt(60, "beside")]


# -- sample ------------------------------------------------------------------------------------------------------


def test_a_sample_has_every_rule_and_is_the_same_for_a_seed() -> None:
    """In whatever order the receipts come; another seed draws others."""
    first = draw(hidden(RECEIPTS), 12, 7)
    assert Counter(one.rule for one in first) == {"depends_on": 9, "bridged": 2, "beside": 1}
    assert draw(hidden(RECEIPTS[::-1]), 12, 7) == first
    assert draw(hidden(RECEIPTS), 12, 8) != first
    assert len(draw(hidden(RECEIPTS), 1_000, 7)) == len(RECEIPTS)
    assert draw([], 12, 7) == []
    assert len(draw(hidden(RECEIPTS), 2, 7)) == 2


def test_an_alert_is_in_it_once_an_episode_with_its_incident_of_now() -> None:
    """Roots, resolves and moves are no hidden alerts; a merge is followed; what is older than asked for is left out."""
    merged = {**receipt(70, "merged", revision=99), "incident_id": "a" * 16, "merged_into": "b" * 16}
    more = [
        receipt(0, "bridged", revision=70),
        receipt(0, episode=2_000),
        receipt(1, verdict="root", revision=71, incident_id="c" * 16),
        receipt(2, verdict="resolved", revision=72),
        merged,
    ]
    found = {(one.fingerprint, one.episode): one for one in hidden([*RECEIPTS, *more])}
    assert len(found) == len(RECEIPTS) + 1  # an episode and a merged root more, one that is a root less
    assert found["0" * 16, 1_000].rule == "bridged"
    assert {one.incident for one in found.values()} == {"b" * 16}
    assert len(hidden(RECEIPTS, "2026-01-01T00:50:00.000Z")) == 10


def test_a_root_that_is_explained_later_is_hidden_since() -> None:
    """Most symptoms alert before their root does; the new root is hidden no longer."""
    first = receipt(1, verdict="root", path=["s1"], root="s1", rule="no_alerting_dependency")
    told = {"verdict": "root", "path": ["s1", "s2"], "root": "s2", "reasons": ["s2 explains s1, the root so far"]}
    moved = receipt(2, "re_rooted", **told, revision=80)
    (one,) = hidden([receipt(2), first, moved])
    assert (one.fingerprint, one.path, one.rule) == (f"{1:016x}", ("s1", "s2"), "re_rooted")


def test_the_sample_of_a_replay_can_be_reviewed(call: Call, tmp_path: Path) -> None:
    """A table for people, a line of JSON each for tools, both with the commands that answer."""
    receipts = tmp_path / "receipts"
    shop = ["--topology", str(DATA / "shop.yaml")]
    call("replay", str(DATA / "shop.ndjson"), *shop, "--format", "json", "--decisions", str(receipts))
    result = call("sample", "--decisions", str(receipts), "--n", "3", "--seed", "4", "--format", "json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert rows
    for row in rows:
        assert row["path"][-1] == row["root"]
        said = f"{row['fingerprint']} --sampled"
        assert row["right"] == f"correlator verdict {row['incident']} --rightly-hidden {said}"
        assert row["wrong"] == f"correlator verdict {row['incident']} --not-explained {said}"
    table = call("sample", "--decisions", str(receipts), "--n", "3", "--seed", "4")
    assert table.stdout.splitlines()[0].split() == "rule alert fingerprint incident path at".split()
    assert [row["fingerprint"] in line for row, line in zip(rows, table.stdout.splitlines()[1:], strict=True)]
    assert f"{len(rows)} of " in table.stderr
    assert rows[0]["right"] in table.stderr
    none = call("sample", "--decisions", str(receipts), "--since", "2099-01-01T00:00:00Z")
    assert (none.exit_code, none.stdout) == (0, "")
    assert none.stderr == "0 of 0 hidden alerts, seed 1\n"


# -- verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["verdict"], 2, "Missing argument 'INCIDENT'"),
        (["verdict", "a1"], 1, "a verdict says nothing; allowed: one of root, not_explained, rightly_hidden"),
        (
            ["verdict", "a1", "--root", "db", "--not-explained", "f"],
            1,
            "a verdict says root and not_explained; allowed",
        ),
        (["verdict", "a1", "--root", "db", "--sampled"], 1, "sampled is about a hidden alert"),
        (["verdict", "a1", "--root", ""], 1, "verdict.root is ''; allowed: str, not empty"),
        (["verdict", "", "--root", "db"], 1, "verdict.incident is ''"),
        (["sample", "--n", "0"], 2, "0 is not in the range"),
        (["sample", "--since", "noon"], 2, "'noon' is neither a time such as"),
        (["sample", "--decisions", "absent"], 1, "absent: "),
    ],
)
def test_what_makes_no_sense_is_refused(call: Call, arguments: list[str], code: int, text: str) -> None:
    """Before a broker is asked."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert text in result.stderr
