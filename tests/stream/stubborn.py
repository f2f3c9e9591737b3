"""A worker that never gives up a partition: ``python -m tests.stream.stubborn run --config FILE``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from correlator.stream.owners import Owners


async def suspend(_: Owners, numbers: Iterable[int] | None = None) -> None:
    """Never done, once there is something to give up."""
    if numbers is None or list(numbers):
        await asyncio.Event().wait()


if __name__ == "__main__":
    from correlator.__main__ import main

    Owners.suspend = suspend  # type: ignore[method-assign, assignment]
    main(prog_name="correlator")
