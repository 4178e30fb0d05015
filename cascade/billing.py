"""What one attempt cost: from the provider's counts where there are any, else an interval."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from cascade.cost import Cost, Price
from cascade.types import Answer, Request, Usage

# Bytes of UTF-8 a token, from sparse (digits, CJK text) to dense (English prose) as byte-pair
# tokenizers cut it; the truth of ordinary prompts lies between.
_BYTES_PER_TOKEN = (2.0, 6.0)

ASSUMED_MAX_TOKENS = 8192
"""Output that a cancelled call without ``max_tokens`` may at most be billed for, in tokens; what
our Anthropic calls ask for when the tier says nothing."""

MEDIA_TOKENS = 5_000
"""What an image may at most count for: an assumption. Files and sound count by their size."""

_TEMPLATE_TOKENS = 8  # of the chat template, a message
_BYTES_PER_FILE_TOKEN = 4  # of a file's base64: it may be plain text

HIDDEN_TOKENS_PER_SECOND = 500
"""How fast a model may at most have written what did not show: thinking, or a tool call. An
assumption, and a high one, so that the upper end of a cost stays one."""


def answered(price: Price, request: Request, answer: Answer) -> Cost:
    """The cost of an answer that came whole."""
    exact = price.of(answer.usage) if answer.usage is not None else None
    if exact is not None:
        return Cost(exact, exact, "reported")
    written = answer.text + "".join(call.name + call.arguments for call in answer.tool_calls)
    least, most = (min(tokens, _allowed(request, tokens)) for tokens in _tokens(written))
    low, high = (
        price.of(Usage(prompt, output))
        for prompt, output in zip(prompt_tokens(request), (least, most), strict=True)
    )
    return Cost(low, high, "estimated")


def cut_short(
    price: Price, request: Request, streamed: str, *, stops: bool | None, hidden: float
) -> Cost:
    """The cost of a call that was cancelled or broke after ``streamed`` had arrived.

    At the least what was seen: nothing, as long as no token had come. At the most the whole prompt
    and, when closing the stream stops the billing, what the model can have written until then;
    else all that it was allowed to write.

    Args:
        price: of the model.
        request: what was sent.
        streamed: the text that arrived.
        stops: whether closing a stream stops the billing; None when it is not known.
        hidden: seconds during which the model may have written what did not show.
    """
    prompt_low, prompt_high = prompt_tokens(request)
    seen_low, seen_high = (min(t, _allowed(request, t)) for t in _tokens(streamed))
    most = max(output_limit(request), seen_high)
    if stops and request.params.get("stream") is not False:
        most = min(most, seen_high + ceil(hidden * HIDDEN_TOKENS_PER_SECOND))
    low = price.of(Usage(prompt_low, seen_low)) if streamed else 0.0
    return Cost(low, price.of(Usage(prompt_high, most)), "cancelled")


def at_most(price: Price, request: Request) -> float:
    """US dollars that a call may cost at the most, known before it is made.

    No tokenizer makes more tokens of a text than it has bytes. What is written is bounded by the
    request's ``max_tokens``; without one, `ASSUMED_MAX_TOKENS` is an assumption.
    """
    contents = [message.content for message in request.messages]
    parts = [
        part for content in contents if content and not isinstance(content, str) for part in content
    ]
    media = sum(_media_tokens(part) for part in parts if part.get("type") != "text")
    text = "".join(message.text for message in request.messages)
    calls = [call for message in request.messages for call in message.tool_calls]
    given = f"{request.tools}{request.params.get('response_format', '')}{calls or ''}"
    size = len(text.encode("utf-8", "replace")) + len(given.encode("utf-8", "replace"))
    prompt = size + _TEMPLATE_TOKENS * len(request.messages) + media
    return (prompt * price.input + output_limit(request) * price.output) / 1_000_000


def _media_tokens(part: Mapping[str, Any]) -> int:
    if "image" in str(part.get("type")):
        return MEDIA_TOKENS
    return max(MEDIA_TOKENS, len(str(part)) // _BYTES_PER_FILE_TOKEN)


def output_limit(request: Request) -> int:
    """Tokens the model may write: what the request says, else `ASSUMED_MAX_TOKENS`."""
    return _allowed(request, ASSUMED_MAX_TOKENS)


def _allowed(request: Request, otherwise: int) -> int:
    """Tokens that the request allows the model to write; ``otherwise`` where it does not say."""
    for key in ("max_completion_tokens", "max_tokens"):
        limit = request.params.get(key)
        if isinstance(limit, int):
            return limit
    return otherwise


def _tokens(text: str) -> tuple[int, int]:
    size = len(text.encode("utf-8", "replace"))
    dense, sparse = _BYTES_PER_TOKEN
    return int(size / sparse), int(size / dense) + (size > 0)


def prompt_tokens(request: Request) -> tuple[int, int]:
    """At least and at most so many tokens has the text of an ordinary prompt."""
    low, high = _tokens("".join(message.text for message in request.messages))
    return low, high + _TEMPLATE_TOKENS * len(request.messages)
