"""The laws in a storm: many services and many alerts a record; trees grow together and fall apart in one step."""

from __future__ import annotations

from functools import cache
from random import Random

import orjson
import pytest

from correlator.storms import storm, stream
from tests.engine.strategies import Log, Run, run
from tests.engine.timeline import RAW, row
from topology import Edge, Node, ServiceGraph

SORTED = orjson.OPT_SORT_KEYS
SEEDS = range(1, 9)


@cache
def storm_log(seed: int, services: int, alerts: int) -> Log:
    """A storm, its repeats, its resolution and the next one over the same services; some alerts are left out."""
    drawn, random = storm("c", services=services, seed=seed), Random(seed)
    nodes = {name: Node(tier=values.get("tier")) for name, values in drawn.graph["nodes"].items()}
    graph = ServiceGraph.build(nodes, {pair: Edge() for pair in drawn.graph["edges"]})
    log = Log(graph, graph)
    kept = [alert for alert in stream(drawn, alerts) if random.random() < 0.8]
    start = 0
    while start < len(kept):
        end = start + random.choice([1, 5, 25, 60])
        packed, now = kept[start:end], kept[start:end][-1]["ts"]
        rows = []
        for number, alert in enumerate(packed, start):
            more = {"fingerprint": alert["key"]}
            more |= {key: alert[key] for key in ("severity", "starts_at", "ends_at") if key in alert}
            rows.append(row(number, now, alert["service"], alert["name"], alert["status"], **more))
        log.records.append((10 * len(log.records), now, "s", orjson.dumps({"source": RAW, "rows": rows})))
        start = end
    return log


@pytest.mark.parametrize(("seed", "services"), [(7, 60), (20, 60), (28, 60), (3, 120), (30, 120), (40, 120)])
def test_a_restart_is_no_restart(seed: int, services: int) -> None:
    """After a restart at every tenth record all that is said and saved is the same, in bytes."""
    log = storm_log(seed, services, 40 * services)
    through, _ = run(log)
    stopped, _ = run(log, restart=frozenset(range(seed % 10, len(log.records), 10)))
    assert stopped.last == through.last
    assert orjson.dumps(stopped.receipts, option=SORTED) == orjson.dumps(through.receipts, option=SORTED)
    assert stopped.entries == through.entries


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_where_batches_are_cut_does_not_matter(seed: int) -> None:
    """Outputs taken after every record or rarely: the same last values, receipts and state, in bytes."""
    log = storm_log(seed, 120, 4_000)
    (fine, _), (coarse, _) = run(log), run(log, every=7)
    assert coarse.last == fine.last
    assert orjson.dumps(coarse.receipts, option=SORTED) == orjson.dumps(fine.receipts, option=SORTED)
    assert coarse.entries == fine.entries


@pytest.mark.parametrize("seed", SEEDS)
def test_the_receipts_tell_where_every_alert_is(seed: int) -> None:
    """After every record the last receipt of what fires names its incident, or one that was merged into that."""
    log, result = storm_log(seed, 120, 4_000), Run()
    partition, told, into = log.partition(), dict[str, str](), dict[str, str]()
    for record in log.records:
        partition.apply(*record)
        output = result.take(partition)
        into.update((key, value["merged_into"]) for key, value in output.incidents if value and value["merged_into"])
        for receipt in output.decisions.get("s", []):
            if receipt["rule"] not in ("merged", "re_rooted") and receipt["incident_id"]:
                told[receipt["fingerprint"]] = receipt["incident_id"]
        store = partition.shards["s"].store
        for fingerprint, alert in store.alerts.items():
            if alert.firing:
                key, incident = told[fingerprint], store.incident_of(alert)
                while key in into:
                    key = into[key]
                assert incident is not None
                assert key == incident.id, fingerprint
