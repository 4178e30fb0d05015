"""The JSON that chat-completions servers send, as far as it is read.

Many servers speak it and each a little differently, so reading is lenient: whatever is missing or
null is left out, and what other servers add is skipped without being decoded.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from cascade.errors import APIResponseError
from cascade.types import Usage


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class CallDelta(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    content: Any = None
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None


class Token(msgspec.Struct, gc=False):
    token: str = ""
    logprob: float | None = None


class Logprobs(msgspec.Struct, gc=False):
    content: list[Token] | None = None


class Choice(msgspec.Struct, gc=False):
    index: int | None = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[Choice] | None = None
    usage: Any = None
    model: str | None = None
    error: Any = None
    object: str | None = None


_decode: Final = msgspec.json.Decoder(Chunk).decode


def decode_chunk(data: bytes) -> Chunk:
    """One chunk, or a whole answer that was not streamed.

    Raises:
        APIResponseError: it is neither.
    """
    try:
        return _decode(data)
    except (ValueError, RecursionError) as error:
        try:
            # Python accepts the NaN that some servers send; once more through the strict encoder,
            # it is null, and half a surrogate pair is still an error. So is broken UTF-8: to
            # replace what is broken would pass a damaged answer on as if it were whole.
            loose = json.loads(data.decode())
            return _decode(msgspec.json.encode(loose))
        except (ValueError, RecursionError):
            raise APIResponseError(f"the answer is no chat completion: {error}") from error


def join_parts(content: object) -> str:
    """The text parts of content in parts; reasoning and the like are no answer."""
    if not isinstance(content, list):
        raise APIResponseError(f"the content is of type {type(content).__name__}, not text")
    parts = [p for p in content if isinstance(p, dict) and p.get("type", "text") == "text"]
    return "".join(p["text"] for p in parts if isinstance(p.get("text"), str))


def read_usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    found = Usage(
        input_tokens=_count(value, "prompt_tokens"),
        output_tokens=_count(value, "completion_tokens"),
        cached_input_tokens=_count(value.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(value.get("completion_tokens_details"), "reasoning_tokens"),
    )
    return None if found == Usage() else found


def _count(value: object, key: str) -> int | None:
    count = value.get(key) if isinstance(value, dict) else None
    return count if type(count) is int and count >= 0 else None
