"""Reading files of rows: one JSON object a line, plain or gzip, with bounds and exact places."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from cascade.errors import ConfigError

MAX_LINE: Final = 64 * 2**20
"""Bytes of one row: a line that never ends must not fill the memory."""

MAX_ROWS: Final = 5_000_000
"""Rows of one file: a small gzip file may unpack to any number of lines."""

MAX_BYTES: Final = 8 * 2**30
"""Bytes of one file, unpacked."""

_GZIP = b"\x1f\x8b"


class DataFileError(ConfigError):
    """A file of rows (a golden set, a recording, a log of runs) cannot be used.

    Attributes:
        file: path as given.
        line: line number from 1, or None where it is about the whole file.
    """

    def __init__(self, message: str, *, file: str | Path, line: int | None = None) -> None:
        super().__init__(message)
        self.file = str(file)
        self.line = line

    @property
    def place(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


def read_objects(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers from 1, and the JSON object on each line; blank lines are passed over.

    A file that begins as gzip does is unpacked, whatever its name.

    Raises:
        DataFileError: it cannot be read, is no UTF-8, or a line is not one JSON object.
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for number, line in read_lines(path):
        try:
            yield number, decode(line)
        except RecursionError:
            raise DataFileError("nested too deeply", file=path, line=number) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = str(error).removeprefix("JSON is malformed: ")
            raise DataFileError(f"not a JSON object: {what}", file=path, line=number) from None


def read_lines(path: str | Path, *, blank: bool = False) -> Iterator[tuple[int, bytes]]:
    """The lines, with their numbers from 1; those that are blank only if asked for.

    Raises:
        DataFileError: the file cannot be read or is larger than the bounds above.
    """
    size = 0
    try:
        with open_plain(Path(path)) as file:
            for number in range(1, MAX_ROWS + 2):
                line = file.readline(MAX_LINE + 1)
                size += len(line)
                if not line:
                    return
                _check_bounds(path, number, line, size)
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if blank or line.strip():
                    yield number, line
    except DataFileError:  # which is a ValueError too
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFileError(f"the gzip data is damaged: {error}", file=path) from None
    except OSError as error:
        raise DataFileError(f"cannot be read: {error.strerror or error}", file=path) from None
    except ValueError as error:  # a NUL in the path
        raise DataFileError(f"cannot be read: {error}", file=path) from None


def _check_bounds(path: str | Path, number: int, line: bytes, size: int) -> None:
    if len(line) > MAX_LINE or size > MAX_BYTES or number > MAX_ROWS:
        bounds = f"{MAX_LINE >> 20} MiB a line, {MAX_ROWS:,} lines, {MAX_BYTES >> 30} GiB"
        raise DataFileError(f"too large: at most {bounds}", file=path, line=number)


def open_plain(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked when it is gzip."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb")
