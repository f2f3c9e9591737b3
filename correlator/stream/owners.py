"""The partitions that one worker owns, and how they come and go with the assignments of its group."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any

from correlator.errors import BrokerError, FencedError
from correlator.stream.owner import Owner

__all__ = ["Owners"]

log = logging.getLogger(__name__)


class Owners:
    """Owners by the number of their partition. ``make`` makes one that is not open."""

    def __init__(self, make: Callable[[int], Owner]) -> None:
        self._make = make
        self._owners: dict[int, Owner] = {}

    def get(self, number: int) -> Owner | None:
        """The owner of a partition; None where it is not ours."""
        return self._owners.get(number)

    def __iter__(self) -> Iterator[Owner]:
        return iter(self._owners.values())

    async def take_over(
        self, wanted: set[int], superseded: Callable[[], bool], lead: Callable[[], Awaitable[None]]
    ) -> bool:
        """Own exactly the partitions ``wanted``, then ``lead``; whether that came about.

        Goes on trying while the broker fails, unless ``superseded``. Raises :class:`StateError` where saved state
        and log do not fit together.
        """
        for number in sorted(set(self._owners) - wanted):
            await self._owners.pop(number).close()
        delay = 0.5
        while not superseded():
            try:
                await _all(self._obtain(number) for number in sorted(wanted))
                await lead()
                return True
            except (BrokerError, FencedError) as error:
                log.warning("cannot take over yet: %s", error)
                await asyncio.sleep(delay)
                delay = min(5.0, 2 * delay)
        return False

    async def _obtain(self, number: int) -> None:
        owner = self._owners.get(number)
        if owner is not None:
            if owner.running or await owner.regain():
                return
            await owner.close()
        owner = self._owners[number] = self._make(number)
        await owner.open()

    async def suspend(self, numbers: Iterable[int] | None = None) -> None:
        """Checkpoint these partitions (all by default), and stand still until the next :meth:`take_over`."""
        chosen = self._owners if numbers is None else set(numbers) & set(self._owners)
        await asyncio.gather(*(self._owners[number].suspend() for number in chosen))

    async def close(self) -> None:
        """Give every partition up."""
        await asyncio.gather(*(owner.close() for owner in self))


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all to their ends, then raise the first error."""
    for answer in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
