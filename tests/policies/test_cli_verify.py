"""``cascade verifiers``, ``cascade verify``, and the forms of ``verify`` that combine checks."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascade.errors import PolicyFileError
from cascade.types import Answer, Request
from cascade_policies.file import load_policy, load_policy_file

if TYPE_CHECKING:
    from tests.policies.conftest import Run

NUMBER = "cascade_verifiers.number:Number"
CHECKS = """
from cascade.verdict import Verdict

def short(answer, *, limit=5): return len(answer.text) < limit or "too long"
def unsure(answer): return None
def crash(answer): raise RuntimeError("broken")
def asked(request, answer): return request.text == answer.text
async def scored(answer) -> float: return 0.75
READY = 3
"""


@pytest.fixture
def run(command_line: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command line, in a folder with some checks."""
    monkeypatch.delitem(sys.modules, "own_checks", raising=False)
    (tmp_path / "own_checks.py").write_text(CHECKS)
    (tmp_path / "broken_checks.py").write_text("raise RuntimeError('at import')\n")
    return command_line


def test_exit_codes_and_what_is_shown(run: Run) -> None:
    assert run("verify", "length", "--with", "max_words=2", "a b") == (0, "accepted\n", "")
    ran = run("verify", "length", "--with", "max_words=2", "a b c")
    assert ran == (3, "rejected: the answer has more than 2 words [length.too_long]\n", "")
    ran = run("verify", "own_checks:unsure", "a")
    assert (ran.code, ran.out) == (6, "abstained: unsure has no opinion [unsure]\n")
    assert run("verify", "own_checks:scored", "a").out == "accepted (score 0.75)\n"
    ran = run("verify", "one_of", "--with", 'labels=["yes", "no"]', "Yes.")
    assert ran.out == 'accepted\nparsed: "yes"\ntext: yes\n'


ACCEPTS = """import sys; sys.stdin.read(); print('{"outcome": "accepted"}')"""
EACH: Mapping[str, tuple[Sequence[str], str, str]] = {
    "agreement": ([], "4", "[agreement.alone]"),
    "command": ([f"argv={json.dumps([sys.executable, '-c', ACCEPTS])}"], "4", "accepted"),
    "finished": ([], "cut (off", "[finished.bracket]"),
    "grounded": (["ignore=['b']"], '{"a": 13}', "[grounded.missing]"),
    "http": (["url=http://127.0.0.1:1/", "headers={}"], "4", "[external.failed]"),
    "json_schema": (['schema={"type": "integer"}'], "4", "parsed: 4"),
    "judge": (["model=own_checks:mark", "rubric=It is right."], "4", "[check.crash]"),
    "language": (["code=de"], "This is not what it was supposed to be.", "[language.other]"),
    "learned": (["model={}"], "4", "model: is none of fit_learned()"),
    "length": (["max_chars=3"], "four", "[length.too_long]"),
    "no_placeholder": ([], "Dear [Your Name],", "[placeholder]"),
    "not_refusal": ([], "I'm sorry, but I can't help with that.", "[refusal]"),
    "number": (["min=3", 'units=["km"]'], "4 km", "parsed: 4"),
    "one_of": (['labels={"yes": ["aye"], "no": "nay"}'], "Aye.", "text: yes"),
    "pairwise_judge": (["model=a:b", "rubric=x", "baseline=3 or 4"], "4", "[check.crash]"),
    "python_syntax": ([], "x = (", "[python.syntax]"),
    "regex": (["pattern=[a-z]+", "full=true"], "4", "[regex.no_match]"),
    "self_confidence": (["form=fraction"], "4\nConfidence: 0.25", "[self_confidence.low]"),
    "sql": (["dialect=sqlite"], "DROP TABLE t", "[sql.not_read_only]"),
    "tool_calls": (
        ['tools=[{"name": "f", "parameters": {"type": "object"}}]'],
        "[f()]",
        "accepted",
    ),
}
"""Arguments, an answer, and what is said of it. The two judges have no such provider."""


def test_each_that_comes_with_cascade_is_listed_here() -> None:
    ours = entry_points(group="cascade.verifiers")
    assert {p.name for p in ours if p.value.startswith("cascade_verifiers.")} == EACH.keys()


@pytest.mark.parametrize("name", EACH)
def test_each_by_name(run: Run, name: str) -> None:
    arguments, answer, says = EACH[name]
    given = [word for argument in arguments for word in ("--with", argument)]
    ran = run("verify", name, *given, "--request", "the source: 12", answer)
    assert says in ran.out + ran.err
    outcome = ran.out.partition(":")[0].split()[:1]
    assert ran.code == {"accepted": 0, "rejected": 3, "abstained": 6}[outcome[0]] if outcome else 2


def test_a_crash_is_an_abstention(run: Run) -> None:
    ran = run("verify", "own_checks:crash", "a")
    assert ran.code == 6
    assert "RuntimeError: broken" in ran.out


def test_where_things_come_from(run: Run) -> None:
    Path("answer.txt").write_text("7")
    Path("schema.json").write_text('{"type": "integer"}')
    for arguments in (["@answer.txt"], ["-"], ["@-"], []):
        ran = run("verify", NUMBER, "--with", "min=3", *arguments, stdin="7")
        assert (ran.code, ran.out) == (0, "accepted\nparsed: 7\n")
    assert run("verify", "json_schema", "--with", "schema=@schema.json", "7").code == 0
    assert run("verify", "own_checks:asked", "--request", "x", "x").code == 0
    assert run("verify", "own_checks:asked", "--request", "@answer.txt", "x").code == 3
    assert run("verify", "own_checks:short", "--with", "limit=2", "abc").code == 3


def test_json(run: Run) -> None:
    ran = run("verify", NUMBER, "--with", "max=3", "4", "--json")
    assert ran.code == 3
    shape = json.loads(ran.out)
    assert list(shape) == [
        "outcome", "score", "reason", "code", "repairable", "parsed", "text", "cost",
    ]  # fmt: skip
    assert (shape["outcome"], shape["code"], shape["parsed"]) == (
        "rejected", "number.out_of_range", 4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["lenght", "a"], "did you mean 'length'"),
        (["length", "a"], "needs a limit"),
        (["length", "--with", "max_word=3", "a"], "did you mean 'max_words'"),
        (["length", "--with", "max_words", "a"], "--with 'max_words': write KEY=VALUE"),
        (["length", "--with", "max_words=1", "--with", "max_words=2", "a"], "given twice"),
        (["no_such_module:X", "a"], "cannot import 'no_such_module'"),
        (["own_checks:shrot", "a"], "did you mean 'short'"),
        (["own_checks:READY", "a"], "is no verifier"),
        (["broken_checks:x", "a"], "cannot import 'broken_checks': RuntimeError: at import"),
        (["length", "--with", "max_words=@none.txt", "a"], "cannot read 'none.txt'"),
        (["length", "--with", "max_words=1", "@none.txt"], "cannot read 'none.txt'"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], says: str) -> None:
    ran = run("verify", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_verifiers_are_listed_with_their_arguments(run: Run) -> None:
    rows = json.loads(run("verifiers", "--json").out)["verifiers"]
    regex = next(row for row in rows if row["name"] == "regex")
    assert regex["object"] == "cascade_verifiers.regex:Regex"
    assert regex["package"] == "cascade-engine"
    assert regex["arguments"][0] == {
        "name": "pattern", "required": True, "default": None, "type": "str",
    }  # fmt: skip
    assert regex["summary"].startswith("Accepts an answer in which")
    out = run("verifiers").out
    assert "pattern, full=False" in out
    assert all(row["name"] in out for row in rows)


def test_one_that_cannot_be_loaded_does_not_hide_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cascade_verifiers import registry

    def find(name: str) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(registry, "find_verifier", find)
    assert "RuntimeError: broken" in run("verifiers").out


TOP = '[[tiers]]\nname = "a"\nmodel = "function:os.path:basename"\n'


def load(verify: str, tmp_path: Path) -> Any:
    path = tmp_path / "p.toml"
    path.write_text(f"{TOP}verify = {verify}\n")
    return load_policy(path)


@pytest.mark.parametrize(
    ("verify", "good", "bad"),
    [
        ('{ at_least = 2, of = [{ use = "length", max_chars = 3 },'
         ' { use = "regex", pattern = "a" }, { use = "regex", pattern = "b" }] }', "abxx", "xbxx"),
        ('{ when = { use = "regex", pattern = "^[0-9]" },'
         ' verify = { use = "length", max_chars = 2 } }', "abc", "123"),
        ('{ within = 2.5, verify = { use = "length", max_chars = 2 } }', "ab", "abc"),
        ('{ weighted = [{ verify = "own_checks:scored_sync", weight = 2 },'
         ' { verify = { use = "own_checks:short", limit = 4 }, weight = 1 }], threshold = 0.5 }',
         "abc", "abcd"),
        ('{ use = "own_checks:short", limit = 3 }', "ab", "abc"),
        ('"own_checks:short"', "ab", "abcdefg"),
        ('{ not = { at_least = 1, of = ["own_checks:short"] } }', "abcdefg", "ab"),
    ],
)  # fmt: skip
def test_forms(
    verify: str, good: str, bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_checks", raising=False)
    more = "def scored_sync(answer) -> float: return 0.75\n"
    (tmp_path / "own_checks.py").write_text(CHECKS + more)
    tier = load(verify, tmp_path).tiers[0]
    for text, accepted in ((good, True), (bad, False)):
        verdict = tier.verify.verify(Request.of("x"), Answer(text))
        assert verdict.accepted is accepted, (text, verdict)


def test_how_forms_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    length = '{ use = "length", max_chars = 3 }'
    path.write_text(
        f"{TOP}verify = [{{ at_least = 1, of = [{length}, {length}] }}, "
        f"{{ within = 2, verify = {length} }}]\n"
    )
    assert load_policy_file(path).checks == (
        "at_least(1, length(max_chars=3), length(max_chars=3)) & within(2, length(max_chars=3))",
    )


@pytest.mark.parametrize(
    ("verify", "key", "says"),
    [
        ('{ at_least = 3, of = ["grounded"] }', ".at_least", "needs a whole number from 1 to 1"),
        ('{ at_least = 1 }', ".at_least", "needs 'of' beside it"),
        ('{ at_least = 1, of = [] }', ".of", "needs a list of one verifier or more"),
        ('{ at_least = 1, of = ["gronded"] }', ".of[0]", "did you mean 'grounded'"),
        ('{ at_least = 1, of = ["grounded"], x = 1 }', ".x", "does nothing beside 'at_least'"),
        ('{ within = 0, verify = "grounded" }', ".within", "needs seconds above 0"),
        ('{ within = 1 }', ".within", "needs 'verify' beside it"),
        ('{ when = "grounded" }', ".when", "needs 'verify' beside it"),
        ('{ weighted = ["grounded"] }', ".weighted[0]", "needs { verify = ..., weight = 2 }"),
        ('{ weighted = [{ verify = "grounded", weight = 0 }] }', ".weighted[0]",
         "no number above 0"),
        ('{ weighted = [{ verify = "grounded", weight = 1 }], threshold = 3 }', ".threshold",
         "needs a number in [0, 1]"),
        ('"no_such_module:X"', "", "cannot import 'no_such_module'"),
        ('{ use = "cascade_verifiers.number:Numbr" }', "", "did you mean 'Number'"),
        ('{ use = "cascade_verifiers.number:Number", mni = 1 }', ".mni", "did you mean 'min'"),
        ('{ use = "cascade_verifiers.number:Number", min = "x" }', ".min", "needs a number"),
    ],
)  # fmt: skip
def test_mistakes_in_forms(verify: str, key: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError) as caught:
        load(verify, tmp_path)
    assert (caught.value.line, caught.value.key) == (4, f"tiers[0].verify{key}")
    assert says in caught.value.message
