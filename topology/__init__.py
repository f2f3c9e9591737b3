"""The service graph: what depends on what, loaded from files, checked, merged. Knows nothing of alerts."""

from __future__ import annotations

from topology.direction import DIRECTIONS, Direction
from topology.errors import PROBLEM_CODES, Problem, Severity, TopologyError
from topology.fate import CUT, OBSERVER, SHARED_FATE, is_made, with_shared_fate
from topology.folding import with_folding
from topology.formats import FORMATS, load
from topology.graph import Edge, Node, Redundancy, ServiceGraph
from topology.lint import lint
from topology.loaded import Loaded
from topology.merge import merge

__all__ = [
    "CUT",
    "DIRECTIONS",
    "FORMATS",
    "OBSERVER",
    "PROBLEM_CODES",
    "SHARED_FATE",
    "Direction",
    "Edge",
    "Loaded",
    "Node",
    "Problem",
    "Redundancy",
    "ServiceGraph",
    "Severity",
    "TopologyError",
    "is_made",
    "lint",
    "load",
    "merge",
    "with_folding",
    "with_shared_fate",
]
