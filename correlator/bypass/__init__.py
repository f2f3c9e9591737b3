"""The bypass: pages critical alerts while the correlator is silent, and stops as soon as it is back.

Theory of operation: the bypass shares nothing with a worker but the topics. It has no Faust, no service graph and no
engine state. It reads the raw topics with a consumer group of its own, and it watches how the workers' heartbeats
get on, from what the broker knows about the workers' group:

    heartbeat in alerts.raw at offset h ──> the group has committed h + 1: intake has placed everything before it
        ──> the end of alerts.placed at that moment is E ──> the group has committed E: all of it is decided and saved

A heartbeat that has come through proves that every raw record before it is decided. That gives, by raw partition, the
offset up to which alerts are the correlator's (:mod:`.path`), and the time since the last proof. No clocks are
compared, and a worker that is frozen, gone, cut off, or stuck in only one of its two agents looks the same: the
proof does not come. Alerts without proof wait in a bounded backlog (:mod:`.backlog`); when the proof is older than
``bypass.failopen_after``, or more than ``bypass.max_lag`` records wait, those that would page are published as bypass
incidents (:mod:`.pages`). When the proof for them has come, and it is young again, the incidents are closed.
"""
