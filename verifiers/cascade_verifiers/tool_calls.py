"""`ToolCalls`: the answer calls functions that there are, with arguments that fit."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from anyio import to_thread

from cascade.errors import ConfigError, nearest
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.algebra import Composable
from cascade_verifiers.call_text import Call, CallTextError, parse_calls
from cascade_verifiers.extract import check_extract, fences, trimmed
from cascade_verifiers.json_explain import load_explainer
from cascade_verifiers.json_text import JsonTextError, parse_json
from cascade_verifiers.tool_schema import Tool, ToolError

Form = Literal["any", "python", "json"]

INLINE_CHARS = 4_000
"""Longer calls are read in a worker thread, off the event loop."""

MAX_CHARS = 100_000


class ToolCalls(Composable):
    """Accepts calls of known functions with fitting arguments; ``parsed`` is the list of them.

    The calls are the answer's ``tool_calls``; where it has none, its text is read. ``parsed`` is
    a list of pairs: the name, and the arguments as a dict.

    Args:
        tools: what may be called: definitions in the chat-completions shape, or their inner part
            (``name``, ``parameters``; Anthropic's ``input_schema``), or the path of a ``.json``
            file with a list of them. Of the parameters' types, those of other languages (``dict``,
            ``float``, ``tuple``, ``any``, ``ArrayList``, …) are understood too. An argument that
            the definition does not name is refused, unless it has ``additionalProperties``.
        parallel: whether there may be several calls.
        form: how calls are written in text. ``"python"``: ``[f(a=1, b="x"), g()]``, with literal
            arguments, all named. ``"json"``: ``[{"name": "f", "arguments": {"a": 1}}]``.
            ``"any"``: either.
        extract: ``"strict"``: the calls are the whole text. ``"fence"``: or the content of its only
            code fence.
        max_chars: longer answers are rejected unread.

    Raises:
        ConfigError: a definition cannot be used; the message has its place.
    """

    cost_class = "cpu"

    def __init__(
        self,
        tools: Sequence[Mapping[str, Any]] | str | Path,
        *,
        parallel: bool = True,
        form: Form = "any",
        extract: Literal["strict", "fence"] = "fence",
        max_chars: int = MAX_CHARS,
    ) -> None:
        check_extract(extract, ("strict", "fence"))
        if form not in ("any", "python", "json"):
            raise ConfigError(f"form={form!r}: {nearest(str(form), ('any', 'python', 'json'))}")
        if max_chars < 1:
            raise ConfigError(f"max_chars={max_chars!r}: needs a whole number above 0")
        self._tools: dict[str, Tool] = {}
        for index, definition in enumerate(_definitions(tools)):
            tool = Tool(definition, where=f"tools[{index}]")
            if tool.name in self._tools:
                raise ConfigError(f"tools[{index}]: {tool.name!r} is defined twice")
            self._tools[tool.name] = tool
        if not self._tools:
            raise ConfigError("tools: is empty, so that nothing could be called")
        self._parallel = parallel
        self._form = form
        self._extract = extract
        self._max_chars = max_chars
        load_explainer()

    def verify(self, request: Request, answer: Answer, /) -> Verdict | Awaitable[Verdict]:
        """The verdict; awaitable where it takes long enough to go to a worker thread."""
        length = len(answer.text) + sum(len(call.arguments) for call in answer.tool_calls)
        if length > self._max_chars:
            return _reject(f"the answer is longer than {self._max_chars:,} characters", "too_long")
        if length > INLINE_CHARS:
            return to_thread.run_sync(self._judge, answer, abandon_on_cancel=True)
        return self._judge(answer)

    def _judge(self, answer: Answer) -> Verdict:
        text: str | None = None
        try:
            if answer.tool_calls:
                calls = [(call.name, _arguments(call.arguments)) for call in answer.tool_calls]
            else:
                text = self._text(answer.text)
                calls = self._read(text)
        except (CallTextError, JsonTextError) as error:
            return _reject(str(error), "parse")
        if not calls:
            return _reject("the answer must call a function", "none")
        if len(calls) > 1 and not self._parallel:
            return _reject(f"the answer must be one call, and has {len(calls)}", "parallel")
        for number, (name, arguments) in enumerate(calls, 1):
            place = f"call {number}: " if len(calls) > 1 else ""
            tool = self._tools.get(name)
            if tool is None:
                hint = nearest(name[:80], list(self._tools))
                return _reject(f"{place}there is no function {name[:80]!r}: {hint}",
                               "unknown_function")  # fmt: skip
            try:
                tool.check(arguments)
            except ToolError as error:
                return _reject(f"{place}{name}: {error}", error.code)
        shown = None if text is None or text == answer.text else text
        return Verdict.accept(parsed=calls, text=shown)

    def _text(self, text: str) -> str:
        whole = trimmed(text)
        found = fences(whole) if self._extract == "fence" else []
        if len(found) > 1:
            raise CallTextError("the calls must stand in one code fence")
        return found[0] if found else whole

    def _read(self, text: str) -> list[Call]:
        as_json = self._form == "json" or (self._form == "any" and _LIKE_JSON.match(text))
        return _json_calls(text) if as_json else parse_calls(text)

    def __repr__(self) -> str:
        return f"ToolCalls({', '.join(self._tools)})"


_LIKE_JSON = re.compile(r"\[?\s*\{")


def _definitions(tools: object) -> list[Any]:
    if isinstance(tools, str | Path):
        try:
            tools = json.loads(Path(tools).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"tools: cannot read it: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"tools: the file is not valid JSON: {error}") from error
    if not isinstance(tools, Sequence) or isinstance(tools, bytes):
        raise ConfigError(f"tools: give a list of definitions; got {type(tools).__name__}")
    return list(tools)


def _json_calls(text: str) -> list[Call]:
    value = parse_json(text)
    calls: list[Call] = []
    for item in value if isinstance(value, list) else [value]:
        inner = item.get("function", item) if isinstance(item, dict) else None
        inner = inner if isinstance(inner, dict) else item
        name = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(name, str):
            raise CallTextError('the calls cannot be read: each needs "name" and "arguments"')
        given = inner.get("arguments", inner.get("parameters", {}))
        calls.append((name, _arguments(given) if isinstance(given, str) else _object(given)))
    return calls


def _arguments(text: str) -> dict[str, Any]:
    return _object(parse_json(text)) if text.strip() else {}


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CallTextError("the calls cannot be read: the arguments are no JSON object")
    return value


def _reject(reason: str, code: str) -> Verdict:
    return Verdict.reject(reason[:500], code=f"tool.{code}", repairable=True)
