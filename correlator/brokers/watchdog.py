"""What ends a process group when the process that started it is gone, in whatever way: killed too."""

from __future__ import annotations

import subprocess
from typing import Final

__all__ = ["dismiss", "watch"]

# Reads from a pipe that the parent holds: a word dismisses it, end of file means that the parent is gone.
_WATCHDOG: Final = 'read -r word || { kill -9 "-$1"; sleep 1; rm -rf "$2"; }'


def watch(group: int, folder: str) -> subprocess.Popen[bytes]:
    """A watchdog that kills the process group and removes ``folder`` ("" for none) when this process is gone."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "sh", str(group), folder], stdin=subprocess.PIPE, start_new_session=True
    )


def dismiss(watchdog: subprocess.Popen[bytes]) -> None:
    """It is no longer needed: the group has ended, and its folder stays."""
    watchdog.communicate(b"dismissed\n")
