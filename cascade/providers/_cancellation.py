"""Which services stop billing when the caller closes a stream before its end.

The source is one page: "Streaming", section "Stream cancellation", of OpenRouter's documentation
(openrouter.ai/docs/api-reference/streaming). OpenRouter pays all of these services and says of each
whether closing the stream stops the work and the bill. It also says that a call that is not
streamed is always worked off and billed in full; `cascade.billing` sees to that. No page was found
on which one of the services below says it of itself. A service that the page does not name is
unknown, and so are gateways, OpenRouter's own address too: it depends on who is behind them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

_STOP: Final = (
    "api.openai.com",
    "*.api.openai.com",  # regional
    "api.anthropic.com",
    "*.openai.azure.com",
    "*.services.ai.azure.com",
    "api.together.xyz",
    "api.together.ai",
    "api.fireworks.ai",
    "api.deepseek.com",
    "api.x.ai",
    "*.api.x.ai",  # regional
    "api.cohere.com",
    "api.cohere.ai",
    "api.deepinfra.com",
    "api.hyperbolic.xyz",
)
_GO_ON: Final = (
    "generativelanguage.googleapis.com",  # Gemini: "Google AI Studio" there
    "aiplatform.googleapis.com",  # Vertex: "Google" there
    "*-aiplatform.googleapis.com",
    "bedrock-runtime.*.amazonaws.com",
    "api.groq.com",
    "api.mistral.ai",
    "api.perplexity.ai",
    "api.ai21.com",
    "api.sambanova.ai",
    "api.replicate.com",
)


def stops_billing(url: str) -> bool | None:
    """Whether the service at an address stops billing a closed stream; None when not known."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    for stops, patterns in ((True, _STOP), (False, _GO_ON)):
        if any(fnmatchcase(host, pattern) for pattern in patterns):
            return stops
    return None
