"""What one attempt cost: from the provider's counts where there are any, else an interval."""

from __future__ import annotations

from math import ceil

from cascade.cost import Cost, Price
from cascade.types import Answer, Request, Usage

# Bytes of UTF-8 a token, from sparse (digits, CJK text) to dense (English prose) as byte-pair
# tokenizers cut it; the truth of ordinary prompts lies between.
_BYTES_PER_TOKEN = (2.0, 6.0)

ASSUMED_MAX_TOKENS = 8192
"""Output that a cancelled call without ``max_tokens`` may at most be billed for, in tokens; what
our Anthropic calls ask for when the tier says nothing."""

MEDIA_TOKENS = 5_000
"""What an image or another part that is no text may at most count for: an assumption."""

_TEMPLATE_TOKENS = 8  # of the chat template, a message

HIDDEN_TOKENS_PER_SECOND = 500
"""How fast a model may at most have written what did not show: thinking, or a tool call. An
assumption, and a high one, so that the upper end of a cost stays one."""


def answered(price: Price, request: Request, answer: Answer) -> Cost:
    """The cost of an answer that came whole."""
    exact = price.of(answer.usage) if answer.usage is not None else None
    if exact is not None:
        return Cost(exact, exact, "reported")
    written = answer.text + "".join(call.name + call.arguments for call in answer.tool_calls)
    low, high = (
        price.of(Usage(prompt, output))
        for prompt, output in zip(prompt_tokens(request), _tokens(written), strict=True)
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
    seen_low, seen_high = _tokens(streamed)
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
    parts = [message.content for message in request.messages]
    media = sum(
        1
        for part in parts
        if part is not None and not isinstance(part, str)
        for each in part
        if each.get("type") != "text"
    )
    text = "".join(message.text for message in request.messages)
    calls = [call for message in request.messages for call in message.tool_calls]
    given = f"{request.tools}{request.params.get('response_format', '')}{calls or ''}"
    size = len(text.encode("utf-8", "replace")) + len(given.encode("utf-8", "replace"))
    prompt = size + _TEMPLATE_TOKENS * len(request.messages) + MEDIA_TOKENS * media
    return (prompt * price.input + output_limit(request) * price.output) / 1_000_000


def output_limit(request: Request) -> int:
    """Tokens the model may write: what the request says, else `ASSUMED_MAX_TOKENS`."""
    for key in ("max_completion_tokens", "max_tokens"):
        limit = request.params.get(key)
        if isinstance(limit, int):
            return limit
    return ASSUMED_MAX_TOKENS


def _tokens(text: str) -> tuple[int, int]:
    size = len(text.encode("utf-8", "replace"))
    dense, sparse = _BYTES_PER_TOKEN
    return int(size / sparse), int(size / dense) + (size > 0)


def prompt_tokens(request: Request) -> tuple[int, int]:
    """At least and at most so many tokens has the text of an ordinary prompt."""
    low, high = _tokens("".join(message.text for message in request.messages))
    return low, high + _TEMPLATE_TOKENS * len(request.messages)
