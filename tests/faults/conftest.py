"""One server and one client for all cells of a run; each cell has an engine of its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from cascade.testing import FaultyServer, Reply
from cascade.transport import make_transport
from tests.faults.cells import RUNS, Stand

VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL",
             "GEMINI_API_KEY", "GEMINI_BASE_URL", "OLLAMA_API_KEY", "OLLAMA_HOST",
             "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")  # fmt: skip


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> str:
    """An event loop and an HTTP client that it can use."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def anyio_backend(run: str) -> str:
    """The loop of the run, one for all its cells."""
    return run.partition("-")[0]


@pytest.fixture(scope="module", autouse=True)
def no_environment() -> Iterator[None]:
    """The developer's own keys, addresses and proxies take no part."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        server.on("quick", Reply("good"))
        server.on("bad", Reply("bad"))
        yield server


@pytest.fixture(scope="module")
def places(server: FaultyServer) -> Iterator[dict[str, str]]:
    """Scheme, host and port: of the server, with and without a protocol that it speaks; where
    nobody listens; of a name that does not resolve; where nobody says a word; and where no
    connection can be made."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # with its backlog full, the system drops what comes next
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            closed = taken.getsockname()
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        yield {
            "server": server.url,
            "tls": f"https://127.0.0.1:{urlsplit(server.url).port}",
            "closed": f"http://127.0.0.1:{closed[1]}",
            "nowhere": "http://nowhere.invalid:80",
            "mute": f"https://127.0.0.1:{mute.getsockname()[1]}",
            "full": f"http://127.0.0.1:{full.getsockname()[1]}",
        }


@pytest.fixture(scope="module")
async def stand(
    anyio_backend: str, run: str, server: FaultyServer, places: dict[str, str]
) -> AsyncIterator[Stand]:
    transport = make_transport(RUNS[run])
    yield Stand(server, places, transport)
    await transport.aclose()
    server.wait_for(lambda: server.open_connections == 0)
