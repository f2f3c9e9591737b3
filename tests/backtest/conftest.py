"""The profile of the engine's laws is registered here too: logs of its strategies are compared."""

from __future__ import annotations

import tests.engine.conftest  # noqa: F401 - for the profile
