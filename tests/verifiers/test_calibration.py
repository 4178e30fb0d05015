"""Calibrators: the best rising curve, kept as JSON, behind any verifier with scores."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.types import Request
from cascade_verifiers.calibrating import brier_score, calibration_error
from cascade_verifiers.calibration import (
    PLATT_BELOW,
    Calibrator,
    Isotonic,
    Platt,
    calibrator_of,
    data_hash,
    fit_calibrator,
)
from cascade_verifiers.platt import logistic
from cascade_verifiers.self_confidence import SelfConfidence

REQUEST = Request.of("a question")
HALVING = Platt(1.0, math.log(0.25 / 0.75) - 0.5, 10, "x")
"""A curve that makes a score of 0.5 a probability of 0.25."""

scores = st.floats(0, 1)
any_scores = st.floats(-1e300, 1e300)
rows = st.lists(st.tuples(scores | any_scores, st.booleans()), min_size=2, max_size=40)


def split(found: Sequence[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    assume(len({label for _, label in found}) == 2)
    return [score for score, _ in found], [label for _, label in found]


@given(rows, st.lists(scores | any_scores, min_size=2))
@pytest.mark.parametrize("kind", [Isotonic, Platt])
def test_it_rises_and_gives_probabilities(
    kind: type[Isotonic | Platt], found: list[tuple[float, bool]], asked: list[float]
) -> None:
    calibrator = kind.fit(*split(found))
    values = [calibrator(score) for score in sorted(asked)]
    assert all(0 <= value <= 1 for value in values)
    assert all(low <= high for low, high in pairwise(values))


def blocks(count: int) -> Iterator[list[range]]:
    """Every way to cut so many things into neighbouring blocks."""
    for cuts in range(1 << (count - 1)):
        edges = [0, *(i + 1 for i in range(count - 1) if cuts >> i & 1), count]
        yield [range(a, b) for a, b in pairwise(edges)]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=9))
def test_isotonic_is_the_best_of_all_rising_step_functions(found: list[tuple[int, bool]]) -> None:
    points, labels = split([(float(score), label) for score, label in found])
    levels = sorted(set(points))
    of = [[label for s, label in zip(points, labels, strict=True) if s == x] for x in levels]

    def error(values: Sequence[float]) -> float:
        return sum((v - y) ** 2 for v, ys in zip(values, of, strict=True) for y in ys)

    best = math.inf
    for cut in blocks(len(levels)):
        values: list[float] = []
        for block in cut:
            inside = [y for i in block for y in of[i]]
            values += [sum(inside) / len(inside)] * len(block)
        if all(low <= high for low, high in pairwise(values)):
            best = min(best, error(values))
    calibrator = Isotonic.fit(points, labels)
    assert error([calibrator(x) for x in levels]) == pytest.approx(best, abs=1e-12)


def test_isotonic_agrees_with_scikit_learn() -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    points = [(i * 37 % 101) / 101 for i in range(300)]
    labels = [(i * 61 % 97) / 97 < points[i] for i in range(300)]
    theirs = isotonic.IsotonicRegression(out_of_bounds="clip").fit(points, labels)
    ours = Isotonic.fit(points, labels)
    asked = [i / 200 - 0.1 for i in range(240)]
    assert [ours(x) for x in asked] == pytest.approx(list(theirs.predict(asked)))


def platt_loss(points: Sequence[float], labels: Sequence[bool], a: float, b: float) -> float:
    right = sum(labels)
    high, low = (right + 1) / (right + 2), 1 / (len(labels) - right + 2)
    total = 0.0
    for x, label in zip(points, labels, strict=True):
        p, t = logistic(a * x + b), high if label else low
        total -= t * math.log(p) + (1 - t) * math.log1p(-p)
    return total


@given(st.lists(st.tuples(scores, st.booleans()), min_size=2, max_size=30))
def test_platt_is_the_most_likely_rising_curve(found: list[tuple[float, bool]]) -> None:
    points, labels = split(found)
    assume(max(points) - min(points) > 0.05)
    fitted = Platt.fit(points, labels)
    best = platt_loss(points, labels, fitted.slope, fitted.intercept)
    for a, b in ((0.01, 0), (0, 0.01), (0, -0.01), (-0.01, 0), (0.01, -0.01), (-0.01, 0.01)):
        slope = fitted.slope + a * max(fitted.slope, 1)
        if slope >= 0:
            assert platt_loss(points, labels, slope, fitted.intercept + b) >= best - 1e-6


def test_platt_smooths_so_that_few_rows_do_not_make_certainty() -> None:
    few = Platt.fit([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert 0.1 < few(0.0) < few(1.0) < 0.9


@pytest.mark.parametrize("kind", [Isotonic, Platt])
def test_scores_that_say_the_opposite_become_a_constant(kind: Any) -> None:
    calibrator = kind.fit([0.1, 0.2, 0.8, 0.9], [True, True, False, False])
    assert {calibrator(x / 10) for x in range(11)} == {0.5}
    same = kind.fit([0.7] * 4, [True, True, True, False])
    assert same(0.0) == same(0.7) == same(1.0)
    assert 0.6 < same(0.7) <= 0.75


def test_isotonic_by_hand() -> None:
    calibrator = Isotonic.fit([0.2, 0.4, 0.4, 0.6, 0.8], [False, True, False, False, True])
    assert calibrator.scores == (0.2, 0.4, 0.6, 0.8)
    assert calibrator.values == pytest.approx((0, 1 / 3, 1 / 3, 1))
    assert calibrator(0.5) == pytest.approx(1 / 3)
    assert calibrator(0.3) == pytest.approx(1 / 6)
    assert (calibrator(-1), calibrator(2)) == (0, 1)


def test_which_one_is_fitted_goes_by_the_rows() -> None:
    points = [i / PLATT_BELOW for i in range(PLATT_BELOW)]
    labels = [i % 3 == 0 for i in range(PLATT_BELOW)]
    assert isinstance(fit_calibrator(points[1:], labels[1:]), Platt)
    assert isinstance(fit_calibrator(points, labels), Isotonic)


@pytest.mark.parametrize(
    ("found", "labels", "message"),
    [
        ([], [], "got none"),
        ([0.5], [True], "1 answers, all of them right"),
        ([0.5, 0.6], [False, False], "2 answers, all of them wrong"),
        ([0.5, 0.6], [True], "2 scores and 1 labels"),
        ([0.5, math.nan], [True, False], "a score of nan"),
        ([0.5, math.inf], [True, False], "a score of inf"),
    ],
)
def test_data_that_cannot_be_fitted(found: Any, labels: Any, message: str) -> None:
    for fit in (fit_calibrator, Isotonic.fit, Platt.fit):
        with pytest.raises(ConfigError, match=message):
            fit(found, labels)


@pytest.mark.parametrize("calibrator", [HALVING, Isotonic((0.0,), (0.5,), 1, "")])
def test_a_score_that_is_no_number_is_refused(calibrator: Calibrator) -> None:
    for score in (math.nan, math.inf):
        with pytest.raises(ValueError, match="cannot be calibrated"):
            calibrator(score)


@given(rows)
def test_it_comes_back_from_json(found: list[tuple[float, bool]]) -> None:
    points, labels = split(found)
    for kind in (Isotonic, Platt):
        fitted = kind.fit(points, labels)
        again = calibrator_of(json.loads(json.dumps(fitted.to_dict())))
        assert again == fitted
        assert (again.rows, again.data) == (len(points), data_hash(points, labels))


def test_the_hash_is_of_the_data_in_any_order() -> None:
    assert data_hash([0.1, 0.2], [True, False]) == data_hash([0.2, 0.1], [False, True])
    assert data_hash([0.1, 0.2], [True, False]) != data_hash([0.1, 0.2], [False, True])


GOOD = {"kind": "isotonic", "version": 1, "scores": [0, 1], "values": [0, 1], "rows": 2,
        "data": "x"}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "isotone"}, "did you mean 'isotonic'"),
        ({"version": 2}, "version=2"),
        ({"extra": 1}, "extra"),
        ({"rows": True}, "rows=True"),
        ({"data": 3}, "data=3"),
        ({"scores": [0]}, "as many of one"),
        ({"scores": [0, 0]}, "must rise"),
        ({"scores": [0, math.inf]}, "scores: needs a list"),
        ({"scores": "01"}, "scores: needs a list"),
        ({"values": [1, 0]}, "must not fall"),
        ({"values": [0, 1.5]}, "not in"),
        ({"values": [0, math.nan]}, "values: needs a list"),
        ({"kind": "platt"}, "scores: "),
    ],
)
def test_a_file_that_is_none(change: dict[str, Any], message: str) -> None:
    assert calibrator_of(GOOD)(0.5) == 0.5
    with pytest.raises(ConfigError, match=message):
        calibrator_of({**GOOD, **change})


@pytest.mark.parametrize("given", [{}, 3, "x", Platt, lambda score: score])
def test_what_is_no_calibrator(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^calibrator: "):
        SelfConfidence(calibrator=given)


def test_missing_keys_and_slopes_are_named() -> None:
    with pytest.raises(ConfigError, match="slope: is missing"):
        calibrator_of({"kind": "platt", "version": 1, "intercept": 0, "rows": 1, "data": ""})
    with pytest.raises(ConfigError, match="slope=-1"):
        calibrator_of({**HALVING.to_dict(), "slope": -1})


def test_errors_of_probabilities() -> None:
    assert brier_score([1, 0, 0.5], [True, False, True]) == pytest.approx(0.25 / 3)
    assert calibration_error([0.9, 0.9], [True, False]) == pytest.approx(0.4)
    assert calibration_error([0.5] * 4, [True, False] * 2) == 0
    assert calibration_error([0, 1], [True, False], bins=1) == 0
    for probabilities, labels in (([], []), ([0.5], []), ([1.5], [True]), ([math.nan], [True])):
        with pytest.raises(ConfigError):
            brier_score(probabilities, labels)
    with pytest.raises(ConfigError, match="bins"):
        calibration_error([0.5], [True], bins=0)


@given(rows)
def test_calibrating_on_the_rows_themselves_leaves_no_calibration_error(
    found: list[tuple[float, bool]],
) -> None:
    points, labels = split(found)
    calibrator = Isotonic.fit(points, labels)
    values = [calibrator(score) for score in points]
    prior = sum(labels) / len(labels)
    assert brier_score(values, labels) <= brier_score([prior] * len(labels), labels) + 1e-9
    assert sum(values) == pytest.approx(sum(labels))
