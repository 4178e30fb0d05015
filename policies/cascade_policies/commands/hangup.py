"""Reading a project again when a long-running command is told to, by the signal SIGHUP."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from cascade.errors import CascadeError
from cascade_policies.commands.output import complain

if TYPE_CHECKING:
    from cascade.engine import Engine


def reloading(engine: Engine) -> AbstractContextManager[None]:
    """Inside, SIGHUP has the engine's project read again; calls in flight go on as they began.

    A mistake in it is told on standard error, and what was read before stays in use.
    """

    def reload() -> None:
        try:
            engine.reload()
        except CascadeError as error:
            complain(str(error))

    return on_hangup(reload)


@contextmanager
def on_hangup(then: Callable[[], object]) -> Iterator[None]:
    """Inside, SIGHUP has ``then`` called, instead of ending the process."""
    hangup = getattr(signal, "SIGHUP", None)  # there is none on Windows
    if hangup is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(hangup, lambda number, frame: then())
    try:
        yield
    finally:
        signal.signal(hangup, before)
