"""Names of verifiers, and making them from arguments."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from cascade.errors import ConfigError, UnknownVerifierError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers import registry
from cascade_verifiers.algebra import All, Composable
from cascade_verifiers.length import Length
from cascade_verifiers.one_of import OneOf

REQUEST = Request.of("a question")
BUILT_IN = {
    "command": "command:Command",
    "grounded": "grounded:Grounded",
    "http": "http:Http",
    "json_schema": "json_schema:JsonSchema",
    "judge": "judge:Judge",
    "length": "length:Length",
    "number": "number:Number",
    "one_of": "one_of:OneOf",
    "regex": "regex:Regex",
    "self_confidence": "self_confidence:SelfConfidence",
    "sql": "sql:Sql",
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The entry points as the installed package has them, and an empty registry."""
    points = {
        name: EntryPoint(name, f"cascade_verifiers.{where}", registry.ENTRY_POINTS)
        for name, where in BUILT_IN.items()
    }
    monkeypatch.setattr(registry, "entry_points_of", lambda _group: points)
    found: dict[str, Any] = {}
    monkeypatch.setattr(registry, "_registered", found)
    return found


def ask(verifier: Any, text: str) -> Verdict:
    verdict = verifier.verify(REQUEST, Answer(text))
    assert isinstance(verdict, Verdict)
    return verdict


def test_built_ins_are_entry_points() -> None:
    assert registry.verifier_names() == sorted(BUILT_IN)
    for name in BUILT_IN:
        assert callable(registry.find_verifier(name).verify)


def test_a_registered_function_is_callable_and_composes() -> None:
    @registry.verifier("short")
    def short(answer: Answer) -> bool:
        return len(answer.text) < 6

    assert short(Answer("abc")) is True
    assert ask(short, "abc").accepted
    assert ask(short & OneOf("yes", "no"), "yes").accepted
    assert not ask(~short | OneOf("yes"), "no").accepted
    assert registry.find_verifier("short") is short
    assert "short" in registry.verifier_names()
    assert ask(registry.make("short"), "abcdefgh").code == "short"


def test_keyword_only_arguments_are_settings() -> None:
    @registry.verifier("shorter-than")
    def shorter_than(answer: Answer, *, limit: int) -> bool:
        return len(answer.text) < limit

    made = registry.make("shorter-than", {"limit": 3})
    assert ask(made, "ab").accepted
    assert not ask(made, "abc").accepted
    with pytest.raises(ConfigError, match="needs the argument 'limit'"):
        registry.make("shorter-than")
    with pytest.raises(ConfigError, match="needs the argument 'limit'"):
        All(shorter_than)
    with pytest.raises(ConfigError, match=r"limt: .*did you mean 'limit'\?"):
        registry.make("shorter-than", {"limt": 3})


def test_a_registered_class_stays_itself() -> None:
    @registry.verifier("exactly")
    class Exactly:
        def __init__(self, text: str) -> None:
            self.text = text

        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            return Verdict.accept() if answer.text == self.text else Verdict.reject("differs")

    assert isinstance(Exactly("a"), Exactly)
    made = registry.make("exactly", {"text": "a"})
    assert isinstance(made, Composable)
    assert ask(made & made, "a").accepted


def test_names_are_taken_once() -> None:
    with pytest.raises(ConfigError, match="registered already"):
        registry.verifier("sql")(lambda answer: True)
    for wrong in ("", "a b", "x:y"):
        with pytest.raises(ConfigError, match="name"):
            registry.verifier(wrong)
    with pytest.raises(ConfigError, match="no method verify"):
        registry.verifier("odd")(int)


def test_unknown_names_have_a_nearest_one() -> None:
    with pytest.raises(UnknownVerifierError, match="did you mean 'json_schema'"):
        registry.make("json_shema", {})


def test_make_by_import_path() -> None:
    made = registry.make("cascade_verifiers.length:Length", {"max_chars": 3})
    assert isinstance(made, Length)
    for wrong, message in (
        ("cascade_verifiers.lenth:Length", "cannot import"),
        ("cascade_verifiers.length:Lenth", "did you mean 'Length'"),
        ("math:pi", "is no verifier"),
        ("builtins:int", "has no method verify"),
    ):
        with pytest.raises(ConfigError, match=message):
            registry.make(wrong, {})


def test_a_ready_made_verifier_takes_no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "READY", OneOf("a"), raising=False)
    assert ask(registry.make("cascade_verifiers.registry:READY"), "a").accepted
    with pytest.raises(ConfigError, match="it takes none"):
        registry.make("cascade_verifiers.registry:READY", {"labels": ["b"]})


def test_make_gives_each_built_in_its_arguments() -> None:
    schema = {"type": "integer"}
    assert ask(registry.make("json_schema", {"schema": schema}), "3").parsed == 3
    assert ask(registry.make("one_of", {"labels": ["yes", "no"]}), "Yes.").parsed == "yes"
    labels = {"billing": ["invoice"], "other": "misc"}
    assert ask(registry.make("one_of", {"labels": labels}), "Invoice").parsed == "billing"
    assert ask(registry.make("regex", {"pattern": "^a+$"}), "aaa").accepted
    assert ask(registry.make("sql", {"dialect": "sqlite"}), "SELECT 1").accepted
    assert ask(registry.make("length", {"max_words": 2}), "a b").accepted
    assert registry.make("judge", {"model": "openai:gpt-5", "rubric": "true"}).cost_class == "model"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("length", {"max_word": 3}, r"^max_word: .*did you mean 'max_words'"),
        ("length", {}, "needs a limit"),
        ("length", {"max_words": "three"}, "^max_words='three'"),
        ("length", {"max_words": True}, "^max_words=True: needs a whole number"),
        ("regex", {"pattern": "a", "full": "false"}, "^full='false': needs true or false"),
        ("judge", {"model": "a:b", "rubric": "x", "reference": 3}, "^reference=3: needs an answer"),
        ("within-words", {"limit": "5"}, "^limit='5': needs a whole number or a number"),
        ("http", {"url": "http://x.invalid/", "headers": ["x"]}, "^headers: needs a table"),
        ("command", {"argv": ["sh"], "cost_class": "fre"}, "^cost_class='fre': .*'free'"),
        ("number", {"min": 10**400}, "^min=1000"),
        ("one_of", {"labels": 3}, "^labels=3: needs a list"),
        ("one_of", {"labels": "a", "aliases": ["b"]}, "^aliases=.* needs a mapping"),
        ("json_schema", {}, "^schema: is missing"),
        ("json_schema", {"schema": {"type": "strnig"}}, "did you mean 'string'"),
        ("json_schema", {"schema": {}, "extract": "fense"}, "^extract='fense': .*'fence'"),
        ("one_of", {}, "^labels: "),
        ("one_of", {"labels": ["a", 1]}, "^labels: 1"),
        ("sql", {"dialect": "sqlit"}, "^dialect='sqlit': did you mean 'sqlite'"),
        ("self_confidence", {"source": "state"}, "did you mean 'stated'"),
    ],
)
def test_wrong_arguments_are_named_first(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    @registry.verifier("within-words")
    def within_words(answer: Answer, *, limit: int | float) -> bool:
        return len(answer.text.split()) <= limit

    with pytest.raises(ConfigError, match=message):
        registry.make(name, arguments)
