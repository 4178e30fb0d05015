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
        for prompt, output in zip(_prompt_tokens(request), _tokens(written), strict=True)
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
    prompt_low, prompt_high = _prompt_tokens(request)
    seen_low, seen_high = _tokens(streamed)
    most = max(output_limit(request), seen_high)
    if stops and request.params.get("stream") is not False:
        most = min(most, seen_high + ceil(hidden * HIDDEN_TOKENS_PER_SECOND))
    low = price.of(Usage(prompt_low, seen_low)) if streamed else 0.0
    return Cost(low, price.of(Usage(prompt_high, most)), "cancelled")


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


def _prompt_tokens(request: Request) -> tuple[int, int]:
    low, high = _tokens("".join(message.text for message in request.messages))
    return low, high + 8 * len(request.messages)  # the chat template's own tokens
