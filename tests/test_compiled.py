"""What ``make wheel`` compiles says the same as the Python that it is made of, byte for byte."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from correlator.dialects import Reader
from correlator.engine.partition import Partition
from correlator.engine.rules import Rules
from correlator.place import ALL, Placer
from correlator.program import compiled
from correlator.storms import VARIANTS, storm, stream
from tests.conftest import IN_CI
from topology import Edge, Node, ServiceGraph

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("correlator", "topology", "tests", "benchmarks")
#: What of the suite runs on the compiled modules as well. (Tests that put something else in the place of a function, as
#: those of poison do, cannot: compiled callers do not notice.)
LAWS = ("laws", "restart_laws", "storm_laws", "stories", "scenarios", "moving", "older_state")


def said() -> Iterator[bytes]:
    """Everything that is said and saved in some storms, with restarts."""
    for variant, seed in itertools.product(VARIANTS, (1, 2)):
        drawn, reader = storm(variant, services=100, seed=seed), Reader()
        nodes = {name: Node(tier=values.get("tier")) for name, values in drawn.graph["nodes"].items()}
        graph = ServiceGraph.build(nodes, {pair: Edge() for pair in drawn.graph["edges"]})
        placer, partition, raw = Placer(graph), Partition(graph, Rules()), list(stream(drawn, 3_000))
        for offset, start in enumerate(range(0, len(raw), 25)):
            rows = []
            for number, alert in enumerate(raw[start : start + 25], start):
                (read,) = reader.read(orjson.dumps(alert), received_at=alert["ts"]).alerts
                rows.append(placer.row(read, number, 0, alert["ts"])[1])
            partition.apply(offset, rows[-1][2], ALL, orjson.dumps({"source": "alerts.raw/0", "rows": rows}))
            output = partition.take()
            partition.saved(output)
            yield orjson.dumps([output.incidents, output.decisions])
            if offset % 20 == seed:
                saved, partition = partition.entries, Partition(graph, Rules())
                partition.load(saved)
        yield from (b"%b %b" % entry for entry in sorted(partition.entries.items()))


def printed() -> str:
    """One line: which modules these are, and the hash of what they said."""
    whole = hashlib.sha256()
    for part in said():
        whole.update(part)
    return f"{compiled()} {whole.hexdigest()}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with the engine compiled in place."""
    if shutil.which("cc") is None:
        if IN_CI:
            pytest.fail("no C compiler")
        pytest.skip("no C compiler")
    made = tmp_path_factory.mktemp("compiled")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "deploy/compiled/setup.py"):
        shutil.copy(ROOT / name, made)
    call(made, "setup.py", "-q", "build_ext", "--inplace")
    return made


def call(where: Path, *arguments: str) -> str:
    """What Python prints there."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"MYPYC_OPT_LEVEL": "0"}
    done = subprocess.run([sys.executable, *arguments], cwd=where, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout.strip()


@pytest.mark.slow
def test_it_says_the_same(tree: Path) -> None:
    """Incidents, receipts and state, with restarts in between."""
    yes, here = call(tree, "-m", "tests.test_compiled").split()
    no, there = call(ROOT, "-m", "tests.test_compiled").split()
    assert (yes, no) == ("True", "False")
    assert here == there


@pytest.mark.slow
@pytest.mark.parametrize("laws", LAWS)
def test_it_keeps_the_laws(tree: Path, laws: str) -> None:
    """The tests of the engine hold on it as they do on the Python."""
    assert " passed" in call(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/engine/test_{laws}.py")


if __name__ == "__main__":
    sys.stdout.write(printed() + "\n")
