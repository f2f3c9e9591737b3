"""Values against the schemas of the package."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from correlator.schemas import names, schema

__all__ = ["problems"]


@cache
def _validator(name: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resources(
        (one["$id"], Resource.from_contents(one)) for one in map(schema, names())
    )
    return Draft202012Validator(schema(name), registry=registry)


def problems(name: str, value: Any) -> list[str]:
    """What is wrong with a value after its way over the wire; empty when it is valid."""
    return [
        f"{error.json_path}: {error.message}"
        for error in _validator(name).iter_errors(orjson.loads(orjson.dumps(value)))
    ]
