"""``python -m tests.fuzz SURFACE``: bytes guided by coverage (atheris) through the promise of an input surface.

Begins with the saved corpus, runs for ``--seconds``, and ends with an error at the first input that breaks the promise
or takes too much time or memory; the input is kept. Once the fault is mended the input belongs into the corpus, small
and under a name that tells the fault. ``--file`` tries one input without atheris.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["main"]

_CORPUS: Final = Path(__file__).parent / "corpus"
#: Bounds of one input: bytes, seconds, and megabytes of the process.
_BYTES, _SECONDS, _MEGABYTES = 65_536, 10, 2_048


def main() -> None:
    """Read the arguments and run; does not return."""
    names = sorted(path.name for path in _CORPUS.iterdir())
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz an input surface with atheris.")
    parser.add_argument("surface", choices=names, metavar="SURFACE", help=f"one of {', '.join(names)}")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("--kept", type=Path, default=Path(".fuzz"), help="folder of inputs that fail (default: .fuzz)")
    parser.add_argument("--file", type=Path, help="try this input alone, without atheris")
    given = parser.parse_args()
    if given.file is not None:
        from tests.fuzz.surfaces import SURFACES

        SURFACES[given.surface](given.file.read_bytes())
        sys.exit(f"{given.file} keeps the promise of {given.surface}")
    _fuzz(given.surface, given.seconds, given.kept)


def _fuzz(surface: str, seconds: int, kept: Path) -> None:
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: make fuzz, or pip install --require-hashes -r requirements/fuzz.txt")
    with atheris.instrument_imports(include=["correlator", "topology", "icalendar", "yaml", "tomllib", "csv", "json"]):
        from tests.fuzz.surfaces import SURFACES
    kept.mkdir(parents=True, exist_ok=True)
    found = tempfile.mkdtemp(prefix=f"fuzz-{surface}-")
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_BYTES}",
        f"-timeout={_SECONDS}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-artifact_prefix={kept}{os.sep}{surface}-",
        "-print_final_stats=1",
    ]
    promise = SURFACES[surface]

    def check(data: bytes) -> None:
        promise(data)

    atheris.Setup([sys.argv[0], *options, found, str(_CORPUS / surface)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
