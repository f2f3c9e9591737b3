"""Did you mean: the known word that a reader most likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Final

__all__ = ["did_you_mean"]

#: Up to this many known words are compared by similarity; above, only case and punctuation may differ.
_COMPARED: Final = 2_000


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return ``; did you mean 'x'?`` or an empty text, ready to append to a message.

    O(len(known)) comparisons, so ask for a bounded number of words when ``known`` is a whole graph.

    >>> did_you_mean("on-call", ["owner", "on_call"])
    "; did you mean 'on_call'?"
    >>> did_you_mean("zzz", ["owner", "on_call"])
    ''
    """
    plain = _squashed(word)
    best = next((candidate for candidate in known if _squashed(candidate) == plain), None)
    if best is None and len(known) <= _COMPARED:
        best = next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.75)), None)
    return f"; did you mean {best!r}?" if best is not None else ""


def _squashed(word: str) -> str:
    return word.casefold().replace("-", "").replace("_", "").replace(" ", "").replace(".", "")
