"""`Number`, `NotRefusal`, `Language`, `PythonSyntax`, `NoPlaceholder`, `Finished`, and aliases."""

# ruff: noqa: RUF001  (letters of other scripts are what some of these are about)

from __future__ import annotations

import gzip
import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.types import Answer, Request, ToolCall
from cascade.verdict import Verdict
from cascade_verifiers.finished import Finished
from cascade_verifiers.language import LANGUAGES, Language
from cascade_verifiers.no_placeholder import NoPlaceholder
from cascade_verifiers.not_refusal import NotRefusal
from cascade_verifiers.number import Number
from cascade_verifiers.one_of import OneOf
from cascade_verifiers.python_syntax import PythonSyntax

REQUEST = Request.of("a question")


def ask(verifier: Any, text: str, request: Request = REQUEST, **rest: Any) -> Verdict:
    verdict = verifier.verify(request, Answer(text, **rest))
    assert isinstance(verdict, Verdict)
    return verdict


async def wait(verifier: Any, text: str) -> Verdict:
    found = verifier.verify(REQUEST, Answer(text))
    verdict = await found if inspect.isawaitable(found) else found
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42), (" 42.\n", 42), ("**3.50**", 3.5), ("-7", -7), ("\u22127", -7), ("+7", 7),
        ("$1,234.50", 1234.5), ("-$5", -5), ("1,234,567", 1234567), ("1 234", 1234),
        ("1'234", 1234), ("75%", 75), ("3 km", 3), ("3km/h", 3), ("EUR 5", 5), (".5", 0.5),
        ("1e3", 1000), ("2.5e-3", 0.0025), ("3.0", 3), ("'8'", 8), ("9" * 90, int("9" * 90)),
    ],
)  # fmt: skip
def test_numbers(text: str, value: float) -> None:
    verdict = ask(Number(units=["km", "km/h", "EUR"]), text)
    assert verdict.accepted
    assert verdict.parsed == value
    assert type(verdict.parsed) is type(value)


@pytest.mark.parametrize(
    "text",
    ["", "x", "it is 42", "42 apples", "1,23", "12,34,56", "1.2.3", "0x10", "1e999", "--3", "NaN",
     "inf", "٣", "²", "1" * 1000, "\0", "4\ud8002", "\u202e42", "1e9999", "$", "."],
)  # fmt: skip
def test_no_numbers(text: str) -> None:
    verdict = ask(Number(), text)
    assert (verdict.outcome, verdict.code, verdict.repairable) == ("rejected", "number.none", True)


def test_number_limits() -> None:
    assert ask(Number(min=0, max=10), "10").accepted
    verdict = ask(Number(min=0, max=10), "10.5")
    assert (verdict.code, verdict.reason) == ("number.out_of_range", "10.5 is not from 0 to 10")
    assert ask(Number(min=0), "-1").reason == "-1 is not 0 or more"
    assert ask(Number(max=0), "1" * 50).reason == "the number is not 0 or less"
    assert ask(Number(min=0), "-" + "1" * 50).reason == "the number is not 0 or more"
    assert ask(Number(max=1_234_567), "1234568").reason == "1234568 is not 1234567 or less"
    assert ask(Number(integer=True), "3.0").parsed == 3
    assert ask(Number(integer=True), "3.5").code == "number.not_whole"
    assert ask(Number(decimal=","), "1.234,5").parsed == 1234.5
    assert repr(Number(min=1, integer=True)) == "Number(min=1, integer=True)"
    mistakes: list[dict[str, Any]] = [
        {"min": 3, "max": 2}, {"min": "3"}, {"max": float("nan")}, {"decimal": ";"},
        {"units": [""]}, {"units": ["m2"]}, {"min": True},
    ]  # fmt: skip
    for wrong in mistakes:
        with pytest.raises(ConfigError):
            Number(**wrong)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_every_number_is_read_back(number: float) -> None:
    if abs(number) < 10**80:
        assert ask(Number(), repr(number)).parsed == number


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, I cannot assist with this request.",
        "Sorry, I can't do that.",
        "As an AI language model, I cannot provide medical advice.",
        "Unfortunately, I am unable to answer this question.",
        "I apologize, but I am not able to fulfill this request.",
        "I must respectfully decline to write that.",
        "I don't have access to real-time data, so I cannot tell.",
        '{"answer": "I\'m sorry, but I can\'t help with that."}',
        "**I cannot provide that information.**",
        "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Je suis désolé, mais je ne peux pas répondre à cette question.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Desculpe, mas não posso ajudar com isso.",
        "Извините, но я не могу помочь с этим.",
        "抱歉，我无法回答这个问题。",
        "申し訳ありませんが、そのご要望にはお答えできません。",
        "죄송합니다만, 그 요청은 도와드릴 수 없습니다.",
    ],
)
def test_refusals(text: str) -> None:
    verdict = ask(NotRefusal(), text)
    assert (verdict.outcome, verdict.code) == ("rejected", "refusal")


@pytest.mark.parametrize(
    "text",
    [
        "", "42", "The answer is no.", "I can help with that: press the button.",
        "I cannot stress enough how good this is.", "Sorry is a band from London.",
        "She said: I'm sorry, but I can't help you.", "We can't divide by zero, so x = 2.",
        "I can't find a divisor, so 17 is prime.", "This request returns a list of users.",
        "Unfortunately, the shop was closed.", "Ich kann das: 42.", "No puedo creerlo, dijo ella.",
        "Leider ist das falsch.", "As an AI company, OpenAI was founded in 2015.",
        "x" * 10**7, "I" + " am" * 10**6, "sorry " * 10**6,
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_no_refusals(text: str) -> None:
    assert ask(NotRefusal(), text).accepted


TEXTS = {
    "ar": "هذا النص مكتوب باللغة العربية لكي يكون مثالا.",
    "bg": "Това е текст на български език, който не е много дълъг, но ще се разбере.",
    "da": "Det er en tekst på dansk, og den er ikke så lang, men man kan forstå den.",
    "de": "Das ist ein Text, der auf Deutsch ist und nicht so lang, wie er sein könnte.",
    "el": "Αυτό είναι ένα κείμενο στα ελληνικά.",
    "en": "This is a text that was written in English, and it is not as long as it could be.",
    "es": "Este es un texto que está en español, y no es tan largo como los que se leen en la web.",
    "fi": "Tämä on teksti, joka on kirjoitettu suomeksi, mutta se ei ole niin pitkä kuin voi olla.",
    "fr": "Ceci est un texte qui est dans la langue de Molière, mais il n'est pas très long.",
    "he": "זה טקסט בעברית לדוגמה.",
    "hi": "यह हिंदी में लिखा हुआ एक वाक्य है।",
    "it": "Questo è un testo che non è lungo, ma è scritto nella lingua di Dante e del Petrarca.",
    "ja": "これは日本語で書かれた文章です。",
    "ko": "이것은 한국어로 쓴 글입니다.",
    "nl": "Dit is een tekst die in het Nederlands is geschreven en niet zo lang is als hij kan.",
    "pl": "To jest tekst, który nie jest długi, ale jest po polsku i się go czyta.",
    "pt": "Este é um texto que não é longo, mas está em português e foi escrito por uma pessoa.",
    "ro": "Acesta este un text care nu este lung, dar este în limba română și se poate citi.",
    "ru": "Это текст на русском языке, и он не такой длинный, как мог бы быть.",
    "sv": "Det här är en text som är på svenska och som inte är så lång, men den går att läsa.",
    "th": "นี่คือข้อความภาษาไทย",
    "tr": "Bu bir metin ve çok uzun değil ama daha iyi olan bir şey için gibi.",
    "uk": "Це текст українською мовою, і він не такий довгий, як міг би бути, але це так.",
    "zh": "这是一段用中文写的文字。",
}  # fmt: skip


@pytest.mark.parametrize("code", LANGUAGES)
def test_languages(code: str) -> None:
    for other, text in TEXTS.items():
        found = ask(Language(code), text).outcome
        assert found == "accepted" if other == code else found != "accepted", other


@pytest.mark.parametrize(
    "text", ["", "42", "Paris", "\0\ud800", "x" * 10**7, "```python\nfor x in the: pass\n```"]
)
def test_language_abstains_where_it_cannot_tell(text: str) -> None:
    assert ask(Language("en"), text).outcome == "abstained"


def test_language_leaves_code_out() -> None:
    code = "```python\nif x is not in the list or if it is: pass  # this and that\n```"
    assert ask(Language("de"), f"{TEXTS['de']}\n{code}\n{code}").accepted
    verdict = ask(Language("de"), TEXTS["en"])
    assert verdict.reason == "the answer is in the language 'en', and must be in 'de'"
    with pytest.raises(ConfigError, match="code='xx'"):
        Language("xx")


@pytest.mark.anyio
async def test_python() -> None:
    check = PythonSyntax()
    verdict = await wait(check, "Here:\n```python\nx = 1\nprint(x)\n```\nDone.")
    assert (verdict.outcome, verdict.text) == ("accepted", "x = 1\nprint(x)")
    verdict = await wait(check, "x = (1")
    assert (verdict.code, verdict.repairable) == ("python.syntax", True)
    assert verdict.reason == "the code is no valid Python: line 1: '(' was never closed"
    assert (await wait(check, "return 1")).code == "python.syntax"
    assert (await wait(check, "s = '\\d'")).accepted
    assert (await wait(check, " ")).code == "python.empty"
    assert (await wait(check, "```\na\n```\n```\nb\n```")).code == "python.several_blocks"
    assert not (await wait(PythonSyntax(extract="strict"), "```\na\n```")).accepted
    # It is compiled, and not run.
    assert (await wait(check, "import os; os._exit(3)")).accepted


HOSTILE_CODE = {
    "brackets": "(" * 100_000,
    "closed": "[" * 90_000 + "]" * 90_000,
    "minus": "-" * 150_000 + "1",
    "not": "not " * 45_000 + "1",
    "sum": "1" + "+1" * 90_000,
    "power": "1" + "**1" * 60_000,
    "calls": "f" + "()" * 90_000,
    "attributes": "a" + ".a" * 90_000,
    "lambda": "lambda: " * 20_000 + "1",
    "elif": "if a: pass\n" + "elif a: pass\n" * 15_000,
    "indents": "".join(f"{' ' * n}if a:\n" for n in range(500)),
    "f-strings": 'f"{' * 50 + "1" + '}"' * 50,
    "fold": "(" * 50 + "'a' * 10**9" + ")" * 50,
    "digits": "9" * 190_000,
    "nul": "a\0b",
    "surrogate": "a = '\ud800'",
    "encoding": "# -*- coding: rot13 -*-\nvzcbeg bf",
    "right to left": "a\u202e = 1",
    "long": "a" * 10**7,
}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("code", HOSTILE_CODE.values(), ids=HOSTILE_CODE.keys())
async def test_hostile_python(code: str) -> None:
    began = perf_counter()
    verdict = await wait(PythonSyntax(timeout=3), code)
    assert perf_counter() - began < 8
    assert verdict.outcome in ("accepted", "rejected", "abstained")
    assert len(verdict.reason) <= 300


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("Dear [Your Name],", "[Your Name]"),
        ("on [insert date here]", "[insert date here]"),
        ("Hello {{name}}!", "{{name}}"),
        ("Lorem ipsum dolor", "Lorem ipsum"),
        ("key = <your api key>", "<your api key>"),
        ("x = 1  # TODO", "# TODO"),
        ("// TODO: this", "// TODO"),
        ("TODO: write this", "TODO"),
        ("price: [TBD]", "[TBD]"),
        ('{"answer": "___"}', "___"),
        ("def f():\n    # ... rest of the code", "# ... rest of the code"),
        ("# your code here", "# your code here"),
        ("# ... existing code ...", "# ... existing code"),
    ],
)
def test_placeholders(text: str, gap: str) -> None:
    verdict = ask(NoPlaceholder(), text)
    assert (verdict.outcome, verdict.code, verdict.repairable) == ("rejected", "placeholder", True)
    assert verdict.reason == f"the answer has a placeholder in it: {gap}"
    assert ask(NoPlaceholder(), text, Request.of(f"write a template: {text}")).accepted


@pytest.mark.parametrize(
    "text",
    ["", "a TODO list app", "todo lo que sé", "[link text](http://x)", "[your turn](x)", "<div>",
     "x[0]", "{x}", "---\n___\n", "vector<int>", "{{1, 2}, {3}}",
     '<a href="x">', "the rest of the code is fine", "<name>Bob</name>"],
)  # fmt: skip
def test_no_placeholders(text: str) -> None:
    assert ask(NoPlaceholder(), text).accepted


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Done.", ""), ("42", ""), ("Paris", ""), ('{"a": 1}', ""), ("[1, 2]", ""),
        ("[Yes] it is", ""), ("```python\nx = (\n```", ""), ("(see 1) a) b)", ""), ("(0, 1]", ""),
        ("a 5\" pipe", ""), ('"5"', ""), ("1) one\n2) two", ""), ("`(`", ""),
        ("(open\n\nNext paragraph.", ""), ("```json\n{\"a\": 1}\n", ""), ("x = [(", "bracket"),
        ('{"a": 1', "json"), ('{"a": "xy', "json"), ("[1, 2", "json"), ("[[", "json"),
        ("Look:\n```python\nx = 1", "fence"), ("```json\n{\"a\": 1", "fence"),
        ("as follows (for exam", "bracket"), ("He said \"no", "quote"), ("He said “no", "quote"),
        ("", "empty"), (" \n", "empty"),
    ],
)  # fmt: skip
def test_finished(text: str, code: str) -> None:
    verdict = ask(Finished(), text)
    assert verdict.code == (f"finished.{code}" if code else "")
    assert verdict.accepted is not bool(code)


def test_finished_by_the_provider_s_word_and_by_sentence() -> None:
    assert ask(Finished(), "Done.", finish_reason="length").code == "finished.cut_off"
    assert ask(Finished(), "Done.", finish_reason="stop").accepted
    assert ask(Finished(), "", tool_calls=(ToolCall("f", "{}"),)).accepted
    for text in ("Done.", "Why?", "He said so.)", "“Yes.”", "是的。", "```\nx\n```", '{"a": 1}',
                 "It is so [1].", "so it is.[1]"):  # fmt: skip
        assert ask(Finished(sentence=True), text).accepted, text
    for text in ("and then the", "Paris", "a, b,"):
        assert ask(Finished(sentence=True), text).code == "finished.sentence"


def test_aliases() -> None:
    check = OneOf("billing", "other", aliases={"billing": ["invoice", "payment"]})
    for text in ("billing", "Invoice.", "PAYMENT"):
        assert ask(check, text).parsed == "billing"
    assert ask(check, "Invoice").text == "billing"
    assert "invoice" not in ask(check, "x").reason
    same = OneOf({"billing": ["invoice"], "other": "misc"})
    assert (ask(same, "misc").parsed, same.labels) == ("other", ("billing", "other"))
    for wrong, message in (
        ({"bill": ["x"]}, "did you mean 'billing'"),
        ({"billing": ["Other"]}, "the same answer"),
        ({"billing": [3]}, "3 is no label"),
    ):
        with pytest.raises(ConfigError, match=f"^aliases: .*{message}"):
            OneOf("billing", "other", aliases=wrong)  # type: ignore[arg-type]


RULES: dict[str, Any] = {
    "Finished": Finished(sentence=True),
    "Language": Language("en"),
    "NoPlaceholder": NoPlaceholder(),
    "NotRefusal": NotRefusal(),
    "Number": Number(),
    "OneOf": OneOf("a", "b", aliases={"a": ["c"]}),
}
N = 900_000
NASTY = {
    "ten megabytes": "a" * 10**7,
    "white space": " " * 10**7,
    "brackets": "[" * 100_000,
    "braces": '{"a":' * 100_000,
    "gaps": "{{ a" * (N // 4),
    "your": "[your " * (N // 6),
    "angles": "<insert " * (N // 8),
    "many gaps": "".join(f"[your {n}]" for n in range(N // 14)),
    "todo": "# " * (N // 2),
    "underscores": "_" * N,
    "quotes": '"' * N,
    "fences": "```\n" * (N // 4),
    "tildes": "~" * N,
    "lines": "\n" * N,
    "sorry": "i am sorry, but " * (N // 16),
    "digits": "9" * N,
    "groups": "1," * (N // 2),
    "nul": "\0" * 1000,
    "surrogates": "\ud800" * N,
    "right to left": "\u202e\u2066" * 1000,
    "expanding": "\ufdfa" * N,
    "combining": "a" + "\u0301" * N,
    "letters of all scripts": "aбα" * (N // 3),
}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("verifier", RULES.values(), ids=RULES.keys())
async def test_a_verdict_soon(verifier: Any) -> None:
    for name, text in NASTY.items():
        began = perf_counter()
        verdict = await wait(verifier, text)
        assert perf_counter() - began < 3, name
        assert len(verdict.reason) <= 500, name


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.text("{}[]<>\"'`\n1a. ,(_#TODOyour name", max_size=80))
def test_any_text_gets_a_verdict(text: str) -> None:
    for verifier in RULES.values():
        ask(verifier, text)


DATA = Path(os.environ.get("CASCADE_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def right_answers(name: str) -> Iterator[tuple[Request, str]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number % 10:
                continue
            row = json.loads(line)
            for found in row["models"].values():
                if found["correct"] is True and isinstance(found["output"], str):
                    yield Request.of(row["prompt"]), found["output"]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the recorded data, at $CASCADE_DATA")
@pytest.mark.parametrize("name", ["zeroeval_gsm", "routellm_gsm8k", "llmdrift_prime", "spider_dev"])
def test_few_right_answers_are_rejected(name: str) -> None:
    rules = [NotRefusal(), NoPlaceholder(), Finished(), Language("en")]
    wrong = dict.fromkeys((type(rule).__name__ for rule in rules), 0)
    count = 0
    for request, text in right_answers(name):
        count += 1
        for rule in rules:
            verdict = rule.verify(request, Answer(text))
            if isinstance(verdict, Verdict):
                wrong[type(rule).__name__] += verdict.outcome == "rejected"
            else:
                verdict.close()  # type: ignore[attr-defined]
    assert count > 200
    assert max(wrong.values()) <= count * 0.002, wrong
