"""Scorers: what is right, what is wrong, and what cannot be said."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.engine import Engine
from cascade.model import ModelSpec
from cascade.testing import ScriptedModel
from cascade.types import Answer
from cascade_policies.golden import GoldenRow, Score, ScorerError, as_scorer, make_scorer
from cascade_policies.golden.functions import FunctionScorer
from cascade_policies.golden.scoring import answer_of, score_answer


def row(reference: Any, **metadata: Any) -> GoldenRow:
    return GoldenRow(id="a", prompt="x", reference=reference, metadata=metadata)


async def quality(scorer: Any, reference: Any, text: str, **metadata: Any) -> float | None:
    return (await score_answer(scorer, row(reference, **metadata), Answer(text))).quality


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "arguments", "reference", "text", "wanted"),
    [
        ("exact", {}, "Paris", " Paris\n", 1),
        ("exact", {}, "Paris", "paris", 0),
        ("exact", {"case": False}, ["Lyon", "Paris"], "paris", 1),
        ("exact", {}, True, "true", 1),
        ("exact", {}, None, "x", None),
        ("exact", {}, [], "x", None),
        ("set", {}, ["a", "b"], '["B", "a"]', 1),
        ("set", {}, ["a", "b"], "- b\n- a\n", 1),
        ("set", {}, ["a", "b"], "a, b, c", 0),
        ("set", {}, ["1", "2"], "[1, 2]", 1),
        ("set", {}, 3, "a", None),
        ("f1", {}, "the cat sat", "A cat sat.", 1),
        ("f1", {}, "cat sat", "cat ran", 0.5),
        ("f1", {"of": "items"}, ["a", "b", "c"], "a, b, x", 2 / 3),
        ("f1", {}, "", "", 1),
        ("numeric", {}, "18", "So she makes 9 * $2 = $18.", 1),
        ("numeric", {}, 1234.5, "about 1,234.50 dollars", 1),
        ("numeric", {}, "18", "18 of them, not 19", 0),
        ("numeric", {"find": "first"}, "18", "18 of them, not 19", 1),
        ("numeric", {"find": "whole"}, "18", "it is 18", 0),
        ("numeric", {"field": "answer"}, 18, '```json\n{"why": "1 2", "answer": "18"}\n```', 1),
        ("numeric", {"absolute": 0.5}, 3, "3.4", 1),
        ("numeric", {}, -5, "\u22125", 1),
        ("numeric", {}, "many", "3", None),
        ("numeric", {}, 3, "none", 0),
        ("json_fields", {}, {"a": 1, "b": {"c": "x"}}, '{"a": 1.0, "b": {"c": " x "}}', 1),
        ("json_fields", {}, {"a": 1, "b": 2}, '{"a": 1, "z": 0}', 0.5),
        ("json_fields", {"added": True}, {"a": 1}, '{"a": 1, "z": 0}', 0.5),
        ("json_fields", {"fields": ["a"]}, {"a": 1, "b": 2}, '{"a": 1}', 1),
        ("json_fields", {}, {"a": True}, '{"a": 1}', 0),
        ("json_fields", {}, {"a": 1}, "no JSON", 0),
        ("json_fields", {}, "no JSON", "{}", None),
    ],
)  # fmt: skip
async def test_a_score_is_what_the_reference_says(
    name: str, arguments: dict[str, Any], reference: Any, text: str, wanted: float | None
) -> None:
    assert await quality(make_scorer(name, arguments), reference, text) == wanted


@given(
    name=st.sampled_from(["exact", "set", "f1", "numeric", "json_fields"]),
    reference=st.one_of(
        st.none(), st.text(), st.floats(), st.lists(st.text()),
        st.dictionaries(st.text(), st.one_of(st.integers(), st.text())),
    ),
    text=st.text(alphabet=st.characters(codec="utf-8")),
)  # fmt: skip
def test_any_answer_has_a_quality_or_a_reason(name: str, reference: Any, text: str) -> None:
    scorer: Any = make_scorer(name)
    score = scorer.score(row(reference), Answer(text))
    assert score.reason if score.quality is None else 0 <= score.quality <= 1
    if isinstance(reference, str) and name == "exact":
        assert scorer.score(row(reference), Answer(reference)).quality == 1


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("exakt", "did you mean 'exact'?"),
        ({"name": "numeric", "find": "middle"}, "find='middle'"),
        ({"name": "numeric", "tolerance": 1}, "tolerance: Numeric has no such argument"),
        ({"find": "last"}, "a scorer's 'name' is missing"),
        ({"name": "sql_execution"}, "give this, the path of a file, or databases"),
        ({"name": "judge", "model": ""}, "give 'provider:model'"),
        (lambda answer: True, "takes \\(answer, reference"),
        (7, "a scorer is a name"),
    ],
)
def test_a_wrong_scorer_says_what_is_wrong(given_: Any, said: str) -> None:
    with pytest.raises(ScorerError, match=said):
        as_scorer(given_)


@pytest.mark.anyio
async def test_a_function_is_a_scorer() -> None:
    def close(answer: str, reference: float, *, by: float) -> bool | None:
        return None if not answer else abs(float(answer) - reference) <= by

    scorer = FunctionScorer(close, by=1)
    assert await quality(scorer, 3, "3.5") == 1
    assert await quality(scorer, 3, "9") == 0
    assert await quality(scorer, 3, "") is None
    with pytest.raises(ScorerError, match="row 'a': the scorer crashed: ValueError"):
        await quality(scorer, 3, "three")


@pytest.mark.anyio
async def test_a_score_out_of_range_is_refused() -> None:
    def marks(answer: str, reference: str) -> float:
        return 7.0

    with pytest.raises(ScorerError, match=r"in \[0, 1\]"):
        await quality(FunctionScorer(marks), "", "")
    with pytest.raises(ScorerError, match=r"in \[0, 1\]"):
        Score(float("nan"))


@pytest.mark.anyio
async def test_queries_are_compared_by_their_rows(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    with sqlite3.connect(folder / "shop.sqlite") as connection:
        connection.execute("CREATE TABLE t (n INTEGER, s TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, "a"), (2, "b")])
    connection.close()
    scorer = make_scorer("sql_execution", {"databases": str(tmp_path), "key": "db"})
    gold = "SELECT n FROM t"
    for text, wanted in [
        ("```sql\nSELECT n FROM t ORDER BY n DESC;\n```", 1),
        ("SELECT s FROM t", 0),
        ("SELECT nothing FROM t", 0),
        ("DROP TABLE t", 0),
    ]:
        assert await quality(scorer, gold, text, db="shop") == wanted, text
    endless = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x FROM r) SELECT count(*) FROM r"
    hasty = make_scorer("sql_execution", {"databases": str(tmp_path), "key": "db", "timeout": 0.5})
    assert await quality(hasty, gold, endless, db="shop") == 0
    assert (
        await quality(scorer, gold + " ORDER BY n", "SELECT n FROM t ORDER BY n DESC", db="shop")
        == 0
    )
    assert await quality(scorer, "SELECT x FROM t", "SELECT n FROM t", db="shop") is None
    assert await quality(scorer, gold, gold, db="../shop") is None
    assert await quality(scorer, gold, gold) is None


@pytest.mark.anyio
async def test_a_judge_scores_with_the_reference() -> None:
    judge = ScriptedModel('{"reason": "same", "passes": true}', "nonsense", name="judge")
    scorer = make_scorer("judge", {"model": judge})
    async with Engine() as engine:
        good = await score_answer(scorer, row("four"), Answer("4"), engine=engine)
        none = await score_answer(scorer, row("four"), Answer("5"), engine=engine)
    assert (good.quality, none.quality) == (1, None)
    asked = judge.calls[0].call.request.messages[-1].text
    assert "four" in asked


def test_recorded_calls_are_read_as_calls() -> None:
    answer = answer_of([{"area": '{"base": 10}'}, {"name": "f", "arguments": {"x": 1}}])
    assert [(c.name, c.arguments) for c in answer.tool_calls] == [
        ("area", '{"base": 10}'), ("f", '{"x":1}'),
    ]  # fmt: skip
    assert answer_of({"a": 1}).text == '{"a":1}'


def test_what_is_told_of_a_scorer_holds_no_secret() -> None:
    model = ModelSpec("openai:j", api_key="sk-very-secret")
    _, told = as_scorer({"name": "judge", "model": model, "params": {"api_key": "sk-other"}})
    assert "secret" not in str(told)
    assert "sk-" not in str(told)
    assert told["model"] == "openai:j"
    _, told = as_scorer({"name": "sql_execution", "databases": ".", "key": "db"})
    assert told == {"name": "sql_execution", "databases": ".", "key": "db"}
