"""Values as TOML text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(*names: str) -> str:
    """A dotted key, quoted where it must be."""
    return ".".join(name if _BARE.fullmatch(name) else toml_value(name) for name in names)


def toml_value(value: Any) -> str:
    """Text, a number, true or false, or a list or table of these, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if value % 1 or abs(value) >= 1e15 else str(int(value))
    if isinstance(value, Mapping):
        pairs = (f"{toml_key(str(key))} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    # JSON's escapes are TOML's, but for one control character that JSON lets stand.
    text = json.dumps(str(value).encode("utf-8", "replace").decode(), ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def toml_comment(text: str) -> str:
    """A comment on one line, whatever the text holds."""
    return f"# {''.join(char if char.isprintable() else ' ' for char in text)}".rstrip()
