"""A starting ``cascade.toml`` from what an audit found, and a module with the drafts of code tiers.

Everything that was read from prompts and answers is written as text in quotes, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from cascade.errors import ConfigError
from cascade.provider import find_provider, split_model
from cascade_policies.audit.audit import Audit, Finding
from cascade_policies.audit.calls import price_of
from cascade_policies.audit.drafts import Draft
from cascade_policies.audit.groups import Group
from cascade_policies.audit.keywords import WordRules
from cascade_policies.audit.messages import parsed
from cascade_policies.audit.saving import can_call
from cascade_policies.audit.templates import LEAST
from cascade_policies.ledger.redaction import secret_redactor
from cascade_policies.tables import UNKNOWN
from cascade_verifiers.one_of import OneOf
from cascade_verifiers.tool_calls import ToolCalls

_WIDE: Final = 96
_ROOM: Final = 2
_LOOKED: Final = 200
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def write_project(audit: Audit, path: Path) -> list[Path]:
    """Write the project file, and beside it the module it needs; what was written.

    Raises:
        ConfigError: one of them is there already, or cannot be written.
    """
    module = path.with_name(f"{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_tasks.py")
    if module.stem[:1].isdigit():
        module = module.with_name(f"_{module.name}")
    drafts = _drafts(audit)
    files = {path: project_text(audit, module.stem)}
    if drafts:
        files[module] = module_text(drafts, audit)
    for file in files:
        if file.exists():
            raise ConfigError(f"{str(file)!r} exists: move it away, or give another name")
    for file, text in files.items():
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {str(file)!r}: {error.strerror}") from error
    return list(files)


def _drafts(audit: Audit) -> dict[str, Draft]:
    """The drafts by name; those that would need a secret to be written down are left out."""
    redact = secret_redactor()
    drafts = {one.name: one.need.draft for one in audit.findings if one.need.draft is not None}
    return {name: d for name, d in drafts.items() if redact(text := _python(d, 0)) == text}


def project_text(audit: Audit, module: str) -> str:
    """The project file; ``module`` is the Python module that has the code tiers."""
    drafts = _drafts(audit)
    kinds = [one for one in audit.findings if len(one.group.calls) >= LEAST]
    tasks = [
        line
        for one in kinds
        for line in _task(one, audit, f"function:{module}:{one.name}" if one.name in drafts else "")
    ]
    lines = [
        f"# Drafted by `cascade audit` from {len(audit.reading.calls):,} calls. Read it, try it on",
        "# a golden set, and change it: what was seen so far is no promise of what comes.",
    ]
    if drafts:
        lines.append(f"# The code tiers are in {module}.py, whose folder must be on PYTHONPATH.")
    if few := len(audit.findings) - len(kinds):
        lines.append(
            f"# Not in it: {few:,} kinds of calls that were made fewer than {LEAST} times."
        )
    models = {
        name: model
        for name in ("small", "mid", "frontier")
        if f'model = "{name}"' in tasks and (model := getattr(audit.models, name))
    }
    for name, model in models.items():
        lines += ["", f"[models.{name}]", f"model = {_toml(model)}"]
        if _unknown_price(model):
            lines.append(f'price = "{UNKNOWN}" # no price is published')
    return secret_redactor()("\n".join([*lines, *tasks, ""]))


def _task(one: Finding, audit: Audit, code: str) -> Iterator[str]:
    """``code`` is the function of the code tier; empty without one."""
    share = "" if one.share is None else f", {one.share:.1%} of the bill"
    yield ""
    yield from _comment(one.template[:_WIDE])
    yield from _comment(f"{len(one.group.calls):,} calls{share}; seems to need: {one.need.level}")
    yield from (line for sentence in one.need.evidence for line in _comment(sentence))
    if not any(map(can_call, one.group.models)):
        yield f"# Today's model is of no known provider: {audit.models.frontier} is in its place."
    name = _key(one.name)
    yield f"[tasks.{name}]"
    yield f"description = {_toml(one.need.kind or 'not enough is known of it')}"
    for tier in _tiers(one, audit, code):
        yield f"[[tasks.{name}.tiers]]"
        yield from (f"{key} = {_toml(value)}" for key, value in tier.items())


def _tiers(one: Finding, audit: Audit, code: str) -> Iterator[Mapping[str, Any]]:
    need, models = one.need, audit.models
    today = next((model for model in one.group.models if can_call(model)), models.frontier)
    last = "frontier" if today == models.frontier else today
    if code:
        yield {"name": "code", "model": code}
    verify = _verify(one)
    if (need.level == "small" or need.labels) and models.small != today:
        yield {"name": "small", "model": "small", "verify": verify}
    elif need.level == "mid" and models.mid != today:
        yield {"name": "mid", "model": "mid", "verify": verify}
    unpriced = last != "frontier" and _unknown_price(last)
    yield {"name": "strongest", "model": last, **({"price": UNKNOWN} if unpriced else {})}


def _unknown_price(model: str) -> bool:
    """Whether the file must say that nobody knows the price of ``provider:model``."""
    provider, _ = split_model(model)
    return price_of(model) is None and not getattr(find_provider(provider), "free", False)


def _verify(one: Finding) -> Any:
    """The check that an answer of this kind can be given without any further knowledge."""
    need = one.need
    if need.labels:
        labels = list(need.labels)
        if _fits(OneOf, labels):  # no two mean the same to it
            return {"use": "one_of", "labels": labels}
    elif need.kind == "tool parameters":
        tools = _tools(one.group)
        if _fits(ToolCalls, tools):  # their names may be anything
            return {"use": "tool_calls", "tools": tools}
    if need.kind == "extraction":
        return "grounded"
    if need.kind == "rephrasing":
        shortest, longest = one.group.answer_lengths[0], one.group.answer_lengths[-1]
        limits = {"min_chars": max(1, shortest // _ROOM), "max_chars": longest * _ROOM}
        return ["not_refusal", {"use": "length", **limits}]
    return "not_refusal"


def _fits(verifier: Callable[[Any], object], argument: object) -> bool:
    try:
        verifier(argument)
    except ConfigError:
        return False
    return True


def _tools(group: Group) -> list[dict[str, Any]]:
    """Definitions of the tools as far as their calls show them."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for call in group.answered[:_LOOKED]:
        for tool in call.tools:
            arguments = parsed(tool.arguments)
            if isinstance(arguments, dict):
                seen.setdefault(tool.name, []).append(arguments)
    return [
        {"type": "function", "function": {"name": name, "parameters": _schema(calls)}}
        for name, calls in seen.items()
    ]


def _schema(calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for call in calls for key in call))
    properties = {}
    for key in keys:
        kinds = sorted({_kind(call[key]) for call in calls if key in call})
        properties[key] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    required = [key for key in keys if all(key in call for call in calls)]
    return {"type": "object", "properties": properties, "required": required}


def _kind(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case None:
            return "null"
    return "object"


def module_text(drafts: Mapping[str, Draft], audit: Audit) -> str:
    """A module with a draft of each name."""
    kinds = {type(draft).__name__ for draft in drafts.values()}
    imports = [f"from cascade_policies.audit.drafts import {', '.join(sorted(kinds))}"]
    if "Keywords" in kinds:
        imports.append("from cascade_policies.audit.keywords import WordRules")
    lines = [
        '"""Answers that need no model, as `cascade audit` drafted them.',
        "",
        "Each is a function of the prompt. It gives None for a prompt of another template.",
        '"""',
        "",
        *imports,
    ]
    about = {one.name: one for one in audit.findings}
    for name, draft in drafts.items():
        lines += ["", *(line for s in about[name].need.evidence for line in _comment(s))]
        lines += [f"{name} = {_python(draft, 0)}"]
    return secret_redactor()("\n".join([*lines, ""]))


def _python(value: object, depth: int) -> str:
    """A draft as Python; texts by `repr`, so that nothing in them can be anything but text."""
    if isinstance(value, tuple) and len(repr(value)) > _WIDE:
        inner = "    " * (depth + 1)
        items = "".join(f"{inner}{_python(item, depth + 1)},\n" for item in value)
        return f"(\n{items}{'    ' * depth})"
    if not isinstance(value, Draft | WordRules):
        return repr(value)
    inner = "    " * (depth + 1)
    fields = "".join(
        f"{inner}{name}={_python(getattr(value, name), depth + 1)},\n"
        for name in value.__struct_fields__
    )
    return f"{type(value).__name__}(\n{fields}{'    ' * depth})"


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            pairs = (f"{_key(str(key))} = {_toml(item)}" for key, item in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
    return _quoted(str(value))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    """A basic string of TOML: what is no plain character becomes an escape."""
    shown = []
    for character in text:
        code = ord(character)
        if character in '"\\':
            shown.append(f"\\{character}")
        elif 0xD800 <= code < 0xE000:
            shown.append("\ufffd")
        elif character.isprintable():
            shown.append(character)
        else:
            shown.append(f"\\U{code:08x}")
    return f'"{"".join(shown)}"'


def _comment(text: str) -> list[str]:
    """Lines of a comment; nothing in them can end it."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return [f"# {line}" for line in wrap(plain, _WIDE)]
