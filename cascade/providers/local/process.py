"""One run of llama.cpp's server in a child process, seen from the parent."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

CONTEXT = 4096
"""Tokens of prompt and answer together, for each call."""

STARTUP_TIMEOUT = 120.0
"""Seconds to load a model, from a cold disk. Warm, it takes about one."""

_CHILD = Path(__file__).with_name("_child.py")
_TAIL = 20  # lines
_LINE = 2000  # bytes; a longer line is cut in pieces, so that nothing grows without bound


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running server listens.

    Attributes:
        base_url: like ``http://127.0.0.1:41733``, without ``/v1``.
        api_key: the server refuses calls without it, so other users of the machine cannot use it.
    """

    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why there is no server. Not an exception: each waiter raises its own, since the engine
    writes into those that it catches."""

    reason: str
    retryable: bool


class Child:
    """One run of the server process, from its start to its death."""

    def __init__(self, path: Path, startup_timeout: float) -> None:
        self.path = path
        self.started: Future[Endpoint | NotStarted] = Future()
        self.ended = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self._startup_timeout = startup_timeout
        self._lock = threading.Lock()
        self._unwanted = False
        self._lifeline: int | None = None
        self._tail: deque[str] = deque(maxlen=_TAIL)
        # The thread lives as long as the process: it reads what the process writes, and on Linux
        # the process is killed when the thread that started it ends.
        name = f"cascade llama.cpp {path.name}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def usable(self) -> bool:
        """Whether it is starting or serving."""
        if not self.started.done():
            return True
        return self.process is not None and self.process.poll() is None

    def describe_death(self) -> str:
        """How it ended, and the last lines it wrote. Only for one that has."""
        code = self.process.returncode if self.process is not None else None
        if code is None:
            how = "did not start"
        elif code >= 0:
            how = f"exited with status {code}"
        else:
            how = f"was killed by signal {-code} ({_signal_name(-code)})"
        lines = "".join(f"\n  {line}" for line in self._tail)
        return f"the llama.cpp process for {self.path.name} {how}{lines}"

    def kill(self) -> None:
        """Ends it and waits for that. It has no state to save."""
        with self._lock:
            self._unwanted = True
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def disown(self) -> None:
        """In a forked process: lets go of the parent's child without touching it."""
        if self._lifeline is not None:
            os.close(self._lifeline)  # our copy would hide the parent's death from the child
        if self.process is not None:
            self.process.returncode = 0  # else subprocess warns that it is still running

    def _run(self) -> None:
        try:
            self._serve()
        except OSError as error:
            self._settle(NotStarted(f"cannot start llama.cpp: {error}", retryable=True))
        finally:
            self._settle(NotStarted(self.describe_death(), retryable=True))
            self.ended.set()

    def _serve(self) -> None:
        nonce, endpoint_key = secrets.token_hex(16), secrets.token_urlsafe(24)
        with self._lock:
            if self._unwanted:
                self._settle(NotStarted("llama.cpp was closed while it started", retryable=True))
                return
            process = self.process = self._spawn(nonce, endpoint_key)
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._startup_timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            for line in self._lines(process):
                if line.startswith(nonce):
                    timer.cancel()
                    self._settle(Endpoint(line.removeprefix(nonce).strip(), endpoint_key))
                elif line:
                    self._tail.append(line)
            process.wait()
        finally:
            timer.cancel()
            self._close_pipes(process)
        if late.is_set():
            reason = f"llama.cpp did not load {self.path.name} in {self._startup_timeout:g} s"
            self._settle(NotStarted(reason, retryable=False))
        # A status is llama.cpp's own verdict on the file; a signal may be mere bad luck.
        self._settle(NotStarted(self.describe_death(), retryable=process.returncode < 0))

    def _spawn(self, nonce: str, api_key: str) -> subprocess.Popen[bytes]:
        settings = {
            "parent": os.getpid(),
            "nonce": nonce,  # so that no text in a hostile GGUF can pass for the ready line
            "api_key": api_key,  # here and not in argv, which every user can read
            "model": str(self.path),
            "context": CONTEXT,
            "verbosity": 3 if _debugging() else 1,
        }
        read, write = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603  (our own file, run by our own interpreter)
                [sys.executable, "-P", str(_CHILD)],
                stdin=read,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C is not for it
            )
        except OSError:
            os.close(write)
            raise
        finally:
            os.close(read)
        self._lifeline = write
        with contextlib.suppress(BrokenPipeError):  # dead already: its output will say why
            os.write(write, json.dumps(settings).encode() + b"\n")
        return process

    @staticmethod
    def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
        assert process.stdout is not None
        while raw := process.stdout.readline(_LINE):
            line = raw.decode(errors="replace").rstrip()
            if _debugging():
                sys.stderr.write(f"llama.cpp: {line}\n")
            yield line

    def _close_pipes(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        process.stdout.close()
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    def _settle(self, result: Endpoint | NotStarted) -> None:
        if not self.started.done():
            self.started.set_result(result)


def _debugging() -> bool:
    return os.environ.get("CASCADE_LOCAL_LOG", "") not in {"", "0"}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
