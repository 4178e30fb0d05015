"""The command line: what goes where, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.policies.conftest import Run

FUNCTIONS = """
import anyio

def shout(text): return text.upper()
def hostile(text): return "\\x1b[2Jgone"
def none(text): return None
def crash(text): raise RuntimeError("broken")
async def slow(text): await anyio.sleep(60)
def interrupt(text): raise KeyboardInterrupt
def long(answer): return "" if not answer.text else len(answer.text) > 10
def bug(answer): raise SystemError
"""


@pytest.fixture
def run(command_line: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command line, in a folder with some functions to call."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cli_functions", raising=False)
    (tmp_path / "cli_functions.py").write_text(FUNCTIONS)
    return command_line


def policy(*tiers: str, top: str = "") -> str:
    """A policy file in this folder with a tier for each function (and check)."""
    text = top
    for tier in tiers:
        function, _, check = tier.partition(" ")
        text += f'\n[[tiers]]\nname = "{function}"\nmodel = "function:cli_functions:{function}"\n'
        text += f'verify = "cli_functions:{check}"\n' if check else ""
    Path("p.toml").write_text(text)
    return "p.toml"


def test_the_answer_alone_is_on_standard_output(run: Run) -> None:
    assert run("run", policy("none", "shout"), "hello") == (0, "HELLO\n", "")


@pytest.mark.parametrize("prompt", ["-", "@-", "@prompt.txt", None, "--"])
def test_where_a_prompt_comes_from(run: Run, prompt: str | None) -> None:
    Path("prompt.txt").write_text("hello", encoding="utf-8")
    arguments = {"--": ["--", "hello"], None: []}.get(prompt, [str(prompt)])
    assert run("run", policy("shout"), *arguments, stdin="hello") == (0, "HELLO\n", "")


def test_the_table_goes_to_standard_error(run: Run) -> None:
    code, out, err = run("run", policy("none", "shout"), "hello", "--explain")
    assert (code, out) == (0, "HELLO\n")
    assert [word for line in err.splitlines()[1:3] for word in line.split()[1:3]] == [
        "none",
        "rejected",
        "shout",
        "accepted",
    ]


def test_json_is_one_object(run: Run) -> None:
    code, out, err = run("run", policy("none", "shout"), "hello", "--json")
    assert (code, err) == (0, "")
    shape = json.loads(out)
    assert list(shape) == [
        "text", "parsed", "accepted", "checked", "outcome", "policy", "tier", "escalations",
        "latency_s", "cost", "waste", "attempts",
    ]  # fmt: skip
    assert shape["text"] == "HELLO"
    assert (shape["outcome"], shape["tier"], shape["escalations"]) == ("accepted", "shout", 1)
    assert shape["cost"] == {"low": 0.0, "high": 0.0, "basis": "reported"}
    assert shape["checked"] is False
    first, second = shape["attempts"]
    assert list(first) == [
        "number", "tier", "model", "kind", "outcome", "reason", "started_s", "waited_s",
        "latency_s", "time_to_first_token_s", "cost",
    ]  # fmt: skip
    assert (first["number"], first["tier"], first["outcome"]) == (1, "none", "rejected")
    assert (second["model"], second["outcome"]) == ("function:cli_functions:shout", "accepted")


def test_the_best_answer_is_shown_as_not_accepted(run: Run) -> None:
    file = policy("shout long", top='exhausted = "best"\n')
    code, out, err = run("run", file, "hello")
    assert (code, out) == (3, "HELLO\n")
    assert err == "cascade: no tier was accepted; this is the best answer, from shout\n"
    code, out, _ = run("run", file, "hello", "--json")
    assert (code, json.loads(out)["accepted"]) == (3, False)


EXITS: list[tuple[list[str], str, int, str]] = [
    (["shout long"], "", 3, "CascadeExhausted"),
    (["crash", "shout long"], "", 3, "CascadeExhausted"),
    (["crash"], "", 5, "CascadeExhausted"),
    (["none", "crash"], "", 5, "CascadeExhausted"),
    (["none"], "", 3, "CascadeExhausted"),
    (["none", "shout long", "crash"], "", 3, "CascadeExhausted"),
    (["slow"], "deadline=0.01", 4, "DeadlineExceededError"),
    (["slow long"], "deadline=0.01", 4, "DeadlineExceededError"),
]


@pytest.mark.parametrize(("tiers", "change", "code", "kind"), EXITS)
def test_a_call_without_an_answer(
    run: Run, tiers: list[str], change: str, code: int, kind: str
) -> None:
    arguments = ["run", policy(*tiers), "hello", *(["--set", change] if change else [])]
    plain = run(*arguments, "--explain")
    assert (plain.code, plain.out) == (code, "")
    assert tiers[0].split()[0] in plain.err
    assert plain.err.splitlines()[-1].startswith("cascade: policy 'p': ")
    as_json = run(*arguments, "--json")
    assert (as_json.code, as_json.err) == (code, "")
    shape = json.loads(as_json.out)
    assert (shape["error"]["type"], shape["error"]["policy"]) == (kind, "p")
    assert len(shape["attempts"]) == len(tiers)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "requires an argument"),
        (["rnu"], 'Did you mean "run"?'),
        (["run", "p.toml", "a", "b"], "Put text of several words in quotes."),
        (["run", "p.toml", "a", "--explian"], "Did you mean --explain?"),
        (["run", "p.toml", "a", "--deadline", "5"], "--set deadline=VALUE"),
        (["run", "p.toml", "a", "--start-after=5"], "--set start_after=VALUE"),
        (["check", "p.toml", "--threshold=5"], "--set tiers.0.threshold=VALUE"),
        (["run", "p.toml"], "no prompt: give it in quotes, as @FILE"),
        (["run", "p.toml", "  "], "the prompt is empty"),
        (["run", "p.toml", "@none.txt"], "the prompt: cannot read 'none.txt': No such file"),
        (["run", "p.toml", "@."], "the prompt: cannot read '.': Is a directory"),
        (["run", "p.toml", "@bad.txt"], "the prompt: 'bad.txt' is not UTF-8 text"),
        (["run", "p.toml", "a", "--var", "x"], "--var 'x': write NAME=VALUE or NAME=@FILE"),
        (["run", "p.toml", "a", "--var", "x=1", "--var", "x=2"], "--var x: given twice"),
        (["run", "p.toml", "a", "--var", "x=@none"], "--var x: cannot read 'none'"),
        (["run", "p.toml", "a", "--var", "x=1"], "'x' is used by no tier"),
        (["run", "p.toml", "a", "--set", "x"], "write KEY=VALUE"),
        (["run", "p.toml", "a", "--set", "tiers.shut.timeout=1"], "did you mean 'shout'?"),
        (["run", "p.toml", "a", "--set", "deadlin=1"], "p.toml: deadlin: unknown key: did you"),
        (["run", "extrct", "a"], "no policy 'extrct': did you mean 'extract'?"),
        (["check", "none.toml"], "no policy file 'none.toml'"),
        (["models", "pull", "smollm2"], "did you mean 'smollm2-135m'?"),
    ],
)  # fmt: skip
def test_wrong_usage(run: Run, arguments: list[str], says: str) -> None:
    policy("shout")
    Path("bad.txt").write_bytes(b"\xff")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("cascade: ")
    assert says in err
    assert "Traceback" not in err
    code, out, err = run(*arguments, "--json")
    if "--json" not in says and arguments[0] != "models":
        assert (code, err) == (2, "")
        assert says in json.loads(out)["error"]["message"] or "file" in json.loads(out)["error"]


def test_a_variable_that_is_missing_says_how_to_give_it(run: Run) -> None:
    file = policy("shout")
    text = Path(file).read_text(encoding="utf-8") + 'prompt = "{{greeting}} {{prompt}}"\n'
    Path(file).write_text(text, encoding="utf-8")
    code, _, err = run("run", file, "you")
    assert code == 2
    assert "'greeting'" in err
    assert "--var NAME=VALUE" in err
    Path("v.txt").write_text("hello", encoding="utf-8")
    assert run("run", file, "you", "--var", "greeting=@v.txt").out == "HELLO YOU\n"
    assert run("run", file, "you", "--var", "greeting=a=b").out == "A=B YOU\n"


def test_a_mistake_in_the_file_names_the_place(run: Run) -> None:
    Path("p.toml").write_text('[[tiers]]\nmodel = "opnai:x"\n')
    code, _, err = run("check", "p.toml")
    assert (code, err) == (
        2, "cascade: p.toml:2: tiers[0].model: no provider 'opnai': did you mean 'openai'?\n"
    )  # fmt: skip
    error = json.loads(run("check", "p.toml", "--json").out)["error"]
    assert (error["file"], error["line"], error["key"]) == ("p.toml", 2, "tiers[0].model")


def test_a_mistake_in_a_file_of_rows_names_the_place(run: Run) -> None:
    Path("rows.jsonl").write_text('{"id": "a", "prompt": "?", "models": {}}\n\n{"id": 7}\n')
    code, _, err = run("eval", "--recording", "rows.jsonl")
    assert code == 2
    assert err.startswith("cascade: rows.jsonl:3: ")
    error = json.loads(run("eval", "--recording", "rows.jsonl", "--json").out)["error"]
    assert (error["type"], error["file"], error["line"]) == ("DataFileError", "rows.jsonl", 3)
    assert "rows.jsonl" not in error["message"]


def test_an_unexpected_error_is_one_message(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("cascade_policies.search.find_policy_file", broken)
    code, _, err = run("run", "p", "a")
    assert code == 1
    assert err == (
        "cascade: unexpected ZeroDivisionError: oops\n"
        "Run it again with --debug for the traceback.\n"
    )
    code, _, err = run("run", "p", "a", "--debug")
    assert code == 1
    assert err.startswith("Traceback")
    monkeypatch.setenv("CASCADE_DEBUG", "1")
    assert run("run", "p", "a").err.startswith("Traceback")


def test_an_interrupt_ends_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cascade_policies.search.find_policy_file", interrupted)
    assert run("run", "p", "a") == (130, "", "cascade: interrupted\n")


def test_control_sequences_do_not_reach_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy("hostile")
    assert run("run", file, "a").out == "\x1b[2Jgone\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("run", file, "a").out == "[2Jgone\n"


def test_check_shows_what_was_understood(run: Run) -> None:
    file = policy("none", "shout long", top='description = "Shouts."\nstart_after = 0.5\n')
    code, out, err = run("check", file, "--set", "tiers.1.timeout=7")
    assert (code, err) == (0, "")
    for words in ("p: Shouts.", "hedge: shout after 0.5 s", "cli_functions:long", "timeout 7.0"):
        assert words in " ".join(out.split())
    shape = json.loads(run("check", file, "--json").out)
    assert shape["error"] is None
    assert shape["start_after"] == [None, 0.5]
    assert shape["tiers"][1] == {
        "name": "shout",
        "models": ["function:cli_functions:shout"],
        "verify": "cli_functions:long",
        "settings": {},
    }


def test_check_says_what_is_missing_here(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    Path("p.toml").write_text('[[tiers]]\nmodel = "openai:gpt-5"\napi_key = "env:MY_KEY"\n')
    code, out, err = run("check", "p.toml")
    assert code == 5
    assert "openai:gpt-5" in out
    assert "MY_KEY" in err
    assert json.loads(run("check", "p.toml", "--json").out)["error"]["type"] == "MissingAPIKeyError"


@pytest.mark.parametrize("name", ["extract", "classify", "sql"])
def test_the_library_checks(run: Run, name: str) -> None:
    code, out, err = run("check", name)
    assert (code, err) == (0, "")
    assert out.startswith(f"{name}: ")


def test_models_and_verifiers_are_listed(run: Run) -> None:
    out = run("models", "list").out
    assert "local:smollm2-135m" in out
    assert "Apache-2.0" in out
    models = json.loads(run("models", "list", "--json").out)["models"]
    assert {"name", "publisher", "licence", "bytes", "sha256", "path"} <= set(models[0])
    assert "json_schema" in run("verifiers").out
    names = [v["name"] for v in json.loads(run("verifiers", "--json").out)["verifiers"]]
    assert "json_schema" in names


def test_a_model_that_is_not_here(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASCADE_HOME", str(tmp_path / "empty"))
    code, out, err = run("models", "path", "smollm2-135m")
    assert (code, out) == (5, "")
    assert "cascade models pull smollm2-135m" in err


LIBRARY_MODELS = {
    "extract": ["smollm2-135m", "qwen2.5-coder-0.5b"],
    "classify": ["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"],
}


@pytest.mark.parametrize("name", LIBRARY_MODELS)
def test_check_says_which_weights_are_missing(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("CASCADE_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("CASCADE_OFFLINE", raising=False)
    code, out, err = run("check", name)
    assert (code, err) == (0, "")
    shown = [line for line in out.splitlines() if line.startswith("will be downloaded: ")]
    assert [line.split()[3].strip(",") for line in shown] == LIBRARY_MODELS[name]
    assert name != "extract" or "will be downloaded: smollm2-135m, 98 MB" in shown
    shape = json.loads(run("check", name, "--json").out)
    assert [it["name"] for it in shape["downloads"]] == LIBRARY_MODELS[name]
    assert (shape["error"], shape["downloads"][0]["bytes"] > 1e6) == (None, True)
    monkeypatch.setenv("CASCADE_OFFLINE", "1")
    code, out, err = run("check", name)
    assert (code, "will be downloaded" in out) == (5, False)
    for model in LIBRARY_MODELS[name]:
        assert f"cascade models pull {model}" in err
    shape = json.loads(run("check", name, "--json").out)
    assert shape["error"]["type"] == "ModelUnavailableError"
    # A file that was put there by hand is checked when it is used.
    (tmp_path / "empty" / "models").mkdir(parents=True)
    for model in LIBRARY_MODELS[name]:
        (tmp_path / "empty" / "models" / f"{model}.gguf").touch()
    assert run("check", name).code == 0


def test_models_that_are_missing_offline_are_no_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASCADE_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("CASCADE_OFFLINE", "1")
    code, out, err = run("run", "extract", "order 12")
    assert (code, out) == (5, "")
    assert "cascade models pull smollm2-135m" in err


@pytest.mark.parametrize(
    "arguments",
    [["models", "list"], ["verifiers"], ["check", "p.toml"], ["run", "p.toml", "a", "--explain"]],
)
def test_a_pipe_gets_everything_without_trailing_spaces(run: Run, arguments: list[str]) -> None:
    folder = "a_folder_with_a_rather_long_name" * 3
    name = f"cli_functions_{'x' * 120}"
    Path(f"{name}.py").write_text(FUNCTIONS)
    Path(folder).mkdir()
    path = f"{folder}/p.toml"
    Path(path).write_text(f'[[tiers]]\nmodel = "function:{name}:shout"\n')
    code, out, err = run(*(path if word == "p.toml" else word for word in arguments))
    assert code == 0
    lines = (out + err).splitlines()
    assert lines
    assert all(line == line.rstrip() for line in lines)
    assert "…" not in out
    if arguments[0] == "check":
        assert f"file       {path}" in lines
        assert f"model   function:{name}:shout" in lines
    if arguments[0] == "verifiers":
        assert any(
            line.startswith("self_confidence") and line.endswith("cascade-engine") for line in lines
        )


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_gets_whole_names(
    run: Run, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    for name, size in (("smollm2-135m", "98 MB"), ("qwen2.5-coder-1.5b", "1,117 MB")):
        line = next(line for line in run("models", "list").out.splitlines() if name in line)
        assert line.startswith(f"local:{name} ")
        assert size in line
        assert len(line) <= width
    lines = run("verifiers").out.splitlines()
    assert {line.split()[0] for line in lines[1:]} >= {"json_schema", "self_confidence"}
    assert all(len(line) <= width for line in lines[1:])  # the first has escape sequences
    folder = Path("a_folder_with_a_rather_long_name" * 3)
    folder.mkdir()
    (folder / "p.toml").write_text('[[tiers]]\nmodel = "function:cli_functions:shout"\n')
    assert f"{folder}/p.toml" in run("check", f"{folder}/p.toml").out


def test_the_documentation_has_every_variable_and_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in (
        "CASCADE_HOME", "CASCADE_OFFLINE", "CASCADE_POLICY_PATH", "CASCADE_CONFIG",
        "CASCADE_LEDGER", "CASCADE_DEBUG", "CASCADE_LOCAL_LOG", "HF_ENDPOINT",
        "OPENAI_API_KEY", "OPENAI_BASE_URL",
    ):  # fmt: skip
        assert f"| `{name}` |" in text
    for key in ("checked", "waited_s", "latency_s", "escalations", "downloads", "waste"):
        assert f'"{key}":' in text


def shell(command: str, *, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A shell command in which ``cascade`` is the command line, as installed or not."""
    line = f'cascade() {{ "{sys.executable}" -m cascade_policies.cli "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", line], input=stdin, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("arguments", ["run p.toml a/b", "run p.toml a --json", "models list"])
@pytest.mark.parametrize(
    ("target", "says"),
    [
        (">&-", "cannot write the answer: standard output is closed"),
        (">/dev/full", "cannot write the answer: no space left on device"),
    ],
)
def test_output_that_cannot_be_written(
    tmp_path: Path, arguments: str, target: str, says: str
) -> None:
    (tmp_path / "p.toml").write_text('[[tiers]]\nmodel = "function:os.path:basename"\n')
    ran = shell(f"cd '{tmp_path}'; cascade {arguments} {target}")
    assert (ran.returncode, ran.stderr) == (1, f"cascade: {says}\n")


def test_closed_streams_that_are_not_needed_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('[[tiers]]\nmodel = "function:os.path:basename"\n')
    ran = shell(f"cascade run '{path}' a/b --explain <&- 2>&-")
    assert (ran.returncode, ran.stdout) == (0, "b\n")
    ran = shell(f"cascade run '{path}' <&-")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("cascade: no prompt")


@pytest.mark.parametrize(("word", "code"), [("a", 0), ("", 3)])
def test_a_reader_that_leaves_does_not_change_the_exit_code(
    tmp_path: Path, word: str, code: int
) -> None:
    path = tmp_path / "p.toml"
    verify = 'verify = { use = "regex", pattern = "zzz" }\n' if code else ""
    path.write_text('[[tiers]]\nmodel = "function:os.path:basename"\n' + verify)
    run = f"cascade run '{path}' a/b{word} --explain"
    for line in (f"{run} 2>&1 | true", f"{run} 2>&1 | head -1", f"{run} --json 2>&1 | true"):
        ran = shell(f"{line}; exit ${{PIPESTATUS[0]}}")
        assert (ran.returncode, ran.stderr) == (code, ""), line
    ran = shell("cascade --help | true; exit ${PIPESTATUS[0]}")
    assert (ran.returncode, ran.stderr) == (0, "")


def cascade(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "cascade_policies.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_version_needs_no_engine() -> None:
    code = (
        "import sys; from cascade_policies.cli import main; code = main(['--version']);"
        "print(sorted({'cascade.engine', 'anyio', 'msgspec', 'cascade_policies.file'}"
        " & set(sys.modules))); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = ran.stdout.splitlines()
    assert version
    assert modules == "[]"


def test_a_process_ends_with_the_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('[[tiers]]\nmodel = "function:os.path:basename"\n')
    ran = cascade("run", str(path), "a/b")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "b\n", "")
    path.write_text("tiers = 1")
    ran = cascade("run", str(path), "a/b")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"cascade: {path}:1: tiers: got 1")


def test_ctrl_c_ends_a_call_cleanly(tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "waiting.py").write_text(
        "import anyio\nfrom pathlib import Path\n"
        f"async def wait(text):\n    Path({str(started)!r}).touch()\n    await anyio.sleep(60)\n"
    )
    path = tmp_path / "p.toml"
    path.write_text('[[tiers]]\nmodel = "function:waiting:wait"\n')
    search = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "cascade_policies.cli", "run", str(path), "hello"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": search},
    )  # fmt: skip
    with process:
        while not started.exists():
            assert process.poll() is None
            time.sleep(0.01)  # another process: there is no event of ours to wait for
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "cascade: interrupted\n")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('[[tiers]]\nmodel = "function:os.path:basename"\n')
    command = f"{sys.executable} -m cascade_policies.cli run {path} - | true"
    prompt = "x" * 1_000_000
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        input=prompt, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
