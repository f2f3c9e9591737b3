"""Recovery of the state table, in place of Faust's: by partition owners, in batches, and ended by position.

Faust's own recovery feeds one event per changelog record, waits for an end offset that a transaction's control
record never delivers, and only logs its failures. Here each partition that the group assigns is opened by its owner
(fence, read, load), partitions that went elsewhere are closed, reading of ``alerts.placed`` is set to the applied
offset + 1, and any failure stops the worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

import faust
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import RebalanceAgain, ServiceStopped
from faust.tables.recovery import Recovery as FaustRecovery
from mode import Service

from correlator.errors import CorrelatorError

__all__ = ["Duties", "Recovery", "StateTable", "TableManager"]


class StateTable(faust.Table[bytes, bytes]):
    """The state as Faust's table: its partitions are held by their owners, its changelog is written by them."""


class Duties(NamedTuple):
    """What a recovery leaves to the worker.

    ``take_over`` takes the partitions of the state that are ours, those of which we are a standby, and whether a newer
    assignment waits; ``begin`` says from where to read every partition that we were assigned; ``failed``: the worker
    cannot go on.
    """

    take_over: Callable[[set[int], set[int], Callable[[], bool]], Awaitable[None]]
    begin: Callable[[set[Any]], Awaitable[dict[Any, int]]]
    failed: Callable[[CorrelatorError], None]


class Recovery(FaustRecovery):
    """What happens between an assignment and the first record."""

    duties: Duties

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):  # type: ignore[arg-type]
                break
            self.signal_recovery_start.clear()
            generation = self._generation_id
            try:
                await self._recover(generation)
            except RebalanceAgain:
                continue
            except ServiceStopped:
                break
            except CorrelatorError as error:
                self.duties.failed(error)
            except Exception as error:
                await self.app.crash(error)
                raise

    async def _recover(self, generation: int) -> None:
        app, consumer = self.app, self.app.consumer
        wanted = {tp.partition for tp in self.active_tps}
        standby = {tp.partition for tp in self.standby_tps} - wanted

        def superseded() -> bool:
            return self.signal_recovery_start.is_set() or app.consumer_generation_id != generation or self.should_stop

        await self.duties.take_over(wanted, standby, superseded)
        if superseded():
            raise RebalanceAgain
        await app.on_rebalance_complete.send()
        assignment, timeout = consumer.assignment(), app.conf.broker_request_timeout
        if assignment:
            consumer.resume_partitions({tp for tp in assignment if not self._is_changelog_tp(tp)})
            await self._wait(consumer.perform_seek(), timeout=timeout)
        starts = await self.duties.begin(assignment)
        if starts:
            await self._wait(consumer.seek_wait(starts), timeout=timeout)
        if superseded():
            raise RebalanceAgain
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await cast("Any", app)._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Nothing comes this way: the owners read the changelog themselves."""


class TableManager(FaustTableManager):
    """Faust's table manager with the recovery above, without the second that it waits at start for more tables."""

    async def on_start(self) -> None:
        """Start the recovery."""
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        """The recovery service, made on first use."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast("Recovery", self._recovery)
