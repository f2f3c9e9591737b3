"""A network that can be cut, slowed and healed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.chaos.proxy import Link, Proxy
from benchmarks.chaos.stage import Net
from correlator import brokers


@asynccontextmanager
async def echo() -> AsyncIterator[Link]:
    """A server that answers what it gets, behind a link."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    port = brokers.free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    with Proxy() as proxy:
        yield proxy.link(brokers.free_port(), port)
    server.close()
    await server.wait_closed()


async def connect(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = link.address.partition(":")
    return await asyncio.open_connection(host, int(port))


async def refused(link: Link) -> bool:
    """Whether a new connection is ended before it says anything; the system may have swallowed the reset itself."""
    try:
        reader, writer = await connect(link)
        said = await asyncio.wait_for(reader.read(1), 10)
        writer.close()
        return said == b""
    except ConnectionResetError:
        return True


async def applied(true: Callable[[], bool]) -> None:
    """Until what was asked of the proxy's thread is done."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - bounded, and of another thread
            await asyncio.sleep(0.01)


async def test_an_open_link_forwards_every_byte_both_ways() -> None:
    """A megabyte comes back as it was, and an end is passed on."""
    async with echo() as link:
        reader, writer = await connect(link)
        sent = Random(1).randbytes(1 << 20)
        writer.write(sent)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 30) == sent
        assert (link.connections, link.bytes) == (1, 2 << 20)
        writer.close()


async def test_a_link_that_refuses_resets_what_is_open_and_what_comes() -> None:
    """Healed, it takes connections again."""
    async with echo() as link:
        reader, writer = await connect(link)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        link.set("refuse")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 10)
        assert await refused(link)
        link.set()
        again, third = await connect(link)
        third.write(b"b")
        assert await asyncio.wait_for(again.readexactly(1), 10) == b"b"
        writer.close()
        third.close()


async def test_a_link_that_swallows_keeps_connections_and_delivers_when_healed() -> None:
    """As a network does whose packets are sent again: what a frozen or cut-off client wrote arrives late."""
    async with echo() as link:
        reader, writer = await connect(link)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        link.set("swallow")
        await applied(lambda: link.mode == "swallow")
        writer.write(b"b")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        link.set()
        assert await asyncio.wait_for(reader.readexactly(1), 10) == b"b"
        writer.close()


async def test_a_slow_link_delays() -> None:
    """By its delay in each direction."""
    async with echo() as link:
        reader, writer = await connect(link)
        link.set(delay=0.2)
        await applied(lambda: link.delay == 0.2)
        before = time.monotonic()
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        assert time.monotonic() - before >= 0.4
        writer.close()


def test_effects_on_the_network_add_up_and_end_one_by_one() -> None:
    """A cut of all over a slow link of one: refusing goes before swallowing, and the longest delay holds."""
    said: list[list[tuple[str, float]]] = [[], []]

    def link(number: int) -> Any:
        return SimpleNamespace(set=lambda mode, delay: said[number].append((mode, delay)))

    net = Net([link(0), link(1)])
    net.begin(1, 0, delay=0.4)
    net.begin(2, -1, "swallow")
    net.begin(3, 0, "refuse")
    net.end(2)
    net.end(3)
    net.heal()
    assert said[0] == [("open", 0.4), ("swallow", 0.4), ("refuse", 0.4), ("refuse", 0.4), ("open", 0.4), ("open", 0.0)]
    assert said[1] == [("open", 0.0), ("swallow", 0.0), ("swallow", 0.0), ("open", 0.0), ("open", 0.0), ("open", 0.0)]
