"""The benchmarks run, end by themselves, and say what they must; sizes are tiny, so no figure here is a measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import end_to_end, pressure, recovery, rolling, soak, storm, window
from benchmarks.fleet import fleet
from benchmarks.load import shift_to_now, shifted
from benchmarks.measure import cpu_seconds, machine, memory, metric, percentiles, scraped, show, write_json
from correlator.brokers import BrokerProcess
from correlator.storms import storm as draw
from correlator.storms import stream, write_case

ROOT = Path(__file__).parents[1]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a result, after checking what belongs to every result."""
    result = json.loads(path.read_bytes())
    assert {"date", "machine", "command", "rows"} <= result.keys()
    assert {"cpu", "cores", "python", "load"} <= result["machine"].keys()
    found: list[dict[str, Any]] = result["rows"]
    return found


# -- the engine alone -----------------------------------------------------------------------------------------


def test_storms_end_at_the_bar_with_every_root_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One root, five roots, and a late root: incidents at the end, the bar beside them, and a cost."""
    storm.main(["--services", "300", "--alerts", "1500", "--json", str(tmp_path / "r.json")])
    found = {row["variant"]: row for row in rows(tmp_path / "r.json")}
    assert [found[v]["named"] for v in "abc"] == ["1/1", "5/5", "1/1"]
    assert all(row["incidents"] >= row["bar"] and row["alerts/CPU s"] > 0 for row in found.values())
    assert found["c"]["re-rooted"] == 1
    assert "alerts/CPU s" in capsys.readouterr().out


def test_the_cost_of_one_alert_is_given_by_size_of_storm(tmp_path: Path) -> None:
    """One row a size, each over a fifth as many services; and how much of it evidence is judged."""
    storm.main(["--variants", "a", "--per-alert", "0.5k,1k", "--json", str(tmp_path / "r.json")])
    found = rows(tmp_path / "r.json")
    assert [(row["alerts"], row["services"]) for row in found] == [(500, 100), (1000, 200)]
    assert all(row["us/alert"] > row["judging"] for row in found)


def test_labelled_cases_are_judged_by_their_truth(tmp_path: Path) -> None:
    """A drawn storm written as a case: its root is named; without truth.json only the incidents are counted."""
    drawn = draw("a", services=100, alerts=400)
    write_case(drawn, tmp_path / "case")
    write_case(drawn, tmp_path / "bare")
    (tmp_path / "bare" / "truth.json").unlink()
    storm.main(["--cases", str(tmp_path / "case"), str(tmp_path / "bare"), "--json", str(tmp_path / "r.json")])
    judged, bare = rows(tmp_path / "r.json")
    assert (judged["cases"], judged["named"], judged["false roots"], judged["largest right"]) == (1, 1, 0, 1)
    assert bare["incidents"] == 1
    assert "cases" not in bare


def test_loads_that_no_day_should_bring_lose_nothing(tmp_path: Path) -> None:
    """Each load once: a verdict for every alert, and one incident where the graph joins them."""
    pressure.main(["--share", "0.005", "--bytes", "1000000", "--json", str(tmp_path / "r.json")])
    found = {row["load"]: row for row in rows(tmp_path / "r.json")}
    assert found.keys() == pressure.LOADS.keys()
    assert not any(row["lost"] for row in found.values())
    assert (found["strangers"]["incidents"], found["distinct"]["incidents"]) == (251, 1), "one a stranger, and a bundle"


def test_too_much_memory_for_an_alert_is_an_error() -> None:
    """What is out of bounds ends with an exit code that says so; a load that does not exist says which there are."""
    with pytest.raises(SystemExit) as ended:
        pressure.main(["--only", "service", "--share", "0.005", "--bytes", "-1000000000"])
    assert ended.value.code == 1
    with pytest.raises(SystemExit) as ended:
        pressure.main(["--only", "service,weather"])
    assert ended.value.code == 2


# -- accounting -----------------------------------------------------------------------------------------------


def test_work_shows_in_cpu_seconds_and_memory() -> None:
    """What this process uses is seen; a process that is gone has used nothing."""
    before, until = cpu_seconds(os.getpid()), time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert cpu_seconds(os.getpid()) >= before + 0.05
    assert 0 < memory()["rss"] <= memory()["peak"]
    assert cpu_seconds(2**22 + 1) == 0.0


def test_percentiles_are_values_that_occurred() -> None:
    """Nearest rank: no interpolation, the last one is the highest."""
    assert percentiles(range(1, 101)) == [50, 99, 100]
    assert percentiles([7.0]) == [7.0, 7.0, 7.0]
    assert percentiles([]) == []


def test_a_metric_is_summed_over_its_labels_only() -> None:
    """Metrics whose names begin alike stay apart."""
    samples = scraped('# TYPE a counter\na{x="1"} 1.0\na{x="2"} 2\na_sum 40\n')
    assert metric(samples, "a") == 3.0
    assert metric(samples, "a", 'x="2"') == 2.0


def test_results_name_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table for people, JSON for machines, nothing without a path."""
    show([{"name": "a", "n": 1_000, "x": None, "ok": True}])
    assert capsys.readouterr().out.splitlines() == ["name      n  x   ok", "a     1,000  -  yes"]
    write_json(None, [])
    write_json(tmp_path / "r.json", [{"n": 1}], more=2)
    assert rows(tmp_path / "r.json") == [{"n": 1}]
    assert machine()["cores"] >= 1


@pytest.mark.parametrize("file", ["chaos/__main__.py", "chaos.py"])
def test_results_name_their_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """As it was given, be the benchmark a module or a package."""
    monkeypatch.setattr(sys, "argv", [f"/somewhere/benchmarks/{file}", "--seed", "1"])
    write_json(tmp_path / "r.json", [])
    assert json.loads((tmp_path / "r.json").read_bytes())["command"] == "python -m benchmarks.chaos --seed 1"


# -- load -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [1, 300, 301, 2_000])
def test_the_last_alert_of_a_load_is_of_this_moment(total: int) -> None:
    """Times of another year would be taken for mistakes, times of tomorrow be clamped."""
    drawn = draw("a", services=60, alerts=300)
    last = list(shifted(stream(drawn, total), shift_to_now(drawn, total)))[-1]
    assert time.time() - 5 < last["ts"] <= time.time() + 1
    assert drawn.alerts[0]["starts_at"] < 1_760_000_000, "the drawn storm is left as it was"


# -- the whole path -------------------------------------------------------------------------------------------


@pytest.mark.broker
@pytest.mark.slow
def test_throughput_counts_every_alert(embedded_broker: BrokerProcess, tmp_path: Path) -> None:
    """Every alert gets its verdict, one incident stands, and the worker stops in order."""
    arguments = ["--alerts", "2000", "--services", "200", "--partitions", "1", "--raw-partitions", "2"]
    end_to_end.main([*arguments, "--broker", embedded_broker.address, "--json", str(tmp_path / "r.json")])
    (row,) = rows(tmp_path / "r.json")
    assert (row["verdicts"], row["difference"], row["exit"]) == (2_000, 0, 0)
    assert row["CPU s"] > 0
    assert row["floor/CPU s"] > row["alerts/CPU s"]


@pytest.mark.broker
def test_the_window_is_that_of_every_batch(tmp_path: Path) -> None:
    """Incidents, history, receipts and state of each checkpoint; percentiles are in order."""
    window.main(["--alerts", "1000", "--services", "200", "--json", str(tmp_path / "r.json")])
    (row,) = rows(tmp_path / "r.json")
    assert row["batches"] == 4 * row["checkpoints"] > 0
    assert 0 < row["way p50 ms"] <= row["way p99 ms"] <= row["way max ms"]
    assert 0 < row["share %"] < 100


@pytest.mark.broker
@pytest.mark.slow
def test_latency_sees_every_probe(embedded_broker: BrokerProcess, tmp_path: Path) -> None:
    """Probes among the load come out, and percentiles are in order."""
    arguments = ["--rate", "500", "--seconds", "2", "--services", "200", "--partitions", "1", "--raw-partitions", "2"]
    end_to_end.main([*arguments, "--broker", embedded_broker.address, "--json", str(tmp_path / "r.json")])
    (row,) = rows(tmp_path / "r.json")
    assert (row["probes"], row["unseen"], row["difference"]) == (40, 0, 0)
    assert 0 < row["p50 ms"] <= row["p99 ms"] <= row["max ms"]


@pytest.mark.broker
@pytest.mark.kafka
@pytest.mark.slow
def test_recovery_decides_each_alert_once(kafka_broker: BrokerProcess, tmp_path: Path) -> None:
    """Workers killed in the middle of a storm lose nothing and count nothing twice, whoever takes over."""
    arguments = ["--alerts", "1000", "--services", "200", "--rate", "200", "--partitions", "2"]
    ways = ["--ways", "restart,promotion"]
    recovery.main([*arguments, *ways, "--broker", kafka_broker.address, "--json", str(tmp_path / "r.json")])
    restart, promotion = rows(tmp_path / "r.json")
    assert restart["decided"] == restart["sent"]
    assert restart["opened s"] <= restart["incident s"]
    assert promotion["read"] < restart["keys"] < restart["read"] <= restart["records"]


@pytest.mark.broker
@pytest.mark.kafka
@pytest.mark.slow
def test_a_rolling_restart_loses_nothing(kafka_broker: BrokerProcess, tmp_path: Path) -> None:
    """Two static members restarted in turn: every alert decided once, and a gap that was seen."""
    load = ["--rate", "50", "--seconds", "20", "--services", "50", "--size", "100", "--partitions", "2"]
    arguments = ["--workers", "2", "--memberships", "static", "--broker", kafka_broker.address]
    rolling.main([*arguments, *load, "--json", str(tmp_path / "r.json")])
    (row,) = rows(tmp_path / "r.json")
    assert row["decided"] == row["sent"]
    assert 0 < row["median of shards s"] <= row["longest gap s"]
    assert row["exit"] == 0


@pytest.mark.broker
@pytest.mark.slow
def test_a_soak_with_a_burst_decides_each_alert_once(embedded_broker: BrokerProcess, tmp_path: Path) -> None:
    """Every alert of every quarter and every probe has its verdict; each row says what is watched."""
    arguments = ["--minutes", "0.2", "--every", "3", "--rate", "200", "--burst", "3", "--growth", "1000"]
    more = ["--services", "200", "--broker", embedded_broker.address, "--json", str(tmp_path / "r.json")]
    soak.main([*arguments, *more])
    found = rows(tmp_path / "r.json")
    assert [row["minute"] for row in found] == [0.1, 0.1, 0.1, 0.2]
    assert all(row["RSS MiB"] > 0 and row["changelog records"] >= row["state keys"] > 0 for row in found)
    assert json.loads((tmp_path / "r.json").read_bytes())["wrong"] == 0


@pytest.fixture
def orphan(tmp_path: Path, embedded_broker: BrokerProcess) -> Iterator[subprocess.Popen[bytes]]:
    """A benchmark that has started a worker, in a process of its own."""
    script = (
        "import os, sys, time\n"
        "from benchmarks.fleet import fleet\n"
        "from correlator.storms import storm\n"
        "drawn = storm('a', services=60)\n"
        f"with fleet('{embedded_broker.address}', drawn.graph, partitions=1, raw_partitions=1) as run:\n"
        "    print(run.worker().pid, run.folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.broker
@pytest.mark.parametrize("signal", ["terminate", "kill"])
def test_nothing_outlives_its_benchmark(orphan: subprocess.Popen[bytes], signal: str) -> None:
    """Told to stop, or gone without a word: the worker ends too, and its files go."""
    assert orphan.stdout is not None
    pid, folder = orphan.stdout.readline().split()
    getattr(orphan, signal)()
    assert orphan.wait(60) != 0
    until = time.monotonic() + 30
    while (cpu_seconds(int(pid)) > 0 or Path(folder.decode()).exists()) and time.monotonic() < until:
        time.sleep(0.1)
    assert cpu_seconds(int(pid)) == 0.0
    assert not Path(folder.decode()).exists()


def test_topics_of_a_fleet_are_its_own(embedded_broker: BrokerProcess) -> None:
    """A broker that others use sees no topic of a plain name."""
    with fleet(embedded_broker.address, draw("a", services=60).graph, partitions=1, raw_partitions=1) as run:
        assert run.settings.topics.raw[0].startswith("bench")
        assert run.settings.topics.incidents.startswith("bench")
        assert run.settings.worker.application.startswith("bench")
