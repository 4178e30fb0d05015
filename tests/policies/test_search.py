"""Finding a policy by path or name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cascade.errors import PolicyFileError, UnknownPolicyError, UnknownProviderError
from cascade.provider import find_provider
from cascade_policies.search import find_policy, locate_policy, policy_names

TIER = '[[tiers]]\nname = "{}"\nmodel = "function:os.path:basename"\n'


def write(path: Path, tier: str = "a") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TIER.format(tier))
    return path


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CASCADE_POLICY_PATH", raising=False)


def test_a_path_is_a_path(tmp_path: Path) -> None:
    path = write(tmp_path / "sub" / "mine.toml")
    for reference in (path, str(path), "sub/mine.toml", Path("sub/mine.toml")):
        assert find_policy(reference).name == "mine"


def test_a_name_is_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "policies" / "mine.toml", "local")
    write(tmp_path / "one" / "other.toml", "one")
    write(tmp_path / "two" / "mine.toml", "two")
    assert find_policy("mine").tiers[0].name == "local"
    monkeypatch.setenv("CASCADE_POLICY_PATH", os.pathsep.join(["", "one", str(tmp_path / "two")]))
    assert find_policy("mine").tiers[0].name == "two"
    assert find_policy("other").tiers[0].name == "one"
    assert {"mine", "other", "extract"} <= set(policy_names())


def test_the_library_comes_last(tmp_path: Path) -> None:
    assert locate_policy("extract").parent.name == "library"
    write(tmp_path / "policies" / "extract.toml")
    assert locate_policy("extract") == Path("policies/extract.toml")


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("extrct", r"no policy 'extrct': did you mean 'extract'\? \(looked in .*the library\)"),
        ("sub/mine.tml", r"no policy file 'sub/mine.tml': did you mean 'mine.toml'\?"),
        ("none.toml", r"no policy file 'none.toml'$"),
        ("sub/nope.toml", r"no policy file 'sub/nope.toml'$"),
        ("sub/", r"is a folder; give the policy file itself"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, reference: str, says: str) -> None:
    write(tmp_path / "sub" / "mine.toml")
    with pytest.raises(UnknownPolicyError, match=says):
        find_policy(reference)


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml")
    first = find_policy(path)
    assert find_policy(str(path)) is first
    assert find_policy("./mine.toml") is find_policy("./mine.toml")
    write(path, "another")
    assert find_policy(path).tiers[0].name == "another"


def test_overrides_change_this_one_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml")
    assert find_policy(path, overrides=["tiers.a.timeout=5"]).tiers[0].timeout == 5
    assert find_policy(path).tiers[0].timeout == 120


def test_a_file_that_it_refers_to_counts_too(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml")
    prompt = tmp_path / "p.md"
    prompt.write_text("{{prompt}}")
    path.write_text(TIER.format("a") + 'prompt_file = "p.md"\n')
    assert find_policy(path).tiers[0].prompt == "{{prompt}}"
    prompt.write_text("Please: {{prompt}}")
    assert find_policy(path).tiers[0].prompt == "Please: {{prompt}}"
    prompt.unlink()
    with pytest.raises(PolicyFileError, match="No such file"):
        find_policy(path)


def test_a_file_that_went_away_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml")
    find_policy(path)
    path.unlink()
    with pytest.raises(UnknownPolicyError):
        find_policy(path)


def test_a_provider_in_another_case_is_suggested() -> None:
    with pytest.raises(UnknownProviderError, match="provider 'OpenAI': did you mean 'openai'"):
        find_provider("OpenAI")
