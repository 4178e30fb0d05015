"""What may stand between a client and a server: TLS, and a proxy that opens tunnels."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

CERTIFICATES = Path(__file__).parent / "certificates"
AUTHORITY = CERTIFICATES / "authority.pem"
"""Signed the certificate of `server.pem`, for models.example, localhost and 127.0.0.1, valid for a
hundred years. The authority's own key was thrown away."""


class Relay:
    """Passes bytes on to a port of this machine, from a loopback port and thread of its own.

    Args:
        port: where to.
        tls: whether clients speak TLS to it.
        tunnels: whether it is a proxy: clients send a CONNECT first, kept in ``asked``.
        refuse: the status that it answers a CONNECT with instead, such as ``407 No``.
        greeting: what it says at once, before it closes the connection.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        tls: bool = False,
        tunnels: bool = False,
        refuse: str = "",
        greeting: bytes = b"",
    ) -> None:
        self.asked: list[str] = []
        self.port = 0
        self._target = port
        self._tls = tls
        self._tunnels = tunnels
        self._refuse = refuse
        self._greeting = greeting
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        context = None
        if self._tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(CERTIFICATES / "server.pem")
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._greeting:
                writer.write(self._greeting)
                return
            if self._tunnels:
                self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
                status = self._refuse or "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                if self._refuse:
                    return
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass_on(reader, back))
                tasks.create_task(_pass_on(onward, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
