"""What was paged, from the files that Alertmanager, PagerDuty and others leave behind."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.backtest.paged import Paged, Reading, read_csv, read_values
from correlator.dialects import Reader
from correlator.dialects.fingerprint import of_key

T0 = 1_750_000_000.0
AT = "2025-06-15T15:06:40Z"  # T0


def firing(service: str, status: str = "firing") -> dict[str, Any]:
    labels = {"alertname": "Down", "service": service, "severity": "critical"}
    return {"status": status, "labels": labels, "annotations": {}, "startsAt": AT, "endsAt": "0001-01-01T00:00:00Z"}


def body(*alerts: dict[str, Any], group: str = "g", **more: Any) -> dict[str, Any]:
    about = {"version": "4", "groupKey": group, "receiver": "pager", "status": "firing", "groupLabels": {"job": "shop"}}
    return {**about, "commonLabels": {"team": "shop"}, "alerts": list(alerts), **more}


def read(*values: Any, low_urgency: bool = False) -> tuple[Reading, list[str]]:
    unread: list[str] = []
    found = ((f"f:{n}", value) for n, value in enumerate(values, 1))
    return read_values(found, Reader(), low_urgency=low_urgency, unread=unread.append), unread


def pages(*values: Any) -> list[Paged]:
    reading, unread = read(*values)
    assert unread == []
    return reading.pages


# -- Alertmanager ---------------------------------------------------------------------------------------------


def test_a_notification_is_a_page_when_it_has_news() -> None:
    """Repeats and resolutions wake nobody; a new alert of the group does, and so does one that comes back."""
    web, db = firing("web"), firing("db")
    sent = [body(web), body(web), body(web, db), body(firing("web", "resolved"), db), body(web, db)]
    found = pages(*({**one, "received_at": T0 + n} for n, one in enumerate(sent)))
    assert [(page.at - T0, page.services) for page in found] == [(0.0, ("web",)), (2.0, ("db",)), (4.0, ("web",))]
    assert {page.title for page in found} == {"job=shop"}
    assert {page.team for page in found} == {"shop"}


def test_groups_and_receivers_are_apart() -> None:
    """The same alert in two of them is two pages."""
    assert len(pages(body(firing("web")), body(firing("web"), group="h"), body(firing("web"), receiver="other"))) == 3


@pytest.mark.parametrize(
    "wrapped",
    [
        {"received_at": T0 + 5, "body": body(firing("web"))},
        {"topic": "hooks", "partition": 0, "offset": 0, "timestamp": (T0 + 5) * 1000, "value": body(firing("web"))},
        body(firing("web"), ts=T0 + 5),
        [body(firing("web"), ts=T0 + 5)],
    ],
)
def test_the_time_is_beside_or_around_the_body(wrapped: Any) -> None:
    """Webhook bodies have none of their own."""
    (page,) = pages(wrapped)
    assert page.at == T0 + 5


def test_without_a_time_a_notification_is_as_old_as_its_newest_alert() -> None:
    """It cannot have been sent before."""
    (page,) = pages(body({**firing("web"), "startsAt": "2025-06-15T15:00:00Z"}, firing("db")))
    assert page.at == T0


def test_fingerprints_are_those_of_our_own_reading() -> None:
    """Alertmanager's cover other labels."""
    (page,) = pages(body({**firing("web"), "fingerprint": "0" * 16}))
    (ours,) = Reader().read(orjson.dumps(body(firing("web"))), received_at=T0, topic="").alerts
    assert page.fingerprints == (ours.fingerprint,)


# -- PagerDuty ------------------------------------------------------------------------------------------------


def incident(number: int = 7, **more: Any) -> dict[str, Any]:
    service = {"id": "PSVC", "type": "service_reference", "summary": "web"}
    about = {"id": f"Q{number}", "incident_number": number, "title": "Down on web", "created_at": AT, "urgency": "high"}
    return {**about, "service": service, "incident_key": "web/down", "teams": [{"summary": "shop"}], **more}


@pytest.mark.parametrize(
    "value",
    [
        incident(),
        [incident()],
        {"incidents": [incident()], "more": False},
        {"event": {"event_type": "incident.triggered", "occurred_at": AT, "data": incident(created_at=None)}},
    ],
)
def test_an_incident_is_one_page(value: Any) -> None:
    """From the REST interface, one or many, or from a webhook."""
    (page,) = pages(value)
    assert (page.at, page.services, page.team, page.title) == (T0, ("web",), "shop", "Down on web")
    assert page.fingerprints == (of_key("web/down"),)


def test_a_key_that_is_a_fingerprint_may_be_ours() -> None:
    """Where we page through PagerDuty ourselves."""
    (page,) = pages(incident(incident_key="00112233445566aa"))
    assert page.fingerprints == ("00112233445566aa", of_key("00112233445566aa"))


def test_low_urgency_is_no_page_unless_asked() -> None:
    """It is counted."""
    assert (read(incident(urgency="low"))[0]) == Reading([], 1)
    assert len(read(incident(urgency="low"), low_urgency=True)[0].pages) == 1


def test_log_entries_say_when_somebody_was_notified() -> None:
    """The first notification of an incident, not its trigger, is the page."""
    about = {"incident": {"id": "Q7", "summary": "[#7] Down on web"}, "service": {"summary": "web"}, "teams": []}
    log = [
        {"type": "trigger_log_entry", "created_at": AT, "channel": {"incident_key": "web/down"}, **about},
        {"type": "notify_log_entry", "created_at": "2025-06-15T15:07:10Z", **about},
        {"type": "notify_log_entry", "created_at": "2025-06-15T15:12:10Z", **about},
        {"type": "resolve_log_entry", "created_at": "2025-06-15T16:00:00Z", **about},
    ]
    (page,) = pages({"log_entries": log})
    assert (page.at, page.id, page.fingerprints, page.services) == (T0 + 30, "Q7", (of_key("web/down"),), ("web",))
    (page,) = pages({"log_entries": log[:1]})
    assert page.at == T0


@pytest.mark.parametrize(
    "value", [5, {"name": "x"}, incident(created_at="soon"), incident(service=None, incident_key="")]
)
def test_what_is_no_page_is_said(value: Any) -> None:
    """With its place; other webhooks are known and no complaint."""
    reading, unread = read(value, {"event": {"event_type": "incident.resolved", "data": incident()}})
    assert reading.pages == []
    assert len(unread) == 1
    assert unread[0].startswith("f:1: ")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "alerts", "summary", "labels"]), inner),
)
_LOG = {
    "type": "notify_log_entry",
    "created_at": AT,
    "incident": {"id": "Q"},
    "service": {},
    "channel": {},
    "teams": [],
}
_EVENT = {"event": {"event_type": "incident.triggered", "data": incident()}}


@given(st.sampled_from([body(firing("web")), incident(), _LOG, _EVENT, {"incidents": []}]), st.data())
def test_what_is_not_what_it_looks_like_is_said_and_not_raised_on(value: dict[str, Any], data: st.DataObject) -> None:
    """Any field may be anything."""
    key = data.draw(st.sampled_from(sorted(value)))
    read({**value, key: data.draw(_JSON)}, data.draw(_JSON))


# -- CSV ------------------------------------------------------------------------------------------------------


def csv(text: str, **columns: str) -> tuple[Reading, list[str]]:
    unread: list[str] = []
    return read_csv("f.csv", text, columns, low_urgency=False, unread=unread.append), unread


def test_the_columns_of_an_export_are_known() -> None:
    """Whatever case and signs its header has; rows come out in the order of time."""
    text = (
        "Incident Number,Description,Service Name,Created On,Team Name,Urgency\n"
        "8,Slow,web,2025-06-15T15:08:00Z,shop,high\n"
        '7,"Down, hard",db,2025-06-15 11:06:40 -0400,data,high\n'
        "9,Full,db,2025-06-15T15:09:00Z,data,low\n"
    )
    reading, unread = csv(text)
    assert [(p.at - T0, p.id, p.title, p.team, p.services) for p in reading.pages] == [
        (0.0, "7", "Down, hard", "data", ("db",)),
        (80.0, "8", "Slow", "shop", ("web",)),
    ]
    assert (reading.low, unread) == (1, [])


def test_any_csv_is_read_with_its_columns_named() -> None:
    """Semicolons and tabs as well as commas."""
    reading, _ = csv("when;what;who\n1750000000;web/down;x\n", time="when", key="What")
    (page,) = reading.pages
    assert (page.at, page.fingerprints, page.services) == (T0, (of_key("web/down"),), ())


def test_a_row_without_time_or_subject_is_said() -> None:
    """With its line."""
    reading, unread = csv("time,service\nsoon,web\n1750000000,\n1750000000,web\n")
    assert len(reading.pages) == 1
    assert [line.split(": ")[0] for line in unread] == ["f.csv:2", "f.csv:3"]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b\n1,2\n", {}, "needs a column for time"),
        ("time,b\n1,2\n", {}, "needs a column for time and one for service"),
        ("time,service\n1,2\n", {"key": "dedup"}, "no column 'dedup' for key; there are: time, service"),
        ("", {}, "needs a column"),
    ],
)
def test_a_file_without_the_columns_is_an_error(text: str, columns: dict[str, str], message: str) -> None:
    """A report about nothing would look like a good one."""
    with pytest.raises(ValueError, match=message):
        csv(text, **columns)
