"""P(True): what probability a model gives to an answer of its own being right.

Kadavath et al., "Language models (mostly) know what they know" (2022), section 3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from cascade.types import Answer, Message, Request
from cascade_verifiers.answer_tokens import logs_between
from cascade_verifiers.fencing import RULE, fenced, shown

_SYSTEM = """\
You check whether the proposed answer to a question is correct.

{rule}

Reply with one word and nothing else: True if the proposed answer is correct, False if it is not."""

_REPLY = re.compile(r"[\s\"'*_`(]{0,5}(true|false)[\s\"'*_`).]{0,5}", re.IGNORECASE)


def question(request: Request, answer: Answer, *, max_chars: int) -> Request:
    """The request that asks whether ``answer`` to ``request`` is right."""
    mark, material = fenced(
        ("question", request.text[-max_chars:]), ("proposed answer", shown(answer))
    )
    rule = RULE.format(what="The question and the proposed answer", mark=mark)
    return Request((Message("system", _SYSTEM.format(rule=rule)), Message("user", material)))


def with_settings(request: Request, *, logprobs: bool, params: Mapping[str, Any]) -> Request:
    """The request with what it needs to be sent with."""
    return request.with_params(**({"logprobs": True} if logprobs else {}), **params)


def probability(reply: Answer) -> float | None:
    """The probability of True in a reply; 1 or 0 without log-probabilities, None if unreadable.

    Only the word that was chosen has a known probability. The rest is taken to be the other
    word's: a model that keeps to the form gives it nearly all.
    """
    found = _REPLY.fullmatch(reply.text) if len(reply.text) < 40 else None
    if found is None:
        return None
    logs = logs_between(reply.logprobs, reply.text, found.start(1), found.end(1))
    chosen = math.exp(math.fsum(logs)) if logs else 1.0
    return chosen if found[1].lower() == "true" else 1.0 - chosen
