"""OpenAI's Responses API, and servers that speak it: ``POST /responses``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cascade.errors import ConfigError
from cascade.provider import ProviderContext
from cascade.providers._rate_limits import OPENAI
from cascade.providers._responses_answer import Assembly
from cascade.providers._responses_body import refusal, request_body
from cascade.providers._wire import WireProvider
from cascade.types import Request

_PATH: Final = "/responses"


class ResponsesProvider(WireProvider):
    """Speaks the Responses API; streams unless the parameters say ``stream: False``.

    Nothing is kept at OpenAI (``store: false``) unless the parameters say ``store: True``: an
    engine asks several models for one answer, and what the losers wrote is nobody's to keep.

    Args:
        context: the engine; its ``transport`` is used for every call.
        base_url: the address before ``/responses``. By default the environment variable
            ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: the key, or ``env:NAME`` for the environment variable NAME. By default
            ``OPENAI_API_KEY``, which is only ever sent to OpenAI or to ``OPENAI_BASE_URL``, never
            to a ``base_url`` given here. Without a key no Authorization header is sent.

    Raises:
        ConfigError: the address or the key cannot be used. A missing key is only found by
            `check`.
    """

    default_base_url = "https://api.openai.com/v1"
    url_variable = "OPENAI_BASE_URL"
    key_variable = "OPENAI_API_KEY"
    rate_limit_headers = OPENAI

    def __init__(
        self,
        context: ProviderContext,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        super().__init__(context, base_url=base_url, api_key=api_key)
        if self.endpoint.url.endswith(_PATH):
            raise ConfigError(f"base_url ends in {_PATH}: leave that off, it is added to each call")

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

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse at load what cannot work.

        Raises:
            MissingAPIKeyError: a key is needed and there is none.
            ConfigError: a parameter is none of this API's, or is not JSON; says why.
        """
        super().check(model, params)
        reason = refusal(params)
        if reason is not None:
            raise ConfigError(f"{reason} (model {model!r})")
