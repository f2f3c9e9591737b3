"""What a form of change events is."""

from __future__ import annotations

from typing import Any, Protocol

from correlator.changes.fields import Maker
from correlator.model import Change

__all__ = ["Form"]


class Form(Protocol):
    """One way in which senders write changes. Has no state; one object serves all readers."""

    @property
    def name(self) -> str:
        """The word for the form in the headers of a reject."""

    def detect(self, event: dict[str, Any]) -> bool:
        """Whether the JSON object is of this form. Looks at a few keys."""

    def read(self, event: dict[str, Any], make: Maker) -> Change | None:
        """The change; None for an event that changes no running service. Raises RejectedError."""
