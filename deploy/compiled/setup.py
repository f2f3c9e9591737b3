"""The build of ``make wheel``: the engine becomes extension modules, made of the same sources.

mypyc compiles them by their type annotations, and checks these at run time. What comes out is the same, byte for byte:
tests/test_compiled.py holds the two together. Runs in a directory with pyproject.toml and the packages; needs mypy and
a C compiler. ``MYPYC_OPT_LEVEL`` is as mypy's own build knows it.
"""

import os
from pathlib import Path
from typing import Final

from mypyc.build import mypycify
from setuptools import setup

#: mypy's own: the types are checked by `make test`, with the stubs of all that is imported.
OPTIONS: Final = ("--config-file=", "--ignore-missing-imports")

sources = sorted(map(str, Path("correlator/engine").glob("*.py")))
level = os.environ.get("MYPYC_OPT_LEVEL", "3")
setup(ext_modules=mypycify([*OPTIONS, *sources], opt_level=level, debug_level="0", group_name="correlator_engine"))
