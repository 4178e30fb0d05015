"""Google's Gemini API: ``POST /models/MODEL:streamGenerateContent`` and ``:generateContent``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from cascade.errors import ConfigError, UnknownModelError
from cascade.provider import ProviderContext
from cascade.providers._gemini_answer import Assembly
from cascade.providers._gemini_body import refusal, request_body
from cascade.providers._gemini_errors import GeminiError, read_error
from cascade.providers._http_errors import ErrorBody
from cascade.providers._wire import WireProvider
from cascade.transport import Headers
from cascade.types import Request

_MODEL: Final = re.compile(r"(?:(?:models|tunedModels)/)?\w[\w.@-]*")


class GeminiProvider(WireProvider):
    """Speaks ``generateContent``; streams unless the parameters say ``stream: False``.

    Args:
        context: the engine; its ``transport`` is used for every call.
        base_url: the address before ``/models/…``, with the API's version. By default the
            environment variable ``GEMINI_BASE_URL``, else Google's own, version ``v1beta``.
        api_key: the key, or ``env:NAME`` for the environment variable NAME. By default
            ``GEMINI_API_KEY``, which is only ever sent to Google or to ``GEMINI_BASE_URL``,
            never to a ``base_url`` given here. It is sent as a header, never in the address.

    Raises:
        ConfigError: the address or the key cannot be used. A missing key is only found by
            `check`.
    """

    default_base_url = "https://generativelanguage.googleapis.com/v1beta"
    url_variable = "GEMINI_BASE_URL"
    key_variable = "GEMINI_API_KEY"

    def __init__(
        self,
        context: ProviderContext,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        super().__init__(context, base_url=base_url, api_key=api_key)
        for end in ("/models", "/openai"):
            if self.endpoint.url.endswith(end):
                raise ConfigError(f"base_url ends in {end}: leave that off")

    def auth(self, key: str | None) -> Mapping[str, str]:
        """The key, when there is one."""
        return {} if key is None else {"x-goog-api-key": key}

    def path(self, model: str, stream: bool) -> str:
        """The model's own address."""
        name = quote(model if "/" in model else f"models/{model}")
        return f"/{name}:streamGenerateContent?alt=sse" if stream else f"/{name}:generateContent"

    def body(self, model: str, request: Request) -> tuple[bytes, bool]:
        """See `request_body`."""
        return request_body(model, request)

    def assembly(self, on_delta: Callable[[str], None]) -> Assembly:
        """A new assembly for one answer."""
        return Assembly(on_delta)

    def said(self, body: bytes) -> ErrorBody:
        """See `read_error`."""
        return read_error(body)

    def wait(self, headers: Headers, said: ErrorBody) -> float | None:
        """The API says it in the body; what stands between may say it in a header."""
        wait = super().wait(headers, said)
        return said.retry_after if wait is None and isinstance(said, GeminiError) else wait

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse at load what cannot work.

        Raises:
            MissingAPIKeyError: a key is needed and there is none.
            UnknownModelError: the name cannot be one.
            ConfigError: a parameter is none of this API's or this model's, or is not JSON; says
                why.
        """
        super().check(model, params)
        if not _MODEL.fullmatch(model):
            raise UnknownModelError(f"model {model!r}: write NAME, models/NAME or tunedModels/NAME")
        reason = refusal(model, params)
        if reason is not None:
            raise ConfigError(f"{reason} (model {model!r})")
