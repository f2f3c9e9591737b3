"""A random sample of hidden alerts for review: what a precision of hiding can honestly be computed from.

The sample is stratified by the rule of the receipt, so that none is left out by chance: every rule gets its share by
largest remainders, and at least one. So a rule that is rarer than one in the sample's size is seen more often than it
occurs. The same receipts and the same seed give the same sample.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

__all__ = ["Drawn", "draw", "hidden", "shares"]

Receipt = Mapping[str, Any]


@dataclass(frozen=True)
class Drawn:
    """A hidden alert to be reviewed, as its last receipt has it; ``incident`` follows merges."""

    fingerprint: str
    episode: int
    service: str
    name: str
    incident: str
    root: str
    path: tuple[str, ...]
    rule: str
    reasons: tuple[str, ...]
    at: str

    @property
    def right(self) -> str:
        """The command that says that it was rightly hidden."""
        return self._command("--rightly-hidden")

    @property
    def wrong(self) -> str:
        """The command that says that it was not explained."""
        return self._command("--not-explained")

    def _command(self, said: str) -> str:
        return shlex.join(["correlator", "verdict", self.incident, said, self.fingerprint, "--sampled"])

    def row(self) -> dict[str, Any]:
        """The same as plain data for JSON, with the commands."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return found | {
            "path": list(self.path),
            "reasons": list(self.reasons),
            "right": self.right,
            "wrong": self.wrong,
        }


def hidden(receipts: Iterable[Receipt], since: str = "") -> list[Drawn]:
    """Every hidden alert, once an episode, that was hidden from ``since`` (RFC 3339, UTC) on. O(receipts log receipts).

    Hidden is what is a symptom by its own last word, and what was a root until its incident got another one or became
    part of another incident. ``receipts`` of one shard are in the order of the log.
    """
    seen = _Seen()
    for receipt in sorted(receipts, key=lambda r: (r["at"], r["revision"])):
        seen.take(receipt)
    found = (_drawn(receipt, seen.merged) for _, receipt in sorted(seen.hidden.items()))
    return [one for one in found if one.at >= since]


class _Seen:
    """What is hidden, by fingerprint and episode, and what stands for each incident, as of the receipts so far."""

    def __init__(self) -> None:
        self.hidden: dict[tuple[str, int], Receipt] = {}
        self.roots: dict[str, Receipt] = {}
        self.merged: dict[str, str] = {}

    def take(self, receipt: Receipt) -> None:
        """The next receipt."""
        key, incident = (receipt["fingerprint"], receipt["episode"]), receipt["incident_id"]
        if receipt["rule"] == "re_rooted":
            was = self.roots.get(incident)
            if was is not None and receipt["path"][0] == was["service"] != receipt["root"]:
                told = {name: receipt[name] for name in ("root", "path", "rule", "reasons", "at")}
                self.hidden[was["fingerprint"], was["episode"]] = {**was, **told}
        if receipt["rule"] == "merged":
            self.merged[incident] = receipt["merged_into"]
        if receipt["verdict"] == "root":
            self.hidden.pop(key, None)
            self.roots[incident] = receipt
        elif receipt["verdict"] == "symptom" and incident and receipt["episode"] is not None:
            self.hidden[key] = receipt


def _drawn(receipt: Receipt, merged: Mapping[str, str]) -> Drawn:
    incident = receipt["incident_id"]
    seen = {incident}
    while (into := merged.get(incident)) is not None and into not in seen:
        incident = into
        seen.add(incident)
    names = ("fingerprint", "episode", "service", "name", "root", "rule", "at")
    said = {name: receipt[name] for name in names}
    return Drawn(**said, incident=incident, path=tuple(receipt["path"]), reasons=tuple(receipt["reasons"]))


def draw(found: Iterable[Drawn], n: int, seed: int) -> list[Drawn]:
    """A sample of ``n`` of them, or all; by rule, then in the order of their fingerprints."""
    strata: dict[str, list[Drawn]] = {}
    for one in found:
        strata.setdefault(one.rule, []).append(one)
    sizes = shares({rule: len(strata[rule]) for rule in sorted(strata)}, n)
    random, chosen = Random(seed), list[Drawn]()
    for rule, size in sizes.items():
        population = sorted(strata[rule], key=lambda one: (one.fingerprint, one.episode))
        chosen += sorted(random.sample(population, size), key=lambda one: (one.fingerprint, one.episode))
    return chosen


def shares(counts: Mapping[str, int], n: int) -> dict[str, int]:
    """How many of each stratum: in proportion, by largest remainders, at least one as long as ``n`` allows it.

    >>> shares({"beside": 1, "bridged": 300, "depends_on": 700}, 10)
    {'beside': 1, 'bridged': 3, 'depends_on': 6}
    >>> shares({"beside": 1, "depends_on": 2}, 10)
    {'beside': 1, 'depends_on': 2}
    """
    total = sum(counts.values())
    n = min(n, total)
    ideal = {name: n * count / total for name, count in counts.items()}
    found = {name: min(count, max(1, int(ideal[name]))) for name, count in counts.items()}
    while sum(found.values()) < n:
        name = max((m for m in counts if found[m] < counts[m]), key=lambda m: (ideal[m] - found[m], m))
        found[name] += 1
    while sum(found.values()) > n:  # what every rule gets at least is taken from the largest
        name = max(counts, key=lambda m: (found[m] > 1, found[m] - ideal[m], counts[m], m))
        found[name] -= 1
    return found
