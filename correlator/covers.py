"""What a maintenance window covers, as people write it in one line.

>>> covers_of('subtree=db, env=~"prod.*", severity!=critical')["subtree"]
'db'
"""

from __future__ import annotations

import re
from typing import Any, Final

from correlator.errors import ControlError

__all__ = ["covers_of"]

_SUBTREE: Final = "subtree"
#: A name, an operator of Alertmanager, and a value: bare, or in double quotes where it holds a blank or a comma.
_ITEM: Final = re.compile(
    r'\s*([A-Za-z_][\w.\-]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^\s,;"]+)\s*(?:[,;]|\Z|(?<=\s))'
)


def covers_of(text: str) -> dict[str, Any]:
    """The fields ``subtree`` and ``matchers`` of a maintenance control, those that ``text`` names.

    Items are separated by commas, semicolons or blanks: ``subtree=SERVICE`` at most once, and matchers as Alertmanager
    has them (``=``, ``!=``, ``=~``, ``!~``). Raises :class:`ControlError` for text that is something else.
    """
    matchers: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    at = 0
    while at < len(text.rstrip()):
        item = _ITEM.match(text, at)
        if item is None:
            raise ControlError(
                f"{text[at:].strip()[:80]!r} is no matcher; allowed: subtree=SERVICE, LABEL=VALUE, LABEL!=VALUE, "
                "LABEL=~REGEX, LABEL!~REGEX, values with blanks or commas in double quotes"
            )
        name, sign, value = item.groups()
        value = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if name == _SUBTREE:
            if sign != "=" or _SUBTREE in found or not value:
                raise ControlError(f"subtree is given as {item[0].strip()!r}; allowed: subtree=SERVICE, once")
            found[_SUBTREE] = value
        else:
            matchers.append({"name": name, "value": value, "isRegex": "~" in sign, "isEqual": sign[0] == "="})
        at = item.end()
    if not found and not matchers:
        raise ControlError("nothing is covered; allowed: subtree=SERVICE or matchers such as service=~db-.*")
    return {**found, "matchers": matchers} if matchers else found
