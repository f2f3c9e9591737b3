"""Alert storms drawn from a seed: a service graph, the alerts of a cascade through it, and the truth about both.

Variant ``a``: one root; every service depends on it, directly or not, and alerts after one of its dependencies failed.
Variant ``b``: five regions without an edge between them, one root in each, all failing at the same moment.
Variant ``c``: one root that part of the graph depends on. Of the failed services that others depend on, 10 % stay
silent; 5 % of all services raise one alert that has nothing to do with the cascade; every alert is up to 60 s late, and
those of the root arrive after all others. No alert says what it is: spurious ones use names of the cascade.

The same arguments give the same bytes on every machine: of :mod:`random` only ``Random.random`` is used, which Python
promises not to change; times are whole milliseconds; no set is iterated unsorted.
"""

from __future__ import annotations

from correlator.storms.draw import START, VARIANTS, Graph, Storm, Truth, storm
from correlator.storms.output import node_link, stream, write_case
from correlator.storms.wiring import MIN_SERVICES

__all__ = ["MIN_SERVICES", "START", "VARIANTS", "Graph", "Storm", "Truth", "node_link", "storm", "stream", "write_case"]
