"""The outcome of loading: a graph, or none, and everything that was found on the way."""

from __future__ import annotations

from dataclasses import dataclass

from topology.draft import Draft, listed
from topology.errors import Problem, TopologyError
from topology.graph import ServiceGraph

__all__ = ["Loaded", "finished"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A graph with its warnings and notices, or None with at least one error among the problems."""

    graph: ServiceGraph | None
    problems: tuple[Problem, ...] = ()

    def graph_or_raise(self) -> ServiceGraph:
        """Return the graph; raise TopologyError with all problems when there is none."""
        if self.graph is None:
            raise TopologyError(self.problems)
        return self.graph


def finished(draft: Draft) -> Loaded:
    """Return what a complete draft amounts to: the whole is checked, and cycles and emptiness are noted."""
    draft.check()
    if draft.failed:
        return Loaded(None, tuple(draft.problems))
    graph = ServiceGraph(draft.nodes, draft.edges)
    if not graph:
        draft.report("warning", (), "empty", "the graph has no services, so every alert will be unplaced")
    notes = [Problem("notice", draft.node_place(cycle[0]), "cycle", _cycle_text(cycle)) for cycle in graph.cycles]
    return Loaded(graph, (*draft.problems, *notes))


def _cycle_text(cycle: tuple[str, ...]) -> str:
    return f"{len(cycle)} services depend on each other in a circle: {listed(cycle)}"
