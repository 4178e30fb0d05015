"""Other people's clients and engines, as `overhead` measures them: ``pip install -e '.[bench]'``.

Each is set up as its own documentation has it: one model of the server, and where it can fall back
to another, a second one that is never needed. None of them checks that the answer fits a schema
here, so each does less work than one verified tier does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from benchmarks.contenders import PROMPT, Ask, Contender

# LiteLLM, which cascadeflow imports too, else fetches its price list from the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

MESSAGES = [{"role": "user", "content": PROMPT}]


@asynccontextmanager
async def openai_sdk(base_url: str, model: str) -> AsyncIterator[Ask]:
    async with import_module("openai").AsyncOpenAI(base_url=base_url, api_key="none") as client:

        async def ask() -> str:
            stream = await client.chat.completions.create(
                model=model, messages=MESSAGES, stream=True
            )
            parts = []
            async for chunk in stream:
                if chunk.choices:
                    parts.append(chunk.choices[0].delta.content or "")
            return "".join(parts)

        yield ask


@asynccontextmanager
async def litellm_router(base_url: str, model: str) -> AsyncIterator[Ask]:
    litellm = import_module("litellm")
    params = {"model": f"openai/{model}", "api_base": base_url, "api_key": "none"}
    router = litellm.Router(
        model_list=[{"model_name": name, "litellm_params": params} for name in ("cheap", "strong")],
        fallbacks=[{"cheap": ["strong"]}],
    )

    async def ask() -> str:
        stream = await router.acompletion(model="cheap", messages=MESSAGES, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    yield ask


@asynccontextmanager
async def pydantic_ai(base_url: str, model: str) -> AsyncIterator[Ask]:
    agents = import_module("pydantic_ai")
    chat = import_module("pydantic_ai.models.openai").OpenAIChatModel
    fallback = import_module("pydantic_ai.models.fallback").FallbackModel
    provider = import_module("pydantic_ai.providers.openai").OpenAIProvider(
        base_url=base_url, api_key="none"
    )
    agent = agents.Agent(fallback(*(chat(model, provider=provider) for _ in range(2))))

    async def ask() -> str:
        async with agent.run_stream(PROMPT) as run:
            return str(await run.get_output())

    yield ask


@asynccontextmanager
async def langchain(base_url: str, model: str) -> AsyncIterator[Ask]:
    chat = import_module("langchain_openai").ChatOpenAI
    first, second = (
        chat(model=model, base_url=base_url, api_key="none", streaming=True) for _ in range(2)
    )
    runnable = first.with_fallbacks([second])

    async def ask() -> str:
        return "".join([str(chunk.content) async for chunk in runnable.astream(PROMPT)])

    yield ask


def cascadeflow(*, direct: bool) -> Any:
    """Its agent, which cascades from the first model to the second, or asks one of them."""

    @asynccontextmanager
    async def opened(base_url: str, model: str) -> AsyncIterator[Ask]:
        module = import_module("cascadeflow")
        logging.getLogger("cascadeflow").setLevel(logging.ERROR)
        # Its own provider for OpenAI takes no base URL; that for vLLM speaks the same format.
        models = [
            module.ModelConfig(
                name=name, provider="vllm", base_url=base_url, api_key="none", cost=cost
            )
            for name, cost in ((model, 0.001), ("gpt-4o", 0.01))
        ]
        agent = module.CascadeAgent(models=models)

        async def ask() -> str:
            return str((await agent.run(PROMPT, force_direct=direct)).content)

        yield ask

    return opened


PEERS = (
    Contender("openai SDK", openai_sdk, ("openai",), "peer", "checks nothing, no fallback"),
    Contender("LiteLLM Router", litellm_router, ("litellm",), "peer", "checks nothing"),
    Contender(
        "pydantic-ai FallbackModel", pydantic_ai, ("pydantic_ai", "openai"), "peer",
        "checks nothing"),
    Contender(
        "LangChain with_fallbacks", langchain, ("langchain_openai",), "peer", "checks nothing"),
    Contender(
        "cascadeflow", cascadeflow(direct=False), ("cascadeflow",), "peer",
        "not streamed; two requests, as its own check (no schema) doubts the first answer"),
    Contender(
        "cascadeflow, direct", cascadeflow(direct=True), ("cascadeflow",), "peer",
        "not streamed; one model asked, nothing checked, no fallback"),
)  # fmt: skip

NO_ENGINES = {"openai SDK", "cascadeflow, direct"}
"""Those that have no second model to go to: not what one tier is compared with."""
