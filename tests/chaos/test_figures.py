"""Silence and recovery, from the moments of publication."""

from __future__ import annotations

from benchmarks.chaos.figures import recoveries, silences
from benchmarks.chaos.run import Struck
from benchmarks.chaos.schedule import Fault

KILL = Struck(Fault(0, "kill", 10.0, 0.0, 1), 110.0, 110.0)
CUT = Struck(Fault(1, "cut", 30.0, 5.0, 0, "swallow"), 130.0, 135.0)
SLOW = Struck(Fault(2, "slow", 34.0, 5.0, size=0.1), 134.0, 139.0)


def test_the_longest_silence_of_a_shard_names_the_faults_in_it() -> None:
    """Counted from the start of the load to its end, as is a shard that never speaks."""
    moments = {"a": [101.0, 109.0, 118.0, 140.0], "b": []}
    a, b = silences(moments, [KILL, CUT], 100.0, 145.0)
    assert (a["publications"], a["longest silence s"], a["from s"], a["faults in it"]) == (
        4,
        22.0,
        18.0,
        "cut swallow w0",
    )
    assert (b["longest silence s"], b["faults in it"]) == (45.0, "kill w1, cut swallow w0")
    assert silences({"a": [101.0]}, [], 100.0, 102.0)[0]["faults in it"] == "-"


def test_recovery_is_the_time_until_every_shard_has_spoken() -> None:
    """From the end of the fault; what another fault disturbs is kept apart."""
    moments = {"a": [109.0, 111.0, 136.0, 141.0], "b": [112.5, 140.0]}
    kill, cut, slow = recoveries(moments, [KILL, CUT, SLOW])
    assert (kill["fault"], kill["times"], kill["disturbed"], kill["recovery max s"]) == ("kill", 1, 0, 2.5)
    assert (cut["disturbed"], cut["recovery max s"], cut["worst of all s"]) == (1, None, 5.0)
    assert (kill["longest silence s"], cut["longest silence s"]) == (2.0, 27.5)
    assert (slow["disturbed"], slow["worst of all s"]) == (1, 2.0)


def test_a_fault_after_which_a_shard_never_speaks_is_counted() -> None:
    """It has no recovery."""
    (row,) = recoveries({"a": [120.0], "b": [105.0]}, [KILL])
    assert (row["never"], row["recovery p50 s"], row["worst of all s"]) == (1, None, 0.0)
