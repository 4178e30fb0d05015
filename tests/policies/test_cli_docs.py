"""docs/cli.md says what the parser takes: every command and every option."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from cascade_policies.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SYNOPSIS = PAGE.partition("```\n")[2].partition("```")[0]


def commands(of: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    for name in of:
        if name.startswith("-"):
            continue
        # `[...]` would import a command's file, and only groups of commands need a look inside.
        found = of._commands[name]
        if isinstance(found, App) and any(not inner.startswith("-") for inner in found):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name)


def lines(path: tuple[str, ...]) -> str:
    """The synopsis of a command; one line may have several of a group."""
    wanted = [line for line in SYNOPSIS.splitlines() if line.startswith(f"cascade {path[0]} ")]
    return "\n".join(line for line in wanted if set(path[1:]) <= set(line.split()))


def section(name: str) -> str:
    """What the page says of a command, below the heading that names it."""
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    named = re.compile(rf"`cascade {name}[` ]")
    return next((part for part in parts if named.search(part.partition("\n")[0])), "")


@pytest.mark.parametrize("path", list(commands(app)), ids="-".join)
def test_the_page_has_every_command_and_option(path: tuple[str, ...]) -> None:
    synopsis, told = lines(path), section(path[0])
    assert synopsis, path
    assert told, path
    command = app
    for word in path:
        command = command[word]
    for argument in command.assemble_argument_collection():
        name = argument.names[0]
        where = synopsis + told if name.startswith("-") else synopsis
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", where), name
