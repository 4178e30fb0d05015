"""A certified policy written back into its file: what changed, and nothing else.

The text is edited where the keys stand, so comments and layout stay. Tiers that are left out become
comments. Whatever comes of it is read again strictly before it takes the file's place.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cascade.errors import ConfigError, PolicyFileError
from cascade_policies.file import load_policy_file
from cascade_policies.lines import KeyPath, find_lines
from cascade_policies.project import load_project
from cascade_policies.project.toml_text import toml_comment, toml_value
from cascade_policies.replaying.settings import UNCHECKED, Settings

BEGIN: Final = "# certified by cascade tune: begin"
END: Final = "# certified by cascade tune: end"
_UNUSED: Final = "no tier uses it"
_LEFT_OUT: Final = "# left out by cascade tune:"


def edited(text: str, settings: Settings, said: Sequence[str], *, path: KeyPath = ()) -> str:
    """The text of a policy file with the settings in it, and a comment block that says why.

    Args:
        text: of the file.
        settings: whose columns are the positions of the file's tiers.
        said: the lines of the comment.
        path: where in the file the policy's keys stand.

    Raises:
        ConfigError: the file is written in a way that is not understood; the message has the
            values.
    """
    text = _without_block(text.replace("\r\n", "\n"))
    wanted = _wanted(text, settings, path)
    for position, threshold in zip(settings.tiers, settings.thresholds, strict=True):
        if threshold is not None and threshold != UNCHECKED:
            text = _set(text, (*path, "tiers", position, "threshold"), threshold)
    delays = settings.start_after
    if any(delay is not None for delay in delays):
        text = _set(text, (*path, "prefer"), settings.prefer)
        shown = ["none" if delay is None else delay for delay in delays]
        text = _set(text, (*path, "start_after"), shown)
    else:
        for key in ("prefer", "grace", "start_after"):
            text = _comment_out(text, (*path, key))
    count = len(_at(tomllib.loads(text), (*path, "tiers")))
    for position in reversed(range(count)):
        if position not in settings.tiers:
            text = _comment_out(text, (*path, "tiers", position))
    if _at(tomllib.loads(text), path) != wanted:
        raise ConfigError(
            "the file is written in a way that cannot be edited here; set by hand: "
            + ", ".join(f"{key} = {toml_value(value)}" for key, value in _values(settings))
        )
    return _with_block(text, said, path)


def write_back(file: Path, text: str, *, path: KeyPath = ()) -> None:
    """Put the text in the file's place, if it is a policy.

    Raises:
        PolicyFileError: it is none.
        ConfigError: it cannot be written.
    """
    part = file.with_name(f".{file.stem}.tuned.toml")
    try:
        for _ in range(100):
            part.write_text(text, encoding="utf-8")
            unused = _unused(part, path)
            if unused is None:
                break
            text = _comment_out(text, unused)
        part.replace(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _unused(part: Path, path: KeyPath) -> KeyPath | None:
    """The verifier that no tier is left to use, if there is one."""
    try:
        load_project(part) if path else load_policy_file(part)
    except PolicyFileError as error:
        if _UNUSED not in error.message or error.key is None:
            raise
        return tuple(error.key.replace('"', "").split("."))
    return None


def _wanted(text: str, settings: Settings, path: KeyPath) -> Any:
    """What the file should say."""
    table = dict(_at(tomllib.loads(text), path))
    tiers = [dict(table["tiers"][position]) for position in settings.tiers]
    for tier, threshold in zip(tiers, settings.thresholds, strict=True):
        if threshold is not None and threshold != UNCHECKED:
            tier["threshold"] = threshold
    table["tiers"] = tiers
    for key in ("prefer", "grace", "start_after"):
        if key != "grace" or not settings.start_after:
            table.pop(key, None)
    table.update(_start(settings))
    return table


def _start(settings: Settings) -> dict[str, Any]:
    if not any(delay is not None for delay in settings.start_after):
        return {}
    shown = ["none" if delay is None else delay for delay in settings.start_after]
    return {"start_after": shown, "prefer": settings.prefer}


def _values(settings: Settings) -> list[tuple[str, Any]]:
    pairs = zip(settings.tiers, settings.thresholds, strict=True)
    return [
        ("tiers", list(settings.tiers)),
        *((f"tiers[{at}].threshold", t) for at, t in pairs if t is not None and t != UNCHECKED),
        *_start(settings).items(),
    ]


def _at(data: Any, path: KeyPath) -> Any:
    for key in path:
        data = data[key]
    return data


def _set(text: str, path: KeyPath, value: Any) -> str:
    """Set a key: in its line, or in a new one at the head of its table."""
    lines = text.split("\n")
    where = find_lines(text, tomllib.loads(text))
    shown = f"{path[-1]} = {toml_value(value)}"
    if path in where:
        at = where[path] - 1
        kept = re.search(r"\s+#.*$", lines[at])
        lines[at] = shown + (kept[0] if kept else "")
    elif len(path) > 1:
        lines.insert(where[path[:-1]], shown)
    else:
        # Keys of the file itself stand before its first table.
        first = min((where[key] for key in where if lines[where[key] - 1].lstrip()[:1] == "["),
                    default=len(lines) + 1)  # fmt: skip
        at = first - 1
        while at and not lines[at - 1].strip():
            at -= 1
        lines[at:at] = [shown] if at else [shown, ""]
    return "\n".join(lines)


def _comment_out(text: str, path: KeyPath) -> str:
    """Turn a table or a key and everything in it into comments."""
    where = find_lines(text, tomllib.loads(text))
    if path not in where:
        return text
    lines = text.split("\n")
    start = where[path] - 1
    later = [line - 1 for key, line in where.items() if key[: len(path)] != path]
    end = min((line for line in later if line > start), default=len(lines))
    # Comments and empty lines before the next table are that one's.
    while end > start + 1 and lines[end - 1].strip()[:1] in ("", "#"):
        end -= 1
    lines[start:end] = [
        f"{_LEFT_OUT} {lines[start]}",
        *(f"# {line}".rstrip() for line in lines[start + 1 : end]),
    ]
    return "\n".join(lines)


def _without_block(text: str) -> str:
    pattern = rf"^{re.escape(BEGIN)}\n(?:#[^\n]*\n)*?{re.escape(END)}\n"
    return re.sub(pattern, "", text, flags=re.MULTILINE)


def _with_block(text: str, said: Sequence[str], path: KeyPath) -> str:
    block = [BEGIN, *map(toml_comment, said), END]
    lines = text.split("\n")
    at = 0
    if path:
        at = find_lines(text, tomllib.loads(text))[path] - 1
    return "\n".join([*lines[:at], *block, *lines[at:]])
