"""The wire formats that a test server speaks, and which one a request is in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cascade.testing._anthropic_messages import AnthropicMessages
from cascade.testing._chat_completions import ChatCompletions
from cascade.testing._dialect import Dialect, model_in
from cascade.testing._gemini import Gemini
from cascade.testing._ollama import Ollama
from cascade.testing._responses import Responses

DIALECTS: Final[tuple[type[Dialect], ...]] = (
    AnthropicMessages,
    ChatCompletions,
    Gemini,
    Ollama,
    Responses,
)


def find_dialect(path: str, body: Mapping[str, Any]) -> tuple[type[Dialect] | None, str]:
    """The format of a request, None when it is in no known one, and the model it asks for."""
    for dialect in DIALECTS:
        model = dialect.model_asked(path, body)
        if model is not None:
            return dialect, model
    return None, model_in(body)
