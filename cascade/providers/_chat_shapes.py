"""The chat-completions shapes in a request, taken apart for formats that write them differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from cascade.errors import PromptError
from cascade.types import Message, ToolCall


class Refused(ValueError):  # noqa: N818  (caught where it is known whether a policy or a prompt says it)
    """A parameter that cannot be sent; names it and says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"parameter {name!r}: {reason}")


class Text(NamedTuple):
    """A piece of text."""

    text: str


class Data(NamedTuple):
    """A file, in base64."""

    media_type: str
    base64: str


class Link(NamedTuple):
    """An image that is somewhere else."""

    url: str


class Function(NamedTuple):
    """A tool. ``parameters`` is its JSON schema."""

    name: str
    description: str | None
    parameters: Mapping[str, Any]
    strict: bool | None


class Choice(NamedTuple):
    """``tool_choice``: ``auto``, ``none``, ``required``, or ``function`` with its name."""

    kind: str
    name: str | None = None


_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def content_of(message: Message) -> Iterator[Text | Data | Link]:
    """The parts of a message's content; empty texts are left out.

    Raises:
        PromptError: a part is not of a known shape, or says more than can be passed on.
    """
    if message.content is None or isinstance(message.content, str):
        parts: list[Text | Data | Link] = [Text(message.content or "")]
    else:
        parts = [_part(part) for part in message.content]
    return (part for part in parts if part != Text(""))


def _part(part: Mapping[str, Any]) -> Text | Data | Link:
    kind = part.get("type")
    value = part.get(kind) if isinstance(kind, str) else None
    extra = part.keys() - {"type", kind}
    if extra:
        raise PromptError(f"a content part of type {kind!r}: {min(map(str, extra))!r} is unknown")
    if kind == "text" and isinstance(value, str):
        return Text(value)
    if kind == "image_url" and isinstance(value, Mapping):
        if value.get("detail", "auto") != "auto":
            raise PromptError("an image_url: this API has no 'detail' but 'auto'")
        return _linked(value.get("url"))
    if kind == "file" and isinstance(value, Mapping) and isinstance(value.get("file_data"), str):
        found = _linked(value["file_data"])
        if isinstance(found, Data):
            return found
    if kind == "input_audio" and isinstance(value, Mapping) and isinstance(value.get("data"), str):
        return Data(f"audio/{value.get('format')}", value["data"])
    raise PromptError(
        f"a content part of type {kind!r}: write text, image_url, file with file_data as a "
        "data: URL, or input_audio, as in chat completions"
    )


def _linked(url: object) -> Data | Link:
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return Link(url)
    head, comma, data = str(url).partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if not comma or head != f"data:{media_type};base64" or "/" not in media_type:
        raise PromptError("a URL in the prompt: write http(s)://…, or data:TYPE/SUBTYPE;base64,…")
    return Data(media_type, data)


def function_of(tool: Mapping[str, Any]) -> Function:
    """The function that a tool definition defines.

    Raises:
        PromptError: it is no function.
    """
    value = tool.get("function")
    if tool.get("type") != "function" or not isinstance(value, Mapping):
        raise PromptError(f"a tool of type {tool.get('type')!r}: only functions can be sent")
    name = value.get("name")
    if not isinstance(name, str):
        raise PromptError("a tool needs 'function' with a 'name', as in chat completions")
    parameters = value.get("parameters") or _NO_PARAMETERS
    return Function(name, value.get("description"), parameters, value.get("strict"))


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The arguments of an earlier call, as the object that they have to be here.

    Raises:
        PromptError: they are none.
    """
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise PromptError(f"the call of the tool {call.name!r}: its arguments are no JSON object")
    return value


def choice_of(value: object) -> Choice:
    """What ``tool_choice`` says.

    Raises:
        Refused: it is not of a known shape.
    """
    if isinstance(value, str) and value in ("auto", "none", "required"):
        return Choice(value)
    function = value.get("function") if isinstance(value, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if isinstance(name, str):
        return Choice("function", name)
    raise Refused(
        "tool_choice",
        "write 'auto', 'none', 'required', or {type = 'function', function = {name = …}}",
    )


def schema_of(value: object) -> tuple[str, Any]:
    """The type of a ``response_format``, and its schema when it is ``json_schema``.

    Raises:
        Refused: it is not of a known shape.
    """
    kind = value.get("type") if isinstance(value, Mapping) else None
    if isinstance(value, Mapping) and kind == "json_schema":
        inner = value.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, Mapping) else None
        if isinstance(schema, Mapping):
            return "json_schema", schema
    elif kind in ("text", "json_object"):
        return str(kind), None
    raise Refused(
        "response_format",
        "write {type = 'text'}, {type = 'json_object'}, or {type = 'json_schema', "
        "json_schema = {schema = …}}",
    )


def stops_of(value: object) -> list[str]:
    """``stop`` as a list.

    Raises:
        Refused: it is neither text nor a list of texts.
    """
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list | tuple) or not all(isinstance(s, str) and s for s in stops):
        raise Refused("stop", "write text, or a list of texts")
    return list(stops)


def one_of(given: Mapping[str, Any], *names: str) -> Any:
    """The value of the one among these parameters that is given, or None.

    Raises:
        Refused: two are given.
    """
    found = [name for name in names if name in given]
    if len(found) > 1:
        raise Refused(found[0], f"it says the same as {found[1]!r}: keep one of them")
    return given[found[0]] if found else None
