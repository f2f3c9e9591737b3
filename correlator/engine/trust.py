"""How far the hiding of alerts in a shard can be trusted: reviews of hidden alerts, and what follows from them.

Somebody who complains does so about what was hidden wrongly, so complaints alone say nothing about how often that is.
The precision is that of a random sample (``correlator sample``): of the sampled alerts that were reviewed, how many
were rightly hidden, with Wilson's interval. With fewer than ``trust_min_verdicts`` reviews a shard is *unproven*. With
enough of them it *fails* when even the upper end of the interval is below ``trust_floor``: then what is hidden pages
in summaries (:mod:`correlator.engine.summary`), until reviews of failures are older than ``trust_memory`` or
better ones have come. Complaints are counted beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from correlator.engine.rules import Rules
    from correlator.engine.store import Store

__all__ = ["MOST_REVIEWS", "SAID", "Review", "Reviews", "arm", "expire", "review", "state", "update", "wilson"]

#: What can be said of an incident, each a field of the control.
SAID: Final = ("root", "not_explained", "rightly_hidden")
#: Reviews remembered; the oldest go first.
MOST_REVIEWS: Final = 2_000
#: Quantile of the normal distribution: 95 of 100 such intervals hold the true share.
_Z: Final = 1.959963984540054


def wilson(right: int, reviewed: int) -> tuple[float, float]:
    """Lower and upper end of the 95 % interval of a share (Wilson, 1927); 0 and 1 where nothing was reviewed.

    >>> [round(end, 4) for end in wilson(81, 263)]
    [0.2553, 0.3662]
    >>> [round(end, 4) for end in wilson(10, 10)]
    [0.7225, 1.0]
    >>> [round(end, 4) for end in wilson(0, 20)], wilson(0, 0)
    ([0.0, 0.1611], (0.0, 1.0))
    """
    if reviewed <= 0:
        return 0.0, 1.0
    share, square = right / reviewed, _Z * _Z
    middle = share + square / (2 * reviewed)
    spread = _Z * math.sqrt(share * (1 - share) / reviewed + square / (4 * reviewed * reviewed))
    scale = 1 + square / reviewed
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


class Review(NamedTuple):
    """What somebody said of a hidden alert, in epoch seconds; ``sampled`` where chance had chosen the alert."""

    at: float
    right: bool
    sampled: bool

    def row(self) -> tuple[Any, ...]:
        """The saved form."""
        return tuple(self)


class Reviews:
    """The reviews by key, and their totals. The totals are never stale: every way in and out goes through here."""

    def __init__(self) -> None:
        self._all: dict[str, Review] = {}
        self.sampled = self.right = self.complaints = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __setitem__(self, key: str, review: Review) -> None:
        self.pop(key)
        self._all[key] = review
        self._count(review, 1)

    def get(self, key: str) -> Review | None:
        """The review of a key."""
        return self._all.get(key)

    def pop(self, key: str) -> Review | None:
        """Take a review out."""
        found = self._all.pop(key, None)
        if found is not None:
            self._count(found, -1)
        return found

    def oldest(self) -> str:
        """Key of the oldest one. O(reviews)."""
        return min(self._all, key=lambda key: (self._all[key].at, key))

    def _count(self, review: Review, sign: int) -> None:
        self.sampled += sign * review.sampled
        self.right += sign * (review.sampled and review.right)
        self.complaints += sign * (not review.sampled and not review.right)


def state(reviews: Reviews, rules: Rules) -> str:
    """``unproven``, ``trusted`` or ``failed``."""
    if reviews.sampled < rules.trust_min_verdicts:
        return "unproven"
    return "failed" if wilson(reviews.right, reviews.sampled)[1] < rules.trust_floor else "trusted"


def review(store: Store, about: str, *, right: bool, sampled: bool) -> bool:
    """Count what was said of a hidden alert; False where the same was said before. A later word replaces it."""
    key = f"{'sample' if sampled else 'word'}/{about}"
    was = store.trust.get(key)
    if was is not None and was.right == right:
        return False
    store.trust[key] = Review(store.now, right, sampled)
    store.dirty.add(("v", key))
    store.at(store.now + store.rules.trust_memory, "review", key)
    while len(store.trust) > MOST_REVIEWS:
        _drop(store, store.trust.oldest())
        store.limits["reviews"] += 1
    update(store)
    return True


def expire(store: Store, key: str, time: float) -> bool:
    """Forget a review whose time has come."""
    found = store.trust.get(key)
    if found is None or found.at + store.rules.trust_memory > time:
        return False
    _drop(store, key)
    update(store)
    return True


def update(store: Store) -> None:
    """Reviews or rules have changed: whether what is hidden pages from now on, and what is hidden already with it."""
    was, store.failing = store.failing, state(store.trust, store.rules) == "failed"
    store.unhide = store.unhide or (store.failing and not was)


def arm(store: Store) -> None:
    """Ask again for the deadlines of all reviews."""
    for key in store.trust:
        found = store.trust.get(key)
        assert found is not None
        store.at(found.at + store.rules.trust_memory, "review", key)


def _drop(store: Store, key: str) -> None:
    store.trust.pop(key)
    store.dirty.add(("v", key))
