"""Edge lists as CSV."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from topology import Edge, Loaded

Read = Callable[..., Loaded]


@pytest.mark.parametrize(
    ("header", "option", "depends"),
    [
        ("service,depends_on", None, True),
        ("service,depends_on", "depends_on", True),
        ("service,serves", None, False),
        ("source,target", "depends_on", True),
        ("source,target", "serves", False),
    ],
)
def test_the_header_or_the_option_states_the_direction(
    read: Read, header: str, option: str | None, depends: bool
) -> None:
    """service,depends_on says it; source,target needs the option."""
    graph = read("t.csv", f"{header}\na,b\n", direction=option).graph_or_raise()
    assert graph.dependencies("a" if depends else "b") == (("b",) if depends else ("a",))


def test_both_turns_a_list_of_links_into_edges_both_ways(read: Read) -> None:
    """A list of cables has no direction; who says so gets both."""
    graph = read("t.csv", "source,target\na,b\n", direction="both").graph_or_raise()
    assert graph.cycles == (("a", "b"),)


def test_all_columns_are_read_in_any_order(read: Read) -> None:
    """Columns are found by name; blanks around cells do not count."""
    text = "delay, needs ,service,group,depends_on,kind\n30s,1, a ,g,b,soft\n,,a,g,c,\n"
    graph = read("t.csv", text).graph_or_raise()
    assert graph.edge("a", "b") == Edge("soft", "g", 1, 30)
    assert graph.edge("a", "c") == Edge(group="g")


def test_services_are_those_that_the_lines_name(read: Read) -> None:
    """A line without a dependency declares a service; short and blank lines are fine."""
    graph = read("t.csv", 'service,depends_on,kind\r\na,b\r\n\r\n"lone, with comma",,\r\n').graph_or_raise()
    assert graph.services == ("a", "b", "lone, with comma")


def test_no_line_stops_the_report(read: Read) -> None:
    """Every bad line is reported with its number."""
    text = "service,depends_on,kind,delay\na,b,weak,\na,,,\n,c,,\na,d,,never\na,a,,\na,b,c,d,e\n"
    problems = read("t.csv", text).problems
    assert [problem.place for problem in problems] == ["t.csv:2", "t.csv:4", "t.csv:5", "t.csv:6", "t.csv:7"]


def test_a_cell_over_the_limit_is_a_syntax_error(read: Read) -> None:
    """The reader's own limit on a cell is reported, not raised."""
    (problem,) = read("t.csv", "service,depends_on\na," + "x" * 200_000 + "\n").problems
    assert problem.code == "bad_syntax"
