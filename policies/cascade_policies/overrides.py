"""``--set tiers.small.timeout=5``: changes to a parsed policy file before its strict reading."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from cascade.errors import ConfigError, nearest
from cascade_policies.document import Document, show_path
from cascade_policies.lines import KeyPath

_STEP = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^.\[\]"'=\s]+)|\[(\d+)\])\s*""")


def apply_overrides(document: Document, overrides: Iterable[str], base: KeyPath = ()) -> None:
    """Change what stands at ``base`` in ``document`` as each ``key=value`` says.

    A key is a path like ``tiers.0.timeout`` or, with a tier's name, ``tiers.small.timeout``;
    a name with a dot in it goes in quotes. A value is TOML, a JSON object or array, or else text
    as it stands.

    Raises:
        ConfigError: the text has no such form, or the path leads nowhere.
    """
    for text in overrides:
        keys, value = _parse(text)
        path = _set(document.get(base), keys, value, text)
        document.overridden.add((*base, *path))


def _parse(text: str) -> tuple[list[str], Any]:
    keys: list[str] = []
    at = 0
    while match := _STEP.match(text, at):
        keys.append(next(group for group in match.groups() if group is not None))
        at = match.end()
        if text[at : at + 1] == ".":
            at += 1
        elif text[at : at + 1] != "[":
            break
    if not keys or text[at : at + 1] != "=" or text[at - 1] == ".":
        # The value may be a secret, so only what stands before it is shown.
        shown = text.partition("=")[0]
        raise ConfigError(
            f"--set {shown!r}: write KEY=VALUE, like deadline=5 or tiers.small.timeout=5"
        )
    return keys, read_value(text[at + 1 :].strip())


def read_value(text: str) -> Any:
    """A TOML value, a JSON object or array, or else the text as it stands."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return _read_json(text)
    # A line break in the text would have made further keys.
    return parsed["value"] if len(parsed) == 1 else text


def _read_json(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _set(data: dict[str, Any], keys: list[str], value: Any, text: str) -> KeyPath:
    shown = text.partition("=")[0].strip()
    node: Any = data
    path: KeyPath = ()
    for key in keys[:-1]:
        step = _step(node, key, path, shown)
        node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
        path = (*path, step)
    step = _step(node, keys[-1], path, shown)
    node[step] = value
    return (*path, step)


def _step(node: Any, key: str, path: KeyPath, shown: str) -> str | int:
    """The key or index in ``node`` that ``key`` means."""
    if isinstance(node, dict):
        return key
    where = show_path(path)
    if not isinstance(node, list):
        raise ConfigError(f"--set {shown}: {where} has no keys below it")
    if key.isdecimal():
        if int(key) < len(node):
            return int(key)
        raise ConfigError(f"--set {shown}: {where} has {len(node)} items, counted from 0")
    names = [_name(item) for item in node]
    if key not in names:
        raise ConfigError(f"--set {shown}: no {key!r} in {where}: {nearest(key, _texts(names))}")
    return names.index(key)


def _name(item: Any) -> str | None:
    """What a tier is called: its name or else its model, as in `Tier`."""
    if isinstance(item, dict):
        for key in ("name", "model"):
            if isinstance(item.get(key), str):
                return str(item[key])
    return None


def _texts(names: Iterable[str | None]) -> list[str]:
    return [name for name in names if name is not None]
