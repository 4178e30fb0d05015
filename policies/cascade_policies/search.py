"""Finding a policy by path or by name.

The entry point ``toml`` in the group ``cascade.policies`` leads here: it is how the engine
understands a policy given as text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from cascade.errors import UnknownPolicyError, nearest
from cascade.policy import Policy
from cascade_policies.file import PolicyFile, load_policy_file

ENVIRONMENT = "CASCADE_POLICY_PATH"
SUFFIX = ".toml"
LIBRARY = Path(__file__).parent / "library"

Stamp = tuple[tuple[Path, int, int], ...]
"""The files of a policy, each with its time of change and its size."""


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: Stamp | None
    file: PolicyFile


_kept: dict[Path, _Kept] = {}


def find_policy(reference: str | Path, *, overrides: Sequence[str] = ()) -> Policy:
    """The policy that a path or a name means, with ``overrides`` as `load_policy` takes them.

    A reference with a slash in it or ending in ``.toml`` is a path. Any other is a name: it is
    looked for as ``NAME.toml`` in the folders of the environment variable
    ``CASCADE_POLICY_PATH``, then in ``./policies``, then among the policies shipped with cascade.
    A file is read again only when it, or a file it refers to, has changed.

    Raises:
        UnknownPolicyError: there is none; the message has the nearest name and where it looked.
        PolicyFileError: it has a mistake.
    """
    return find_policy_file(reference, overrides=overrides).policy


def find_policy_file(reference: str | Path, *, overrides: Sequence[str] = ()) -> PolicyFile:
    """As `find_policy`, with what the file says about the policy.

    Raises:
        UnknownPolicyError: as `find_policy`.
        PolicyFileError: as `find_policy`.
    """
    path = locate_policy(reference)
    if overrides:
        return load_policy_file(path, overrides=overrides)
    key = path.absolute()
    kept = _kept.get(key)
    if kept is None or kept.stamp != _stamp(kept.file.files):
        file = load_policy_file(path)
        kept = _kept[key] = _Kept(_stamp(file.files), file)
    return kept.file


def locate_policy(reference: str | Path) -> Path:
    """The file that a path or a name means.

    Raises:
        UnknownPolicyError: as `find_policy`.
    """
    text = str(reference)
    if isinstance(reference, Path) or text.endswith(SUFFIX) or _has_separator(text):
        return _existing(Path(text).expanduser())
    folders = _folders()
    for folder in folders:
        path = folder / f"{text}{SUFFIX}"
        if path.is_file():
            return path
    looked = ", ".join("the library" if folder == LIBRARY else str(folder) for folder in folders)
    raise UnknownPolicyError(
        f"no policy {text!r}: {nearest(text, policy_names())} (looked in {looked})"
    )


def policy_names() -> list[str]:
    """Every policy that can be named, sorted."""
    return sorted({path.stem for folder in _folders() for path in _policies(folder)})


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


def _has_separator(text: str) -> bool:
    return "/" in text or os.sep in text


def _stamp(files: Sequence[Path]) -> Stamp | None:
    try:
        stats = [(path, path.stat()) for path in files]
    except OSError:
        return None
    return tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats)
