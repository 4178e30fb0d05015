"""A gate that knows what the scorer knows is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from cascade import Policy, Tier
from cascade.types import Answer, Request
from cascade.verifiers import JsonSchema, Judge, Number, within
from cascade_policies.golden import (
    GateSeesReferenceError,
    GoldenRow,
    GoldenSet,
    Score,
    as_scorer,
    check_independent,
)

GOLDEN = GoldenSet((GoldenRow(id="a", prompt="x", reference="4"),))
RUBRIC = "Is it right?"


def policy(verify: Any) -> Policy:
    return Policy("p", [Tier("openai:small", name="small", verify=verify), Tier("openai:big")])


def right(answer: Any, reference: Any = None) -> bool:
    return bool(answer == reference)


class Both:
    """A scorer that can be used as a verifier too."""

    def __init__(self, least: int) -> None:
        self.least = least

    def verify(self, request: Request, answer: Answer, /) -> Any:
        raise NotImplementedError

    def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        return Score(1.0)


class Holds:
    def __init__(self, what: Any) -> None:
        self.what = what

    def verify(self, request: Request, answer: Answer, /) -> Any:
        raise NotImplementedError


def _closure() -> Any:
    golden = GOLDEN

    def check(answer: Answer) -> bool:
        return any(row.reference == answer.text for row in golden.rows)

    return check


def _default(answer: Answer, *, golden: Any = GOLDEN) -> bool:
    return bool(golden)


def _global(answer: Answer) -> bool:
    return bool(GOLDEN)


def _bound(answer: Answer, *, rows: Any) -> bool:
    return bool(rows)


@pytest.mark.parametrize(
    ("verify", "scorer", "said"),
    [
        (Judge("openai:j", RUBRIC, reference="4"), "exact", "is shown a reference"),
        (Number() & Judge("openai:j", RUBRIC, reference=str), "exact", "is shown a reference"),
        (within(3, Judge("openai:j", RUBRIC, reference="4")), "exact", "is shown a reference"),
        (_closure(), "exact", "holds a golden set"),
        (_default, "exact", "holds a golden set"),
        (_global, "exact", "holds a golden set"),
        (partial(_bound, rows=GOLDEN.rows), "exact", "holds a golden set"),
        (Holds({"rows": GOLDEN}), "exact", "holds a golden set"),
        (Holds(GOLDEN.rows), "exact", "holds a golden set"),
        (partial(right, reference="4"), right, "is the scorer too"),
        (Both(1), Both(1), "a Both with the settings of the scorer"),
        (
            Judge("openai:j", RUBRIC),
            {"name": "judge", "model": "openai:j", "rubric": RUBRIC},
            "asks the scorer's judge",
        ),
    ],
)
def test_what_knows_the_reference_is_refused(verify: Any, scorer: Any, said: str) -> None:
    made, _ = as_scorer(scorer)
    with pytest.raises(GateSeesReferenceError, match=said) as caught:
        check_independent(policy(verify), made)
    assert caught.value.tier == "small"


@pytest.mark.parametrize(
    ("verify", "scorer"),
    [
        (None, "exact"),
        (Number(), {"name": "numeric"}),
        (JsonSchema({"type": "object"}) & (lambda answer: bool(answer.text)), "json_fields"),
        (Both(1), Both(2)),
        (Judge("openai:j", RUBRIC), {"name": "judge", "model": "openai:other", "rubric": RUBRIC}),
    ],
)
def test_what_does_not_is_taken(verify: Any, scorer: Any) -> None:
    made, _ = as_scorer(scorer)
    check_independent(policy(verify), made)
