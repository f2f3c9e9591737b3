"""The program, which stops itself as by SIGSTOP at a point of its path to the broker.

It does so once the file ``freeze`` is in its folder and names the point: ``before writer.commit_transaction``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from correlator.config import load_settings
from correlator.stream.clients import Clients
from correlator.stream.run import run
from tests.stream.points import Point, Tapped


async def freeze(point: Point, when: str, waits: asyncio.Task[Any]) -> None:
    """Stop here, if asked for; SIGCONT goes on."""
    asked = Path("freeze")
    if asked.exists() and asked.read_text() == f"{when} {point.name}":  # noqa: ASYNC240 - a file of one line
        asked.unlink()  # noqa: ASYNC240
        os.kill(os.getpid(), signal.SIGSTOP)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    config = Path(sys.argv[sys.argv.index("--config") + 1])
    settings = load_settings(config, os.environ)
    logging.basicConfig(level="INFO")
    for noisy in ("aiokafka", "faust", "mode"):
        logging.getLogger(noisy).setLevel("ERROR")
    connect = Tapped(settings, Clients(settings), freeze)
    asyncio.run(run(settings, config, os.environ, connect=connect, say=_say))
