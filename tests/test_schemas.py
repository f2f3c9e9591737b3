"""What is published and taken in is what the schemas say, no more and no less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import orjson
import pytest
from jsonschema import Draft202012Validator

from correlator.changes import ChangeReader
from correlator.dialects import Reader
from correlator.engine.partition import Output, Partition
from correlator.engine.rules import Heartbeat, Matcher, Rules
from correlator.model import PLACED_COLUMNS, SEVERITIES
from correlator.place import Placer
from correlator.recordings import Arrival
from correlator.replay import Replay, file_rules, placed_alerts
from correlator.schemas import names, schema
from correlator.storms import VARIANTS, storm
from correlator.stream.changes import placed_change
from tests.validation import problems
from topology import Edge, Node, ServiceGraph

OURS = ("control", "decision", "decisions", "incident", "placed")
T0 = 1_750_000_000.0


# -- the schemas themselves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_every_schema_is_one(name: str) -> None:
    """Valid JSON Schema 2020-12, with a name of its own."""
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"].endswith(f":{name}:1")


def test_a_schema_that_does_not_exist_is_an_error() -> None:
    """With the names of those that do."""
    assert set(OURS) < set(names())
    with pytest.raises(ValueError, match=r"no schema is called 'x'; known: .*incident"):
        schema("x")


def fields(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property that a schema names, with its place."""
    if isinstance(node, dict):
        for name, field in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            yield f"{path}.{name}", field
        for key, value in node.items():
            if key not in ("if", "then"):
                yield from fields(value, f"{path}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from fields(value, f"{path}[{number}]")


@pytest.mark.parametrize("name", OURS)
def test_every_field_is_described(name: str) -> None:
    """A reader needs no other document; the word that tells kinds apart needs no words of its own."""
    bare = [place for place, field in fields(schema(name)) if "description" not in field and "const" not in field]
    assert bare == []


@pytest.mark.parametrize("name", OURS)
def test_objects_of_ours_are_closed(name: str) -> None:
    """A misspelt field is an error and not silence."""

    def open_ones(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            parts = "oneOf" in node
            if isinstance(node.get("properties"), dict) and "additionalProperties" not in node and not parts:
                yield path
            for key, value in node.items():
                if key not in ("if", "then"):
                    yield from open_ones(value, f"{path}.{key}")
        elif isinstance(node, list):
            for number, value in enumerate(node):
                yield from open_ones(value, f"{path}[{number}]")

    assert list(open_ones(schema(name), name)) == []


def test_the_row_has_the_columns_of_the_model() -> None:
    """In their order."""
    row = schema("placed")["$defs"]["row"]
    assert tuple(column["title"] for column in row["prefixItems"]) == PLACED_COLUMNS
    assert row["minItems"] == len(PLACED_COLUMNS)
    assert schema("incident")["$defs"]["severity"]["enum"] == list(SEVERITIES)


# -- what the engine says -------------------------------------------------------------------------------------


def said_wrongly(outputs: list[Output], graph_version: str) -> list[str]:
    """Everything in the outputs that its schema does not allow."""
    found: list[str] = []
    for output in outputs:
        for _, incident in output.incidents:
            found += [] if incident is None else problems("incident", incident)
        for shard, receipts in output.decisions.items():
            last = receipts[-1]
            about = {"schema_version": 1, "shard": shard, "offset": last["revision"], "at": last["at"]}
            found += problems("decisions", {**about, "graph_version": graph_version, "decisions": receipts})
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_storm_is_published_by_the_schemas(variant: str) -> None:
    """Every revision of every incident, every receipt, and every record of the log that led to them."""
    drawn = storm(variant, services=200, alerts=300)
    nodes = {name: Node(tier=fields["tier"], labels=fields["labels"]) for name, fields in drawn.graph["nodes"].items()}
    graph = ServiceGraph.build(nodes, {pair: Edge() for pair in drawn.graph["edges"]})
    reader = Reader()
    alerts = [reader.read(orjson.dumps(alert), received_at=None).alerts[0] for alert in drawn.alerts]
    arrivals = [
        Arrival(alert, at, 0, line, 0) for line, (alert, at) in enumerate(zip(alerts, drawn.arrivals, strict=True), 1)
    ]
    log = list(placed_alerts(arrivals, Placer(graph, shard_attributes=["region"]), after=120.0))
    assert [problem for record in log for problem in problems("placed", orjson.loads(record.value))] == []
    assert said_wrongly(list(Replay(graph, file_rules(Rules())).run(log)), graph.version) == []


class Story:
    """Messages at their times to one shard; ``outputs`` is what came out, record by record."""

    def __init__(self, graph: ServiceGraph, **rules: Any) -> None:
        self.graph, self.rules = graph, Rules(**rules)
        self.partition = Partition(graph, self.rules)
        self.placer, self.reader = Placer(graph), Reader()
        self.outputs: list[Output] = []
        self.offset = 0

    def alert(self, at: float, service: str, name: str = "Down", status: str = "firing", **more: Any) -> Self:
        message = {"name": name, "service": service, "status": status, "severity": "critical", "ts": T0 + at, **more}
        alert = self.reader.read(orjson.dumps(message), received_at=T0 + at, topic="story").alerts[0]
        _, row = self.placer.row(alert, self.offset, 0, T0 + at)
        return self._apply(at, "all", {"type": "alerts", "source": "story/0", "rows": [row]})

    def control(self, at: float, **control: Any) -> Self:
        assert problems("control", control) == []
        return self._apply(at, "", control)

    def change(self, at: float, **change: Any) -> Self:
        assert problems("change", change) == []
        reading = ChangeReader().read(orjson.dumps(change), received_at=T0 + at)
        shard, record = placed_change(reading.changes[0][1], self.placer)
        return self._apply(at, shard, record)

    def tick(self, at: float) -> Self:
        return self._apply(at, "", {"type": "tick"})

    def _apply(self, at: float, shard: str, value: dict[str, Any]) -> Self:
        assert problems("placed", value) == []
        self.partition.apply(self.offset, T0 + at, shard, orjson.dumps(value))
        self.outputs.append(self.partition.take(entries=False))
        self.offset += 1
        return self

    def incidents(self) -> list[dict[str, Any]]:
        return [incident for output in self.outputs for _, incident in output.incidents if incident is not None]

    def id_of(self, service: str) -> str:
        return str(next(i["id"] for i in self.incidents() if i["root"]["service"] == service))

    def seen(self, field: str) -> set[Any]:
        return {incident[field] for incident in self.incidents()}

    def rules_seen(self) -> set[str]:
        return {r["rule"] for output in self.outputs for found in output.decisions.values() for r in found}

    def valid(self) -> Self:
        assert said_wrongly(self.outputs, self.graph.version) == []
        return self


def shop(**attributes: Any) -> ServiceGraph:
    edges = {("web", "api"): Edge(), ("api", "db"): Edge(), ("jobs", "db"): Edge()}
    return ServiceGraph.build({name: Node(**attributes) for name in ("web", "api", "db", "jobs", "lone")}, edges)


def test_resolved_and_closed_incidents_are_published_by_the_schema() -> None:
    """From firing to recovery to the end of the reopening time, with owner and runbook."""
    graph = shop(
        owner="ada", team="t", on_call="o", runbook="https://r", channel="#c", tier=1, labels={"tenant": "acme"}
    )
    story = Story(graph).alert(0, "db", annotations={"runbook_url": "https://x"}).alert(5, "web")
    story.alert(70, "db", status="resolved").alert(80, "web", status="resolved").tick(3_600)
    assert story.valid().seen("state") >= {"open", "resolved", "closed"}
    assert "recovered" in story.seen("resolution")
    assert story.rules_seen() >= {"no_alerting_dependency", "bridged", "resolved"}


def test_merged_incidents_are_published_by_the_schema() -> None:
    """Two incidents whose common root comes last."""
    story = Story(shop()).alert(0, "web").alert(5, "jobs").alert(100, "db").tick(300)
    assert story.valid().seen("state") >= {"forming", "open", "merged"}
    assert story.rules_seen() >= {"merged", "re_rooted"}


def test_expired_alerts_are_published_by_the_schema() -> None:
    """Nobody repeats them: their end is unknown."""
    story = Story(shop(), ttl=600.0).alert(0, "db").tick(700).tick(1_400).tick(3_000)
    assert story.valid().seen("resolution") >= {None, "unknown"}
    assert "expired" in story.rules_seen()


def test_maintenance_and_acknowledgement_are_published_by_the_schema() -> None:
    """A window over one of two alerts, its early end, and somebody at it."""
    about = {"id": "CHG-1", "match": {"service": "db"}, "author": "ada", "reason": "upgrade"}
    story = Story(shop()).control(0, type="maintenance", **about, starts_at=T0 + 1, ends_at=T0 + 900)
    story.alert(10, "db").alert(20, "web")
    story.control(100, type="acknowledge", incident=story.id_of("db"), by="ada")
    story.control(200, type="maintenance_end", id="CHG-1").tick(400)
    assert any("maintenance" in flags for flags in (i["flags"] for i in story.valid().incidents()))
    assert any(i["acknowledged"] for i in story.incidents())
    assert story.rules_seen() >= {"maintenance_over"}


def test_verdicts_are_published_by_the_schema() -> None:
    """Another root, an alert of its own, and a summary of what is hidden where hiding has failed."""
    story = Story(shop(team="t"), trust_min_verdicts=1)
    story.alert(0, "db").alert(1, "web").alert(2, "api").alert(3, "jobs")
    incident, web = story.id_of("db"), next(m for m in story.incidents()[-1]["members"] if m["service"] == "web")
    story.control(10, type="verdict", incident=incident, root="api", by="ada", note="bad release")
    story.control(20, type="verdict", incident=incident, not_explained=web["fingerprint"], by="ada")
    story.control(30, type="verdict", incident=incident, not_explained="f" * 16, by="ada", sampled=True)
    story.tick(400).tick(3_000).tick(6_000)
    assert story.valid().seen("kind") >= {"fault", "summary"}
    assert {i["verdict"]["root"] for i in story.incidents() if i["verdict"]} == {"api", "web"}
    assert story.rules_seen() >= {"re_rooted", "not_explained"}


def test_suspected_changes_are_published_by_the_schema() -> None:
    """A deployment, a feature flag and a change of what the root depends on."""
    story = Story(shop()).change(0, service="db", summary="deployed v2", author="ada", link="https://ci/7")
    story.change(10, service="api", summary="new checkout", kind="feature_flag", id=7).alert(60, "web").alert(70, "db")
    found = story.valid().incidents()[-1]["changes"]
    assert [(c["service"], c["relation"], c["author"]) for c in found] == [("db", "root", "ada"), ("api", "path", None)]


def test_a_lost_source_is_published_by_the_schema() -> None:
    """Its heartbeat stays away while an alert of it fires."""
    beats = (Heartbeat({"name": "Watchdog"}, interval=60.0),)
    story = Story(shop(), heartbeat=beats).alert(0, "lone", "Watchdog").alert(5, "db").tick(120)
    story.alert(200, "lone", "Watchdog").alert(210, "db", severity="error").tick(5_000)
    assert story.valid().seen("kind") >= {"fault", "source_lost"}


def test_a_bundle_of_unknown_services_is_published_by_the_schema() -> None:
    """More of them at once than a person would read."""
    story = Story(shop(), unplaced_burst=3)
    for number in range(6):
        story.alert(number, f"ghost-{number}")
    assert story.tick(400).tick(4_000).valid().seen("kind") >= {"fault", "bundle"}
    assert any("unplaced" in flags for flags in (i["flags"] for i in story.incidents()))


def test_tickets_tests_flapping_and_late_messages_are_published_by_the_schemas() -> None:
    """What takes no part in explanations, what comes and goes, and what comes too late."""
    story = Story(shop(), test=(Matcher({"name": "Drill"}),), flap_threshold=2)
    story.alert(0, "api", "CertificateExpiresSoon").alert(1, "web", "Drill").alert(2, "lone", status="resolved")
    for number in range(4):
        story.alert(10 + 20 * number, "db", starts_at=T0 + 10 + 20 * number)
        story.alert(20 + 20 * number, "db", status="resolved", starts_at=T0 + 10 + 20 * number)
    story.alert(100, "db", starts_at=T0 + 11)
    assert story.tick(5_000).valid().seen("kind") >= {"ticket", "test", "fault"}
    assert story.rules_seen() >= {"not_a_cause", "test_matcher", "ended_episode"}
