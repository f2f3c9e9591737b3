"""A graph in the making: what a reader has found so far, with the place of everything and all problems."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from topology.check import Pair, structure
from topology.errors import Problem, Severity
from topology.model import Edge, Node, combined

__all__ = ["Draft", "Path", "listed", "path_text"]

#: The way from the top of a document to a value: keys and list positions.
Path = tuple[str | int, ...]

_WORD: Final = re.compile(r"[\w-]+")


def path_text(path: Path) -> str:
    """Return a path as people write it.

    >>> path_text(("services", "checkout", "depends_on", 2, "kind"))
    'services.checkout.depends_on[2].kind'
    >>> path_text(("services", "a.b"))
    'services["a.b"]'
    """
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _WORD.fullmatch(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f'["{step}"]')
    return "".join(parts)


def listed(names: Iterable[str], *, limit: int = 10, separator: str = ", ") -> str:
    """Return the first ``limit`` names and how many more there are."""
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return separator.join(every[:limit]) + more


class Draft:
    """Nodes, edges and problems collected by one reader. Mutable, and owned by that reader alone.

    ``where`` turns a path into a place. It is asked only for problems, so it may be slow.
    """

    def __init__(self, where: Callable[[Path], str]) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: dict[Pair, Edge] = {}
        self.problems: list[Problem] = []
        self._where = where
        self._node_at: dict[str, Path] = {}
        self._edge_at: dict[Pair, Path] = {}

    @property
    def failed(self) -> bool:
        """True when any problem is an error."""
        return any(problem.severity == "error" for problem in self.problems)

    def report(self, severity: Severity, at: Path, code: str, message: str) -> None:
        """Add a problem at a path."""
        self.problems.append(Problem(severity, self._where(at), code, message))

    def error(self, at: Path, code: str, message: str) -> None:
        """Add an error at a path."""
        self.report("error", at, code, message)

    def node_place(self, name: str) -> str:
        """Return the place where a node was declared, or the place of the whole source."""
        return self._where(self._node_at.get(name, ()))

    def edge_place(self, pair: Pair) -> str:
        """Return the place where an edge was stated, or the place of the whole source."""
        return self._where(self._edge_at.get(pair, ()))

    def add_node(self, name: str, node: Node, at: Path) -> None:
        """Add a node; a name that is there already is an error and changes nothing."""
        if name in self.nodes:
            message = f"service {name!r} is declared at {self.node_place(name)} already"
            self.error(at, "duplicate_node", message)
            return
        self.nodes[name] = node
        self._node_at[name] = at

    def imply_node(self, name: str, at: Path) -> None:
        """Add a node about which nothing is said, unless it is there already."""
        if name not in self.nodes:
            self.add_node(name, Node(), at)

    def add_edge(self, u: str, v: str, edge: Edge, at: Path, *, parallel: bool = False) -> None:
        """Add the edge u -> v (u depends on v).

        A self loop is left out with a warning. A repeat is a warning when it says the same, or when the source
        allows ``parallel`` edges (then both become one, see ``combined``); else it is an error.
        """
        if u == v:
            self.report("warning", at, "self_loop", f"{u!r} depends on itself; the edge is left out")
            return
        known = self.edges.get((u, v))
        if known is None:
            self.edges[u, v] = edge
            self._edge_at[u, v] = at
            return
        message = f"{u!r} depends on {v!r} is stated at {self.edge_place((u, v))} already"
        if parallel:
            self.edges[u, v] = combined(known, edge)
            self.report("warning", at, "duplicate_edge", f"{message}; the two become one")
        elif known == edge:
            self.report("warning", at, "duplicate_edge", message)
        else:
            self.error(at, "conflicting_edge", f"{message}, with other attributes")

    def check(self) -> None:
        """Add the errors of the whole (see ``check.structure``). Call it once, when all is read.

        A service or a host that others say they are part of needs no entry of its own.
        """
        absent = {end for pair in self.edges for end in pair if end not in self.nodes}
        if absent:
            wholes = {whole for node in self.nodes.values() for whole in (node.service, node.hosted_on)}
            for name in sorted(absent.intersection(wholes)):
                self.imply_node(name, ())
        self.problems.extend(structure(self.nodes, self.edges, self.node_place, self.edge_place))
