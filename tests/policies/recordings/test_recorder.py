"""Recording: every tier on every row, resumed, paced, and within its money."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from cascade import Policy, Price, Tier
from cascade.cost import Cost
from cascade.engine import Engine
from cascade.errors import AuthenticationError, ConfigError, PromptError, ProviderError
from cascade.model import ModelSpec
from cascade.testing import Scripted, ScriptedModel
from cascade.types import Answer, Request, Usage
from cascade.verdict import Verdict
from cascade.verifiers import JsonSchema, Judge, Number
from cascade_policies.data_lines import DataFileError
from cascade_policies.golden import GateSeesReferenceError, GoldenRow, GoldenSet, as_scorer
from cascade_policies.recordings import RecordedAnswer, Recording
from cascade_policies.recordings.allowance import Allowance
from cascade_policies.recordings.files import Journal
from cascade_policies.recordings.identity import differences
from cascade_policies.recordings.recorder import Recorder
from cascade_policies.recordings.task import Task
from cascade_policies.replaying.plans import PolicyReplay

pytestmark = pytest.mark.anyio

PRICE = Price(input=1.0, output=1.0)
USAGE = Usage(input_tokens=250_000, output_tokens=250_000)  # half a dollar


@pytest.fixture
def anyio_backend(virtual_clock: Any) -> Any:
    """On a clock on which times are exact."""
    return virtual_clock


def golden(*pairs: tuple[str, str]) -> GoldenSet:
    rows = [
        GoldenRow(id=f"r{at}", prompt=asked, reference=right, line=at + 1)
        for at, (asked, right) in enumerate(pairs)
    ]
    return GoldenSet(tuple(rows))


SET = golden(("2 + 2?", "4"), ("3 + 3?", "6"))


def policy(small: Any, big: Any, **settings: Any) -> Policy:
    return Policy(
        "sums",
        [
            Tier(small, name="small", verify=Number(), price=PRICE, retries=0, **settings),
            Tier(big, name="big", price=PRICE, retries=0),
        ],
    )


async def recorded(
    made: Policy, path: Path, rows: GoldenSet = SET, *, limit: float | None = None, **settings: Any
) -> Any:
    scorer, scored_by = as_scorer(settings.pop("scorer", "exact"))
    task = Task(policy=made, golden=rows, scorer=scorer, scored_by=scored_by, path=path,
                **{"concurrency": 1, **settings})  # fmt: skip
    async with Engine(budget=None if limit is None else Allowance(limit)) as engine:
        return await Recorder(engine, task).run()


def model(*steps: Any, name: str = "m") -> ScriptedModel:
    return ScriptedModel(
        *[
            step if isinstance(step, Scripted) else Scripted(text=step, usage=USAGE)
            for step in steps
        ],
        name=name,
    )


async def test_every_answer_is_kept_with_all_that_is_known(tmp_path: Path) -> None:
    small = model(
        Scripted(text="4", delay=0.5, usage=USAGE),
        Scripted(text="six", chunks=3, chunk_delay=0.25),
        name="scripted:small",
    )
    done = await recorded(policy(small, model("4", "6")), path := tmp_path / "r.jsonl.gz")
    held = Recording.load(path)
    assert held.sha256 == done.recording.sha256
    assert (done.asked, done.kept, done.stopped) == (4, 0, None)
    first, second = (row.models["small"] for row in held.rows)
    assert (first.output, first.correct, first.latency, first.cost_usd) == ("4", True, 0.5, 0.5)
    assert (first.input_tokens, first.output_tokens) == (250_000, 250_000)
    assert first.verdicts["Number"].outcome == "accepted"
    assert second.verdicts["Number"].code == "number.none"
    assert second.extra["stream"] == [[0, 1], [0.25, 2], [0.5, 3]]
    assert second.extra["score_reason"] == "is not the reference"
    assert held.header.golden_sha256 == SET.sha256
    said = held.header.models["small"]
    assert (said.model, said.verifier) == ("scripted:small", "Number")
    assert said.prices == PRICE
    assert held.header.scorer == {"name": "exact"}


async def test_a_cheap_verifier_judges_every_tier(tmp_path: Path) -> None:
    await recorded(policy(model("4", "6"), model("four", "6")), path := tmp_path / "r.jsonl")
    held = Recording.load(path)
    assert np.array_equal(held.verdicts("big", "Number", "accepted"), [0, 1])


async def test_a_replay_of_it_is_what_the_policy_does(tmp_path: Path) -> None:
    made = policy(model("4", "six"), model("4", "6"))
    await recorded(made, path := tmp_path / "r.jsonl")
    calls = PolicyReplay(made, Recording.load(path)).run()
    assert [(call.tier, call.quality, call.high) for call in calls] == [(0, 1, 0.5), (1, 1, 1.0)]


async def test_what_is_there_is_not_asked_again(tmp_path: Path) -> None:
    small, big, path = model("4", "6"), model("4", "6"), tmp_path / "r.jsonl.gz"
    await recorded(policy(small, big), path, golden(("2 + 2?", "4")))
    before = path.read_bytes()
    done = await recorded(policy(small, big), path, SET)
    assert (done.asked, done.kept) == (2, 2)
    assert [len(m.calls) for m in (small, big)] == [2, 2]
    again = await recorded(policy(small, big), path, SET)
    assert again.asked == 0
    assert again.recording.sha256 == done.recording.sha256
    assert path.read_bytes() != before


async def test_samples_are_asked_for_each_row(tmp_path: Path) -> None:
    small = model("4", "5", "6")
    await recorded(policy(small, model("4")), path := tmp_path / "r.jsonl",
                   golden(("2 + 2?", "4")), samples=3)  # fmt: skip
    (row,) = Recording.load(path).rows
    first = row.models["small"]
    found = [(one.output, one.correct) for one in (first, *first.samples)]
    assert found == [("4", True), ("5", False), ("6", False)]


async def test_a_repair_is_kept_behind_its_answer(tmp_path: Path) -> None:
    made = policy(model("four", "4"), model("4"), repairs=1)
    await recorded(made, path := tmp_path / "r.jsonl", golden(("2 + 2?", "4")))
    held = Recording.load(path)
    answer = held.rows[0].models["small"]
    assert (answer.output, answer.correct) == ("four", False)
    assert [(one.output, one.correct) for one in answer.repairs] == [("4", True)]
    (call,) = PolicyReplay(made, held).run()
    assert (call.tier, call.quality, call.high) == (0, 1, 1.0)


async def test_a_failure_is_part_of_the_truth(tmp_path: Path) -> None:
    down = model(Scripted(error=ProviderError("is down")))
    await recorded(policy(down, model("4")), path := tmp_path / "r.jsonl",
                   golden(("2 + 2?", "4")))  # fmt: skip
    answer = Recording.load(path).rows[0].models["small"]
    assert (answer.failed, answer.correct) == (True, False)
    assert str(answer.error).startswith("ProviderError: ")


async def test_a_wrong_key_ends_it_and_keeps_what_there_is(tmp_path: Path) -> None:
    small = model("4", Scripted(error=AuthenticationError("no such key", status=401)), "6")
    path = tmp_path / "r.jsonl"
    made = policy(small, model("4", "6"))
    with pytest.raises(ProviderError, match="what was answered is kept"):
        await recorded(made, path)
    assert not path.exists()
    done = await recorded(made, path)
    assert (done.asked, done.kept) == (2, 2)


async def test_money_ends_it_before_it_is_overspent(tmp_path: Path) -> None:
    small = model("4", "6")
    made = Policy("sums", [Tier(small, name="small", price=PRICE, params={"max_tokens": 300_000})])
    path = tmp_path / "r.jsonl"
    done = await recorded(made, path, limit=0.75)
    assert (done.asked, len(small.calls)) == (1, 1)
    assert "is left of the $0.75" in str(done.stopped)
    assert Recording.load(path).header.incomplete.startswith("1 answers are missing")
    rest = await recorded(made, path, limit=0.75)
    assert (rest.asked, rest.kept, rest.stopped) == (1, 1, None)
    assert Recording.load(path).header.incomplete == ""


async def test_calls_keep_to_the_rate(tmp_path: Path) -> None:
    small, big = model("4", "6"), model("4", "6")
    began = anyio.current_time()
    await recorded(policy(small, big), tmp_path / "r.jsonl", rate=30, concurrency=3)
    starts = sorted(call.started - began for m in (small, big) for call in m.calls)
    assert starts == [0, 2, 4, 6]


async def test_another_prompt_is_another_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    made = policy(model("4", "6"), model("4", "6"))
    await recorded(made, path)
    other = policy(model("4"), model("4"), prompt="Only the number: {{prompt}}")
    with pytest.raises(ConfigError, match="another prompt of 'small'"):
        await recorded(other, path)
    header = Recording.load(path).header
    assert differences(header, made) == []
    assert differences(header, other) == ["the prompt of 'small' is another one"]
    strict = Policy("sums", [Tier(model("4"), name="small", verify=Number(min=3))])
    assert differences(header, strict) == ["the verifier of 'small', 'Number', has other settings"]


async def test_another_scorer_scores_again_and_asks_nothing(tmp_path: Path) -> None:
    small, path = model("4 apples", "6 pears"), tmp_path / "r.jsonl"
    made = policy(small, model("4", "6"))
    await recorded(made, path)
    assert Recording.load(path).column("small", "correct").tolist() == [0, 0]
    done = await recorded(made, path, scorer="numeric")
    assert done.asked == 0
    assert Recording.load(path).column("small", "correct").tolist() == [1, 1]


async def test_a_gate_that_saw_the_reference_is_not_recorded(tmp_path: Path) -> None:
    judge = Judge(model("{}", name="judge"), "Is it right?", reference="4")
    made = Policy("p", [Tier(model("4"), name="t", verify=judge)])
    with pytest.raises(GateSeesReferenceError):
        await recorded(made, tmp_path / "r.jsonl")


async def test_variables_that_are_missing_are_said_before_a_call(tmp_path: Path) -> None:
    small = model("4")
    made = Policy("p", [Tier(small, name="t", prompt="{{tone}}: {{prompt}}")])
    with pytest.raises(PromptError, match=r"row 'r0': variable 'tone' is missing"):
        await recorded(made, tmp_path / "r.jsonl")
    assert small.calls == []


async def test_a_prefix_check_does_not_hide_what_the_answer_would_be(tmp_path: Path) -> None:
    text = '{"a": "' + "x" * 200 + '"}'
    check = JsonSchema({"type": "object", "properties": {"a": {"type": "integer"}}})
    made = Policy("p", [Tier(model(Scripted(text=text, chunks=50)), name="t", verify=check)])
    await recorded(made, path := tmp_path / "r.jsonl", golden(("x", text)))
    answer = Recording.load(path).rows[0].models["t"]
    assert (answer.output, answer.correct) == (text, True)
    assert answer.verdicts["JsonSchema"].outcome == "rejected"


async def test_what_a_check_costs_is_not_the_calls(tmp_path: Path) -> None:
    class Dear:
        cost_class = "model"

        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            return Verdict.accept(score=0.75, cost=Cost(0.125, 0.25))

    made = Policy(
        "p", [Tier(model("4"), name="t", verify=Dear(), price=PRICE), Tier(model("4"), name="u")]
    )
    await recorded(made, path := tmp_path / "r.jsonl", golden(("x", "4")))
    answer = Recording.load(path).rows[0].models["t"]
    assert (answer.cost_usd, answer.cost_low_usd) == (0.5, None)
    verdict = answer.verdicts["Dear"]
    assert (verdict.score, verdict.cost_usd, verdict.cost_low_usd) == (0.75, 0.25, 0.125)
    assert Recording.load(path).rows[0].models["u"].verdicts == {}


KILLED = """
import os, signal, sys
from pathlib import Path
from cascade_policies.recordings import Header, RecordedAnswer
from cascade_policies.recordings.files import Journal
journal = Journal(Path(sys.argv[1]), Header(golden_sha256="g"))
for at in range(10**9):
    journal.add((f"r{at}", "m", 0), RecordedAnswer(output="x" * 1000))
    if at == 20:
        print("ready", flush=True)
"""


async def test_a_killed_process_leaves_whole_answers(tmp_path: Path) -> None:
    from cascade_policies.recordings import Header

    path = tmp_path / "r.jsonl"
    program = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220  (short)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(DataFileError, match="another process is recording this"):
            Journal(path, Header(golden_sha256="g"))
        os.kill(process.pid, signal.SIGKILL)
    with Journal(path, Header(golden_sha256="g")) as journal:
        count = len(journal.answers)
        assert count > 20
        assert set(journal.answers) == {(f"r{at}", "m", 0) for at in range(count)}
        journal.add(("next", "m", 0), RecordedAnswer(output="y"))
    with Journal(path, Header(golden_sha256="g")) as journal:
        assert len(journal.answers) == count + 1
    with pytest.raises(DataFileError, match="another golden set"):
        Journal(path, Header(golden_sha256="h"))


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_half_a_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    from cascade_policies.recordings import Header

    path = tmp_path / "r.jsonl"
    with Journal(path, Header()) as journal:
        journal.add(("a", "m", 0), RecordedAnswer(output="1"))
        journal.add(("b", "m", 0), RecordedAnswer(output="2"))
    file = path.with_name("r.jsonl.journal")
    whole = file.read_bytes()
    last = json.loads(whole.splitlines()[-1])
    assert last["id"] == "b"
    file.write_bytes(whole[:-cut])
    with Journal(path, Header()) as journal:
        assert ("a", "m", 0) in journal.answers
        assert ("b", "m", 0) not in journal.answers


async def test_a_scorer_that_asks_a_model_keeps_to_the_money_too(tmp_path: Path) -> None:
    judge = ModelSpec(model('{"reason": "", "passes": true}', name="judge"), price=PRICE)
    scorer = {"name": "judge", "model": judge, "params": {"max_tokens": 400_000}}
    path = tmp_path / "r.jsonl"

    async def four(request: Request) -> str:
        return "4"

    free = Policy("p", [Tier(four, name="t")])
    done = await recorded(free, path, scorer=scorer, limit=0.75)
    assert "is left of the $0.75" in str(done.stopped)
    assert np.array_equal(Recording.load(path).column("t", "correct"), [1, np.nan], equal_nan=True)
