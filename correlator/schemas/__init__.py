"""JSON Schemas (2020-12) of everything that is published or taken in, as files beside this one."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import orjson

__all__ = ["names", "schema"]

_END: Final = ".schema.json"


def names() -> tuple[str, ...]:
    """The names of all schemas, sorted."""
    found = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_END) for name in found if name.endswith(_END)))


def schema(name: str) -> dict[str, Any]:
    """The schema called ``name``, read anew each time. Raises ValueError for a name that does not exist."""
    if name not in names():
        raise ValueError(f"no schema is called {name!r}; known: {', '.join(names())}")
    loaded: dict[str, Any] = orjson.loads((files(__name__) / f"{name}{_END}").read_bytes())
    return loaded
