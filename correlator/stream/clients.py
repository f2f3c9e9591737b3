"""Kafka clients made from the settings: one place for addresses, TLS, login and sizes."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    KafkaTimeoutError,
    UnknownError,
    UnsupportedVersionError,
)

from correlator.config import Settings
from correlator.errors import BrokerError

__all__ = [
    *("MAX_BATCH_BYTES", "Clients", "Consumer"),
    *("admin", "close", "credentials", "has_transactions", "on_exception", "options", "producer", "reader"),
]

#: Largest produce batch, and so the largest atomic checkpoint; ``max.message.bytes`` of our topics allows it.
MAX_BATCH_BYTES: Final = 8 << 20
#: How a broker says that it has no transactions; anything else it says may pass.
_NO_TRANSACTIONS: Final = (IncompatibleBrokerVersion, UnknownError, UnsupportedVersionError)


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    broker = settings.broker
    if "SSL" not in broker.security_protocol.replace("SASL", ""):
        return None
    context = ssl.create_default_context(cafile=str(broker.ssl_cafile) if broker.ssl_cafile else None)
    if broker.ssl_certfile:
        password = broker.ssl_key_password.get_secret_value() if broker.ssl_key_password else None
        context.load_cert_chain(str(broker.ssl_certfile), str(broker.ssl_keyfile or "") or None, password)
    return context


def options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client takes."""
    broker = settings.broker
    found: dict[str, Any] = {
        "bootstrap_servers": list(broker.bootstrap),
        "security_protocol": broker.security_protocol,
        "request_timeout_ms": round(broker.request_timeout * 1000),
    }
    context = _ssl_context(settings)
    if context is not None:
        found["ssl_context"] = context
    if broker.security_protocol.startswith("SASL"):
        found["sasl_mechanism"] = broker.sasl_mechanism
        found["sasl_plain_username"] = broker.sasl_username
        found["sasl_plain_password"] = broker.sasl_password.get_secret_value() if broker.sasl_password else None
    return found


def credentials(settings: Settings) -> Any:
    """The same login for Faust's consumer; None without one."""
    import faust  # here, so that the bypass gets its clients without it

    broker, context = settings.broker, _ssl_context(settings)
    if broker.security_protocol.startswith("SASL"):
        password = broker.sasl_password.get_secret_value() if broker.sasl_password else None
        made = faust.SASLCredentials(
            username=broker.sasl_username, password=password, ssl_context=context, mechanism=broker.sasl_mechanism
        )
        made.protocol = faust.types.auth.AuthProtocol(broker.security_protocol)
        return made
    return faust.SSLCredentials(context) if context is not None else None


def producer(settings: Settings, *, transactional_id: str | None = None) -> AIOKafkaProducer:
    """A producer, not started. With a ``transactional_id`` it fences older ones of the same id when it starts."""
    return AIOKafkaProducer(
        **options(settings),
        acks="all",
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=max(MAX_BATCH_BYTES, settings.intake.max_record_bytes) + (1 << 20),
        transactional_id=transactional_id,
        transaction_timeout_ms=60_000,
    )


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """aiokafka's consumer, which can be stopped while the broker is away.

    While one of its fetches waits to ask again, aiokafka's lets the end of that fetch out as if its caller were
    cancelled, and leaves connections open: a task of ours would end without a word.
    """

    async def stop(self) -> None:
        """End the fetches, then the rest."""
        fetcher = self._fetcher
        if fetcher is not None and not self._closed:
            fetches = {fetcher._fetch_task, *fetcher._pending_tasks}
            for task in fetches:
                task.cancel()
            await asyncio.wait(fetches)
            fetcher._pending_tasks.clear()
        await super().stop()


def reader(settings: Settings, *, group: str | None = None) -> Consumer:
    """A consumer that reads committed records only, not started; ``group`` is for offsets, it is never joined."""
    return Consumer(
        **options(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=2 * MAX_BATCH_BYTES,
        fetch_max_wait_ms=200,
    )


class Clients:
    """What a worker reads and writes with, besides Faust's consumer. A subclass can stand between it and the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: Seconds after which a broker that does not answer, or only says "not yet", is given up for another try.
        self.patience = settings.broker.request_timeout

    async def start(self, client: AIOKafkaProducer | Consumer) -> None:
        """Start a client within :attr:`patience`; aiokafka's own would ask for ever. Raises KafkaError."""
        try:
            async with asyncio.timeout(self.patience):
                await client.start()
        except TimeoutError as error:
            raise KafkaTimeoutError(f"not started within {self.patience:g} s") from error

    def producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        """As :func:`producer`."""
        return producer(self._settings, transactional_id=transactional_id)

    def reader(self) -> Consumer:
        """As :func:`reader`."""
        return reader(self._settings)


async def close(client: AIOKafkaProducer | Consumer) -> None:
    """Stop a client, in ten seconds at most. Never raises: nothing is lost that was not lost before."""
    with suppress(Exception):
        try:
            await asyncio.wait_for(client.stop(), 10)
        except TimeoutError:
            if isinstance(client, AIOKafkaProducer):  # else what it could not send stays behind, and is sent some day
                async with asyncio.timeout(1):
                    await client._sender.close()
                    await client.client.close()


def on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For :meth:`loop.set_exception_handler`: leave out what aiokafka leaves behind.

    A producer that fails, or is fenced off, gives its error to futures of its own as well, which nobody waits for:
    each would be a traceback in the log beside the one line that tells what happened.
    """
    if isinstance(context.get("future"), asyncio.Task) or not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)


def admin(settings: Settings) -> AIOKafkaAdminClient:
    """An administration client, not started."""
    return AIOKafkaAdminClient(**options(settings))


async def has_transactions(settings: Settings, application: str) -> bool:
    """Whether the broker fences writers by transactions, found out by asking it for a producer id.

    Raises :class:`BrokerError` when the settings require transactions and there are none, or nobody answers.
    """
    if settings.broker.transactions == "off":
        return False
    probe = producer(settings, transactional_id=f"{application}-probe")
    try:
        await asyncio.wait_for(probe.start(), 30)
        return True
    except _NO_TRANSACTIONS as error:
        if settings.broker.transactions == "required":
            raise BrokerError(
                f"broker.transactions = 'required', but {settings.broker.bootstrap[0]} has none: {error!r}"
            ) from error
        return False
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"{settings.broker.bootstrap[0]}: cannot tell whether it has transactions: {error!r}"
        ) from error
    finally:
        await probe.stop()
