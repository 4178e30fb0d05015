"""``python -m benchmarks.routers``: what it counts, on data made up here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.routers import GPT_4, MIXTRAL, Case, interval, line, main
from cascade import Request

REQUEST = Request.of("a question")


def case(small: bool, large: bool, cost: tuple[float, float] = (1, 10)) -> Case:
    return Case(REQUEST, (small, large), cost, (small, large), cost)


def test_a_line_counts_what_each_start_leads_to() -> None:
    tested = [case(True, True), case(False, True), case(False, True), case(True, False)]
    found = line("routed", tested, [False, True, True, False])
    assert found.large_share == 0.5
    assert found.accuracy == (1.0, 1.0, 1.0)
    assert found.dollars_per_1000[0] == 5500.0
    # By chance half of them would be begun at either: (2/4 + 3/4) / 2.
    assert found.knows is not None
    assert found.knows[0] == 0.375
    assert line("always small", tested, [False] * 4).knows is None


def test_an_interval_holds_its_mean() -> None:
    mean, low, high = interval([0.0, 1.0] * 50)
    assert low < mean == 0.5 < high
    assert interval([0.25] * 9) == (0.25, 0.25, 0.25)


def test_a_router_that_can_know_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random = Random(1)
    prices = {"open-mixtral-8x7b": {"in": 1, "out": 1}, GPT_4: {"in": 10, "out": 10}}
    (tmp_path / "prices.json").write_text(json.dumps({"prices": prices}))
    rows: list[dict[str, Any]] = []
    for n in range(300):
        hard = random.random() < 0.5
        prompt = f"Prove theorem {n} for all integers." if hard else f"Add {n} and {n}."
        models = {
            MIXTRAL: {"output": "x", "correct": not hard, "output_tokens_est": 10},
            GPT_4: {"output": "x", "correct": True, "output_tokens_est": 10},
        }
        rows.append({"id": str(n), "prompt": prompt, "input_tokens_est": 10, "models": models})
    rows.append({**rows[0], "contaminated": True})
    with gzip.open(tmp_path / "routellm_gsm8k.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    monkeypatch.setenv("CASCADE_DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["routers", "routellm", "--json"])
    main()
    (found,) = json.loads(capsys.readouterr().out)["sets"]
    assert found["train"] + found["test"] == 300
    assert found["auroc"] == 1.0
    lines = {each["strategy"]: each for each in found["lines"]}
    assert lines["always large"]["accuracy"] == [1.0, 1.0, 1.0]
    assert lines["routed 25%"]["knows"][1] > 0
    assert lines["always small"]["dollars_per_1000"][0] == pytest.approx(0.02)
