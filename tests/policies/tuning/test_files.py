"""The command, the policy file written back, and the account of what is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cascade.errors import ConfigError
from cascade_policies import load_policy, load_project
from cascade_policies.replaying import UNCHECKED, Settings
from cascade_policies.tuning.spending import Account, Spent
from cascade_policies.tuning.write_back import edited, write_back
from tests.policies.tuning.worlds import POLICY, files


def run(command_line: Any, policy: Path, recording: Path, *options: str) -> Any:
    return command_line("tune", str(policy), "--recording", str(recording), *options)


def test_the_policy_is_written_back(command_line: Any, tmp_path: Path) -> None:
    policy, recording = files(tmp_path, 1200)
    ran = run(command_line, policy, recording, "--max-drop", "0.05")
    assert ran.code == 0, ran.err
    assert "Certified with 0.975 confidence on 900 rows" in ran.out
    assert "less cost" in ran.out
    text = policy.read_text()
    assert "sha256 " in text
    assert "cascade tune" in text
    assert 'name = "ticket"  # by hand' in text
    assert "# the one in between" in text
    assert load_policy(policy).tiers[-1].name == "large"
    assert text != POLICY


def test_a_task_of_a_project_is_written_back(command_line: Any, tmp_path: Path) -> None:
    _, recording = files(tmp_path, 800)
    project = tmp_path / "cascade.toml"
    names = ("small", "mid", "large")
    price = "price = { input = 1, output = 2 }"
    models = "".join(f'[models.{n}]\nmodel = "openai:{n}"\n{price}\n' for n in names)
    tiers = [f'[[tasks.ticket.tiers]]\nname = "{n}"\nmodel = "{n}"\n' for n in names]
    check = 'verify = "self_confidence"\n'
    task = f"# about tickets\n[tasks.ticket]\n{tiers[0]}{check}{tiers[1]}{check}{tiers[2]}"
    project.write_text(models + task)
    ran = run(command_line, Path("ticket"), recording, "--max-drop", "0.08")
    assert ran.code == 0, ran.err
    assert load_project(project).tasks["ticket"].policy.tiers[0].threshold is not None
    assert "# about tickets\n# certified by cascade tune: begin" in project.read_text()


def test_what_comes_with_cascade_is_not_written_to(command_line: Any, tmp_path: Path) -> None:
    _, recording = files(tmp_path, 20)
    ran = run(command_line, Path("classify"), recording, "--max-drop", "0.08")
    assert ran.code == 2
    assert "copy" in ran.err


def test_a_dry_run_changes_no_policy_and_the_same_search_spends_once(
    command_line: Any, tmp_path: Path
) -> None:
    policy, recording = files(tmp_path, 800)
    shown = [
        json.loads(run(command_line, policy, recording, "--max-drop", "0.06", *more, "--json").out)
        for more in (["--dry-run"], ["--dry-run"], [])
    ]
    assert [one["written"] is None for one in shown] == [True, True, False]
    assert [one["chosen"] for one in shown] == [shown[0]["chosen"]] * 3
    assert [one["spent"] for one in shown] == [pytest.approx(0.025)] * 3


def test_another_search_on_the_same_rows_has_half_of_what_is_left(
    command_line: Any, tmp_path: Path
) -> None:
    policy, recording = files(tmp_path, 800)

    def search(drop: str, *more: str) -> Any:
        return run(command_line, policy, recording, "--max-drop", drop, "--dry-run", *more)

    risks = [json.loads(search(drop, "--json").out)["risk"] for drop in ("0.08", "0.07")]
    assert risks == [pytest.approx(0.025), pytest.approx(0.0125)]
    assert search("0.09", "--last").code in (0, 3)
    ran = search("0.1")
    assert ran.code == 2
    assert "used up" in ran.err


def test_too_few_rows_end_with_3_and_the_number_needed(command_line: Any, tmp_path: Path) -> None:
    policy, recording = files(tmp_path, 60)
    ran = run(command_line, policy, recording, "--max-drop", "0.02")
    assert ran.code == 3
    assert "Too few rows: 45 are left to certify on, and 183" in ran.out
    assert policy.read_text() == POLICY
    assert not list(tmp_path.glob("*.spent.json"))  # nothing was looked at


@pytest.mark.parametrize("ending", ["png", "svg", "html"])
def test_the_frontier_is_drawn(command_line: Any, tmp_path: Path, ending: str) -> None:
    policy, recording = files(tmp_path, 400)
    plot = tmp_path / f"plot.{ending}"
    ran = run(command_line, policy, recording, "--max-drop", "0.1", "--dry-run",
              "--plot", str(plot))  # fmt: skip
    assert ran.code == 0, ran.err
    head = plot.read_bytes()[:200].lstrip()
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "html": b"<!doctype html>"}
    assert head.startswith(starts[ending])
    if ending == "html":
        text = plot.read_text()
        assert "http://www.w3.org/2000/svg" in text
        assert text.count("http") - text.count("http-equiv") == 1  # nothing is loaded


@pytest.mark.parametrize(("options", "words"), [
    ((), "--min-accuracy or --max-drop"),
    (("--max-drop", "0.1", "--max-latency", "2s"), "p95=2s"),
    (("--max-drop", "0.1", "--plot", "x.gif"), ".png"),
])  # fmt: skip
def test_wrong_usage_is_refused(
    command_line: Any, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    ran = run(command_line, *files(tmp_path, 20), *options)
    assert ran.code == 2
    assert words in ran.err


def test_tiers_that_are_left_out_become_comments(tmp_path: Path) -> None:
    path = tmp_path / "ticket.toml"
    path.write_text(POLICY)
    text = edited(POLICY, Settings((0, 2), (0.75, UNCHECKED)), ["why"])
    write_back(path, text)
    assert [tier.name for tier in load_policy(path).tiers] == ["small", "large"]
    assert "# left out by cascade tune: [[tiers]]" in text
    assert load_policy(path).tiers[0].threshold == 0.75
    assert "threshold = 0.75" in text


def test_the_start_rule_is_written_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "ticket.toml"
    path.write_text(POLICY)
    hedged = Settings((0, 1, 2), (0.5, 0.25, UNCHECKED), (None, 0.0, 0.8))
    text = edited(POLICY, hedged, ["one"])
    write_back(path, text)
    assert load_policy(path).delays == (None, 0, 0.8)
    assert load_policy(path).preference == "cheapest"
    again = edited(text, Settings((0, 1, 2), (0.5, 0.25, UNCHECKED)), ["two"])
    write_back(path, again)
    assert load_policy(path).delays == (None, None, None)
    assert "# one" not in again
    assert again.count("certified by cascade tune: begin") == 1


def test_a_verifier_that_no_tier_is_left_to_use_goes_too(tmp_path: Path) -> None:
    path = tmp_path / "ticket.toml"
    text = POLICY.replace('"openai:mid"\nverify = "self_confidence"',
                          '"openai:mid"\nverify = "sure"')  # fmt: skip
    text = text.replace(
        "[[tiers]]", '[verifiers]\nsure = { use = "self_confidence" }\n\n[[tiers]]', 1
    )
    path.write_text(text)
    assert len(load_policy(path).tiers) == 3
    write_back(path, edited(text, Settings((0, 2), (0.75, UNCHECKED)), []))
    assert len(load_policy(path).tiers) == 2


def test_a_file_that_cannot_be_edited_says_what_to_write() -> None:
    text = 'tiers = [{ model = "openai:a", verify = "self_confidence" }, { model = "openai:b" }]\n'
    with pytest.raises(ConfigError, match=r"set by hand: .*threshold = 0.75"):
        edited(text, Settings((0, 1), (0.75, UNCHECKED)), [])


def test_a_comment_cannot_become_a_key() -> None:
    text = edited(POLICY, Settings((2,), (UNCHECKED,)), ['x"\nname = "evil'])
    assert 'name = "ticket"' in text
    assert '\nname = "evil' not in text


def test_an_account_is_kept_by_rows(tmp_path: Path) -> None:
    account = Account.of(tmp_path / "a.jsonl.gz")
    assert account.grant("rows", "one", risk=0.05, last=False) == 0.025
    account.enter(Spent(rows="rows", search="one", risk=0.025, command="x"))
    again = Account.of(tmp_path / "a.jsonl.gz")
    assert again.grant("rows", "one", risk=0.05, last=False) == 0.025  # the same search
    assert again.grant("rows", "two", risk=0.05, last=True) == 0.025
    assert again.grant("others", "one", risk=0.05, last=False) == 0.025
    with pytest.raises(ConfigError, match="used up"):
        again.grant("rows", "two", risk=0.02, last=True)


@pytest.mark.parametrize("text", ["", "{", '[{"rows": 1}]',
    '[{"rows": "a", "search": "b", "risk": -1, "command": ""}]'])  # fmt: skip
def test_an_account_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.spent.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="is no account"):
        Account(path)
