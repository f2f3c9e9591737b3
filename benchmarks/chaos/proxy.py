"""TCP between workers and a broker that can be cut, slowed and healed. It changes no byte of what it forwards.

A :class:`Link` is one loopback port that leads to another. The broker advertises the port of the link, so every
connection of a client that bootstraps there passes through it. All links of a :class:`Proxy` run in an event loop and a
thread of their own: what the rest of the process does delays nothing. Methods are safe to call from any thread.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Final, Literal

__all__ = ["Link", "Mode", "Proxy"]

#: ``refuse`` resets what is open and what comes; ``swallow`` keeps connections, and bytes wait until it is over.
Mode = Literal["open", "refuse", "swallow"]

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 64 << 10
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Link:
    """One port that leads to another."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, to: int) -> None:
        self.address: Final = f"{_HOST}:{port}"
        self.connections = 0  # so far
        self.bytes = 0
        self.mode: Mode = "open"
        self.delay = 0.0  # seconds
        self._loop, self._port, self._to = loop, port, to
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def set(self, mode: Mode = "open", delay: float = 0.0) -> None:
        """From now on: the mode, and by how many seconds each chunk of up to 64 KiB comes later."""
        self._loop.call_soon_threadsafe(self._set, mode, delay)

    def _set(self, mode: Mode, delay: float) -> None:
        self.mode, self.delay = mode, delay
        if mode == "swallow":
            self._passing.clear()
        else:
            self._passing.set()
        if mode == "refuse":
            for writer in list(self._open):
                _reset(writer)

    async def start(self) -> None:
        """Begin to listen. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, _HOST, self._port, limit=_CHUNK)

    async def stop(self) -> None:
        """Stop listening, reset what is open, and wait until it is."""
        if self._server is not None:
            self._server.close()
        self._set("refuse", 0.0)
        if self._serving:
            await asyncio.wait(self._serving, timeout=5)
        await asyncio.sleep(0.05)  # what was reset closes in a later turn of the loop

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            await self._passing.wait()
            if self.mode != "refuse":
                await self._forward(reader, writer)
                writer.close()
        except* OSError:
            pass  # one end is gone; so is the other then
        finally:
            self._open.discard(writer)
            if not writer.is_closing():
                _reset(writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both ways, until both ends have said their last; raises OSError in a group when one is gone before."""
        far, beyond = await asyncio.open_connection(_HOST, self._to, limit=_CHUNK)
        self._open.add(beyond)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, beyond))
                both.create_task(self._pump(far, writer))
            beyond.close()
        finally:
            self._open.discard(beyond)
            if not beyond.is_closing():
                _reset(beyond)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._passing.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
                await self._passing.wait()
            self.bytes += len(chunk)
            writer.write(chunk)
            await writer.drain()
        await self._passing.wait()
        with suppress(OSError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without a word of goodbye, whatever is still unsent."""
    socket = writer.get_extra_info("socket")
    with suppress(OSError):
        socket.setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
    writer.transport.abort()


class Proxy:
    """Links, from entry to exit of the context."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.links: list[Link] = []

    def link(self, port: int, to: int) -> Link:
        """Listen on ``port`` and lead to ``to``, both on loopback. Raises OSError."""
        made = Link(self._loop, port, to)
        asyncio.run_coroutine_threadsafe(made.start(), self._loop).result(10)
        self.links.append(made)
        return made

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        await asyncio.gather(*(link.stop() for link in self.links))
