"""The load of a run: by the seed alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from benchmarks.chaos.traffic import PULSE, Regions, shard_of
from correlator.stream.intake import partition_of


def test_the_load_follows_from_its_seed() -> None:
    """In order of time; storms, repeats, resolves, flaps, windows with their ends, acknowledgements and changes."""
    items = list(Regions(7, 2).items(120))
    assert items == list(Regions(7, 2).items(120))
    assert items != list(Regions(8, 2).items(120))
    assert all(earlier.at <= later.at <= 120 for earlier, later in pairwise(items))
    assert {item.value["type"] for item in items if item.kind == "control"} == {
        "maintenance",
        "maintenance_end",
        "acknowledge",
    }
    assert any(item.kind == "change" for item in items)
    alerts = [item.value for item in items if item.kind == "alert"]
    episodes = Counter(
        (alert["key"], alert["starts_at"], alert["status"]) for alert in alerts if alert["name"] != PULSE
    )
    assert {status for _, _, status in episodes} == {"firing", "resolved"}
    assert max(episodes.values()) > 1
    assert max(Counter(key for key, _, status in episodes if status == "resolved").values()) > 3


def test_every_partition_has_one_region() -> None:
    """So every worker publishes something."""
    names = Regions(1, 6).names
    assert sorted(partition_of(shard_of(name), 6) for name in names) == list(range(6))


def test_every_region_pulses_once_a_second() -> None:
    """And every service of the load is in the graph."""
    regions = Regions(1, 3)
    items = [item for item in regions.items(30) if item.kind == "alert"]
    for name in regions.names:
        assert [item.at for item in items if item.value["service"] == f"{name}.pulse"] == list(range(30))
    assert {item.value["service"] for item in items} <= regions.graph["nodes"].keys()
