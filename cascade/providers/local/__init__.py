"""Embedded models: llama.cpp in a child process, spoken to over loopback.

``local:NAME`` names weights of the catalogue, ``local:/path/to.gguf`` any GGUF file. Weights are
downloaded and the server is started when a tier first needs them, before the attempt's time runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from cascade.errors import APIConnectionError, APIResponseError, LocalServerError
from cascade.provider import Call, ProviderContext
from cascade.providers.local.process import Endpoint
from cascade.providers.local.server import describe_death, require_llama_cpp, serve
from cascade.providers.local.weights import locate, resolve
from cascade.providers.openai import OpenAIProvider
from cascade.types import Answer


class LocalProvider:
    """Runs models on this machine. Calls cost nothing."""

    free = True

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._wires: dict[str, tuple[Endpoint, OpenAIProvider]] = {}

    def check(self, model: str, params: Mapping[str, Any]) -> None:
        """Refuse at load what cannot work.

        Raises:
            UnknownModelError: neither in the catalogue nor a file; names the nearest right name.
            MissingExtraError: llama.cpp is not installed.
        """
        del params
        locate(model)
        require_llama_cpp()

    async def ready(self, model: str) -> None:
        """Download the weights and start the server, where that is not done yet.

        Raises:
            ModelUnavailableError: the weights cannot be had.
            LocalServerError: the server does not start.
        """
        await serve(await resolve(model))

    async def complete(self, call: Call, /) -> Answer:
        """Ask the model.

        Raises:
            LocalServerError: the server crashed; has its last words.
            ProviderError: as for any chat-completions server.
        """
        path = await resolve(call.model)
        endpoint = await serve(path)
        try:
            answer = await self._wire(call.model, endpoint).complete(call)
        except (APIConnectionError, APIResponseError) as error:
            death = await describe_death(path, endpoint)
            if death is None:
                raise
            raise LocalServerError(death) from error
        return replace(answer, model=f"local:{call.model}")

    async def wire(self, model: str) -> OpenAIProvider:
        """What speaks to the model's server, which is started if need be.

        Raises:
            ModelUnavailableError: the weights cannot be had.
            LocalServerError: the server does not start.
        """
        return self._wire(model, await serve(await resolve(model)))

    def _wire(self, model: str, endpoint: Endpoint) -> OpenAIProvider:
        known = self._wires.get(model)
        if known is None or known[0] != endpoint:
            wire = OpenAIProvider(
                self._context,
                base_url=f"{endpoint.base_url}/v1",
                api_key=endpoint.api_key,
                # The server closes a streamed connection that it promised to keep.
                keep_alive=False,
            )
            self._wires[model] = known = (endpoint, wire)
        return known[1]
