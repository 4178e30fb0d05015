"""``cascade bench``: what it counts, what it asks first, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

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
    code, out, _ = run("bench", "p.toml", "--calls", "3", "--json")
    assert code == 0
    (mode,) = json.loads(out)["modes"]
    assert (mode["mode"], mode["outcomes"]) == ("as-is", {"exhausted": 3})
    assert (mode["tiers"][0]["failed"], mode["tiers"][0]["escalation"]) == (3, 1.0)


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
