"""A server of canned answers in a process of its own, so that it takes no time from the client."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from cascade.testing import FaultyServer, Reply

ANSWER = '{"label": "billing", "urgent": false}'


def _serve(pipe: Connection) -> None:
    # One token a chunk and no pauses: the server's own pace is the same for everyone measured.
    with FaultyServer(default=Reply(ANSWER)) as server:
        pipe.send(server.base_url)
        pipe.recv()  # until the parent is done, or gone


@contextmanager
def canned_server() -> Iterator[str]:
    """The base URL of a server that answers every chat completion with `ANSWER`, streamed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        base_url: str = ours.recv()
        yield base_url
    finally:
        ours.close()
        theirs.close()
        process.terminate()
        process.join()
