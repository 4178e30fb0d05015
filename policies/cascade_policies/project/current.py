"""The project around the working directory: found, kept, and read again when it has changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from cascade.errors import ConfigError
from cascade.logs import warn
from cascade_policies.stamps import Stamp, stamp

if TYPE_CHECKING:
    from cascade_policies.document import Document
    from cascade_policies.project.models import Models
    from cascade_policies.project.project import Project

FILE = "cascade.toml"
ENVIRONMENT = "CASCADE_CONFIG"

PATIENCE = 1.0
"""Seconds for which nobody looks whether a file has changed."""

QUIET = 0.2
"""Seconds for which a file must not have changed to be taken over: it may be being written, and a
half of it, or nothing, may be a project too."""

_TICK = 10_000_000  # nanoseconds by which the clock of a file system may be behind


@dataclass(slots=True)
class _Held:
    """What was found, and when to look again.

    ``project`` is the last that was right; ``stamp`` is of the files as last read, right or wrong,
    and None when they must be read again.
    """

    place: tuple[str | None, str]
    path: Path | None
    project: Project | None
    stamp: Stamp | None
    until: float


def find_project(start: str | Path | None = None) -> Path | None:
    """The project file: ``CASCADE_CONFIG``, else ``cascade.toml`` in ``start`` or above it.

    Args:
        start: where to begin, without a look at ``CASCADE_CONFIG``; by default the working
            directory.

    Raises:
        ConfigError: ``CASCADE_CONFIG`` names no file.
    """
    named = os.environ.get(ENVIRONMENT)
    if start is None and named:
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise ConfigError(f"{ENVIRONMENT}: no file {named!r}: give the path of a {FILE}")
        return path
    here = Path.cwd() if start is None else Path(start).absolute()
    return next((f for folder in (here, *here.parents) if (f := folder / FILE).is_file()), None)


class Following:
    """A project that is kept, and read again when its files change.

    Args:
        path: its file; None for the one that `find_project` finds, now and each time.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._held: _Held | None = None
        self._lock = threading.Lock()

    def current(self) -> Project | None:
        """As `current_project`."""
        held = self._held
        if held is not None and monotonic() < held.until and held.place == self._place():
            return held.project
        with self._lock:
            return self._look(raises=False)

    def reload(self) -> Project | None:
        """As `reload_project`."""
        with self._lock:
            if self._held is not None:
                self._held.stamp = None
            return self._look(raises=True)

    def latest(self) -> Project | None:
        """As `current`, with a look at the files whenever that was last done."""
        with self._lock:
            if self._held is not None:
                self._held.until = 0.0
            return self._look(raises=False)

    def _place(self) -> tuple[str | None, str]:
        if self._path is not None:
            return None, ""
        return os.environ.get(ENVIRONMENT), os.getcwd()  # noqa: PTH109  (a Path takes longer)

    def _look(self, *, raises: bool) -> Project | None:
        """The project as it should be now; called under the lock."""
        place, now = self._place(), monotonic()
        held = self._held if self._held is not None and self._held.place == place else None
        if held is not None and held.stamp is not None and now < held.until:
            return held.project
        before = None if held is None else held.project
        path = self._find(before)
        if path is None:
            self._held = _Held(place, None, None, (), now + PATIENCE)
            return None
        if held is not None and held.path == path and _unchanged(held.stamp):
            held.until = now + PATIENCE
            return before
        from cascade_policies.project.project import read as read_project

        read: list[Path] = []
        known = [path] if before is None else [path, *before.files]
        first, began = stamp(known), time_ns()
        try:
            found: Project | ConfigError = read_project(path, read)
        except ConfigError as error:
            found = error
        if held is not None and before is not None and not raises:
            held.until = now + PATIENCE
            again = stamp(known)
            if again != first or _is_empty(again) or _is_fresh(first) or _is_fresh(stamp(read)):
                return before
        if isinstance(found, ConfigError):
            if held is not None and before is not None:
                _reject(held, found, [path, *before.files, *read])
                if not raises:
                    return before
            raise found
        settled = _settled(stamp(found.files), began)
        self._held = _Held(place, path, found, settled, now + PATIENCE)
        for warning in found.warnings:
            warn("cascade.project_doubted", warning=warning)
        return found

    def _find(self, before: Project | None) -> Path | None:
        """The project's file; where it was, if it is gone: that is a mistake like another."""
        if self._path is not None:
            return self._path
        try:
            return find_project() or (None if before is None else before.path)
        except ConfigError:
            if before is None:
                raise
            return before.path


around = Following()
"""The project around the working directory: one for the process, as that is."""


def current_project() -> Project | None:
    """The project that `find_project` finds, or None without one.

    It is kept: at most once a second, the files that it consists of are looked at, and read again
    when one has changed. A version with a mistake is not taken over, nor is the file's absence:
    the one before stays, and ``cascade.project_rejected`` is logged. Calls that have begun keep
    the policies that they began with.

    Raises:
        PolicyFileError: it has a mistake, and there is no version before it.
        ConfigError: as `find_project`.
    """
    return around.current()


def reload_project() -> Project | None:
    """The project as its files are now, whether they have changed or not.

    Raises:
        PolicyFileError: it has a mistake. The version before it, if there is one, stays, and
            ``cascade.project_rejected`` is logged.
        ConfigError: as `find_project`.
    """
    return around.reload()


def models_around(document: Document) -> Models:
    """The models that a policy file may name; the document then depends on the project's files.

    Raises:
        PolicyFileError: as `current_project`.
    """
    from cascade_policies.project.models import Models

    project = around.latest()  # what the document is stamped with must be what is read here
    if project is None:
        return Models({})
    document.files.extend(project.files)
    return Models(project.models, project.defaults.model)


def _reject(held: _Held, error: ConfigError, files: Sequence[Path]) -> None:
    """Keep what is held until one of the files changes, which are those of either version."""
    now = stamp(files)
    if held.stamp != now:
        warn("cascade.project_rejected", file=str(files[0]), reason=str(error))
    held.path, held.stamp = files[0], now


def _unchanged(known: Stamp | None) -> bool:
    return known is not None and known == stamp([path for path, _ in known])


def _is_empty(found: Stamp) -> bool:
    """Whether the first file, the project's, has nothing in it, as one that is being written."""
    # Its time of change does not say so at once: Linux sets that a moment after it cuts the file.
    state = found[0][1]
    return state is not None and state[1] == 0


def _is_fresh(found: Stamp) -> bool:
    """Whether one of the files may be being written."""
    now = time_ns()
    return any(state is not None and 0 <= now - state[0] < QUIET * 1e9 for _, state in found)


def _settled(found: Stamp, began: int) -> Stamp | None:
    """The stamp, unless a file may have changed since reading began: then it says nothing."""
    for _, state in found:
        if state is not None and began - _TICK <= state[0] <= time_ns():
            return None
    return found
