"""A router fitted on recorded answers."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Policy, Tier
from cascade.errors import ConfigError
from cascade.testing import ScriptedModel
from cascade.types import Message, Request
from cascade_policies.routers import Learned, features
from cascade_policies.routers.fitting import Quality, fit_router, read_recording

TIERS = ("small", "large")
EASY = "Add {0} and {0}."
HARD = "Prove that for every integer n above {0} the sum of the first n cubes is a square."


def rows() -> list[tuple[str, dict[str, bool]]]:
    """The small tier is right on what is easy, the large one on all but two."""
    easy = [(EASY.format(n), {"small": n % 10 > 0, "large": n > 1}) for n in range(60)]
    hard = [(HARD.format(n), {"small": n % 10 == 0, "large": True}) for n in range(60)]
    return [*easy, *hard]


def fit(given: Any, embed: Any = None) -> tuple[Learned, dict[str, Quality]]:
    """Without cross-validation, which takes its time."""
    return fit_router(given, TIERS, embed=embed, strength=0.01)


@pytest.fixture(scope="module")
def fitted() -> Learned:
    return fit(rows())[0]


def start_of(router: Learned, text: str) -> str | None:
    return router.route(Request.of(text), TIERS).start


def test_it_begins_at_the_cheapest_tier_that_is_likely_enough(fitted: Learned) -> None:
    assert start_of(fitted, EASY.format(99)) == "small"
    assert start_of(fitted, HARD.format(99)) == "large"
    likely = fitted.probabilities(Request.of(HARD.format(99)))
    assert list(likely) == ["small", "large"]
    assert likely["small"] < 0.5 < likely["large"]


def test_the_threshold_says_what_is_enough(fitted: Learned) -> None:
    model = fitted.to_dict()
    likely = fitted.probabilities(Request.of(EASY.format(99)))["small"]
    assert start_of(Learned(model, threshold=likely), EASY.format(99)) == "small"
    assert start_of(Learned(model, threshold=min(likely * 1.001, 1)), EASY.format(99)) == "large"
    route = Learned(model, threshold=1).route(Request.of(EASY.format(99)), TIERS)
    assert route.start == "large"  # the last, where none is likely enough
    assert route.reason.startswith("no tier is 1 likely to be right: small 0.")


def test_costs_weigh_a_failure_against_the_price(fitted: Learned) -> None:
    model = fitted.to_dict()
    chance = fitted.probabilities(Request.of(HARD.format(99)))["small"]
    # small costs 1, and with the chance that it fails, what large costs too.
    just_right = 1 / chance
    cheap = Learned(model, costs={"small": 1, "large": just_right * 1.01})
    dear = Learned(model, costs={"small": 1, "large": just_right * 0.99})
    assert start_of(cheap, HARD.format(99)) == "small"
    assert start_of(dear, HARD.format(99)) == "large"
    seen = dear.evidence(Request.of(HARD.format(99)))
    assert seen["expected_costs"]["large"] < seen["expected_costs"]["small"]
    free = Learned(model, costs={"small": 0, "large": 0})
    assert start_of(free, HARD.format(99)) == "small"  # the cheaper of equals


def test_a_file_has_the_same_router(fitted: Learned, tmp_path: Path) -> None:
    path = tmp_path / "router.json"
    fitted.save(path)
    again = Learned.load(path, threshold=0.5)
    request = Request.of(HARD.format(7))
    assert again.probabilities(request) == fitted.probabilities(request)
    assert len(path.read_bytes()) < 20_000
    assert set(json.loads(path.read_text())) == {
        "kind", "version", "features", "embedding", "tiers", "rows", "data"
    }  # fmt: skip


def test_the_same_rows_have_the_same_hash(fitted: Learned) -> None:
    again, _ = fit(list(reversed(rows())))
    assert again.to_dict()["data"] == fitted.to_dict()["data"]
    assert len(fitted.to_dict()["data"]) == 64
    changed = [*rows()[1:], (EASY.format(0), {"small": True, "large": True})]
    assert fit(changed)[0].to_dict()["data"] != fitted.to_dict()["data"]


def test_what_the_data_say_of_each_tier() -> None:
    _, qualities = fit(rows())
    small, large = qualities["small"], qualities["large"]
    assert (small.rows, small.right) == (120, 0.5)
    assert small.auroc is not None
    assert small.auroc > 0.8
    assert (large.rows, large.right, large.auroc) == (120, 118 / 120, None)


def test_a_tier_that_is_always_right_is_likely_and_never_certain() -> None:
    given = [(text, {**outcome, "large": True}) for text, outcome in rows()]
    router, _ = fit(given)
    assert router.probabilities(Request.of("anything"))["large"] == pytest.approx(121 / 122)


def test_a_tier_is_judged_by_the_rows_it_answered() -> None:
    given = [(text, {"small": outcome["small"]}) for text, outcome in rows()[20:]]
    _, qualities = fit([*rows()[:20], *rows()[60:80], *given])
    assert (qualities["small"].rows, qualities["large"].rows) == (140, 40)


@pytest.mark.parametrize(
    ("given", "tiers", "message"),
    [
        (rows()[:19], TIERS, "tiers: small: 19 rows are too few; needs 20"),
        (rows(), ("small",), "tiers: small: needs two or more, each once"),
        (rows(), ("small", "small"), "needs two or more, each once"),
        (rows(), ("small", "huge"), "tiers: huge: 0 rows are too few"),
    ],
)
def test_what_cannot_be_fitted(given: Any, tiers: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit_router(given, tiers)


def letters(text: str) -> list[float]:
    return [float(text.count(letter)) for letter in "ez"]


def test_embeddings_are_the_users_own() -> None:
    router, _ = fit(rows(), embed=letters)
    assert start_of(router, HARD.format(99)) == "large"
    model = router.to_dict()
    assert model["embedding"] == {"name": "letters", "size": 2}
    with pytest.raises(ConfigError, match="embed: is missing; the model was fitted with 'letters'"):
        Learned(model)
    with pytest.raises(ConfigError, match="embed: is 'len'; the model was fitted with 'letters'"):
        Learned(model, embed=len)  # type: ignore[arg-type]
    shorter = lambda text: [1.0]  # noqa: E731  (named below)
    shorter.__name__ = "letters"
    with pytest.raises(ValueError, match="1 numbers, where 2"):
        Learned(model, embed=shorter).route(Request.of("x"), TIERS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "learned"}, r"is none of fit_router\(\)"),
        ({"version": 2}, "version=2: this release reads 1"),
        ({"features": {"version": 0, "hash": "x"}}, "was fitted with other features"),
        ({"more": 1}, "model: more: known:"),
        ({"rows": "1"}, "rows needs a number"),
        ({"embedding": {"name": "x"}}, "embedding: needs null, or a name and a size"),
        ({"tiers": []}, "tiers: needs two or more"),
        ({"tiers": [{"name": "a"}, {"name": "b"}]}, "tiers: each needs bias, name, weights"),
    ],
)
def test_a_model_that_does_not_fit(fitted: Learned, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Learned({**fitted.to_dict(), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [0.0]}, "weights: needs 267 numbers"),
        ({"weights": ["x"] * 267}, "'x' is no number"),
        ({"bias": float("nan")}, "nan is out of bounds"),
        ({"name": "large"}, "'large' is no name, or there twice"),
        ({"name": ""}, "'' is no name"),
    ],
)
def test_a_tier_that_does_not_fit(fitted: Learned, change: dict[str, Any], message: str) -> None:
    small, large = fitted.to_dict()["tiers"]
    with pytest.raises(ConfigError, match=message):
        Learned({**fitted.to_dict(), "tiers": [{**small, **change}, large]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "threshold=0: needs a number in"),
        ({"threshold": 1.1}, "threshold=1.1: needs"),
        ({"threshold": 0.5, "costs": {"small": 1, "large": 2}}, "threshold: does nothing beside"),
        ({"costs": {"small": 1}}, "costs: large: is missing"),
        ({"costs": {"small": 1, "larg": 2}}, "costs: larg: did you mean 'large'"),
        ({"costs": {"small": -1, "large": 2}}, "costs: small=-1: needs a number, 0 or more"),
        ({"costs": 3}, "costs=3: needs a table"),
        ({"embed": letters}, "the model was fitted without embeddings"),
    ],
)
def test_options_that_do_not_fit(fitted: Learned, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Learned(fitted.to_dict(), **options)


@pytest.mark.parametrize("names", [("large", "small"), ("small", "mid", "large"), ("a", "b")])
def test_a_policy_with_other_tiers_is_refused(fitted: Learned, names: tuple[str, ...]) -> None:
    tiers = [Tier(ScriptedModel("x"), name=name) for name in names]
    with pytest.raises(ConfigError, match="was fitted for the tiers small, large, and these are"):
        Policy("p", tiers, router=fitted)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(ConfigError, match=r"no\.json: cannot be read"):
        Learned.load(tmp_path / "no.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"other\.json: model: is none of fit_router"):
        Learned.load(tmp_path / "other.json")


def test_routing_needs_neither_numpy_nor_scikit_learn(fitted: Learned, tmp_path: Path) -> None:
    fitted.save(tmp_path / "router.json")
    program = (
        "import sys\n"
        "from cascade.types import Request\n"
        "from cascade_policies.routers import Learned\n"
        "router = Learned.load(sys.argv[1])\n"
        "assert 'numpy' not in sys.modules and 'sklearn' not in sys.modules\n"
        "print(router.probabilities(Request.of('Prove that 2 is even.')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "router.json")],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "1"},
    )  # fmt: skip
    # And another process comes to the same numbers.
    assert done.stdout.strip() == str(
        Learned.load(tmp_path / "router.json").probabilities(Request.of("Prove that 2 is even."))
    )


def test_it_takes_under_a_millisecond_and_no_prompt_makes_it_long(fitted: Learned) -> None:
    def fastest(text: str) -> float:
        request = Request.of(text)
        times = []
        for _ in range(20):
            began = perf_counter()
            fitted.route(request, TIERS)
            times.append(perf_counter() - began)
        return min(times)

    assert fastest(HARD.format(1) * 12) < 0.001  # a thousand characters
    assert fastest("word " * 1_000_000) < 0.02


@given(st.text(st.characters(), max_size=3000))
def test_any_text_is_taken(fitted: Learned, text: str) -> None:
    request = Request((Message("user", text),))
    assert len(features.vector(request)) == features.size()
    route = fitted.route(request, TIERS)
    assert route.start in TIERS


def line(**models: Any) -> str:
    return json.dumps({"prompt": "a", "models": models})


@pytest.mark.parametrize("zipped", [False, True])
def test_a_recording_is_read(tmp_path: Path, zipped: bool) -> None:
    text = "\n".join([
        line(a={"correct": True}, b={"correct": 0, "output": "x"}),
        "",
        line(a={"correct": True, "accepted": False}),
        json.dumps({
            "prompt": [{"role": "user", "content": "c"}],
            "tools": [{"name": "t"}],
            "models": {},
        }),
    ])  # fmt: skip
    path = tmp_path / "recording"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    read = read_recording(path)
    assert [outcome for _, outcome in read] == [{"a": True, "b": False}, {"a": False}, {}]
    assert Request.of(read[2][0]).tools == ({"name": "t"},)
    named = read_recording(path, {"small": "b"})
    assert [outcome for _, outcome in named] == [{"small": False}, {}, {}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "recording:1: is no row of a recording: "),
        ("[]", "recording:1: .*needs 'prompt' and 'models'"),
        ('{"prompt": "a"}', "needs 'prompt' and 'models'"),
        ('{"prompt": "", "models": {}}', "the prompt is empty"),
        (line(a={"correct": True}) + "\n" + line(a={}), "recording:2: .*model 'a': needs"),
        (line(a={"correct": "yes"}), "model 'a': needs 'correct'"),
        (line(a=True), "model 'a': needs 'correct'"),
        ("[" * 100_000, "recording:1: is no row"),
        ("\udcff", "cannot be read"),
        ("\x1f\udc8b\x08", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_recording(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recording"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=message):
        read_recording(path)


def test_a_model_that_is_not_in_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_text(line(gpt={"correct": True}))
    with pytest.raises(ConfigError, match=r"--tiers small=gtp: not in .* did you mean 'gpt'"):
        read_recording(path, {"small": "gtp"})
