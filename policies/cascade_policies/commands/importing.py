"""``cascade import``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from cascade.errors import ConfigError, MissingExtraError, PolicyFileError
from cascade_policies.commands.errors import ACCEPTED, USAGE
from cascade_policies.commands.output import complain, say, write_error

LARGEST = 4_000_000
"""Bytes of a configuration."""


def litellm(config: str, /, *, out: str | None = None, json: bool = False) -> int:
    """Make a cascade.toml of a LiteLLM model_list.

    Parameters
    ----------
    config
        LiteLLM's configuration, YAML or JSON.
    out
        Where to write it, instead of to standard output; a file that is there is left alone.
    json
        Write one JSON object, with the text and with what was not carried over.
    """
    from cascade_policies.project.litellm import import_litellm

    source = Path(config).expanduser()
    made = import_litellm(_read(source), source=source.name)
    wrong = _mistake(made.text)
    if out is not None:
        _write(Path(out).expanduser(), made.text)
    if json:
        from cascade_policies.commands.shape import write_json

        write_json({"out": out, "toml": made.text, "notes": made.notes, "error": wrong})
        return ACCEPTED if wrong is None else USAGE
    if out is None:
        say(made.text)
    for note in made.notes:
        write_error(f"note: {note}\n")
    if wrong is not None:
        complain(f"it does not load yet: {wrong}")
    return ACCEPTED if wrong is None else USAGE


def _read(path: Path) -> Any:
    """The parsed configuration.

    Raises:
        ConfigError: it cannot be read.
        MissingExtraError: it is YAML, and there is nothing that reads YAML.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path}: larger than {LARGEST:,} bytes")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: it is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror}") from None
    if path.suffix == ".json":
        return _parsed_json(path, text)
    try:
        yaml: Any = import_module("yaml")
    except ImportError:
        raise MissingExtraError("reading YAML", extra="yaml") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # Its own text has lines of the file in it, which may be secrets.
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        what = getattr(error, "problem", None) or "not valid"
        raise ConfigError(f"{path}{line}: no YAML: {what}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None


def _parsed_json(path: Path, text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: no JSON: {error}") from None


def _mistake(text: str) -> str | None:
    """Why the text is no project yet, if it is none."""
    from cascade_policies.document import parse_document
    from cascade_policies.project.project import project_of

    try:
        project_of(parse_document(text, file="cascade.toml", folder=Path()), Path("cascade.toml"))
    except PolicyFileError as error:
        return str(error)
    return None


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"--out {path}: is there already: give another name") from None
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written: {error.strerror}") from None
