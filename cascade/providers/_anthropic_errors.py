"""What Anthropic's Messages API says about an error.

Its types, from https://platform.claude.com/docs/en/api/errors, are among the common ones; some
errors have the type ``invalid_request_error`` and are told apart by their text alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from cascade.providers._http_errors import ErrorBody, decode_error

# "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease …"
_CONTEXT: Final = re.compile(r"exceeds? (?:the )?context limit", re.IGNORECASE)
# "Output blocked by content filtering policy"
_CONTENT: Final = re.compile(r"blocked by (?:our )?content filter", re.IGNORECASE)


def read_error(body: bytes) -> ErrorBody:
    """The error in a body or an event. What only the message tells becomes a code."""
    said = decode_error(body)
    text = said.message[:10_000]
    if _CONTEXT.search(text):
        return replace(said, codes=said.codes | {"context_length_exceeded"})
    if _CONTENT.search(text):
        return replace(said, codes=said.codes | {"content_filter"})
    return said
