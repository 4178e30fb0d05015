"""Running another program to its end, or to ours."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

import anyio
from anyio.abc import ByteReceiveStream, Process

_CLOSE_TIMEOUT = 5.0
_LAST_WORDS = 0.2
_COMPLAINT_BYTES = 300


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ended.

    Attributes:
        code: its exit code; None when it was killed because it wrote too much.
        written: its standard output.
        complaint: the end of its standard error.
    """

    code: int | None
    written: bytes
    complaint: bytes


async def run_program(argv: Sequence[str], sent: bytes, max_output: int) -> Ran:
    """Run a program without a shell, in a process group of its own.

    When this is cancelled, the group is killed before the cancellation goes on.

    Raises:
        OSError: it could not be started.
    """
    process = await _start(argv)
    finished = False
    try:
        ran = await _talk(process, sent, max_output)
        finished = ran.code is not None
    finally:
        if not finished:
            _kill(process)
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await process.aclose()
    return ran


async def _start(argv: Sequence[str]) -> Process:
    # Shielded: a process that was started and then forgotten could not be killed.
    with anyio.CancelScope(shield=True):
        return await anyio.open_process(argv, start_new_session=True)
    raise AssertionError("nothing cancels this scope")


async def _talk(process: Process, sent: bytes, max_output: int) -> Ran:
    assert process.stdout is not None
    assert process.stderr is not None
    written, complaint = bytearray(), bytearray()
    whole = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_send, process, sent)
        heard = anyio.Event()
        tasks.start_soon(_listen, process.stderr, complaint, heard)
        whole = await _read(process.stdout, written, max_output, max_output)
        if whole:
            await process.wait()
            with anyio.move_on_after(_LAST_WORDS):
                await heard.wait()
        # What it left running may hold its standard input and error for ever.
        tasks.cancel_scope.cancel()
    return Ran(process.returncode if whole else None, bytes(written), bytes(complaint))


async def _send(process: Process, sent: bytes) -> None:
    assert process.stdin is not None
    # A program may well have its verdict before it has read everything.
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await process.stdin.send(sent)
    with suppress(anyio.BrokenResourceError, OSError):
        await process.stdin.aclose()


async def _listen(stream: ByteReceiveStream, into: bytearray, heard: anyio.Event) -> None:
    await _read(stream, into, inf, _COMPLAINT_BYTES)
    heard.set()


async def _read(stream: ByteReceiveStream, into: bytearray, most: float, kept: int) -> bool:
    """Read to the end, keeping the last ``kept`` bytes; False when there are more than ``most``."""
    count = 0
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            chunk = await stream.receive()
            count += len(chunk)
            into += chunk
            del into[: max(0, len(into) - kept)]
            if count > most:
                return False
    return True


def _kill(process: Process) -> None:
    """Kill the program and all that it started, unless these left its group."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
