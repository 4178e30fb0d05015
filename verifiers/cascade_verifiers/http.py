"""`Http`: a check that is an HTTP endpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

import anyio

from cascade.context import current_check
from cascade.errors import ConfigError, MissingAPIKeyError
from cascade.transport import Response, Transport, make_transport
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade.verify import CostClass
from cascade_verifiers.composable import Composable
from cascade_verifiers.external import (
    MAX_BYTES,
    TIMEOUT,
    check_cost_class,
    check_limits,
    decode,
    encode,
    too_long,
)

_SECRET_NAME = re.compile("key|token|secret|passw|sig", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# A scheme may stand before it: "Bearer env:TOKEN".
_REFERENCE = re.compile(r"((?:[A-Za-z]+ )?)(?:env:|os\.environ/)(\w+)")
_HEADERS: Final = {
    "content-type": "application/json",
    "accept": "application/json",
    # A compressed reply could be a thousand times as long as what is counted here.
    "accept-encoding": "identity",
}


class Http(Composable):
    """Sends the request and the answer to an endpoint that replies with the verdict, all JSON.

    It is asked over the connections of the engine that runs the call, and outside a call over one
    of its own. An endpoint that cannot be reached, has a status other than 200, redirects, takes
    too long or replies something else, abstains. See the docs for the JSON.

    Args:
        url: where to POST to.
        headers: headers to send; ``env:NAME`` (also after a scheme: ``Bearer env:NAME``) is the
            value of that environment variable.
        timeout: seconds that it may take.
        max_bytes: how long a reply may be.
        cost_class: what it costs: ``free``, ``cpu`` or ``model``; cheap checks run first.

    Raises:
        MissingAPIKeyError: an environment variable is not set.
        ConfigError: the address or a header cannot be used, or a limit is none.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        max_bytes: int = MAX_BYTES,
        cost_class: CostClass = "model",
    ) -> None:
        self.url = _checked(url)
        given: object = {} if headers is None else headers
        if not isinstance(given, Mapping):
            # What it is instead is not shown: there may be a secret in it.
            raise ConfigError("headers: needs a table of names and values")
        own = {name: _header(name, value) for name, value in given.items()}
        named = {name.lower() for name in own}
        self._headers = {name: _HEADERS[name] for name in _HEADERS if name not in named} | own
        check_cost_class(cost_class)
        check_limits(timeout=timeout, max_bytes=max_bytes)
        self.timeout = timeout
        self.max_bytes = max_bytes
        self.cost_class = cost_class
        self._who = f"the check at {urlsplit(self.url).netloc}"

    async def verify(self, request: Request, answer: Answer, /) -> Verdict:
        """The endpoint's verdict; an abstention with the reason when there is none."""
        if (unsent := too_long(answer)) is not None:
            return unsent
        check = current_check.get()
        with anyio.move_on_after(self.timeout):
            sent = await encode(request, answer)
            try:
                if check is not None:
                    return await self._post(check.engine.transport, sent)
                async with aclosing(make_transport()) as transport:
                    return await self._post(transport, sent)
            except Exception as error:  # noqa: BLE001  # the transport is anyone's, so are its errors
                # Only its name: a message may quote what was sent.
                reason = f"{self._who} could not be asked: {type(error).__name__}"
                return Verdict.abstain(reason, code="external.failed")
        reason = f"{self._who} took longer than {self.timeout:g} s"
        return Verdict.abstain(reason, code="check.timeout")

    async def _post(self, transport: Transport, sent: bytes) -> Verdict:
        async with aclosing(await transport.route(self.url, self._headers)(sent)) as reply:
            if reply.status != 200:
                reason = f"{self._who} answered with status {reply.status}"
                return Verdict.abstain(reason, code="external.failed")
            if (reply.headers.get("content-encoding") or "identity").lower() != "identity":
                reason = f"{self._who} answered compressed, though asked not to"
                return Verdict.abstain(reason, code="external.unreadable")
            body = await _read(reply, self.max_bytes)
        if body is None:
            reason = f"{self._who} answered more than {self.max_bytes:,} bytes"
            return Verdict.abstain(reason, code="external.too_long")
        return decode(body, self._who)

    def __repr__(self) -> str:
        return f"Http({self.url!r})"


async def _read(reply: Response, most: int) -> bytes | None:
    """The body; None when it is longer than ``most``."""
    read = bytearray()
    while piece := await reply.read():
        read += piece
        if len(read) > most:
            return None
    return bytes(read)


def _checked(url: str) -> str:
    given: object = url
    parts = SplitResult("", "", "", "", "")
    try:
        parts = urlsplit(url.strip() if isinstance(given, str) else "")
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not url.isprintable():
        # The address is not repeated: there may be a password in it.
        raise ConfigError("url: is no address: write http(s)://host[:port]/path")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("url: has a user or password in it: give the secret in headers")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if _SECRET_NAME.search(name):
            raise ConfigError(f"url: has {name!r} in it: give the secret in headers")
    return url.strip()


def _header(name: str, value: str) -> str:
    given: object = value
    if not _HEADER_NAME.fullmatch(name):
        raise ConfigError(f"headers: {name!r} is no name of a header")
    if not isinstance(given, str):
        raise ConfigError(f"headers: {name} has a value that is no text (it is not shown)")
    found = _REFERENCE.fullmatch(value)
    if found is not None:
        scheme, variable = found[1], found[2]
        secret = os.environ.get(variable, "").strip()
        if not secret:
            raise MissingAPIKeyError(
                f"headers: {name}: the environment variable {variable} is not set"
            )
        value = scheme + secret
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"headers: {name} holds a character that no header may (it is not shown)")
    return value
