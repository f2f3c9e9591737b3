"""CDEvents (cdevents.dev): events of delivery, alone or as the data of a CloudEvent.

Most of them say nothing of a running service (builds, tests, tickets): they are no changes, which is no error. The
service is the last part of the subject's id. The environment is the label ``environment``.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, unquote

from correlator.changes.cloudevents import data_of, event_id
from correlator.changes.fields import AUTHORS, LINKS, Maker, first, last_part
from correlator.errors import RejectedError
from correlator.model import Change

__all__ = ["CDEVENTS", "version_of"]

_PREFIX: Final = "dev.cdevents."
#: (subject, predicate) -> kind, and the words for it
_CHANGES: Final = {
    ("service", "deployed"): ("deployment", "deployed"),
    ("service", "upgraded"): ("deployment", "upgraded to"),
    ("service", "rolledback"): ("deployment", "rolled back to"),
    ("service", "removed"): ("deployment", "removed"),
    ("service", "published"): ("deployment", "published"),
    ("environment", "created"): ("infrastructure", "created"),
    ("environment", "modified"): ("infrastructure", "modified"),
    ("environment", "deleted"): ("infrastructure", "deleted"),
}


class _CDEvents:
    name = "cdevents"

    def detect(self, event: dict[str, Any]) -> bool:
        context = event.get("context")
        named = context.get("type") if type(context) is dict else event.get("type")
        return isinstance(named, str) and named.startswith(_PREFIX)

    def read(self, event: dict[str, Any], make: Maker) -> Change | None:
        body = event if "context" in event else data_of(event)
        context, subject = (body.get(key) if type(body) is dict else None for key in ("context", "subject"))
        if type(context) is not dict or type(subject) is not dict:
            raise RejectedError("missing_field", "a CDEvent needs a context and a subject")
        known = _CHANGES.get(_about(context.get("type")))
        if known is None:
            return None
        kind, words = known
        content = subject.get("content")
        content = content if type(content) is dict else {}
        custom = body.get("customData")
        custom = custom if type(custom) is dict else {}
        place = _environment(content)
        return make.change(
            service=last_part(subject.get("id")),
            summary=first(custom, ("summary",)) or _summary(words, version_of(content.get("artifactId")), place),
            kind=kind,
            at=context.get("timestamp"),
            id=event_id(context),
            author=first(custom, AUTHORS) or _trigger(content),
            link=first(custom, LINKS) or first(content, ("uri", "url")),
            labels={"environment": place} if place else None,
        )


CDEVENTS: Final = _CDEvents()


def _about(named: Any) -> tuple[str, str]:
    """Subject and predicate of ``dev.cdevents.<subject>.<predicate>.<version>``."""
    parts = str(named).removeprefix(_PREFIX).lower().split(".")
    return (parts[0], parts[1]) if len(parts) > 1 else ("", "")


def _environment(content: dict[str, Any]) -> str:
    environment = content.get("environment")
    id = environment.get("id") if type(environment) is dict else environment
    return str(last_part(id)) if isinstance(id, str) else ""


def _trigger(content: dict[str, Any]) -> Any:
    trigger = content.get("trigger")
    return trigger.get("user") if type(trigger) is dict else None


def _summary(words: str, version: str, place: str) -> str:
    """What was done, in words; "rolled back to" needs something to roll back to.

    >>> _summary("rolled back to", "", "prod"), _summary("deployed", "v2", "")
    ('rolled back in prod', 'deployed v2')
    """
    text = f"{words} {version}" if version else words.removesuffix(" to")
    return f"{text} in {place}" if place else text


def version_of(artifact: Any) -> str:
    """The version in a package URL; of an image its tag, else the beginning of its digest.

    >>> version_of("pkg:oci/checkout@sha256%3A0b31b1c02ff458ad9b7b?tag=v2.3.1"), version_of("pkg:golang/app@1.4.0")
    ('v2.3.1', '1.4.0')
    """
    if not isinstance(artifact, str):
        return ""
    path, _, query = artifact.partition("?")
    tag = parse_qs(query).get("tag", [""])[0]
    version = unquote(path.rpartition("@")[2]) if "@" in path else ""
    return tag or (f"{version[:19]}" if version.startswith("sha256:") else version)
