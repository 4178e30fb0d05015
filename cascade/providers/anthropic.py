"""Anthropic, and servers that speak its Messages API: ``POST /v1/messages``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cascade.errors import ConfigError
from cascade.provider import ProviderContext
from cascade.providers._anthropic_answer import Assembly
from cascade.providers._anthropic_body import refusal, request_body
from cascade.providers._anthropic_errors import read_error
from cascade.providers._http_errors import ErrorBody
from cascade.providers._rate_limits import ANTHROPIC
from cascade.providers._wire import WireProvider
from cascade.types import Request

_PATH: Final = "/v1/messages"
_VERSION: Final = (
    "2023-06-01"  # the only one there is: https://platform.claude.com/docs/en/api/versioning
)


class AnthropicProvider(WireProvider):
    """Speaks the Messages API; streams unless the parameters say ``stream: False``.

    The API cannot do without ``max_tokens``; a tier that does not say it asks for 8192.

    Args:
        context: the engine; its ``transport`` is used for every call.
        base_url: the address before ``/v1/messages``. By default the environment variable
            ``ANTHROPIC_BASE_URL``, else Anthropic's own.
        api_key: the key, or ``env:NAME`` for the environment variable NAME. By default
            ``ANTHROPIC_API_KEY``, which is only ever sent to Anthropic or to
            ``ANTHROPIC_BASE_URL``, never to a ``base_url`` given here. Without a key no
            ``x-api-key`` header is sent.

    Raises:
        ConfigError: the address or the key cannot be used. A missing key is only found by
            `check`.
    """

    default_base_url = "https://api.anthropic.com"
    url_variable = "ANTHROPIC_BASE_URL"
    key_variable = "ANTHROPIC_API_KEY"
    rate_limit_headers = ANTHROPIC
    request_id_header = "request-id"

    def __init__(
        self,
        context: ProviderContext,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        super().__init__(context, base_url=base_url, api_key=api_key)
        for end in (_PATH, "/v1"):
            if self.endpoint.url.endswith(end):
                raise ConfigError(
                    f"base_url ends in {end}: leave that off, it is added to each call"
                )

    def auth(self, key: str | None) -> Mapping[str, str]:
        """The API's version, and the key when there is one."""
        version = {"anthropic-version": _VERSION}
        return version if key is None else {**version, "x-api-key": key}

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
        """See `read_error`."""
        return read_error(body)

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse at load what cannot work.

        Raises:
            MissingAPIKeyError: a key is needed and there is none.
            ConfigError: a parameter is none of this API's or this model's, or is not JSON; says
                why.
        """
        super().check(model, params)
        reason = refusal(model, params)
        if reason is not None:
            raise ConfigError(f"{reason} (model {model!r})")
