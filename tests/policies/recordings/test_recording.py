"""The recording's file: what is read, what is refused, and what its identity is."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade_policies.data_lines import DataFileError
from cascade_policies.recordings import Recording
from cascade_policies.recordings.files import write_recording

SHARED = Path(os.environ.get("CASCADE_DATA", Path(__file__).parents[4] / "shared" / "data"))

HEADER = {
    "recording": {
        "version": 1,
        "created": "2026-01-01T00:00:00+00:00",
        "models": {"small": {"model": "openai:s", "price": {"input": 1.0, "output": 2.0}}},
        "verifiers": {"number": {"name": "number"}},
    }
}
ROWS = [
    {
        "id": "a",
        "prompt": "2 + 2?",
        "reference": "4",
        "category": "sum",
        "models": {
            "small": {
                "output": "4", "correct": True, "input_tokens": 1_000_000, "output_tokens": 500_000,
                "latency": 0.5, "json": "strict",
                "verdicts": {"number": {"outcome": "accepted", "score": 0.25, "latency": 0.01}},
                "samples": [{"output": "5", "correct": 0.5}],
            },
            "big": {"output": "4", "correct": 1, "cost_usd": 0.25, "cost_low_usd": 0.125},
        },
    },
    {
        "id": "b",
        "prompt": "3 + 3?",
        "models": {
            "small": {
                "output": "", "correct": False, "input_tokens": 0, "output_tokens": 0,
                "verdicts": {"number": {"outcome": "rejected"}},
            },
            "big": {"error": "APITimeoutError: slow", "correct": False},
        },
    },
    {
        "id": "c",
        "prompt": "none",
        "models": {"small": {"output": "?", "verdicts": {"number": {"outcome": "abstained"}}}},
    },
]  # fmt: skip


def written(folder: Path, *rows: Any, name: str = "r.jsonl.gz") -> Path:
    path = folder / name
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording.load(written(tmp_path, HEADER, *ROWS))


def same(found: Any, wanted: list[float]) -> bool:
    return bool(np.array_equal(found, np.array(wanted), equal_nan=True))


def test_columns_have_a_number_a_row_and_nan_for_what_is_missing(recording: Recording) -> None:
    nan = math.nan
    assert recording.ids == ("a", "b", "c")
    assert recording.models == ("small", "big")
    assert same(recording.column("small", "correct"), [1, 0, nan])
    assert same(recording.column("small", "input_tokens"), [1e6, nan, nan])
    assert same(recording.column("small", "cost_usd"), [2.0, nan, nan])
    assert same(recording.column("small", "prompt_cost_usd"), [1.0, nan, nan])
    assert same(recording.column("big", "cost_usd"), [0.25, nan, nan])
    assert same(recording.column("big", "cost_low_usd"), [0.125, nan, nan])
    assert recording.failed("big").tolist() == [False, True, True]
    assert recording.failed("small").tolist() == [False, False, False]
    assert recording.rows[0].extra == {"category": "sum"}
    assert recording.rows[0].models["small"].extra == {"json": "strict"}


def test_verdicts_are_columns_too(recording: Recording) -> None:
    nan = math.nan
    assert recording.verifiers == ("number",)
    assert same(recording.verdicts("small", "number"), [0.25, 0, nan])
    assert same(recording.verdicts("small", "number", "accepted"), [1, 0, nan])
    assert same(recording.verdicts("small", "number", "latency"), [0.01, nan, nan])
    assert same(recording.verdicts("big", "number"), [nan, nan, nan])


def test_what_is_not_there_is_said(recording: Recording) -> None:
    with pytest.raises(ConfigError, match=r"no model 'smal': did you mean 'small'\?"):
        recording.column("smal", "latency")
    with pytest.raises(ConfigError, match="no number 'latancy' of 'small': did you mean 'latency'"):
        recording.column("small", "latancy")
    with pytest.raises(ConfigError, match="no verdicts of 'numbr'"):
        recording.verdicts("small", "numbr")


def test_the_identity_is_the_content(recording: Recording, tmp_path: Path) -> None:
    later = {"recording": {**HEADER["recording"], "created": "2026-02-02T00:00:00+00:00"}}
    turned = [dict(reversed(row.items())) for row in ROWS]
    plain = Recording.load(written(tmp_path, later, *turned, name="b.jsonl"))
    assert plain.sha256 == recording.sha256
    changed = [{**ROWS[0], "reference": "5"}, *ROWS[1:]]
    assert Recording.load(written(tmp_path, HEADER, *changed)).sha256 != recording.sha256
    assert Recording.load(written(tmp_path, HEADER, *reversed(ROWS))).sha256 != recording.sha256


@pytest.mark.parametrize("name", ["w.jsonl", "w.jsonl.gz"])
def test_what_is_written_is_read_again(recording: Recording, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_recording(recording, path)
    again = Recording.load(path)
    assert again.rows == recording.rows
    assert again.header == recording.header
    first = path.read_bytes()
    write_recording(again, path)
    assert path.read_bytes() == first
    assert [child.name for child in tmp_path.iterdir() if child.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"id": "z", "prompt": "x"}, "models: needs an object"),
        ({"prompt": "x", "models": {}}, "id: needs a text"),
        (ROWS[0], "id 'a' is in line 2 already"),
        ({"id": "z", "models": {"m": 3}}, r"models\['m'\]: needs an object"),
        ({"id": "z", "models": {"m": {"latency": -1}}}, r"latency: needs a number, 0 or more"),
        ({"id": "z", "models": {"m": {"correct": 2}}}, r"correct: needs a number in \[0, 1\]"),
        ({"id": "z", "models": {"m": {"input_tokens": 1.5}}}, "input_tokens: needs a whole"),
        ({"id": "z", "models": {"m": {"cost_usd": True}}}, "cost_usd: needs a number"),
        ({"id": "z", "models": {"m": {"verdicts": {"v": {}}}}}, "needs an 'outcome'"),
        ({"id": "z", "models": {"m": {"samples": [{"samples": [{}]}]}}}, "of its own"),
        ('{"id": "z", "models": {"m": {"latency": NaN}}}', "not a JSON object"),
        ('{"id": "z", "models": {"m": {"latency": 1e999}}}', "needs a number|not a JSON object"),
    ],
)
def test_a_mistake_has_its_file_and_line(tmp_path: Path, bad: Any, said: str) -> None:
    path = written(tmp_path, HEADER, ROWS[0], bad)
    with pytest.raises(DataFileError, match=said) as caught:
        Recording.load(path)
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"version": 2}, "says version 2"),
        ({"models": {"m": {"price": {"input": -1, "output": 0}}}}, "price of"),
        ({"models": 7}, "header"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: Any, said: str) -> None:
    with pytest.raises(DataFileError, match=said):
        Recording.load(written(tmp_path, {"recording": header}, ROWS[0]))


def test_cut_gzip_is_no_half_a_recording(tmp_path: Path) -> None:
    path = written(tmp_path, *ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataFileError, match="damaged"):
        Recording.load(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["id", "models", "m", "output", "correct", "verdicts", "outcome",
                         "samples", "latency", "recording", "extra", "metadata"]), inner),
    max_leaves=12,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
@example(value={"id": "a", "models": {"m": {"extra": {"extra": 1}, "output": ""}}})
def test_any_row_is_read_and_written_or_refused(tmp_path: Path, value: Any) -> None:
    path = written(tmp_path, {"id": "z", "models": {}}, value, name="any.jsonl")
    try:
        found = Recording.load(path)
    except DataFileError:
        return
    write_recording(found, tmp_path / "again.jsonl")
    again = Recording.load(tmp_path / "again.jsonl")
    assert again.sha256 == found.sha256
    assert again.ids == found.ids


@pytest.mark.skipif(not SHARED.is_dir(), reason="there is no recorded data here")
@pytest.mark.parametrize(
    ("name", "rows", "models"),
    [("llmdrift_prime", 1000, 4), ("spider_dev", 518, 12), ("bfcl", 831, 17)],
)
def test_the_shared_data_is_a_recording(name: str, rows: int, models: int) -> None:
    found = Recording.load(SHARED / f"{name}.jsonl.gz")
    assert (len(found), len(found.models)) == (rows, models)
    assert not any(np.isnan(found.column(model, "correct")).any() for model in found.models)
    assert not any(found.failed(model).any() for model in found.models)
