"""What goes to a model and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from cascade.errors import PromptError, nearest

Content = str | Sequence[Mapping[str, Any]] | None

_ROLES = ("assistant", "developer", "system", "tool", "user")
_MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id")


class ToolCall(Struct, frozen=True):
    """A call the model asks for. ``arguments`` is the JSON text as the model wrote it."""

    name: str
    arguments: str
    id: str | None = None


class Message(Struct, frozen=True):
    """One chat message.

    ``content`` is text, or a sequence of content parts (text, image, …) in the chat-completions
    shape, which are passed through as they are.
    """

    role: str
    content: Content = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text of the message; the text parts joined when it has parts."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "".join(p["text"] for p in self.content if isinstance(p.get("text"), str))

    @classmethod
    def of(cls, value: Message | Mapping[str, Any]) -> Message:
        """From a message or from a dict in the chat-completions shape.

        Raises:
            PromptError: a key is unknown, or ``role`` is missing.
        """
        if isinstance(value, Message):
            return value
        for key in value:
            if key not in _MESSAGE_KEYS:
                raise PromptError(f"message key {key!r}: {nearest(key, _MESSAGE_KEYS)}")
        role = value.get("role")
        if not isinstance(role, str):
            raise PromptError(f"a message needs a 'role'; got the keys {sorted(value)}")
        if role not in _ROLES:
            raise PromptError(f"message role {role!r}: {nearest(role, _ROLES)}")
        return cls(
            role,
            value.get("content"),
            value.get("name"),
            tuple(_tool_call(call) for call in value.get("tool_calls") or ()),
            value.get("tool_call_id"),
        )


def _tool_call(value: ToolCall | Mapping[str, Any]) -> ToolCall:
    if isinstance(value, ToolCall):
        return value
    try:
        function = value["function"]
        return ToolCall(function["name"], function["arguments"], value.get("id"))
    except (KeyError, TypeError) as error:
        raise PromptError(
            "a tool call needs 'function' with 'name' and 'arguments', as in chat completions"
        ) from error


class Request(Struct, frozen=True):
    """What is asked.

    Attributes:
        messages: the chat so far; the last user message is the prompt.
        tools: tool definitions in the chat-completions shape, passed through.
        params: sampling parameters under their chat-completions names (``temperature``,
            ``max_tokens``, ``response_format``, …), passed through.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, prompt: Prompt) -> Request:
        """From text, from a list of chat messages, or as it is.

        Raises:
            PromptError: the prompt is empty or not one of these.
        """
        if isinstance(prompt, Request):
            request = prompt
        elif isinstance(prompt, str):
            if not prompt.strip():
                raise PromptError("the prompt is empty")
            return cls((Message("user", prompt),))
        else:
            request = cls(tuple(_messages(prompt)))
        if not request.messages:
            raise PromptError("the prompt has no messages")
        return request

    @property
    def text(self) -> str:
        """The text of the last user message: the prompt itself."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.text
        return self.messages[-1].text

    def with_params(self, **params: Any) -> Request:
        """The same request with these parameters added or replaced."""
        return replace(self, params={**self.params, **params})


Prompt = str | Request | Sequence[Message | Mapping[str, Any]]
"""What a user may give as a prompt."""


def _messages(prompt: object) -> Iterator[Message]:
    if not isinstance(prompt, Sequence):
        raise PromptError(
            f"a prompt is text, a list of chat messages or a Request; got {type(prompt).__name__}"
        )
    for message in prompt:
        if not isinstance(message, Message | Mapping):
            raise PromptError(
                f"a chat message is a Message or a dict with 'role' and 'content'; "
                f"got {type(message).__name__}"
            )
        yield Message.of(message)


class Usage(Struct, frozen=True):
    """Tokens as the provider counted them; None where it did not say.

    ``cached_input_tokens`` is part of ``input_tokens``, ``reasoning_tokens`` part of
    ``output_tokens``.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None


class TokenLogprob(Struct, frozen=True):
    """One token of the answer and its natural-log probability."""

    token: str
    logprob: float


class RateLimits(Struct, frozen=True):
    """What a provider says is left of its rate limits, in the moment it answers.

    Each is None where the provider does not say it, or says it in no way that is known.

    Attributes:
        limit_requests: requests that may be made in the limit's period.
        remaining_requests: how many of them are left.
        reset_requests: seconds until all of them are there again.
        limit_tokens: tokens that may be used in the limit's period.
        remaining_tokens: how many of them are left.
        reset_tokens: seconds until all of them are there again.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None


class Answer(Struct, frozen=True):
    """What a model answered.

    Attributes:
        text: the answer's text; empty when there are only tool calls.
        tool_calls: calls the model asks for.
        finish_reason: ``stop``, ``length``, ``tool_calls``, ``content_filter`` or what the
            provider says; None when it does not say.
        usage: token counts, if reported.
        logprobs: one entry a token of the answer, if asked for and given.
        model: the model as the provider names it in the answer.
        latency: seconds from the call to the last byte; filled in by the engine.
        time_to_first_token: seconds to the first piece of text; filled in by the engine, None
            when the answer was not streamed.
        request_id: the provider's id of the request.
        rate_limits: what was left of the provider's rate limits, if it says.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    model: str | None = None
    latency: float | None = None
    time_to_first_token: float | None = None
    request_id: str | None = None
    rate_limits: RateLimits | None = None

    def timed(self, latency: float, time_to_first_token: float | None) -> Answer:
        """The same answer with its times, in seconds."""
        return Answer(
            self.text,
            self.tool_calls,
            self.finish_reason,
            self.usage,
            self.logprobs,
            self.model,
            latency,
            time_to_first_token,
            self.request_id,
            self.rate_limits,
        )
