"""What can be seen of a request without asking a model, in a time that no prompt can stretch.

`vector` is what `Learned` is fitted on. Changing what a number means, or their order, needs a new
`VERSION`: a fitted model is no good with other features, and is refused.
"""

from __future__ import annotations

import math
import re
from functools import cached_property
from hashlib import blake2b
from typing import Any

from cascade.types import Request
from cascade_verifiers import features as hashed
from cascade_verifiers.language import detect

VERSION = 1

WORDS_READ = 200_000
"""Characters in which words are counted; of a longer prompt the rest is taken to be alike."""

EXCERPT = 20_000
"""Characters that code, language and regular expressions are looked for in: of a longer prompt
the first and the last half of that many, as what is asked stands before or after the material."""

VECTOR_CHARS = 2_000
"""As `EXCERPT`, for n-grams."""

COUNTED = ("chars", "words", "lines", "questions", "messages", "tools")
"""The features that are counts, and are 0 or more."""

NAMES = (
    *(f"log_{name}" for name in COUNTED),
    "code",
    "log_numbers",
    "digit_share",
    "non_ascii_share",
    "distinct_word_share",
)

_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_NUMBER = re.compile(r"\d+")
_QUESTION = "?\u061f\uff1f"  # Latin, Arabic and full-width


class Features:
    """What can be seen of one request; each is worked out when first asked for.

    Of the chat, ``text`` is the last user message: the prompt.
    """

    def __init__(self, request: Request) -> None:
        self.text = request.text
        self.chars = len(self.text)
        self.messages = len(request.messages)
        self.tools = len(request.tools)

    @cached_property
    def words(self) -> int:
        """Words as white space divides them: few in scripts that do without."""
        read = self.text[:WORDS_READ]
        count = len(read.split())
        return count if read is self.text else count * self.chars // max(len(read), 1)

    @cached_property
    def lines(self) -> int:
        return self.text.count("\n") + 1

    @cached_property
    def questions(self) -> int:
        """Question marks."""
        return sum(map(self.text.count, _QUESTION))

    @cached_property
    def excerpt(self) -> str:
        """The part that code, language and regular expressions are looked for in."""
        return excerpt(self.text, EXCERPT)

    @cached_property
    def code(self) -> bool:
        """Whether there is a fenced block of code."""
        return _FENCE.search(self.excerpt) is not None

    @cached_property
    def language(self) -> str | None:
        """Two-letter code of the language it is clearly in, or None."""
        return detect(self.excerpt)

    def to_dict(self) -> dict[str, Any]:
        """All of them, as JSON values."""
        return {name: getattr(self, name) for name in (*COUNTED, "code", "language")}


def excerpt(text: str, size: int) -> str:
    """``text``, or when it is longer than ``size`` its first and its last half of that."""
    half = size // 2
    return text if len(text) <= size else f"{text[:half]}\n{text[-half:]}"


def identity() -> dict[str, Any]:
    """What a fitted model knows its features by: their version, and a hash of all about them."""
    parts = (VERSION, NAMES, VECTOR_CHARS, hashed.BUCKETS, hashed.names_hash(logprobs=False))
    digest = blake2b(repr(parts).encode(), digest_size=8).hexdigest()
    return {"version": VERSION, "hash": digest}


def size() -> int:
    """How many numbers `vector` gives."""
    return len(NAMES) + hashed.BUCKETS


def vector(request: Request) -> list[float]:
    """The numbers for one request: `NAMES`, then hashed n-grams of the prompt's text."""
    seen = Features(request)
    text = excerpt(seen.text, VECTOR_CHARS)
    chars = max(len(text), 1)
    words = text.lower().split()
    return [
        *(math.log1p(getattr(seen, name)) for name in COUNTED),
        float(seen.code),
        math.log1p(len(_NUMBER.findall(text))),
        sum(map(str.isdigit, text)) / chars,
        sum(char > "\x7f" for char in text) / chars,
        len(set(words)) / max(len(words), 1),
        *hashed.grams(text),
    ]
