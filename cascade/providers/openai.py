"""OpenAI, and every server that speaks its chat completions: vLLM, Ollama, llama.cpp, …"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from cascade.errors import ConfigError
from cascade.provider import ProviderContext
from cascade.providers._chat import Assembly, request_body
from cascade.providers._rate_limits import OPENAI
from cascade.providers._wire import WireProvider
from cascade.types import Request

_PATH: Final = "/chat/completions"
DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"


class OpenAIProvider(WireProvider):
    """Speaks chat completions; streams unless the parameters say ``stream: False``.

    Args:
        context: the engine; its ``transport`` is used for every call.
        base_url: the address before ``/chat/completions``. By default the environment variable
            ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: the key, or ``env:NAME`` for the environment variable NAME. By default
            ``OPENAI_API_KEY``, which is only ever sent to OpenAI or to ``OPENAI_BASE_URL``, never
            to a ``base_url`` given here. Without a key no Authorization header is sent.
        keep_alive: whether to use a connection again; False for a server that closes one it
            promised to keep.

    Raises:
        ConfigError: the address or the key cannot be used. A missing key is only found by
            `check`.
    """

    default_base_url = DEFAULT_BASE_URL
    url_variable = "OPENAI_BASE_URL"
    key_variable = "OPENAI_API_KEY"
    rate_limit_headers = OPENAI
    ours: ClassVar[Mapping[str, str]] = {
        "model": "the tier's 'model'",
        "messages": "the tier's 'prompt'",
    }

    def __init__(
        self,
        context: ProviderContext,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        keep_alive: bool = True,
    ) -> None:
        super().__init__(context, base_url=base_url, api_key=api_key, keep_alive=keep_alive)
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
            ConfigError: a parameter is not this provider's to take, or is not JSON.
        """
        super().check(model, params)
        if params.get("n", 1) != 1:
            raise ConfigError(f"parameter 'n' of {model!r}: a call takes one answer")
        if not isinstance(params.get("stream", True), bool):
            raise ConfigError(f"parameter 'stream' of {model!r}: write true or false")
