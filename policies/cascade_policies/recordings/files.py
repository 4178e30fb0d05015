"""Writing recordings: whole or not at all, and a journal beside the file for what is under way."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec

from cascade.errors import ConfigError
from cascade_policies.data_lines import DataFileError, read_objects
from cascade_policies.recordings.header import Header, header_of, header_shape
from cascade_policies.recordings.recording import Recording, canonical
from cascade_policies.recordings.rows import RecordedAnswer, RowError, answer_of, shape

SUFFIX: Final = ".journal"

Place = tuple[str, str, int]
"""Where an answer belongs: the id of its row, its model, and the number of its sample, from 0."""


def write_recording(recording: Recording, path: Path) -> None:
    """Write it, packed when the name ends in ``.gz``: the file is the old one or the new one.

    The bytes hang on nothing but the content: no time and no name is in them.

    Raises:
        DataFileError: it cannot be written.
    """
    try:
        with replacing(path) as file:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
                    _write(recording, packed)
            else:
                _write(recording, file)
    except OSError as error:
        raise DataFileError(f"cannot be written: {error.strerror or error}", file=path) from None


def _write(recording: Recording, file: Any) -> None:
    if recording.header != Header():
        file.write(canonical(header_shape(recording.header)) + b"\n")
    for row in recording.rows:
        file.write(canonical(shape(row)) + b"\n")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` when the block ends well, on the disk by then."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # the new name, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Journal:
    """The answers of a recording under way, a line each, beside the file that it will be.

    A process that is killed leaves at most half a line, which is cut off when the journal is
    opened again. One process at a time has it open.

    Args:
        path: of the recording; the journal's has `SUFFIX` behind it.
        header: of the recording. One that is open already must be of the same golden set, and
            have been made with the same models, prompts and verifiers.

    Raises:
        DataFileError: it cannot be written, is of another recording, or another process has it.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path.with_name(path.name + SUFFIX)
        self.answers: dict[Place, RecordedAnswer] = {}
        self._file = self._open()
        try:
            self._read(header)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, place: Place, answer: RecordedAnswer) -> None:
        """Keep an answer; it survives the death of the process from here on."""
        id_, model, sample = place
        line = {"id": id_, "model": model, "sample": sample, "answer": shape(answer)}
        self._write(line)
        self.answers[place] = answer

    def drop(self) -> None:
        """Delete it: all of it is in the recording."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _open(self) -> IO[bytes]:
        try:
            file = self.path.open("a+b")
        except (OSError, ValueError) as error:
            raise DataFileError(f"cannot be written: {error}", file=self.path) from None
        try:
            _lock(file)
        except OSError:
            file.close()
            message = "another process is recording this: let it end first"
            raise DataFileError(message, file=self.path) from None
        return file

    def _read(self, header: Header) -> None:
        cut_half_a_line(self._file)
        lines = read_objects(self.path)
        first = next(lines, None)
        if first is None:
            self._write({"journal": 1, **header_shape(header)})
            return
        number, data = first
        try:
            begun = header_of(data.get("recording"))
        except ConfigError as error:
            raise DataFileError(error.message, file=self.path, line=number) from None
        if (why := unlike(begun, header)) is not None or (
            begun.golden_sha256 != header.golden_sha256
        ):
            message = f"was begun with {why or 'another golden set'}: finish that, or delete it"
            raise DataFileError(message, file=self.path)
        for number, data in lines:
            try:
                place = (str(data["id"]), str(data["model"]), int(data["sample"]))
                self.answers[place] = answer_of(data["answer"], "answer")
            except (KeyError, TypeError, ValueError, RowError) as error:
                raise DataFileError(f"is no answer: {error}", file=self.path, line=number) from None

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()
        except OSError as error:
            raise DataFileError(f"cannot be written: {error.strerror}", file=self.path) from None


def unlike(held: Header, wanted: Header) -> str | None:
    """What the one was made with and the other was not, of what both have; None when alike."""
    for name in held.models.keys() & wanted.models.keys():
        for key, what in (("model", "model"), ("params", "parameters"), ("prompt_sha256", "prompt"),
                          ("verifier", "verifier")):  # fmt: skip
            if getattr(held.models[name], key) != getattr(wanted.models[name], key):
                return f"another {what} of {name!r}"
    for key in held.verifiers.keys() & wanted.verifiers.keys():
        if held.verifiers[key].settings != wanted.verifiers[key].settings:
            return f"other settings of the verifier {key!r}"
    return None


def cut_half_a_line(file: IO[bytes]) -> None:
    """Leave whole lines only: a process was killed while it wrote the last one."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 2**16)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            file.truncate(start + at + 1)
            break
        end = start
    else:
        file.truncate(0)
    file.seek(0, os.SEEK_END)


def _lock(file: IO[bytes]) -> None:
    """Take the file for this process alone, where the system can do that.

    Raises:
        OSError: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: whoever starts two at once there is on their own
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
