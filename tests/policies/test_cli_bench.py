"""``cascade bench``: what it counts, what it asks first, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascade.testing import FaultyServer, Reply

if TYPE_CHECKING:
    from tests.policies.conftest import Run

FUNCTIONS = """
def short(text): return text if len(text) < 6 else None
def shout(text): return text.upper()
def whole(answer): return "no" not in answer.text
def fail(text): raise RuntimeError("broken")
"""
POLICY = """
[[tiers]]
name = "short"
model = "function:bench_functions:short"
verify = "bench_functions:whole"

[[tiers]]
name = "shout"
model = "function:bench_functions:shout"
"""


@pytest.fixture
def run(command_line: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command line, in a folder with a policy of functions."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bench_functions", raising=False)
    (tmp_path / "bench_functions.py").write_text(FUNCTIONS)
    (tmp_path / "p.toml").write_text(POLICY)
    (tmp_path / "prompts.txt").write_text("yes\n\nno\nsomething long\nyes\n")
    return command_line


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(default=Reply("four words of text")) as server:
        yield server


def paid(server: FaultyServer, *, price: str = "price = { input = 0, output = 1000000 }") -> str:
    """A policy of a model that costs a dollar a token."""
    model = f'model = "openai:m"\nbase_url = "{server.base_url}"\nretries = 1\n{price}\n'
    Path("paid.toml").write_text(f"[[tiers]]\n{model}params = {{ max_tokens = 10 }}\n")
    return "paid.toml"


def test_tiers_are_counted_in_every_mode(run: Run) -> None:
    code, out, _ = run("bench", "p.toml", "--prompts", "prompts.txt", "--calls", "4", "--json")
    assert code == 0
    shape = json.loads(out)
    assert (shape["policy"], shape["calls"], shape["concurrency"], shape["rate"]) == (
        "p", 4, 1, None
    )  # fmt: skip
    cascade, race = shape["modes"]
    assert (cascade["mode"], race["mode"]) == ("cascade", "race")
    assert cascade["outcomes"] == {"accepted": 4}
    # Declined is rejected: "something long" is not for the first tier, and "no" fails its check.
    assert cascade["tiers"] == [
        {
            "name": "short", "started": 4, "accepted": 2, "rejected": 2, "failed": 0,
            "undecided": 0, "acceptance": 0.5, "escalation": 0.5,
        },
        {
            "name": "shout", "started": 2, "accepted": 2, "rejected": 0, "failed": 0,
            "undecided": 0, "acceptance": 1.0, "escalation": 0.0,
        },
    ]  # fmt: skip
    assert race["tiers"][1]["started"] == 4
    assert list(cascade["latency_s"]) == ["p50", "p90", "p99", "mean"]
    assert cascade["cost"] == {"low": 0.0, "high": 0.0, "basis": "reported"}


@pytest.mark.parametrize("arrivals", [["--rate", "1000"], ["--concurrency", "3"]])
def test_arrivals(run: Run, arrivals: list[str]) -> None:
    arguments = ["--mode", "cascade", "--mode", "hedge=0.5", "--calls", "5", *arrivals]
    code, out, _ = run("bench", "p.toml", *arguments, "--prompts", "prompts.txt", "--json")
    assert code == 0
    assert [(m["mode"], m["calls"]) for m in json.loads(out)["modes"]] == [
        ("cascade", 5),
        ("hedge=0.5", 5),
    ]


def test_tables(run: Run) -> None:
    code, out, err = run("bench", "p.toml", "--calls", "2", "--mode", "as-is")
    assert code == 0
    assert "every call asks" in err
    lines = [line.split() for line in out.splitlines() if line]
    assert lines[0] == ["p:", "2", "calls", "in", "each", "mode,", "1", "at", "a", "time"]
    assert lines[2][:2] == ["as-is", "2/2"]
    assert lines[-1] == ["as-is", "shout", "2", "2", "0", "0", "0", "100%", "0%"]


def test_calls_without_an_answer_are_counted(run: Run) -> None:
    Path("p.toml").write_text('[[tiers]]\nname="fail"\nmodel="function:bench_functions:fail"\n')
    code, out, err = run("bench", "p.toml", "--calls", "3", "--json")
    assert code == 5
    assert err.endswith("cascade: no call has an accepted answer\n")
    (mode,) = json.loads(out)["modes"]
    assert (mode["mode"], mode["outcomes"]) == ("as-is", {"exhausted": 3})
    assert (mode["tiers"][0]["failed"], mode["tiers"][0]["escalation"]) == (3, 1.0)


def test_why_calls_have_no_answer_is_told_with_how_often(run: Run, server: FaultyServer) -> None:
    refusal = Reply("[b] no such key", status=401)
    server.on("m", refusal, Reply("busy for 7 s", status=503), refusal, refusal)
    file = paid(server)
    Path(file).write_text(Path(file).read_text().replace("retries = 1", "retries = 0"))
    code, out, err = run("bench", file, "--calls", "4", "--yes")
    assert code == 5
    assert err.endswith("cascade: no call has an accepted answer\n")
    *_, head, most, least = out.splitlines()
    assert head.split() == ["mode", "tier", "calls", "why", "not", "accepted"]
    assert most.split()[:5] == ["as-is", "openai:m", "3", "failed:", "AuthenticationError:"]
    assert "answered 401: [b] no such key" in most
    assert "request req-" not in out
    assert least.split()[:5] == ["as-is", "openai:m", "1", "failed:", "OverloadedError:"]


def test_reasons_that_differ_in_figures_are_one(run: Run, server: FaultyServer) -> None:
    server.on("m", *[Reply(f"try again in {n} s", status=500) for n in range(4)])
    code, out, _ = run("bench", paid(server), "--calls", "2", "--yes", "--json")
    assert code == 5
    (mode,) = json.loads(out)["modes"]
    (reason,) = mode["reasons"]
    assert (reason["tier"], reason["outcome"], reason["calls"]) == ("openai:m", "failed", 2)
    assert "answered 500: try again in 0 s" in reason["reason"]


@pytest.mark.parametrize("exhausted", ["raise", "best"])
def test_one_accepted_answer_is_enough_for_the_exit_code(run: Run, exhausted: str) -> None:
    check = 'model = "function:bench_functions:short"\nverify = "bench_functions:whole"'
    Path("p.toml").write_text(f'exhausted = "{exhausted}"\n[[tiers]]\n{check}\n')
    Path("prompts.txt").write_text("no\n")
    found = run("bench", "p.toml", "--prompts", "prompts.txt", "--calls", "2", "--json")
    assert found.code == 3
    (mode,) = json.loads(found.out)["modes"]
    assert [(it["outcome"], it["calls"]) for it in mode["reasons"]] == [("rejected", 2)]
    Path("prompts.txt").write_text("no\nyes\n")
    found = run("bench", "p.toml", "--prompts", "prompts.txt", "--calls", "2", "--json")
    assert found.code == 0
    (mode,) = json.loads(found.out)["modes"]
    assert [(it["outcome"], it["calls"]) for it in mode["reasons"]] == [("rejected", 1)]


def test_what_the_budget_refused_is_told_apart(run: Run, server: FaultyServer) -> None:
    server.on("m", Reply("yes"))
    tier = Path(paid(server)).read_text().partition("[[tiers]]")[2]
    Path("cascade.toml").write_text(f"[budget]\nper_call = 1e-9\n[[tasks.t.tiers]]{tier}")
    code, out, _ = run("bench", "t", "--calls", "2", "--yes", "--json")
    (mode,) = json.loads(out)["modes"]
    assert (code, mode["outcomes"], server.count("m")) == (5, {"budget": 2}, 0)
    assert "BudgetExceededError" in mode["reasons"][0]["reason"]


def test_a_deadline_that_always_passes_has_its_exit_code(run: Run, server: FaultyServer) -> None:
    server.on("m", Reply("late", hang="headers"))
    code, out, _ = run("bench", paid(server), "--calls", "2", "--yes", "--set", "deadline=0.05")
    assert code == 4
    assert out.splitlines()[-1].split()[:3] == ["as-is", "openai:m", "2"]
    assert out.endswith("cancelled: the call's deadline passed\n")


def test_what_costs_money_is_asked_first(run: Run, server: FaultyServer) -> None:
    code, out, err = run("bench", paid(server), "--calls", "2")
    assert (code, out) == (2, "")
    # 2 calls, each tried twice, of at most 10 tokens for a dollar.
    assert "2 calls, at most about $40.0000\n" in err
    assert err.endswith("cascade: nothing was called\n")
    assert server.requests == ()


def test_nobody_there_to_ask_is_a_refusal(run: Run, server: FaultyServer) -> None:
    code, out, err = run("bench", paid(server), "--calls", "2", stdin="y\n")
    assert (code, out) == (2, "")
    assert "pass --yes" in err
    assert server.requests == ()


@pytest.mark.parametrize("mode", [[], ["--mode", "as-is"]])
def test_yes_makes_the_calls(run: Run, server: FaultyServer, mode: list[str]) -> None:
    code, out, _ = run("bench", paid(server), "--calls", "2", "--yes", "--json", *mode, stdin="")
    assert code == 0
    shape = json.loads(out)
    assert shape["worst_case_usd"] == 40.0
    assert shape["modes"][0]["cost"] == {"low": 8.0, "high": 8.0, "basis": "reported"}
    assert shape["modes"][0]["waste"] == {"low": 0.0, "high": 0.0, "basis": "reported"}
    assert len(server.requests) == 2


def test_a_model_of_unknown_price_may_cost_something(run: Run, server: FaultyServer) -> None:
    code, _, err = run("bench", paid(server, price=""), "--calls", "2", stdin="")
    assert code == 2
    assert "prices are not known" in err
    assert server.requests == ()


def test_prompts_in_json_lines(run: Run, server: FaultyServer) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "c"}]
    rows = ["a", {"prompt": "b"}, {"prompt": messages}, messages]
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    file = paid(server)
    assert run("bench", file, "--prompts", "prompts.jsonl", "--calls", "5", "--yes").code == 0
    asked = [
        [message["content"] for message in request.body["messages"]] for request in server.requests
    ]
    assert asked == [["a"], ["b"], ["s", "c"], ["s", "c"], ["a"]]


REFUSED: list[tuple[list[str], str]] = [
    (["--mode", "rase"], "race"),
    (["--mode", "hedge"], "hedge=SECONDS"),
    (["--mode", "hedge=soon"], "seconds above 0"),
    (["--mode", "hedge=0"], "seconds above 0"),
    (["--mode", "race=1"], "race"),
    (["--calls", "0"], "1 or more"),
    (["--rate", "0"], "above 0"),
    (["--concurrency", "0"], "1 or more"),
    (["--rate", "1", "--concurrency", "1"], "give one of them"),
    (["--prompts", "missing.txt"], "cannot read"),
    (["--prompts", "empty.txt"], "has no prompts"),
    (["--prompts", "bad.jsonl"], "line 2"),
    (["--var", "name=value"], "no variables"),
]


@pytest.mark.parametrize(("arguments", "says"), REFUSED)
def test_mistakes_are_refused(run: Run, arguments: list[str], says: str) -> None:
    Path("empty.txt").write_text("\n \n")
    Path("bad.jsonl").write_text('"a"\n{"promt": "b"}\n')
    code, out, err = run("bench", "p.toml", *arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_one_tier_has_no_other_modes(run: Run) -> None:
    Path("p.toml").write_text('[[tiers]]\nmodel = "function:bench_functions:shout"\n')
    code, _, err = run("bench", "p.toml", "--mode", "race")
    assert code == 2
    assert "second tier" in err


@pytest.mark.skipif(find_spec("matplotlib") is not None, reason="matplotlib is installed")
def test_a_plot_without_matplotlib_names_the_extra(run: Run) -> None:
    code, _, err = run("bench", "p.toml", "--plot", "p.svg")
    assert code == 5
    assert "pip install 'cascade-engine[plot]'" in err


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
@pytest.mark.filterwarnings("ignore:::matplotlib")
def test_a_plot(run: Run) -> None:
    assert run("bench", "p.toml", "--calls", "3", "--plot", "p.svg").code == 0
    assert "<svg" in Path("p.svg").read_text()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_a_hangup_changes_the_model_of_the_calls_to_come(run: Run, server: FaultyServer) -> None:
    project = """
[models.m]
model = "openai:MODEL"
base_url = "URL"
api_key = "env:PATH"
price = { input = 1, output = 1 }
[tasks.t]
model = "m"
[budget]
day = 100
""".replace("URL", server.base_url)
    file = Path("cascade.toml")
    file.write_text(project.replace("MODEL", "old"))

    def first(request: Any) -> Reply:
        file.write_text(project.replace("MODEL", "new"))
        os.kill(os.getpid(), signal.SIGHUP)
        return Reply("old")

    server.on("old", first)
    ran = run("bench", "t", "--calls", "4", "--yes", "--json")
    assert ran.code == 0, ran.err
    assert (server.count("old"), server.count("new")) == (1, 3)


def test_tiers_that_a_changed_file_brings_are_counted(run: Run) -> None:
    Path("bench_functions.py").write_text(
        FUNCTIONS + "from pathlib import Path\n"
        "def once(text):\n"
        "    path = Path('p.toml')\n"
        "    path.write_text(path.read_text().replace('once', 'shout'))\n"
        "    return 'x'\n"
    )
    Path("p.toml").write_text('[[tiers]]\nname = "once"\nmodel = "function:bench_functions:once"\n')
    ran = run("bench", "p.toml", "--calls", "3", "--json")
    assert ran.code == 0, ran.err
    (mode,) = json.loads(ran.out)["modes"]
    assert [(tier["name"], tier["started"]) for tier in mode["tiers"]] == [
        ("once", 1),
        ("shout", 2),
    ]
