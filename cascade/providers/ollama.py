"""Ollama's own API: ``POST /api/chat``, answered in JSON lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from cascade.errors import ConfigError
from cascade.provider import ProviderContext
from cascade.providers._http_errors import ErrorBody, decode_error
from cascade.providers._ollama_answer import Assembly
from cascade.providers._ollama_body import refusal, request_body
from cascade.providers._ollama_host import url_of
from cascade.providers._wire import WireProvider
from cascade.types import Request

_PATH: Final = "/api/chat"
_NOT_PULLED: Final = re.compile(r"""\bmodel ['"]([^'"\s]{1,200})['"] not found""")


class OllamaProvider(WireProvider):
    """Speaks Ollama's API; streams unless the parameters say ``stream: False``.

    Ollama itself cuts off the beginning of a prompt that does not fit. That is switched off
    (``truncate``, ``shift``), so that such a call fails and the next tier answers.

    Args:
        context: the engine; its ``transport`` is used for every call.
        base_url: the server, in any form that Ollama reads (``box``, ``box:8080``, ``http://…``).
            By default the environment variable ``OLLAMA_HOST``, else this machine's port 11434.
        api_key: the key, or ``env:NAME`` for the environment variable NAME; only ollama.com and
            servers behind a proxy need one. By default ``OLLAMA_API_KEY``, where it is set, which
            is never sent to a ``base_url`` given here.

    Raises:
        ConfigError: the address or the key cannot be used.
    """

    default_base_url = "http://127.0.0.1:11434"
    url_variable = "OLLAMA_HOST"
    key_variable = "OLLAMA_API_KEY"
    framing = "lines"

    def __init__(
        self,
        context: ProviderContext,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        super().__init__(context, base_url=base_url, api_key=api_key)
        if not api_key:
            self.endpoint = replace(self.endpoint, missing=None)  # few servers want one
        for end in ("/api", _PATH, "/v1"):
            if self.endpoint.url.endswith(end):
                raise ConfigError(f"base_url ends in {end}: leave that off")

    @property
    def free(self) -> bool:
        """Calls cost nothing, except at ollama.com."""
        host = urlsplit(self.endpoint.url).hostname or ""
        return host != "ollama.com" and not host.endswith(".ollama.com")

    def address(self, given: str) -> str:
        """See `url_of`."""
        return url_of(given)

    def auth(self, key: str | None) -> Mapping[str, str]:
        """A bearer token, when there is a key."""
        return {} if key is None else {"Authorization": f"Bearer {key}"}

    def path(self, model: str, stream: bool) -> str:
        """The same for every model."""
        return _PATH

    def body(self, model: str, request: Request) -> tuple[bytes, bool]:
        """See `request_body`."""
        return request_body(model, request)

    def assembly(self, on_delta: Callable[[str], None]) -> Assembly:
        """A new assembly for one answer."""
        return Assembly(on_delta)

    def said(self, body: bytes) -> ErrorBody:
        """What an error body says; for a model that is not there, also how to get it."""
        said = decode_error(body)
        missing = _NOT_PULLED.search(said.message[:1000])
        if missing is None:
            return said
        return replace(said, message=f"{said.message}; run: ollama pull {missing[1]}")

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse at load what cannot work.

        Raises:
            MissingAPIKeyError: the key that ``api_key`` names is not there.
            ConfigError: a parameter is none of Ollama's, or is not JSON; says why.
        """
        super().check(model, params)
        reason = refusal(params)
        if reason is not None:
            raise ConfigError(f"{reason} (model {model!r})")
