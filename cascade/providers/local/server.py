"""Runs llama.cpp's OpenAI-compatible server in child processes, one for each file of weights.

A child, because a native crash must become an error of one attempt and not the end of the user's
process. It is started when first needed, is shared by all threads and event loops of the process,
and cannot outlive it: see `_child.py`.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import threading
from pathlib import Path

import anyio
import anyio.to_thread

from cascade.errors import LocalServerError, MissingExtraError
from cascade.providers.local.process import STARTUP_TIMEOUT, Child, Endpoint, NotStarted

_DYING = 0.1  # seconds from a broken connection to the end of the process


def require_llama_cpp() -> None:
    """Raise `MissingExtraError` where llama.cpp is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtraError("embedded models", extra="local")


class LlamaServer:
    """One file of weights and the process that serves it; started again when it has died.

    Safe to use from several threads and event loops. Most callers want `serve`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._dead: Child | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the server, or None when none is running."""
        child = self._child
        return child.process.pid if child and child.process and child.usable else None

    async def endpoint(self, *, startup_timeout: float = STARTUP_TIMEOUT) -> Endpoint:
        """Where it listens, once it does. Starts it if need be.

        Raises:
            LocalServerError: it did not start within `startup_timeout` seconds, or at all; has the
                last lines it wrote. Retryable unless the same would happen again.
            MissingExtraError: llama.cpp is not installed.
        """
        started = self._start(startup_timeout).started
        if not started.done():
            # Abandoned, the thread waits on for whoever else needs the server. A limiter of its
            # own, so that many waiters do not use up the threads of the event loop's.
            await anyio.to_thread.run_sync(
                started.result, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
        result = started.result()
        if isinstance(result, NotStarted):
            raise LocalServerError(result.reason, retryable=result.retryable)
        return result

    async def describe_death(self, endpoint: Endpoint | None = None) -> str | None:
        """How the server died, with the last lines it wrote; None when it has not.

        Waits up to 0.1 s, because its connections break a moment before it ends.

        Args:
            endpoint: the one whose connection broke. With it, the answer is about that server
                even if someone else's call has started the next one by now.
        """
        with self._lock:
            child, dead = self._child, self._dead
        if dead is not None and endpoint is not None and dead.started.result() == endpoint:
            child = dead
        if child is None or not child.started.done():
            return None
        if not child.ended.is_set():
            await anyio.to_thread.run_sync(child.ended.wait, _DYING)
        return child.describe_death() if child.ended.is_set() else None

    def close(self) -> None:
        """Ends the server and waits for that. The next use starts another."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.kill()

    def disown(self) -> None:
        """In a forked process: lets go of the parent's server without touching it."""
        if self._child is not None:
            self._child.disown()

    def _start(self, startup_timeout: float) -> Child:
        with self._lock:
            if self._child is None or not self._child.usable:
                require_llama_cpp()
                self._dead = self._child
                self._child = Child(self.path, startup_timeout)
            return self._child


_servers: dict[Path, LlamaServer] = {}
_servers_lock = threading.Lock()


def server_for(path: Path) -> LlamaServer:
    """The process-wide server of a file of weights; not started by this."""
    path = path.resolve()
    with _servers_lock:
        return _servers.setdefault(path, LlamaServer(path))


async def serve(path: Path, *, startup_timeout: float = STARTUP_TIMEOUT) -> Endpoint:
    """Where the server of a file of weights listens; starts it if it is not running.

    Cheap when it runs. The first call takes about a second for a small model; cancelling it leaves
    the start to those who also wait.

    Raises:
        LocalServerError: it did not start; see `LlamaServer.endpoint`.
        MissingExtraError: llama.cpp is not installed.
    """
    return await server_for(path).endpoint(startup_timeout=startup_timeout)


async def describe_death(path: Path, endpoint: Endpoint | None = None) -> str | None:
    """Why a connection to this file's server broke: see `LlamaServer.describe_death`."""
    return await server_for(path).describe_death(endpoint)


def close_all() -> None:
    """Ends every server of this process and waits for that. Runs by itself at exit."""
    with _servers_lock:
        servers = list(_servers.values())
        _servers.clear()
    for server in servers:
        server.close()


def _disown_all() -> None:
    # A fork copies the table, but the processes in it are the parent's. Its lock may have been
    # held by a thread that the fork did not copy.
    global _servers_lock  # noqa: PLW0603  (a lock cannot be reset in place)
    _servers_lock = threading.Lock()
    for server in _servers.values():
        server.disown()
    _servers.clear()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
