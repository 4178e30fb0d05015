"""Reading a project again when a long-running command is told to, by the signal SIGHUP."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cascade.errors import CascadeError
from cascade_policies.commands.output import complain

if TYPE_CHECKING:
    from cascade.engine import Engine


@contextmanager
def reloading(engine: Engine) -> Iterator[None]:
    """Inside, SIGHUP has the engine's project read again; calls in flight go on as they began.

    A mistake in it is told on standard error, and what was read before stays in use.
    """
    hangup = getattr(signal, "SIGHUP", None)  # there is none on Windows
    if hangup is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def reload(number: int, frame: object) -> None:
        del number, frame
        try:
            engine.reload()
        except CascadeError as error:
            complain(str(error))

    before = signal.signal(hangup, reload)
    try:
        yield
    finally:
        signal.signal(hangup, before)
