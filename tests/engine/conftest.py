"""The Hypothesis profile of the engine's laws: enough examples to find a fault, the same ones on every run in CI."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

# Tests name it (``@LAW`` in strategies.py) rather than load it: it is not for the tests of other folders.
settings.register_profile(
    "engine",
    deadline=None,
    max_examples=int(os.environ.get("ENGINE_EXAMPLES", "80")),
    derandomize=IN_CI,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
