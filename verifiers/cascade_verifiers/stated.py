"""The forms in which a model can be asked to state its confidence, and how each is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from msgspec.structs import replace

from cascade.types import Message, Request
from cascade_verifiers.json_text import JsonTextError, parse_json

FormName = Literal["fraction", "json", "percent", "words"]

WORDS: Mapping[str, float] = {
    "almost certainly not": 0.05,
    "very unlikely": 0.1,
    "unlikely": 0.25,
    "about even": 0.5,
    "likely": 0.75,
    "very likely": 0.9,
    "almost certainly": 0.95,
}
"""What a model may say with ``form="words"``, as raw scores. The numbers only put the words in
their order, a little apart; a calibrator says what each is worth."""

_MOST_JSON = 250_000


@dataclass(frozen=True, slots=True)
class Form:
    """One way of asking: the instruction, what it is called in a reason, and its reader.

    ``read`` gives the score and the answer without the confidence, or None where the form was
    not kept to.
    """

    instruction: str
    shape: str
    read: Callable[[str], tuple[float, str] | None]


def ask_last(request: Request, instruction: str) -> Request:
    """The instruction at the end of the last user message: where models heed it best."""
    messages = list(request.messages)
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role == "user":
            messages[index] = _with_instruction(message, instruction)
            return replace(request, messages=tuple(messages))
    return replace(request, messages=(*messages, Message("user", instruction)))


def _with_instruction(message: Message, instruction: str) -> Message:
    if message.content is None or isinstance(message.content, str):
        return replace(message, content=f"{message.content or ''}\n\n{instruction}")
    part = {"type": "text", "text": f"\n\n{instruction}"}
    return replace(message, content=(*message.content, part))


def _last_line(value: str, score: Callable[[str], float]) -> Callable[[str], Any]:
    # Markdown emphasis around it is let pass; anything else is not the form that was asked for.
    line = re.compile(
        rf"[*_]{{0,3}}confidence[*_]{{0,3}}:[*_ ]{{0,4}}({value})[*_ .]{{0,4}}", re.IGNORECASE
    )

    def read(text: str) -> tuple[float, str] | None:
        body, _, last = text.rstrip().rpartition("\n")
        found = line.fullmatch(last.strip()) if len(last) < 200 else None
        if found is None or not body.strip():
            return None
        stated = score(found[1])
        return (stated, body.rstrip()) if 0 <= stated <= 1 else None

    return read


def _read_json(text: str) -> tuple[float, str] | None:
    whole = whole_json(text)
    if whole is None or not isinstance(whole, dict) or whole.keys() != {"answer", "confidence"}:
        return None
    answer, stated = whole["answer"], whole["confidence"]
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 <= stated <= 100:
        return None
    if not isinstance(answer, str):
        answer = json.dumps(answer, ensure_ascii=False)
    return (stated / 100, answer) if answer.strip() else None


_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL | re.IGNORECASE)


def whole_json(text: str) -> Any:
    """The JSON that a reply is, bare or as one code fence with nothing around it; or None.

    Stricter than what a user's answer is read with: JSON that a reply quotes among other words
    is not its own.
    """
    if len(text) > _MOST_JSON:
        return None
    whole = text.strip()
    fence = _FENCED.fullmatch(whole)
    try:
        return parse_json(whole if fence is None else fence[1])
    except JsonTextError:
        return None


def _line(value: str) -> str:
    return (
        "After your answer, add one last line that says how likely it is that your answer is "
        f"correct, in exactly this form, {value}"
    )


FORMS: Mapping[str, Form] = {
    "fraction": Form(
        _line("with a number from 0.00 to 1.00:\nConfidence: <number>"),
        "a line 'Confidence: <number from 0 to 1>' of its own",
        _last_line(r"[01](?:\.\d{1,6})?|\.\d{1,6}", float),
    ),
    "json": Form(
        'Reply with one JSON object and nothing else: {"answer": "<your answer>", "confidence": '
        "<a whole number from 0 to 100: how likely it is, in percent, that your answer is "
        "correct>}",
        'one JSON object {"answer": …, "confidence": <0 to 100>}',
        _read_json,
    ),
    "percent": Form(
        _line("with a whole number from 0 to 100:\nConfidence: <number>%"),
        "a line 'Confidence: <number>%' of its own",
        _last_line(r"\d{1,3}(?:\.\d{1,6})? ?%", lambda found: float(found.rstrip("% ")) / 100),
    ),
    "words": Form(
        _line(f"with one of the words {', '.join(WORDS)}:\nConfidence: <words>"),
        "a line 'Confidence: <words>' of its own, with the words given",
        _last_line("|".join(WORDS), lambda found: WORDS[found.lower()]),
    ),
}

JSON_FORMAT: Mapping[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "answer": {"type": "string"},
                "confidence": {"type": "integer", "minimum": 0, "maximum": 100},
            },
            "required": ["answer", "confidence"],
            "additionalProperties": False,
        },
    },
}
"""The ``response_format`` under which a model can only answer in the form ``json``."""


def without_confidence(text: str) -> str:
    """The text up to a last line that states a confidence in one of the forms."""
    for name in ("fraction", "percent", "words"):
        found = FORMS[name].read(text)
        if found is not None:
            return found[1]
    return text
