"""The program with an engine that stands still, without an error, once a file called ``stuck`` is in its folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from correlator.stream.owner import Owner

if __name__ == "__main__":
    from correlator.__main__ import main

    feed = Owner.feed

    async def wait(self: Owner, event: Any, records: Any) -> None:
        """Take the fetch, unless the file is there."""
        while Path("stuck").exists():  # noqa: ASYNC110, ASYNC240 - for as long as the test wants
            await asyncio.sleep(0.2)
        await feed(self, event, records)

    Owner.feed = wait  # type: ignore[method-assign]
    main(prog_name="correlator")
