"""Which program this is: its version, and whether its engine is compiled."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

__all__ = ["compiled", "version"]


def version() -> str:
    """The version of the installed program, ``(not installed)`` where it runs from its sources alone."""
    try:
        return metadata.version("alert-correlator")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def compiled() -> bool:
    """Whether the engine runs as extension modules (``make wheel``) and not as Python."""
    found = find_spec("correlator.engine.shard")
    return found is not None and not (found.origin or "").endswith(".py")
