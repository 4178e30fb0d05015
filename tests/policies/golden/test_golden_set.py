"""Golden sets: strict, with the file and the line of every mistake."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cascade.types import Message
from cascade_policies.data_lines import DataFileError
from cascade_policies.golden import GoldenSet

ROW = {"id": "a", "prompt": "2 + 2?", "reference": "4"}


def written(folder: Path, *rows: Any, name: str = "golden.jsonl") -> Path:
    path = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_are_read_in_their_order(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Hi"}]
    path = written(
        tmp_path,
        {"golden": {"scorer": {"name": "numeric", "find": "whole"}, "positive": "4"}},
        ROW,
        {"id": "b", "messages": chat, "metadata": {"category": "chat"}},
        {"id": "c", "variables": {"prompt": "Say", "tone": "dry"}, "reference": None},
    )
    golden = GoldenSet.load(path)
    assert [row.id for row in golden.rows] == ["a", "b", "c"]
    assert [row.line for row in golden.rows] == [2, 3, 4]
    assert golden.scorer == {"name": "numeric", "find": "whole"}
    assert golden.positive == "4"
    assert golden.rows[1].request.messages == (Message("user", "Hi"),)
    assert golden.rows[2].request.text == "Say"
    assert golden.rows[2].values == {"tone": "dry"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({**ROW, "id": "b", "promt": "x"}, "unknown key 'promt': did you mean 'prompt'?"),
        ({"prompt": "x"}, "id: needs a text"),
        ({"id": 7, "prompt": "x"}, "id: needs a text"),
        ({"id": "b"}, "says nothing: give one of prompt"),
        ({"id": "b", "prompt": "x", "messages": []}, "says prompt and messages"),
        ({"id": "b", "prompt": "  "}, "the prompt is empty"),
        ({"id": "b", "prompt": 3}, "prompt: needs a text"),
        ({"id": "b", "prompt": "x", "variables": {"n": 3}}, "variables: needs an object"),
        ({"id": "b", "prompt": "x", "metadata": []}, "metadata: needs an object"),
        ({"id": "b", "messages": [{"role": "boss", "content": ""}]}, "message role 'boss'"),
        ({**ROW, "prompt": "other"}, "id 'a' is in line 1 already"),
        ({**ROW, "id": "b"}, "asks the same as line 1"),
        ("[1, 2]", "not a JSON object"),
        ('{"id": "b", "prompt"', "not a JSON object"),
        ("[" * 5000, "not a JSON object|nested too deeply"),
    ],
)
def test_a_mistake_has_its_file_and_line(tmp_path: Path, bad: Any, said: str) -> None:
    path = written(tmp_path, ROW, "", bad)
    with pytest.raises(DataFileError, match=said) as caught:
        GoldenSet.load(path)
    assert str(caught.value).startswith(f"{path}:3: ")


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="has no rows"):
        GoldenSet.load(written(tmp_path, ""))


def test_csv_says_the_same(tmp_path: Path) -> None:
    text = (
        'id,prompt,reference,variables.tone,metadata.kind\r\na,"two\nlines, ""quoted""",4,dry,x\r\n'
    )
    path = tmp_path / "golden.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    (row,) = GoldenSet.load(path).rows
    assert (row.prompt, row.reference) == ('two\nlines, "quoted"', "4")
    assert (row.values, row.metadata, row.line) == ({"tone": "dry"}, {"kind": "x"}, 2)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("id,promt\na,b\n", 1, "column 'promt': did you mean 'prompt'?"),
        ("id,prompt,id\n", 1, "column 'id' is there twice"),
        ('id,prompt\na,"x\ny"\nb\n', 4, "has 1 cells; the first line names 2"),
        ('id,prompt\na,"x"y\n', 2, "is no CSV"),
        ("id,prompt\na,x\na,y\n", 3, "id 'a' is in line 2 already"),
    ],
)
def test_a_mistake_in_csv_has_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "golden.csv"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(DataFileError) as caught:
        GoldenSet.load(path)
    assert caught.value.line == line
    assert said in caught.value.message


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    plain = GoldenSet.load(written(tmp_path, ROW))
    turned = GoldenSet.load(written(tmp_path, dict(reversed(ROW.items())), "", name="b.jsonl"))
    packed = tmp_path / "c.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(ROW, indent=None).encode()))
    other = GoldenSet.load(written(tmp_path, {**ROW, "reference": "5"}, name="d.jsonl"))
    assert plain.sha256 == turned.sha256 == GoldenSet.load(packed).sha256
    assert plain.sha256 != other.sha256


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), name=st.sampled_from(["g.jsonl", "g.csv", "g.jsonl.gz"]))
@example(content=b"\x1f\x8b\x08", name="g.jsonl")
@example(content=b'id,prompt\na,"', name="g.csv")
@example(content=b'{"id": "a", "prompt": "\\ud800"}', name="g.jsonl")
@example(content=b'{"golden": {"scorer": 7}}', name="g.jsonl")
def test_any_bytes_are_rows_or_an_error_of_ours(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    try:
        golden = GoldenSet.load(path)
    except DataFileError:
        return
    assert all(row.request.messages for row in golden.rows)
    assert len(golden.sha256) == 64
