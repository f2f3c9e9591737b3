"""``correlator``, and ``python -m correlator``."""

from __future__ import annotations

from correlator.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main(prog_name="correlator")
