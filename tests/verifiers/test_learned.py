"""`Learned`: features, fitting, scoring in plain Python, and files that do not fit."""

from __future__ import annotations

import gzip
import inspect
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Engine, Policy, Tier
from cascade.errors import ConfigError
from cascade.testing import Scripted, ScriptedModel
from cascade.types import Answer, Request, TokenLogprob, ToolCall
from cascade.verdict import Verdict
from cascade_verifiers import features
from cascade_verifiers.learned import Learned, fit_learned

pytest.importorskip("sklearn")

PROMPT = "What is 12 times 4?"
REQUEST = Request.of(PROMPT)
ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CASCADE_DATA", ROOT.parent / "shared" / "data"))

Row = tuple[str, Answer | str, bool]


def rows(count: int = 120) -> list[Row]:
    """Right answers show a right sum, wrong ones a wrong one."""
    found: list[Row] = []
    for number in range(count):
        i, right = number // 2, number % 2 == 0
        product = 4 * i if right else 4 * i + 3
        found.append((f"What is {i} times 4?", f"{i} * 4 = {product}, so {product}.", right))
    return found


def judged(learned: Learned, answer: Answer) -> Verdict:
    async def run() -> Verdict:
        found = learned.verify(REQUEST, answer)
        return await found if inspect.isawaitable(found) else found

    return anyio.run(run)


@pytest.fixture(scope="module")
def learned() -> Learned:
    return fit_learned(rows(), strength=0.1)


def test_it_tells_right_from_wrong(learned: Learned) -> None:
    right = judged(learned, Answer("12 * 4 = 48, so 48."))
    wrong = judged(learned, Answer("12 * 4 = 45, so 45."))
    assert right.score is not None
    assert wrong.score is not None
    assert right.score > 0.5 > wrong.score
    assert (right.outcome, wrong.outcome, wrong.code) == ("accepted", "rejected", "learned.low")
    assert judged(learned.with_threshold(0.0), Answer("x")).accepted
    assert learned.threshold == 0.5


def test_plain_python_scores_what_scikit_learn_scores() -> None:
    from importlib import import_module

    linear: Any = import_module("sklearn.linear_model")
    scaling: Any = import_module("sklearn.preprocessing")
    table: list[list[float]] = []
    for prompt, answer, _ in rows():
        found = features.features(Request.of(prompt), Answer(str(answer)), logprobs=False)
        assert found is not None
        table.append(found)
    scaler = scaling.StandardScaler().fit(table)
    model = linear.LogisticRegression(C=0.01, max_iter=2000)
    model.fit(scaler.transform(table), [label for *_, label in rows()])
    ours = fit_learned(rows(), strength=0.01)
    theirs = model.predict_proba(scaler.transform(table))[:, 1]
    scores = [ours.score(Request.of(p), Answer(str(a))) for p, a, _ in rows()]
    assert scores == pytest.approx(list(theirs))


def test_it_comes_back_from_a_file(learned: Learned, tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    learned.save(path)
    again = Learned.load(path, threshold=0.7)
    assert again.to_dict() == learned.to_dict() == json.loads(path.read_text(encoding="utf-8"))
    assert again.threshold == 0.7
    answer = Answer("12 * 4 = 48")
    assert again.score(REQUEST, answer) == learned.score(REQUEST, answer)


def test_the_hash_is_of_the_rows_in_any_order(learned: Learned) -> None:
    assert fit_learned(rows()[::-1]).to_dict()["data"] == learned.to_dict()["data"]
    assert fit_learned(rows(118)).to_dict()["data"] != learned.to_dict()["data"]
    assert learned.to_dict()["rows"] == 120


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "pickle"}, "none of fit_learned"),
        ({"version": 2}, "version=2"),
        ({"features": {"version": 0, "hash": "x"}}, "fitted with other features"),
        ({"logprobs": True}, "fitted with other features"),
        ({"logprobs": 1}, "logprobs=1"),
        ({"weights": [1.0]}, "weights: needs 279 numbers"),
        ({"weights": [True] * 279}, "True is no number"),
        ({"bias": "x"}, "'x' is no number"),
        ({"bias": math.nan}, "out of bounds"),
        ({"bias": 10**400}, "out of bounds"),
        ({"embedding": {"name": "x"}}, "embedding"),
        ({"embedding": {"name": "x", "size": 2}}, "weights: needs 281"),
        ({"rows": "60"}, "rows"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_model_that_does_not_fit(learned: Learned, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Learned({**learned.to_dict(), **change})


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    for text in ("", "{", "[]", "null", "[" * 100_000, '{"kind": "learned"}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"gate\.json: "):
            Learned.load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Learned.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (rows(8), {}, "8 are too few"),
        ([row for row in rows() if row[2]], {}, "all 60 answers are right"),
        ([row for row in rows() if not row[2]], {}, "all 60 answers are wrong"),
        (rows(), {"strength": 0.0}, "strength=0.0"),
        (rows(), {"logprobs": True}, "row 1 has no log-probabilities"),
        (rows(), {"threshold": 2.0}, "threshold=2.0"),
    ],
)
def test_what_cannot_be_fitted(given: list[Row], options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit_learned(given, **options)


def test_log_probabilities_when_trained_with_them() -> None:
    def with_logs(row: Row) -> Row:
        prompt, text, right = row
        logs = (TokenLogprob(str(text), -0.01 if right else -3.0),)
        return prompt, Answer(str(text), logprobs=logs), right

    learned = fit_learned(map(with_logs, rows()), logprobs=True)
    prepare: Any = learned.prepare
    assert prepare(REQUEST).params == {"logprobs": True}
    without = judged(learned, Answer("48"))
    assert (without.outcome, without.code) == ("abstained", "learned.no_logprobs")
    sure = Answer("48", logprobs=(TokenLogprob("48", -0.01),))
    unsure = Answer("48", logprobs=(TokenLogprob("48", -math.inf),))
    sure_score, unsure_score = learned.score(REQUEST, sure), learned.score(REQUEST, unsure)
    assert sure_score is not None
    assert sure_score > (unsure_score or 0.0)
    assert not hasattr(fit_learned(rows()), "prepare")


def letters(text: str) -> Sequence[float]:
    return [text.count("a"), text.count("e")]


def test_embeddings_are_known_by_name_and_size() -> None:
    fitted = fit_learned(rows(), embed=letters)
    model = fitted.to_dict()
    assert model["embedding"] == {"name": "letters", "size": 2}
    assert Learned(model, embed=letters).score(REQUEST, Answer("a")) is not None
    with pytest.raises(ConfigError, match="fitted with 'letters'"):
        Learned(model)
    with pytest.raises(ConfigError, match="is 'len'; the model was fitted with 'letters'"):
        Learned(model, embed=len)  # type: ignore[arg-type]  # the wrong one, on purpose
    with pytest.raises(ConfigError, match="fitted without embeddings"):
        Learned(fit_learned(rows()).to_dict(), embed=letters)

    def grown(text: str) -> Sequence[float]:
        return [1.0, 2.0, 3.0]

    grown.__name__ = "letters"
    with pytest.raises(ValueError, match="3 numbers, where 2"):
        Learned(model, embed=grown).score(REQUEST, Answer("a"))
    with pytest.raises(ValueError, match="not finite"):
        fit_learned(rows(), embed=lambda _: [math.nan])


def named(answer: Answer, request: Request = REQUEST) -> dict[str, float]:
    found = features.features(request, answer, logprobs=False)
    assert found is not None
    return dict(zip(features.names(logprobs=False), found, strict=True))


def test_features_by_hand() -> None:
    found = named(Answer("12 * 4 = 48. Sorry, 1,000 / 8 = 120!", finish_reason="stop"))
    assert (found["equations_right"], found["equations_wrong"]) == (math.log(2), math.log(2))
    assert (found["finish_stop"], found["finish_length"]) == (1, 0)
    assert found["refusal_words"] == math.log(2)
    assert found["prompt_numbers_used"] == 1
    assert found["ends_a_sentence"] == 1
    assert named(Answer('{"a": 1}'))["json"] == 1
    assert named(Answer("```\nx\n```"))["fence"] == 1
    calls = named(Answer("", (ToolCall("f", "{}"),)))
    assert calls["tool_calls"] == math.log(2)


def test_features_keep_their_meaning() -> None:
    """Files fitted earlier depend on these values: where they must change, raise `VERSION`."""
    text = 'Perhaps 3 + 4 = 7.\n```json\n{"a": "Ü 1,000"}\n```'
    answer = Answer(text, finish_reason="stop", logprobs=(TokenLogprob(text, -0.25),))
    found = features.features(REQUEST, answer, logprobs=True)
    assert found is not None
    assert features.VERSION == 1
    assert features.names_hash(logprobs=True) == "f9cf7edc74bc07ce"
    assert round(sum(value * (i % 7 + 1) for i, value in enumerate(found)), 6) == 76.101033


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("3 + 4 = 7", 1, 0),
        ("$3.50 x 2 = $7.00", 1, 0),
        ("10 / 3 = 3.33", 1, 0),
        ("9 - 4 = 6", 0, 1),
        ("1 / 0 = 0", 0, 1),
        ("2 * 3 = 3 * 2", 0, 0),
        ("no sums", 0, 0),
    ],
)
def test_equations(text: str, right: int, wrong: int) -> None:
    found = named(Answer(text))
    assert (found["equations_right"], found["equations_wrong"]) == (
        math.log1p(right), math.log1p(wrong),
    )  # fmt: skip


@given(st.text(max_size=200), st.text(min_size=1, max_size=50).filter(str.strip))
def test_any_text_has_finite_features(text: str, prompt: str) -> None:
    found = named(Answer(text), Request.of(prompt))
    assert all(map(math.isfinite, found.values()))


@pytest.mark.parametrize(
    "text",
    ["a" * 10_000_000, "[" * 100_000, "1" * 1_000_000, "1+" * 10_000, "```\n" * 100_000, "\ud800",
     "9 + " * 10_000 + "= 9", "1,111" * 10_000, "\0", "wait " * 50_000],
    ids=range(10),
)  # fmt: skip
def test_hostile_answers_take_little_time(learned: Learned, text: str) -> None:
    began = perf_counter()
    assert judged(learned, Answer(text)).score is not None
    assert perf_counter() - began < 2


def test_scoring_needs_neither_scikit_learn_nor_numpy(learned: Learned, tmp_path: Path) -> None:
    learned.save(tmp_path / "gate.json")
    code = (
        "import sys\nfrom cascade.types import Answer, Request\n"
        "from cascade_verifiers.learned import Learned\n"
        f"gate = Learned.load({str(tmp_path / 'gate.json')!r})\n"
        "gate.verify(Request.of('q'), Answer('a'))\n"
        "print([name for name in ('numpy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'verifiers'}"},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.anyio
async def test_it_gates_a_call(learned: Learned) -> None:
    wrong = ScriptedModel(Scripted(text="12 * 4 = 45, so 45."))
    right = ScriptedModel(Scripted(text="12 * 4 = 48, so 48."))
    policy = Policy("p", [Tier(wrong, verify=learned, threshold=0.5, name="a"), Tier(right)])
    async with Engine() as engine:
        result = await engine.run(policy, PROMPT)
    assert result.text == "12 * 4 = 48, so 48."


def test_on_recorded_answers_it_beats_chance_and_the_length() -> None:
    path = DATA / "zeroeval_gsm.jsonl.gz"
    if not path.exists():
        pytest.skip("needs the recorded data: set CASCADE_DATA")
    from benchmarks.learned import auroc, halves, interval

    with gzip.open(path, "rt", encoding="utf-8") as lines:
        recorded = [json.loads(line) for line in lines]
    train, test = halves(recorded, "gemma-2-2b-it")
    fitted = fit_learned(train)
    scores = [fitted.score(request, answer) or 0.0 for request, answer, _ in test]
    correct = [label for *_, label in test]
    assert interval(scores, correct)[0] > 0.6
    assert auroc(scores, correct) > auroc([-len(a.text) for _, a, _ in test], correct)
