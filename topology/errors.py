"""What can be wrong with a topology: one problem as a value, and the error that carries all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["PROBLEM_CODES", "Problem", "Severity", "TopologyError"]

#: An error makes the source unusable; a warning is a likely mistake; a notice is a fact worth knowing.
Severity = Literal["error", "warning", "notice"]

#: Every code that a problem can carry. Codes are stable: scripts and metrics may rely on them.
PROBLEM_CODES: Final[dict[str, str]] = {
    # the file as bytes and as syntax
    "unreadable": "the file cannot be opened or read",
    "too_large": "the file is larger than the limit",
    "not_utf8": "the bytes are not UTF-8",
    "bad_syntax": "the text is not the JSON, YAML or CSV that it should be",
    "too_deep": "the text is nested deeper than the limit",
    "too_many_nodes": "the YAML grows over the limit once its aliases are written out",
    "unknown_format": "no reader is known for the file, or the option names none",
    # keys and values
    "missing_key": "a required key or column is absent",
    "unknown_key": "a key or column has no meaning here",
    "duplicate_key": "a key or column occurs twice",
    "bad_type": "a value has a type that is not allowed here",
    "bad_value": "a value has the right type and is not allowed",
    "bad_name": "a service name is empty, or has control characters or blanks around it",
    "unknown_kind": "the kind of an edge is neither hard nor soft",
    "foreign_kind": "edge kinds are words of another program; they are read as hard",
    "ignored_attribute": "attributes that cannot be kept are not used",
    # direction
    "direction_missing": "neither the file nor the option says which end depends on which",
    "direction_conflict": "the file, the option or a key contradict each other about the direction",
    "undirected": "the file is undirected and nothing says that its links count in both directions",
    # structure
    "duplicate_node": "a service is declared twice",
    "unknown_service": "an edge names a service that is not declared",
    "self_loop": "a service depends on itself",
    "duplicate_edge": "a dependency is stated twice in the same words",
    "conflicting_edge": "a dependency is stated twice in different words",
    "alias_collision": "an alias is also the name or the alias of another service",
    "needs_too_many": "a group needs more members than it has",
    "needs_conflict": "members of one group state different needs",
    "needs_without_group": "needs is stated without a group",
    "cycle": "services depend on each other in a circle",
    "empty": "the graph has no services",
    # merge of several sources
    "attribute_conflict": "two sources state different values; the first source holds",
    # lint
    "isolated": "a service has no dependencies and no dependents",
    "no_owner": "a service of tier 0 or 1 names neither owner nor team",
    "no_on_call": "a service of tier 0 or 1 names no on_call",
    "no_redundancy": "a group cannot lose any of its members",
    "deepest_chain": "the longest path along dependencies",
    "widely_shared": "more than half of the graph depends on a service",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a source.

    ``place`` is where to look: ``file:line``, ``file:edges[17]``, or a service when there is no file.
    ``code`` is a key of ``PROBLEM_CODES``; any other raises ValueError. ``message`` is for people.
    """

    severity: Severity
    place: str
    code: str
    message: str

    def __post_init__(self) -> None:
        if self.code not in PROBLEM_CODES:
            raise ValueError(f"unknown problem code {self.code!r}; known: {', '.join(PROBLEM_CODES)}")

    def __str__(self) -> str:
        """Return the problem on one line, as compilers write it."""
        return f"{self.place}: {self.severity}: {self.message} [{self.code}]"


class TopologyError(Exception):
    """A topology that cannot be used. ``problems`` holds all findings, warnings and notices included."""

    reason = "topology"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems if problem.severity == "error"))
