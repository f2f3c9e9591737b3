"""``make audit``: the known vulnerabilities of everything that is pinned here, asked of a public database by pip-audit.

Ends with 0 when the database knows every pinned package and no vulnerability of any, with 1 when it knows one, and
with 3 when it could not be asked, or not about all: then nothing is known, and that is no yes. Arguments go to
pip-audit, such as ``--vulnerability-service osv`` or ``--ignore-vuln ID``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

__all__ = ["main"]

_HERE: Final = Path(__file__).resolve().parent
_VULNERABLE, _UNKNOWN = 1, 3


def main(arguments: list[str]) -> int:
    """Audit every requirements file beside this one; the exit code."""
    worst = 0
    for path in sorted(_HERE.glob("*.txt")):
        code, lines = judged(*_asked(path, arguments))
        print(f"{path.name}: {lines[0]}", *lines[1:], sep="\n  ")
        worst = code if worst != _VULNERABLE and code else worst
    return worst


def judged(output: str, complaint: str) -> tuple[int, list[str]]:
    """The exit code and the lines for what pip-audit wrote: JSON on success, else the end of its complaint."""
    try:
        found: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except ValueError:
        last = complaint.strip().splitlines()[-1:] or ["it says nothing"]
        return _UNKNOWN, [f"nothing is known: pip-audit could not ask the database: {last[0][:300]}"]
    skipped = [package for package in found if "skip_reason" in package]
    if len(skipped) == len(found):
        return _UNKNOWN, [f"nothing is known: the database has none of the {len(found)} packages"]
    known = [(package, flaw) for package in found for flaw in package.get("vulns", ())]
    lines = [f"{len(known)} known vulnerabilities in {len(found) - len(skipped)} of {len(found)} packages"]
    for package, flaw in known:
        mended = ", ".join(flaw.get("fix_versions", ())) or "no version"
        lines.append(f"{package['name']} {package['version']}: {flaw['id']}, mended in {mended}")
    if skipped:
        lines.append(f"{len(skipped)} packages are not known to the database, such as: {skipped[0]['skip_reason']}")
    return _VULNERABLE if known else _UNKNOWN if skipped else 0, lines


def _asked(path: Path, arguments: list[str]) -> tuple[str, str]:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(path), "--require-hashes", "--disable-pip"]
    done = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off", *arguments], capture_output=True, text=True
    )
    return done.stdout, done.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
