"""What a model server says it is doing: how many requests it runs, how many tokens it has written.

Two servers say so. llama.cpp's has ``GET /metrics`` where it was started with ``--metrics``, and
``GET /slots`` unless it was started with ``--no-slots`` (its README, tools/server/README.md). vLLM
has ``GET /metrics`` (its documentation, "Production Metrics"). Both are reached with the key of the
model, below the address that ends in ``/v1``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import msgspec
from msgspec import Struct

from cascade.errors import APIResponseError
from cascade.providers._body import Body
from cascade.transports._failures import cause_of, connection_error, host_port

_MAX_BODY: Final = 4_000_000  # vLLM's histograms take some 100 kB
_SECONDS: Final = 10.0  # that a look may take
_NAME: Final = re.compile(rb"[A-Za-z_:][A-Za-z0-9_:]*")


class View(Struct, frozen=True):
    """What a server said.

    Attributes:
        running: requests that it works on or that wait for it.
        generated: tokens written since it was started; None where it does not say.
    """

    running: int
    generated: int | None


class Source(Struct, frozen=True):
    """A place where a kind of server says it.

    Attributes:
        name: for people.
        path: below the server's address.
        read: the view in a body, or None when it is not that of such a server.
        live: whether ``generated`` grows with each token; else when a request ends.
    """

    name: str
    path: str
    read: Callable[[bytes], View | None]
    live: bool


class ServerView:
    """Looks at one server.

    Args:
        client: an httpx2 client.
        base_url: the address of its models.
        headers: with the key.
    """

    def __init__(self, client: Any, base_url: str, headers: Mapping[str, str]) -> None:
        self._client = client
        self._server = base_url.removesuffix("/v1")
        # What is not compressed is as large as it looks.
        self._headers = {**headers, "Accept-Encoding": "identity"}
        self.source: Source | None = None

    async def find(self) -> View | None:
        """The first view, if the server gives one; from then on ``source`` says where.

        Raises:
            APIConnectionError: it cannot be reached, or does not answer.
        """
        for source in SOURCES:
            view = source.read(await self._get(source.path))
            if view is not None:
                self.source = source
                return view
        return None

    async def look(self) -> View:
        """The view now.

        Raises:
            APIConnectionError: the server cannot be reached any more, or does not answer.
            APIResponseError: it does not say any more.
        """
        assert self.source is not None
        view = self.source.read(await self._get(self.source.path))
        if view is None:
            raise APIResponseError(f"{self.source.name} is gone from {self._server}")
        return view

    async def _get(self, path: str) -> bytes:
        """The body of a success, if it has an end; else nothing."""
        try:
            with anyio.fail_after(_SECONDS):
                return await self._fetch(path)
        except TimeoutError:
            where = host_port(self._server)
            raise connection_error(where, "", connecting=False, timed_out=True) from None

    async def _fetch(self, path: str) -> bytes:
        from httpx2 import ConnectError, ConnectTimeout, RequestError, TimeoutException

        client, body = self._client, bytearray()
        request = client.build_request("GET", self._server + path, headers=self._headers)
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
            pieces = Body(response)
            try:
                while len(body) <= _MAX_BODY and (piece := await anext(pieces, b"")):
                    body += piece
            finally:
                await pieces.aclose()
        except RequestError as error:
            raise connection_error(
                host_port(self._server),
                cause_of(error),
                connecting=isinstance(error, ConnectError | ConnectTimeout),
                timed_out=isinstance(error, TimeoutException),
            ) from error
        whole = response.status_code == 200 and len(body) <= _MAX_BODY
        return bytes(body) if whole else b""


def _sums(body: bytes, *names: bytes) -> list[int | None]:
    """The values of these metrics in Prometheus' text format; those of several labels added up."""
    sums: dict[bytes, float] = {}
    for line in body.splitlines():
        found = _NAME.match(line)
        if found is None or found[0] not in names:
            continue
        value = line[found.end() :].rpartition(b"}")[2].split()
        try:
            sums[found[0]] = sums.get(found[0], 0.0) + float(value[0])
        except (IndexError, ValueError):
            continue
    return [int(sums[name]) if math.isfinite(sums.get(name, math.nan)) else None for name in names]


def _read_vllm(body: bytes) -> View | None:
    running, waiting, generated = _sums(
        body,
        b"vllm:num_requests_running",
        b"vllm:num_requests_waiting",
        b"vllm:generation_tokens_total",
    )
    if running is None or generated is None:
        return None
    return View(running + (waiting or 0), generated)


def _read_llama_cpp(body: bytes) -> View | None:
    running, waiting, generated = _sums(
        body,
        b"llamacpp:requests_processing",
        b"llamacpp:requests_deferred",
        b"llamacpp:tokens_predicted_total",
    )
    return None if running is None else View(running + (waiting or 0), generated)


class _Slot(Struct):
    id: int
    is_processing: bool


def _read_slots(body: bytes) -> View | None:
    # A slot's own count of tokens is set back when it is released, so it tells no total.
    try:
        slots = msgspec.json.decode(body, type=list[_Slot])
    except (msgspec.DecodeError, RecursionError):
        return None
    return View(sum(slot.is_processing for slot in slots), None) if slots else None


SOURCES: Final = (
    Source("vLLM's /metrics", "/metrics", _read_vllm, live=True),
    Source("llama.cpp's /metrics", "/metrics", _read_llama_cpp, live=False),
    Source("llama.cpp's /slots", "/slots", _read_slots, live=False),
)
"""Where to look, in this order."""
