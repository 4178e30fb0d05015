"""A calibrator behind a verifier: what it changes, and what it leaves alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cascade import Engine, Policy, Tier
from cascade.errors import ConfigError
from cascade.testing import ScriptedModel
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade.verifiers import when
from cascade.verify import as_verifier
from cascade_policies.file import load_policy_file
from cascade_verifiers.calibrating import calibrated
from cascade_verifiers.calibration import Platt, fit_calibrator
from cascade_verifiers.json_schema import JsonSchema
from cascade_verifiers.judge import Judge
from cascade_verifiers.registry import make
from cascade_verifiers.self_confidence import SelfConfidence

REQUEST = Request.of("a question")
HALVING = Platt(1.0, math.log(0.25 / 0.75) - 0.5, 10, "x")
"""A curve that makes a score of 0.5 a probability of 0.25."""


def verdict(verifier: Any, text: str) -> Verdict:
    found = verifier.verify(REQUEST, Answer(text))
    assert isinstance(found, Verdict)
    return found


def test_it_is_stored_beside_the_policy(tmp_path: Path) -> None:
    fitted = fit_calibrator([0.2, 0.9] * 150, [False, True] * 150)
    (tmp_path / "fitted.json").write_text(json.dumps(fitted.to_dict()))
    (tmp_path / "p.toml").write_text(
        """
[[tiers]]
model = "openai:gpt-5-nano"
verify = { use = "self_confidence", calibrator_file = "fitted.json" }
threshold = 0.8
"""
    )
    gate = load_policy_file(tmp_path / "p.toml").policy.tiers[0].verify
    assert isinstance(gate, SelfConfidence)
    assert gate.calibrator is not None
    assert gate.calibrator.to_dict() == fitted.to_dict()
    assert verdict(gate, "Paris\nConfidence: 90%").score == fitted(0.9)


def test_a_calibrated_confidence_is_held_to_the_threshold() -> None:
    raw = verdict(SelfConfidence(), "Paris\nConfidence: 50%")
    assert (raw.outcome, raw.score) == ("accepted", 0.5)
    low = verdict(SelfConfidence(calibrator=HALVING), "Paris\nConfidence: 50%")
    assert (low.outcome, low.text) == ("rejected", "Paris")
    assert low.score == pytest.approx(0.25)
    assert "(calibrated)" in low.reason
    again = calibrated(SelfConfidence(), HALVING, threshold=0.2)
    assert isinstance(again, SelfConfidence)
    assert verdict(again, "Paris\nConfidence: 50%").accepted
    assert verdict(again, "Paris").outcome == "abstained"


def test_any_verifier_with_scores_can_be_calibrated() -> None:
    def half(answer: Answer) -> float:
        return 0.5

    one = calibrated(half, HALVING)
    found = verdict(one, "x")
    assert (found.outcome, found.code) == ("rejected", "calibrated.low")
    assert found.score == pytest.approx(0.25)
    lower: Any = one
    assert verdict(lower.with_threshold(0.2), "x").accepted
    with pytest.raises(ConfigError, match="gives no scores"):
        calibrated(JsonSchema({}), HALVING)
    with pytest.raises(ConfigError, match="threshold=2"):
        calibrated(half, HALVING, threshold=2)
    with pytest.raises(ConfigError, match="yes_no"):
        calibrated(Judge("m:n", "r", scale="yes_no"), HALVING)


def test_a_hard_check_stays_one() -> None:
    def certain(answer: Answer) -> float:
        return 1.0

    gate = calibrated(as_verifier(certain), HALVING, threshold=0.0)
    both = calibrated(JsonSchema({"type": "object"}) & certain, HALVING, threshold=0.0)
    assert verdict(gate, "no JSON").accepted
    found = verdict(both, "no JSON")
    assert (found.outcome, found.code) == ("rejected", "json.parse")
    assert verdict(both, "{}").parsed == {}


@pytest.mark.anyio
async def test_it_runs_in_a_policy_and_is_made_from_a_file() -> None:
    text = json.dumps(fit_calibrator([0.1, 0.5, 0.9, 0.95], [False, False, True, True]).to_dict())
    check = make("self_confidence", {"calibrator": json.loads(text)})
    policy = Policy("p", [
        Tier(ScriptedModel("Lyon\nConfidence: 50%"), name="small", verify=check, threshold=0.5),
        Tier(ScriptedModel("Paris"), name="large"),
    ])  # fmt: skip
    async with Engine() as engine:
        result = await engine.run(policy, "The capital of France?")
    assert result.text == "Paris"
    first = result.attempts[0].verdict
    assert first is not None
    assert first.outcome == "rejected"


@pytest.mark.anyio
async def test_an_ensemble_is_calibrated_too() -> None:
    check = calibrated(SelfConfidence() & JsonSchema({}), HALVING, threshold=0.2)
    models = [ScriptedModel(f"{n}\nConfidence: {c}%") for n, c in ((1, 10), (2, 90))]
    async with Engine() as engine:
        result = await engine.run(Policy("p", [Tier(models, verify=check)]), "question")
    assert result.text == "2"
    assert result.verdict is not None
    assert result.verdict.score == pytest.approx(HALVING(0.9))


def test_a_check_that_does_not_apply_stays_out_of_it() -> None:
    def half(answer: Answer) -> float:
        return 0.5

    gate = calibrated(when(lambda request: False, half), HALVING)
    assert verdict(gate, "x").accepted
