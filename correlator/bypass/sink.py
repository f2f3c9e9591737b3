"""Where bypass incidents go: the incidents topic, its history, and a webhook if one is set."""

from __future__ import annotations

import asyncio
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from correlator.bypass.feed import NOTE
from correlator.bypass.pages import Page
from correlator.config import Settings
from correlator.errors import BrokerError
from correlator.stream.clients import Clients, close
from correlator.stream.intake import partition_of
from correlator.stream.outlet import event_headers

__all__ = ["Sink", "Webhook"]

log = logging.getLogger(__name__)

#: Seconds between two attempts to reach a webhook: the first, and the longest.
_AGAIN: Final = (1.0, 30.0)


class Sink:
    """Writes incidents. Each goes to the partition that follows from its id, so that compaction sees all of it."""

    def __init__(self, settings: Settings, counts: Mapping[str, int]) -> None:
        self._topics, self._application = settings.topics, settings.worker.application
        self._counts = counts
        self._address = settings.broker.bootstrap[0]
        self._clients = Clients(settings)
        self._producer: AIOKafkaProducer = self._clients.producer()

    async def start(self) -> None:
        """Begin. Raises :class:`BrokerError`."""
        try:
            await self._clients.start(self._producer)
        except KafkaError as error:
            raise BrokerError(f"{self._address}: no writer: {error!r}") from error

    async def stop(self) -> None:
        """Stop; never raises."""
        await close(self._producer)

    async def publish(self, pages: Iterable[Page]) -> None:
        """Write and wait for the acknowledgements. Raises KafkaError; then some may be written."""
        waiting = []
        for page in pages:
            key, value = page.id.encode(), orjson.dumps(page.value)
            headers = [*event_headers(self._application, page.value), (NOTE, orjson.dumps(page.note()))]
            for topic in (self._topics.incidents, self._topics.history):
                waiting.append(await self._send(topic, key, value, headers))
        await asyncio.gather(*waiting)

    async def forget(self, ids: Iterable[str]) -> None:
        """Take incidents that were over long ago out of the incidents topic. Raises KafkaError."""
        await asyncio.gather(*[await self._send(self._topics.incidents, key.encode(), None, []) for key in ids])

    async def _send(self, topic: str, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]) -> Any:
        number = partition_of(key.decode(), self._counts[topic])
        return await self._producer.send(topic, value, key=key, partition=number, headers=headers)


class Webhook:
    """Posts incidents one by one, in a thread, and again until they are taken; only the last revision of each counts.

    The body is the incident, the headers are its CloudEvents attributes (binary mode). Any answer of 2xx is a yes.
    """

    def __init__(self, address: str, timeout: float, application: str, told: Callable[[bool], None]) -> None:
        self._address, self._timeout, self._application, self._told = address, timeout, application, told
        self._waiting: dict[str, dict[str, Any]] = {}
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="webhook")

    def put(self, value: dict[str, Any]) -> None:
        """Post this, in place of an older revision that was not taken yet."""
        self._waiting[value["id"]] = value
        self._news.set()

    async def stop(self, patience: float) -> None:
        """Post what waits, if that takes no longer than ``patience`` seconds."""
        self._news.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._waiting and not self._task.done():  # noqa: ASYNC110 - the end of the process
                    await asyncio.sleep(0.05)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        delay = _AGAIN[0]
        while True:
            await self._news.wait()
            self._news.clear()
            for identifier, value in list(self._waiting.items()):
                problem = await asyncio.to_thread(self._post, value)
                self._told(problem is None)
                if problem is None:
                    delay = _AGAIN[0]
                    if self._waiting.get(identifier) is value:
                        del self._waiting[identifier]
                    continue
                log.warning("webhook: incident %s not taken: %s", identifier, problem)
                self._news.set()
                await asyncio.sleep(delay)
                delay = min(_AGAIN[1], 2 * delay)
                break

    def _post(self, value: dict[str, Any]) -> str | None:
        """None, or why it was not taken; never with the address, which may hold a secret."""
        headers = {name.replace("ce_", "ce-"): text.decode() for name, text in event_headers(self._application, value)}
        try:  # the settings allow http and https only
            request = urllib.request.Request(self._address, orjson.dumps(value), headers, method="POST")  # noqa: S310
            with urllib.request.urlopen(request, timeout=self._timeout):  # noqa: S310
                return None
        except urllib.error.HTTPError as error:
            with error:
                return f"it answers {error.code}"
        except (HTTPException, OSError, ValueError) as error:
            return type(getattr(error, "reason", error)).__name__
