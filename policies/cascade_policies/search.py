"""Finding a policy by path or by name: a project's tasks first, then the search path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.errors import ConfigError, UnknownPolicyError, nearest
from cascade.policy import Policy
from cascade.routing import Entry
from cascade_policies.file import PolicyFile, load_policy_file
from cascade_policies.project.current import FILE, current_project
from cascade_policies.stamps import Stamp, stamp

if TYPE_CHECKING:
    from cascade_policies.project.project import Project

ENVIRONMENT = "CASCADE_POLICY_PATH"
SUFFIX = ".toml"
LIBRARY = Path(__file__).parent / "library"


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: Stamp
    file: PolicyFile


_kept: dict[Path, _Kept] = {}


def find(reference: str | Path) -> Policy:
    """The policy that a path means, or a name on the search path; no task of a project.

    The entry point ``toml`` in the group ``cascade.policies`` leads here: it is how an engine
    without a project understands a policy given as text. The tasks of a project are not for it:
    it has neither the project's ledger nor its budget.

    Raises:
        UnknownPolicyError: there is none; the message says so where it is a task of the project
            around the working directory.
        PolicyFileError: as `find_policy`.
    """
    try:
        path = locate_policy(reference)
    except UnknownPolicyError as error:
        if is_path(reference) or (kind := _kind_in_project(str(reference))) is None:
            raise
        message = f"{reference!r} is a {kind} of {FILE}: use cascade(…) or Engine(project=…)"
        raise UnknownPolicyError(message) from error
    return _read(path).policy


def resolve(reference: str | Path) -> Policy | Entry:
    """As `find_policy`; the name of a project's router over tasks is understood too.

    Raises:
        UnknownPolicyError: as `find_policy`.
        PolicyFileError: as `find_policy`.
    """
    project = None if is_path(reference) else current_project()
    if project is not None and str(reference) in project.entries:
        return project.entries[str(reference)]
    return find_policy_file(reference).policy


def find_policy(reference: str | Path, *, overrides: Sequence[str] = ()) -> Policy:
    """The policy that a path or a name means, with ``overrides`` as `load_policy` takes them.

    A reference with a slash in it or ending in ``.toml`` is a path. Any other is a name: that of
    a task of the project around the working directory; else it is looked for as ``NAME.toml`` in
    the folders of the environment variable ``CASCADE_POLICY_PATH``, then in ``./policies``, then
    among the policies shipped with cascade. A file is read again only when it, or a file it
    refers to, has changed.

    Raises:
        UnknownPolicyError: there is none; the message has the nearest name and where it looked.
        PolicyFileError: it has a mistake.
    """
    return find_policy_file(reference, overrides=overrides).policy


def find_policy_file(reference: str | Path, *, overrides: Sequence[str] = ()) -> PolicyFile:
    """As `find_policy`, with what the file says about the policy.

    Raises:
        UnknownPolicyError: as `find_policy`; or it is a router over tasks, which has no policy.
        PolicyFileError: as `find_policy`.
    """
    if not is_path(reference):
        found = _task(str(reference), overrides)
        if found is not None:
            return found
    project = None if is_path(reference) else current_project()
    path = _locate(reference, project)
    if overrides:
        _refuse_project(path)
        return load_policy_file(path, overrides=overrides)
    return _read(path)


def _read(path: Path) -> PolicyFile:
    """The policy file, kept as long as it and the files it refers to are the same."""
    _refuse_project(path)
    key = path.absolute()
    kept = _kept.get(key)
    if kept is None or kept.stamp != stamp(kept.file.files):
        file = load_policy_file(path)
        kept = _kept[key] = _Kept(stamp(file.files), file)
    return kept.file


def _refuse_project(path: Path) -> None:
    if path.name == FILE:
        raise UnknownPolicyError(f"{str(path)!r} is a project of tasks: name one of them")


def _kind_in_project(name: str) -> str | None:
    """Whether it is a task or a router of the project around the working directory, if any."""
    try:
        project = current_project()
    except ConfigError:  # what is wrong with it is no matter here
        return None
    if project is None or name not in project.policies:
        return None
    return "router" if name in project.entries else "task"


def _task(name: str, overrides: Sequence[str]) -> PolicyFile | None:
    project = current_project()
    if project is None:
        return None
    if name in project.entries:
        tasks = ", ".join(project.entries[name].policies)
        raise UnknownPolicyError(f"{name!r} is a router over tasks: name one of {tasks}")
    if name not in project.tasks:
        return None
    if overrides:
        from cascade_policies.project.project import read_task

        return read_task(project.path, name, overrides)
    return project.tasks[name].file


def locate_policy(reference: str | Path) -> Path:
    """The file that a path means, or a name on the search path.

    Raises:
        UnknownPolicyError: as `find_policy`.
    """
    return _locate(reference, None)


def _locate(reference: str | Path, project: Project | None) -> Path:
    """As `locate_policy`; names of the project, which had none such, are told of as well."""
    text = str(reference)
    if is_path(reference):
        return _existing(Path(text).expanduser())
    folders = _folders()
    for folder in folders:
        path = folder / f"{text}{SUFFIX}"
        if path.is_file():
            return path
    places = [] if project is None else [str(project.path)]
    places += ["the library" if folder == LIBRARY else str(folder) for folder in folders]
    looked = ", ".join(places)
    raise UnknownPolicyError(
        f"no policy {text!r}: {nearest(text, _names(project))} (looked in {looked})"
    )


def policy_names() -> list[str]:
    """Every policy that can be named, a project's tasks and routers over tasks included, sorted."""
    return _names(current_project())


def _names(project: Project | None) -> list[str]:
    named = () if project is None else project.policies
    return sorted({*named, *(path.stem for folder in _folders() for path in _policies(folder))})


def is_path(reference: str | Path) -> bool:
    """Whether it is the path of a policy file, and no name."""
    text = str(reference)
    return isinstance(reference, Path) or text.endswith(SUFFIX) or "/" in text or os.sep in text


def _folders() -> list[Path]:
    listed = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    return [*(Path(folder).expanduser() for folder in listed if folder), Path("policies"), LIBRARY]


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        raise UnknownPolicyError(f"{str(path)!r} is a folder; give the policy file itself")
    # Without the endings, which are alike in any two of them.
    near = get_close_matches(path.stem, [found.stem for found in _policies(path.parent)], n=1)
    known = f": did you mean {near[0] + SUFFIX!r}?" if near else ""
    raise UnknownPolicyError(f"no policy file {str(path)!r}{known}")


def _policies(folder: Path) -> Iterator[Path]:
    return folder.glob(f"*{SUFFIX}") if folder.is_dir() else iter(())
