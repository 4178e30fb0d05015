"""The JSON of the Responses API, as far as it is read.

Reading is lenient: whatever is missing or null is left out, and what is not used here (reasoning,
built-in tools, the echo of the request) is skipped without being decoded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec

from cascade.errors import APIResponseError
from cascade.providers._http_errors import ErrorBody
from cascade.types import Usage


class Token(msgspec.Struct, gc=False):
    token: str = ""
    logprob: float | None = None


class Part(msgspec.Struct, gc=False):
    """A part of a message: text or a refusal."""

    text: str | None = None
    refusal: str | None = None
    logprobs: list[Token] | None = None


class Item(msgspec.Struct, gc=False):
    """An output item. Only messages and function calls are read further."""

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: Any = None
    arguments: Any = None
    content: msgspec.Raw = msgspec.Raw()


class Details(msgspec.Struct, gc=False):
    reason: str | None = None


class Response(msgspec.Struct, gc=False):
    status: str | None = None
    model: str | None = None
    output: list[Item] | None = None
    usage: Any = None
    error: Any = None
    incomplete_details: Details | None = None


class StreamEvent(msgspec.Struct, gc=False):
    type: str | None = None
    output_index: int | None = None
    item_id: str | None = None
    delta: Any = None
    logprobs: list[Token] | None = None
    arguments: Any = None
    item: Item | None = None
    response: Response | None = None
    error: Any = None


_events: Final = msgspec.json.Decoder(StreamEvent)
_responses: Final = msgspec.json.Decoder(Response)
_parts: Final = msgspec.json.Decoder(list[Part] | None)

T = TypeVar("T")


def decode_event(data: bytes) -> StreamEvent:
    """The data of one event of a stream.

    Raises:
        APIResponseError: it is none.
    """
    return _decoded(_events, data, "an event of the stream is no response event")


def decode_response(data: bytes) -> Response:
    """An answer that was not streamed.

    Raises:
        APIResponseError: it is none.
    """
    return _decoded(_responses, data, "the answer is no response")


def read_parts(item: Item) -> list[Part]:
    """The text and refusals of a message.

    Raises:
        APIResponseError: its content is something else.
    """
    content = bytes(item.content)
    return _decoded(_parts, content, "the content is not text") or [] if content else []


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes, what: str) -> T:
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:
        try:
            # As for chat completions: Python accepts the NaN that some servers send.
            loose = json.loads(data.decode())
            return decoder.decode(msgspec.json.encode(loose))
        except (ValueError, RecursionError):
            raise APIResponseError(f"{what}: {error}") from error


def read_usage(value: object) -> Usage | None:
    """Cached tokens are part of the input, reasoning tokens part of the output, as in `Usage`."""
    if not isinstance(value, dict):
        return None
    found = Usage(
        input_tokens=_count(value, "input_tokens"),
        output_tokens=_count(value, "output_tokens"),
        cached_input_tokens=_count(value.get("input_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(value.get("output_tokens_details"), "reasoning_tokens"),
    )
    return None if found == Usage() else found


def _count(value: object, key: str) -> int | None:
    count = value.get(key) if isinstance(value, dict) else None
    return count if type(count) is int and count >= 0 else None


# The codes of a failed response (openai 3.54, types/responses/response_error.py) that are not
# known from elsewhere. All but the time-out are the request's own fault.
_POLICY = {"bio_policy", "image_content_policy_violation", "misalignment_policy_violation"}
_STATUS = {
    "vector_store_timeout": 500,
    **dict.fromkeys(
        (
            "data_residency_mismatch",
            "empty_image_file",
            "failed_to_download_image",
            "image_file_not_found",
            "image_file_too_large",
            "image_parse_error",
            "image_too_large",
            "image_too_small",
            "invalid_base64_image",
            "invalid_image",
            "invalid_image_format",
            "invalid_image_mode",
            "invalid_image_url",
            "invalid_prompt",
            "unsupported_image_media_type",
        ),
        400,
    ),
}


def classified(said: ErrorBody) -> ErrorBody:
    """The same, with the status that belongs to a code of this API."""
    if said.codes & _POLICY:
        return replace(said, codes=said.codes | {"content_policy_violation"}, status=400)
    named = [_STATUS[code] for code in said.codes if code in _STATUS]
    return replace(said, status=named[0]) if named else said
