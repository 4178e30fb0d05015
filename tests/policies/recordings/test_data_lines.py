"""Files of rows have bounds, whatever they unpack to."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from cascade_policies import data_lines
from cascade_policies.data_lines import DataFileError, read_lines, read_objects


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_lines, "MAX_LINE", 100)
    monkeypatch.setattr(data_lines, "MAX_BYTES", 1000)
    monkeypatch.setattr(data_lines, "MAX_ROWS", 50)


@pytest.mark.parametrize(
    ("content", "line"), [(b"x" * 101, 1), (b"{}\n" * 51, 51), ((b"x" * 99 + b"\n") * 11, 11)]
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_too_large_is_refused(
    tmp_path: Path, content: bytes, line: int, packed: bool
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataFileError, match="too large") as caught:
        list(read_lines(path))
    assert caught.value.line == line


def test_what_is_just_small_enough_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"{}\n" * 50)
    assert [number for number, _ in read_objects(path)] == list(range(1, 51))


@pytest.mark.parametrize("name", ["missing", "nul\0", "."])
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataFileError, match="cannot be read"):
        list(read_lines(tmp_path / name))
