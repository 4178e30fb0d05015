"""A LiteLLM ``model_list`` as a project file.

Only what has the same meaning here is carried over; the rest is named, and values that nobody
asked for are not repeated, as they may be secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cascade.errors import ConfigError
from cascade_policies.project.litellm_models import Deployment, Skipped, read_deployment
from cascade_policies.project.toml_text import toml_comment, toml_key, toml_value

_SECTIONS = ("litellm_settings", "router_settings")
_LISTED = frozenset({"model_list", "environment_variables", *_SECTIONS})
_CARRIED = frozenset({"fallbacks", "default_fallbacks", "num_retries", "model_group_alias"})
_TIMEOUTS = ("request_timeout", "timeout")


@dataclass(slots=True)
class Imported:
    """What became of a configuration.

    Attributes:
        text: the ``cascade.toml``.
        notes: what could not be carried over, or was changed.
    """

    text: str
    notes: list[str] = field(default_factory=list)


def import_litellm(config: Any, *, source: str) -> Imported:
    """The project file for a parsed LiteLLM configuration; ``source`` is its name, for a comment.

    Raises:
        ConfigError: it is no such configuration, or none of its models can be carried over.
    """
    listed = config.get("model_list") if isinstance(config, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{source}: needs a 'model_list' with one model or more")
    notes: list[str] = []
    settings = _settings(config)
    deployments = _deployments(listed, settings, notes)
    if not deployments:
        raise ConfigError(f"{source}: none of its models can be carried over: {'; '.join(notes)}")
    tasks = dict(_tasks(deployments, settings, notes))
    notes += _left_out(config, settings)
    lines = [f"Made of {source} by `cascade import litellm`."]
    if notes:
        lines += ["", "Not carried over, or changed:", *(f"- {note}" for note in notes)]
    body = [*map(toml_comment, lines), *_models_text(deployments)]
    body += _tasks_text(tasks, settings.get("num_retries"))
    return Imported("\n".join(body) + "\n", notes)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Both sections of settings; those of the router win."""
    merged: dict[str, Any] = {}
    for section in _SECTIONS:
        given = config.get(section)
        if isinstance(given, dict):
            merged |= {str(key): value for key, value in given.items()}
    return merged


def _deployments(
    listed: list[Any], settings: Mapping[str, Any], notes: list[str]
) -> dict[str, list[Deployment]]:
    """By their LiteLLM name, each with a name of its own here."""
    timeout = next((settings[key] for key in _TIMEOUTS if settings.get(key)), None)
    found: dict[str, list[Deployment]] = {}
    taken: set[str] = set()
    for index, entry in enumerate(listed):
        try:
            deployment = read_deployment(entry, index, timeout)
        except Skipped as reason:
            notes.append(str(reason))
            continue
        notes += deployment.notes
        deployment.name = _free_name(deployment.alias, taken)
        found.setdefault(deployment.alias, []).append(deployment)
    for alias, several in found.items():
        if len(several) > 1:
            notes.append(
                f"{alias}: calls are not spread over its {len(several)} deployments; each is asked "
                "when those before it have failed"
            )
    return found


def _free_name(alias: str, taken: set[str]) -> str:
    plain = name = _here(alias)
    number = 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    taken.add(name)
    return name


def _here(alias: str) -> str:
    """A LiteLLM name as a name here, which looks neither like a path nor a ``provider:model``."""
    name = "".join("-" if char in ":/" or not char.isprintable() else char for char in alias)
    return f"{name.removesuffix('.toml')}-toml" if name.endswith(".toml") else name


def _tasks(
    deployments: Mapping[str, list[Deployment]], settings: Mapping[str, Any], notes: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """Each task and the models that answer it, one after the other."""
    stand_ins = _stand_ins(settings, notes)
    taken: set[str] = set()
    for alias, several in deployments.items():
        names = [deployment.name for deployment in several]
        for other in stand_ins.get(alias, stand_ins.get("*", [])):
            if other in deployments:
                names += [deployment.name for deployment in deployments[other]]
            else:
                notes.append(f"{alias}: its fallback {other} is not in the model_list, or left out")
        name = _free_name(alias, taken)
        if name != alias:
            notes.append(f"{alias}: is called {name} here")
        yield name, list(dict.fromkeys(names))
    aliases = settings.get("model_group_alias")
    for name, alias in aliases.items() if isinstance(aliases, dict) else ():
        if isinstance(alias, str) and alias in deployments and str(name) not in deployments:
            yield (
                _free_name(str(name), taken),
                [deployment.name for deployment in deployments[alias]],
            )
        else:
            notes.append(f"model_group_alias {name}: stands for no one model of the model_list")


def _stand_ins(settings: Mapping[str, Any], notes: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    tables = settings.get("fallbacks") or []
    for table in tables if isinstance(tables, list) else [tables]:
        for alias, others in table.items() if isinstance(table, dict) else ():
            if isinstance(others, list) and all(isinstance(other, str) for other in others):
                found[str(alias)] = others
            else:
                notes.append(f"fallbacks of {alias}: more than a list of names")
    default = settings.get("default_fallbacks")
    if isinstance(default, list):
        found.setdefault("*", [other for other in default if isinstance(other, str)])
    return found


def _left_out(config: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    for key in config:
        if key not in _LISTED:
            yield f"{key}: has no counterpart"
    if "environment_variables" in config:
        yield "environment_variables: set them where the program runs"
    for key in settings:
        if key not in _CARRIED and key not in _TIMEOUTS:
            yield f"{key}: has no counterpart, or is set on a task's tiers"


def _models_text(deployments: Mapping[str, list[Deployment]]) -> Iterator[str]:
    for several in deployments.values():
        for deployment in several:
            yield ""
            yield f"[{toml_key('models', deployment.name)}]"
            for key, value in deployment.settings.items():
                yield f"{key} = {toml_value(value)}"


def _tasks_text(tasks: Mapping[str, list[str]], retries: Any) -> Iterator[str]:
    known = isinstance(retries, int) and not isinstance(retries, bool) and retries >= 0
    for name, models in tasks.items():
        yield ""
        if len(models) == 1 and not known:
            yield f"[{toml_key('tasks', name)}]"
            yield f"model = {toml_value(models[0])}"
            continue
        for index, model in enumerate(models):
            if index:
                yield ""
            yield f"[[{toml_key('tasks', name, 'tiers')}]]"
            yield f"model = {toml_value(model)}"
            if known:
                yield f"retries = {retries}"
