"""Every mistake in a policy file is refused with its line, its key and what is right instead."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from cascade.errors import PolicyFileError
from cascade_policies.file import load_policy

A = '[[tiers]]\nname = "a"\nmodel = "function:os.path:basename"\n'  # lines 1 to 3
B = '[[tiers]]\nname = "b"\nmodel = "openai:gpt-5-mini"\n'  # lines 4 to 6 after A
V = 'verify = "json"\n[verifiers.json]\nuse = "json_schema"\nschema = { type = "object" }\n'


class Mistake(NamedTuple):
    """A file, where its mistake is, and what the message says about it."""

    text: str
    line: int | None
    key: str | None
    says: str


TOML = [
    Mistake("\nname = x", 2, None, "not valid TOML: Invalid value x: text goes in quotes"),
    Mistake("model=openai:gpt-5\n", 1, None, "Invalid value openai:gpt-5: text goes in quotes"),
    Mistake("start_after = null\n", 1, None, 'Invalid value null: TOML has no null, write "none"'),
    Mistake("a = [1, None] # x\n", 1, None, "Invalid value None: TOML has no null"),
    Mistake("a = { b = True }\r\n", 1, None, "Invalid value True: write true"),
    Mistake("a =\n", 1, None, "Invalid value: there is nothing after '='"),
    Mistake("a = 5s\n", 1, None, "after a statement: a = 5s"),
    Mistake("api_key = x-123\n", 1, None, "the line is not shown"),
    Mistake('name = "x', None, None, "not valid TOML: Unterminated string"),
    Mistake("a = 1\na = 2\n" + A, 2, None, "not valid TOML: Cannot overwrite a value"),
    Mistake("a = 1979-13-45\n", 1, None, "not valid TOML"),
    Mistake("a = " + "[" * 2000, None, None, "nested too deeply"),
]

KEYS = [
    Mistake("", None, "tiers", "missing: give one [[tiers]] table for each tier"),
    Mistake("tiers = []", 1, "tiers", "needs at least one [[tiers]] table"),
    Mistake('[tiers]\nmodel = "openai:x"\n', 1, "tiers", "needs one [[tiers]] table for each tier"),
    Mistake('prefers = "fastest"\n' + A, 1, "prefers", "unknown key: did you mean 'prefer'?"),
    Mistake("\n\nteirs = 1\n", 3, "teirs", "unknown key: did you mean 'tiers'?"),
    Mistake(A + "modl = 1\n", 4, "tiers[0].modl", "unknown key: did you mean 'model'?"),
    Mistake(A + "treshold = 0.5\n", 4, "tiers[0].treshold", "did you mean 'threshold'?"),
    Mistake(A + "zzz = 1\n", 4, "tiers[0].zzz", "unknown key: known: allow_truncated, api_key"),
    Mistake(A + '"a.b" = 1\n', 4, 'tiers[0]."a.b"', "unknown key"),
    Mistake(A + "temperature = 0\n", 4, "tiers[0].temperature", "params = { temperature = … }"),
    Mistake(A + "deadline = 5\n", 4, "tiers[0].deadline", "belongs in the top of the file"),
    Mistake("timeout = 5\n" + A, 1, "timeout", "belongs in a [[tiers]] table"),
    Mistake(A + "[policy]\nx = 1\n", 4, "policy", "unknown key"),
    Mistake('[[tiers]]\nname = "x"\n', 1, "tiers[0].model", 'missing: give "provider:model"'),
    Mistake(B + "price = { inptu = 1 }\n", 4, "tiers[0].price.inptu", "did you mean 'input'?"),
    Mistake(B + "price = { input = 1 }\n", 4, "tiers[0].price.output", "missing: give US dollars"),
]

TYPES = [
    Mistake("name = 3\n" + A, 1, "name", "got 3: needs text"),
    Mistake('name = ""\n' + A, 1, "name", "a policy needs a name"),
    Mistake('deadline = "20"\n' + A, 1, "deadline", "got '20': needs seconds"),
    Mistake("deadline = true\n" + A, 1, "deadline", "got true: needs seconds"),
    Mistake('start_after = "race"\n' + A + B, 1, "start_after", "got 'race': needs seconds (0 is"),
    Mistake('start_after = [0,\n"x"]\n' + A + B, 2, "start_after[1]", "got 'x': needs seconds"),
    Mistake('exhausted = "worst"\n' + A, 1, "exhausted", "got 'worst': needs 'raise' or 'best'"),
    Mistake("description = []\n" + A, 1, "description", "got []: needs text"),
    Mistake("tiers = 3", 1, "tiers", "got 3: needs one [[tiers]] table"),
    Mistake("tiers = [3]", 1, "tiers[0]", "got 3"),
    Mistake("[tiers]\nmodel = 3\n", 1, "tiers", "got a table with 'model': needs one [[tiers]]"),
    Mistake(
        "deadline = [true, { a = 1 }, 'x']\n" + A, 1, "deadline", "got [true, {…}, 'x']: needs"
    ),
    Mistake("[[tiers]]\nmodel = 3\n", 2, "tiers[0].model", 'needs "provider:model", or a list'),
    Mistake('[[tiers]]\nmodel = ["a:b", 3]\n', 2, "tiers[0].model[1]", 'needs "provider:model"'),
    Mistake(A + "retries = 1.5\n", 4, "tiers[0].retries", "got 1.5: needs a whole number"),
    Mistake(A + 'retries = "none"\n', 4, "tiers[0].retries", "got 'none': needs a whole number"),
    Mistake(A + "constrain = 1\n", 4, "tiers[0].constrain", "got 1: needs true or false"),
    Mistake(A + "params = 1\n", 4, "tiers[0].params", "got 1: needs a table"),
    Mistake(A + "system = 1\n", 4, "tiers[0].system", "got 1: needs text"),
    Mistake(A + "cancel_stops_billing = 1\n", 4, "tiers[0].cancel_stops_billing", "true or false"),
    Mistake(A + "price = 1\n", 4, "tiers[0].price", "got 1: needs a table"),
    Mistake(A + 'fallbacks = "x:y"\n', 4, "tiers[0].fallbacks", "needs a list of"),
    Mistake(A + "on_abstain = true\n", 4, "tiers[0].on_abstain", "needs 'escalate' or 'accept'"),
    Mistake("[verifiers]\n" + A + "verify = 3\n", 5, "tiers[0].verify", "got 3: needs a verifier"),
    Mistake("verifiers = 3\n" + A, 1, "verifiers", "needs one [verifiers.NAME] table"),
]

VALUES = [
    Mistake("deadline = 0\n" + A, 1, "deadline", "got 0: needs seconds above 0"),
    Mistake("deadline = inf\n" + A, 1, "deadline", "got inf: needs seconds above 0"),
    Mistake("start_after = -1\n" + A + B, 1, "start_after", "got -1: needs"),
    Mistake("start_after = 1\n" + A, 1, "start_after", "needs a second tier"),
    Mistake("start_after = [1, 1]\n" + A + B, 1, "start_after", '"none" for the first tier'),
    Mistake("start_after = [0]\n" + A + B, 1, "start_after", "one value a tier"),
    Mistake("start_after = []\n" + A + B, 1, "start_after", "one value a tier"),
    Mistake("grace = 1\n" + A + B, 1, "grace", "nothing waits here"),
    Mistake(A + "timeout = -1\n", 4, "tiers[0].timeout", "got -1: needs seconds above 0"),
    Mistake(A + "timeout = nan\n", 4, "tiers[0].timeout", "got nan: needs seconds above 0"),
    Mistake(A + "samples = 0\n", 4, "tiers[0].samples", "got 0: needs a whole number, 1 or more"),
    Mistake(A + "threshold = 0.5\n", 4, "tiers[0].threshold", "needs a 'verify' beside it"),
    Mistake(A + "repairs = 1\n", 4, "tiers[0].repairs", "needs a 'verify' beside it"),
    Mistake(A + "constrain = true\n", 4, "tiers[0].constrain", "needs a 'verify' beside it"),
    Mistake(A + 'prompt = "hello"\n', 4, "tiers[0].prompt", "a template with {{prompt}}"),
    Mistake(A + B + "price = { input = -1, output = 1 }\n", 7, "tiers[1].price.input", "got -1"),
    Mistake(A + "name2 = 1\n" + B, 4, "tiers[0].name2", "did you mean 'name'?"),
    Mistake(A + A, 5, "tiers[1].name", "two tiers are named 'a': give one another 'name'"),
    Mistake('[[tiers]]\nmodel = "openai:x"\n' * 2, 4, "tiers[1].model", "two tiers are named"),
    Mistake("[[tiers]]\nmodel = []\n", 2, "tiers[0].model", "a tier needs a model"),
    Mistake('[[tiers]]\nmodel = ""\n', 2, "tiers[0].model", "a tier needs a model"),
    Mistake('[[tiers]]\nmodel = "gpt-5"\n', 2, "tiers[0].model", "write 'provider:model'"),
    Mistake('[[tiers]]\nmodel = "opnai:x"\n', 2, "tiers[0].model", "did you mean 'openai'?"),
    Mistake('[[tiers]]\nmodel = "OpenAI:x"\n', 2, "tiers[0].model", "did you mean 'openai'?"),
    Mistake(A + 'fallbacks = ["loca:x"]\n', 4, "tiers[0].fallbacks[0]", "did you mean 'local'?"),
    Mistake(B + "params = { a = 1979-05-27 }\n", 4, "tiers[0].params.a", "write it in quotes"),
    Mistake(B + "params = { a = [inf] }\n", 4, "tiers[0].params.a[0]", "inf is no JSON value"),
]

FILES = [
    Mistake(A + 'prompt_file = "no.md"\n', 4, "tiers[0].prompt_file", "No such file"),
    Mistake(A + 'prompt_file = "."\n', 4, "tiers[0].prompt_file", "cannot read"),
    Mistake(A + 'prompt_file = "bad.md"\n', 4, "tiers[0].prompt_file", "it is not UTF-8 text"),
    Mistake(A + 'prompt_file = "x.md"\n', 4, "tiers[0].prompt_file", "with {{prompt}} in it"),
    Mistake(A + 'system = "x"\nsystem_file = "x.md"\n', 5, "tiers[0].system_file", "not both"),
    Mistake(A + 'prompt_file = "\\u0000"\n', 4, "tiers[0].prompt_file", "cannot read"),
]

W = A + "verify = "  # the check is on line 4
USE = 'use = "one_of"'

CHECKS = [
    Mistake(W + '"grunded"\n', 4, "tiers[0].verify", "no verifier 'grunded': did you mean 'grou"),
    Mistake(W + '["grounded", "x"]\n', 4, "tiers[0].verify[1]", "no verifier 'x': known: "),
    Mistake(W + '{ use = "grunded" }\n', 4, "tiers[0].verify.use", "did you mean 'grounded'?"),
    Mistake(W + "{ use = 3 }\n", 4, "tiers[0].verify.use", "got 3: needs a verifier's name"),
    Mistake(W + "{}\n", 4, "tiers[0].verify", "an empty table: needs 'use', or one of"),
    Mistake(W + '{ al = ["grounded"] }\n', 4, "tiers[0].verify", "a table with 'al': needs 'use'"),
    Mistake(W + "{ name = 'length', max_words = 3 }\n", 4, "tiers[0].verify",
            "with 'name' and 'max_words': needs 'use', or one of"),
    Mistake(W + "true\n", 4, "tiers[0].verify", "got true: needs a verifier's name"),
    Mistake(W + "[]\n", 4, "tiers[0].verify", "got []: needs a list of one verifier or more"),
    Mistake(W + "{ any = [] }\n", 4, "tiers[0].verify.any", "got []: needs a list of one"),
    Mistake(W + '{ any = "grounded" }\n', 4, "tiers[0].verify.any", "needs a list of one"),
    Mistake(W + '{ not = "x" }\n', 4, "tiers[0].verify.not", "no verifier 'x'"),
    Mistake(W + '{ not = "grounded", x = 1 }\n', 4, "tiers[0].verify.x", "nothing beside 'not'"),
    Mistake(W + f"{{ {USE} }}\n", 4, "tiers[0].verify", "one_of: labels: give at least one"),
    Mistake(W + f'{{ {USE}, labels = "" }}\n', 4, "tiers[0].verify.labels", "'' is no label"),
    Mistake(W + f'{{ {USE}, lables = ["a"] }}\n', 4, "tiers[0].verify.lables", "mean 'labels'?"),
    Mistake(W + f"{{ {USE}, labels = [1979-05-27] }}\n", 4, "tiers[0].verify.labels[0]", "quotes"),
    Mistake(W + '"json:nothing"\n', 4, "tiers[0].verify", "no 'nothing' there"),
    Mistake(W + '"nowhere:x"\n', 4, "tiers[0].verify", "cannot import 'nowhere'"),
    Mistake(W + '{ use = "json_schema", schema_file = "no.json" }\n', 4,
            "tiers[0].verify.schema_file", "No such file"),
    Mistake(W + '{ use = "json_schema", schema_file = "bad.json" }\n', 4,
            "tiers[0].verify.schema_file", "bad.json is not valid JSON"),
    Mistake(W + '{ use = "json_schema", schema_file = "wrong.json" }\n', 4,
            "tiers[0].verify.schema_file", "json_schema: schema: "),
    Mistake(W + '{ use = "json_schema", schema = {}, schema_file = "x.json" }\n', 4,
            "tiers[0].verify.schema_file", "give this or 'schema', not both"),
    Mistake(W + '{ use = "json_schema", schema_file = 3 }\n', 4,
            "tiers[0].verify.schema_file", "got 3: needs the path of a file"),
    Mistake(A + V + '[verifiers.b]\nuse = "grounded"\n', 8, "verifiers.b", "no tier uses it"),
    Mistake(A + "[verifiers]\nx = 'grounded'\n", 5, "verifiers.x", "no tier uses it"),
    Mistake(A + V.replace("json]", "grounded]"), 5, "verifiers.grounded", "registered verifier"),
    Mistake(A + V.replace('"json"', '"jsn"'), 4, "tiers[0].verify", "did you mean 'json'?"),
    Mistake(A + V.replace('"json"', '{ use = "json" }'), 4, "tiers[0].verify.use", "name alone"),
    Mistake(A + V.replace("schema =", "shema ="), 7, "verifiers.json.shema", "mean 'schema'?"),
    Mistake(W + '"a"\n[verifiers]\na = ["b"]\nb = { not = "a" }\n', 7, "verifiers.b.not",
            "refers to itself: a -> b -> a"),
    Mistake(W + '"grounded"\nthreshold = 0.5\n', 5, "tiers[0].threshold", "grounded gives no sco"),
    Mistake(W + '"grounded"\nthreshold = 2\n', 5, "tiers[0].threshold", "got 2: needs a number in"),
    Mistake(W + '["self_confidence", "self_confidence"]\nthreshold = 0.5\n', 5,
            "tiers[0].threshold", "could go to any of"),
    Mistake(W + '"grounded"\nconstrain = true\n', 5, "tiers[0].constrain", "has no schema to"),
    Mistake(W + '["json", "json"]\nconstrain = true\n' + V.split("\n", 1)[1], 5,
            "tiers[0].constrain", "each ask for a form of their own"),
    Mistake(B + V.replace("[", "constrain = true\nparams = { response_format = {} }\n[", 1), 6,
            "tiers[0].params.response_format", "keep this or 'constrain', not both"),
]  # fmt: skip

ALL = [*TOML, *KEYS, *TYPES, *VALUES, *FILES, *CHECKS]


@pytest.mark.parametrize("mistake", ALL, ids=lambda m: f"{m.key or 'file'} {m.says[:30]}")
def test_mistake(mistake: Mistake, tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text("a prompt without its place")
    (tmp_path / "bad.md").write_bytes(b"\xff")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "wrong.json").write_text('{"type": "objekt"}')
    path = tmp_path / "p.toml"
    path.write_text(mistake.text, encoding="utf-8")
    with pytest.raises(PolicyFileError) as caught:
        load_policy(path)
    error = caught.value
    assert mistake.says in error.message
    assert (error.line, error.key) == (mistake.line, mistake.key)
    assert error.file == str(path)
    place = str(path) if mistake.line is None else f"{path}:{mistake.line}"
    assert str(error).startswith(place)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(PolicyFileError, match="cannot read the file: No such file") as caught:
        load_policy(path)
    assert caught.value.file == str(path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyFileError, match="not UTF-8"):
        load_policy(path)


@pytest.mark.parametrize("wrong", ["sk-secret", "env:", "env:A B", "$KEY"])
def test_a_key_in_a_file_is_refused_and_never_repeated(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(B + f'api_key = "{wrong}"\n')
    with pytest.raises(PolicyFileError, match="env:NAME") as caught:
        load_policy(path)
    assert (caught.value.line, caught.value.key) == (4, "tiers[0].api_key")
    assert wrong not in str(caught.value).replace("env:NAME", "")


def test_a_key_of_another_type_is_not_repeated_either(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(B + "api_key = 123456789\n")
    with pytest.raises(PolicyFileError, match=r"api_key: got another type") as caught:
        load_policy(path)
    assert "123456789" not in str(caught.value)
