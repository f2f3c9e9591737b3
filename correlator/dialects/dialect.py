"""What a dialect is, and the loop that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from correlator.dialects.normalise import Normaliser
from correlator.errors import RejectedError
from correlator.model import Alert

__all__ = ["Dialect", "Outcome", "read_each", "sample_of"]

#: What became of one position of a record.
Outcome = Alert | RejectedError


class Dialect(Protocol):
    """One way in which senders write alerts. Has no state; one object serves all readers."""

    @property
    def name(self) -> str:
        """The word for the dialect in settings and metrics."""

    def detect(self, document: Any) -> bool:
        """Whether the JSON document is of this dialect. Looks at a few keys, because it is asked for every record."""

    def decode(self, document: Any, normaliser: Normaliser, arrival: float | None, topic: str) -> Sequence[Outcome]:
        """One outcome per alert of the document, in its order. A RejectedError raised rejects the whole document.

        ``arrival`` is the broker's time of the record in epoch seconds, or None; ``topic`` is where it was read.
        """


def read_each(items: list[Any], normaliser: Normaliser, read: Callable[[dict[str, Any]], Alert]) -> list[Outcome]:
    """``read`` over all items, with an error in place of an item that cannot be read."""
    most = normaliser.limits.max_alerts_per_record
    if len(items) > most:
        raise RejectedError("too_many_alerts", f"{len(items)} alerts, at most {most} are read")
    outcomes: list[Outcome] = []
    for item in items:
        try:
            if type(item) is not dict:
                raise RejectedError("wrong_type", f"an alert must be an object, not {type(item).__name__}")
            outcomes.append(read(item))
        except RejectedError as error:
            outcomes.append(error)
    return outcomes


def sample_of(document: Any) -> dict[str, Any] | None:
    """The object to detect a dialect by: the document, or the first object of a list."""
    if type(document) is list:
        document = next((item for item in document if type(item) is dict), None)
    return document if type(document) is dict else None
