"""The words for what differs between two outcomes, and the rules that make a difference a failure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Self

from correlator.config_load import duration_text, seconds

__all__ = ["CHANGES", "WORDS", "Rule", "counted", "failures", "later", "words_markdown"]

#: What became of an incident: (meaning, the word when the two sides are swapped).
CHANGES: Final[dict[str, tuple[str, str]]] = {
    "same": ("nothing differs", "same"),
    "changed": ("the same incident on both sides, with differences", "changed"),
    "merged": ("most of its alerts are in an incident of B that corresponds to another one of A", "split"),
    "split": ("most of its alerts are from an incident of A that corresponds to another one of B", "merged"),
    "vanished": ("an incident of A none of whose alerts is in an incident of B", "appeared"),
    "appeared": ("an incident of B none of whose alerts is in an incident of A", "vanished"),
}
#: What differs: (meaning, the word when the two sides are swapped). The order is that of importance.
WORDS: Final[dict[str, tuple[str, str]]] = {
    "page-lost": ("it paged in A, and in B no incident that ever held one of its alerts pages", "page-gained"),
    "page-later": ("the first page about it comes later in B", "page-earlier"),
    "root-changed": ("another service is the root", "root-changed"),
    "page-moved": ("it pages on one side; on the other its alerts page with another incident", "page-moved"),
    "page-gained": ("it pages in B, and in A no incident that ever held one of its alerts pages", "page-lost"),
    "page-earlier": ("the first page about it comes earlier in B", "page-later"),
    "pages-more": ("it pages more often in B", "pages-fewer"),
    "pages-fewer": ("it pages less often in B, but it pages", "pages-more"),
    "wanted-changed": ("at the end somebody should be at it on one side only", "wanted-changed"),
    "severity-down": ("its worst severity is lower in B", "severity-up"),
    "severity-up": ("its worst severity is higher in B", "severity-down"),
    "team-changed": ("another team answers for the root", "team-changed"),
    "state-changed": ("it ends in another state", "state-changed"),
    "members-moved": ("some of its alerts are in different incidents on the two sides", "members-moved"),
    "members-gone": ("alerts of it are in no incident in B", "members-new"),
    "members-new": ("alerts of it are in no incident in A", "members-gone"),
    "confidence-down": ("the root is less sure in B", "confidence-up"),
    "confidence-up": ("the root is surer in B", "confidence-down"),
}
_TIMED: Final = ("page-later", "page-earlier")
_TOTALS: Final = ("incidents", "pages")
_RULE: Final = re.compile(r"([a-z-]+)(?:([=>])(.+))?")


class Rule(NamedTuple):
    """One ``--fail-on`` rule: more than ``above`` differences of this word, each of ``least`` seconds or more."""

    text: str
    word: str
    above: int
    least: float

    @classmethod
    def parse(cls, text: str, words: Iterable[str], timed: Sequence[str], totals: Sequence[str]) -> Self:
        """Read ``any``, ``WORD``, ``WORD>N``, ``WORD=DURATION`` or ``TOTAL>N``. Raises ValueError with what is allowed.

        >>> Rule.parse("page-later=5m", ["page-later"], ["page-later"], [])
        Rule(text='page-later=5m', word='page-later', above=0, least=300.0)
        """
        known = [*words, "any"]
        found = _RULE.fullmatch(text)
        word, sign, value = found.groups() if found is not None else ("", None, "")
        if word not in known and not (word in totals and sign == ">"):
            raise ValueError(
                f"{text!r} is not a rule; allowed: {', '.join(known)}, {', '.join(f'{t}>N' for t in totals)}"
            )
        try:
            if sign == "=" and word in timed:
                return cls(text, word, 0, seconds(value))
            if sign == ">":
                return cls(text, word, int(value), 0.0)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a rule: {error}") from None
        if sign == "=":
            raise ValueError(f"{text!r} is not a rule: a duration goes with {', '.join(timed)}")
        return cls(text, word, 0, 0.0)

    @classmethod
    def of_difference(cls, text: str) -> Self:
        """A rule about the differences of two outcomes."""
        return cls.parse(text, [*(c for c in CHANGES if c not in ("same", "changed")), *WORDS], _TIMED, _TOTALS)


def failures(
    rules: Iterable[Rule], found: Iterable[tuple[Iterable[str], float | None]], totals: Mapping[str, int]
) -> list[str]:
    """The rules that hold, in words.

    ``found`` has the words of each difference and by how many seconds its page is later (negative: earlier).
    O(rules x differences).
    """
    rows = [(set(words), abs(delay or 0.0)) for words, delay in found]
    said = []
    for rule in rules:
        if rule.word in totals:
            count = totals[rule.word]
        elif rule.word == "any":
            count = sum(bool(words) for words, _ in rows)
        else:
            count = sum(rule.word in words and delay >= rule.least for words, delay in rows)
        if count > rule.above:
            said.append(f"{rule.text}: {count}")
    return said


def later(delay: float) -> str:
    """By how much a page is later, in words; whole seconds from ten on.

    >>> later(355.032), later(-0.25)
    ('5m55s later', '0.25s earlier')
    """
    size = abs(delay)
    return f"{duration_text(round(size, 3) if size < 10 else round(size))} {'later' if delay > 0 else 'earlier'}"


def counted(words: Iterable[Iterable[str]]) -> dict[str, int]:
    """How often each word occurs, in the order of importance."""
    count = Counter(word for found in words for word in found)
    return {word: count[word] for word in (*CHANGES, *WORDS) if count[word]}


def words_markdown() -> str:
    """The words as a table for the README."""
    rows = ["| word | meaning | with A and B swapped |", "|---|---|---|"]
    for word, (meaning, mirror) in (*CHANGES.items(), *WORDS.items()):
        rows.append(f"| `{word}` | {meaning} | `{mirror}` |")
    return "\n".join(rows)
