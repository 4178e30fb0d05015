"""``python -m benchmarks.frontier``: what it counts, on made-up tables and on recorded data."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks import frontier, frontier_published, frontier_rivals
from benchmarks.frontier_choices import compare
from benchmarks.frontier_data import Cell, is_prime, number, table_of
from benchmarks.frontier_points import (
    Reference,
    clairvoyant,
    near,
    play,
    played_point,
    point,
    resampled,
    sequence,
)
from benchmarks.frontier_published import Executed, read, same_number, says_prime
from benchmarks.frontier_report import Section, plot, table
from benchmarks.frontier_rivals import Task
from benchmarks.frontier_sections import NEEDS, SECTIONS, bfcl, figures
from benchmarks.frontier_tuned import certificate, tuned
from benchmarks.recorded_json import data
from cascade_policies.replaying import Table
from cascade_policies.replaying.calls import replay_all

recorded = pytest.mark.skipif(
    not (data() / "bfcl.jsonl.gz").exists(), reason="needs the recorded data: set CASCADE_DATA"
)


def made_up(count: int = 200) -> tuple[list[dict[str, Any]], Table]:
    """Prompts that say whether they are hard, for a small model, a middling and a large one.

    The small one is right where it is easy, and its check knows; the large one always is.
    """
    rows: list[dict[str, Any]] = []
    columns: dict[str, list[Cell]] = {"small": [], "middling": [], "large": []}
    for n in range(count):
        hard, unlucky = n % 4 == 0, n % 7 == 0
        right = {"small": not hard, "middling": not unlucky, "large": True}
        prompt = f"Prove theorem {n} of all integers." if hard else f"Add {n} and {n}."
        models = {
            name: {"output": f"{n}" if ok else "", "correct": ok} for name, ok in right.items()
        }
        rows.append({"id": str(n), "prompt": prompt, "functions": [], "models": models})
        for (name, ok), cost in zip(right.items(), (1.0, 4.0, 20.0), strict=True):
            columns[name].append(
                Cell(ok, ok if name == "small" else True, cost / 1000, latency=1.0)
            )
    return rows, table_of(map(str, range(count)), columns, top="large")


def task(drop: float = 0.05, count: int = 200) -> Task:
    rows, known = made_up(count)
    return next(frontier_rivals.tasks(known, rows, drop))


class TestPoints:
    """What is made of the calls."""

    def test_a_cascade_costs_what_its_calls_cost(self) -> None:
        _, known = made_up()
        found = played_point("a", "policy", play(known, sequence(0, 2)))
        assert found.accuracy[0] == 100.0
        assert found.escalated == 25.0
        assert found.dollars is not None
        assert found.dollars[0] == pytest.approx(1.0 + 0.25 * 20.0, rel=1e-12)
        assert (found.p50, found.rows) == (1.0, 200)

    def test_an_unknown_cost_makes_no_mean(self) -> None:
        assert point("a", "single", np.ones(2), np.array([1.0, math.nan])).dollars is None

    def test_a_replay_that_differs_is_an_error(self) -> None:
        _, known = made_up(8)
        calls = replay_all(known, sequence(0, 2))
        play(known, sequence(0, 2), calls)
        calls[3] = msgspec.structs.replace(calls[3], quality=0.0)
        with pytest.raises(SystemExit, match="quality"):
            play(known, sequence(0, 2), calls)

    def test_the_oracle_asks_the_cheapest_that_is_right(self) -> None:
        quality = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
        cost = np.array([[2.0, 1.0], [1.0, 5.0], [3.0, 7.0]])
        right, spent = clairvoyant(quality, cost)
        assert right.tolist() == [1.0, 1.0, 0.0]
        assert spent.tolist() == [1.0, 5.0, 3.0]

    def test_an_interval_holds_its_mean(self) -> None:
        mean, low, high = resampled(np.array([0.0, 1.0] * 50))
        assert low < mean == 0.5 < high
        assert resampled(np.full(9, 0.25)) == (0.25, 0.25, 0.25)

    def test_a_reference_is_met_up_to_its_tolerance(self) -> None:
        assert Reference("a", 90.4, 90.4 - 0.7, 0.7).met
        assert not Reference("a", 90.4, 89.6, 0.7).met
        assert near("a", 2.0, 2.1).met
        assert not near("a", 2.0, 2.11).met
        assert not near("a", 2.0, None).met


class TestTable:
    """The columns' order."""

    def test_the_top_comes_last_and_the_others_by_cost(self) -> None:
        cells = {name: [Cell(True, True, cost)] for name, cost in (("a", 3), ("b", 1), ("c", 2))}
        assert table_of(["1"], cells, top="b").tiers == ("c", "a", "b")
        assert table_of(["1"], cells).tiers == ("a", "b", "c")


class TestScorers:
    """The rules by which answers are scored anew."""

    @pytest.mark.parametrize(
        ("answer", "right"),
        [
            ("1,018", True),
            ("$1018", True),
            ("1018.0 dollars, not 7", True),
            ("7, not 1018", False),
            ("-$1018", False),
            ("1018/3", False),
            ("about a thousand", False),
            (None, False),
        ],
    )
    def test_numbers(self, answer: str | None, right: bool) -> None:
        assert same_number({"reference": "1,018"}, {"answer": answer}) is right

    @pytest.mark.parametrize(
        ("output", "right"),
        [("[Yes]", True), ("[No] … so yes", True), ("No", False), ("[No]", False), ("eyes", False)],
    )
    def test_primes(self, output: str, right: bool) -> None:
        row = {"prompt": "Is 17077 a prime number? Think."}
        assert number(row) == 17077
        assert says_prime(row, {"output": output}) is right

    def test_what_is_prime(self) -> None:
        assert [n for n in range(-2, 20) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19]


class TestSql:
    """Queries against a database made here."""

    @pytest.fixture(autouse=True)
    def database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "spider_dbs").mkdir()
        path = tmp_path / "spider_dbs" / "shop.sqlite"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE t (a, b)")
            connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, 2), (1, 3), (4, 5)])
        monkeypatch.setenv("CASCADE_DATA", str(tmp_path))
        return path

    @pytest.mark.parametrize(
        ("reference", "given", "right"),
        [
            ("SELECT a, b FROM t", "SELECT b, a FROM t ORDER BY b DESC", True),
            ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC", False),
            ("SELECT DISTINCT a FROM t", "SELECT a FROM t", True),
            ("SELECT a FROM t", "SELECT a FROM t GROUP BY a", False),
            ("SELECT a FROM t", "SELECT missing FROM t", False),
        ],
    )
    def test_right_reads_the_same_rows(self, reference: str, given: str, right: bool) -> None:
        row = {"id": "1", "db_id": "shop", "reference": reference}
        assert Executed()(row, {"output": given}) is right

    def test_a_reference_that_does_not_run_is_an_error(self) -> None:
        row = {"id": "q7", "db_id": "shop", "reference": "SELECT missing FROM t"}
        with pytest.raises(SystemExit, match="q7"):
            Executed()(row, {"output": "SELECT 1"})

    def test_a_query_only_reads(self, database: Path) -> None:
        before, elsewhere = database.read_bytes(), database.with_name("more.sqlite")
        for query in (
            "DELETE FROM t",
            f"ATTACH '{elsewhere}' AS more",
            f"VACUUM INTO '{elsewhere}'",
            "PRAGMA user_version = 5",
            "SELECT zeroblob(2000000)",
        ):
            assert read("shop", query) is None
        assert database.read_bytes() == before
        assert not elsewhere.exists()

    def test_a_query_without_an_end_is_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(frontier_published, "MAX_STEPS", 10_000)
        endless = (
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) FROM n"
        )
        assert read("shop", endless) is None


class TestRivals:
    """The other ways to choose."""

    def test_every_row_is_played_once_and_never_chosen_on(self) -> None:
        rows, known = made_up(103)
        turns = list(frontier_rivals.tasks(known, rows, 0.05))
        played = sorted(int(at) for turn in turns for at in turn.test)
        assert played == list(range(103))
        for turn in turns:
            assert not set(turn.fit) & set(turn.test)
            assert len(turn.fit) + len(turn.test) == 103

    def test_one_model(self) -> None:
        assert frontier_rivals.top_model(task()).quality.mean() == 1.0
        assert frontier_rivals.cheapest_model(task(0.05)).what == "large"
        assert frontier_rivals.cheapest_model(task(0.2)).what == "middling"

    def test_a_mixture_meets_the_task_exactly_where_it_chose(self) -> None:
        given = task(0.05)
        found = frontier_rivals.random_mixture(given)
        assert found.what == "middling | large"
        wrong = 1 - given.known.quality[:, 1].mean()
        share = (wrong - 0.05) / wrong  # of the large one
        assert found.cost == pytest.approx(np.full(40, (share * 20 + (1 - share) * 4) / 1000))

    def test_a_check_that_knows_makes_the_cheapest_cascade(self) -> None:
        found = frontier_rivals.checked_naive(task(0.0))
        assert found.what == "small → large"
        assert found.quality.mean() == 1.0

    def test_without_one_that_meets_the_task_the_most_accurate_is_taken(self) -> None:
        _, known = made_up()
        worse = [sequence(0), sequence(1)]
        assert frontier_rivals.cheapest(known, worse, 0.99) == sequence(1)

    def test_what_can_be_learned_is(self) -> None:
        pytest.importorskip("sklearn")
        given = task(0.0)
        for choose in (frontier_rivals.learned_router, frontier_rivals.learned_scores):
            found = choose(given)
            assert found.quality.mean() == 1.0
            assert found.cost.mean() < 0.010  # half of what the large one costs

    def test_without_scikit_learn_two_ways_are_not_available(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(frontier_rivals, "find_spec", lambda name: None)
        rows, known = made_up(60)
        found = compare(known, rows, 0.05, {})
        assert set(found.missing) == {"learned router", "learned scores"}
        assert all("cascade-engine[learned]" in needs for needs in found.missing.values())
        assert [way.name for way in found.ways] == [
            "top model", "cheapest model", "random mixture", "checked, naive"
        ]  # fmt: skip
        assert "not available" in table("a", Section(title="A", choices=(found,)))


class TestTuned:
    """What tuning finds."""

    def test_a_check_that_knows_is_certified(self) -> None:
        found = tuned(task(0.02, count=1000))
        assert found.what == "small → large"
        assert found.quality.mean() == 1.0

    def test_the_certificate_says_what_it_rests_on(self) -> None:
        rows, known = made_up(1000)
        assert "small → large" in certificate(known, rows, 0.02)
        rows, known = made_up(20)
        assert "149 are needed" in certificate(known, rows, 0.02)


class TestCommand:
    """The command line, and what it prints."""

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["frontier", *arguments])
        return frontier.main()

    def section(self, found: float = 90.0) -> Section:
        _, known = made_up(50)
        cascade = played_point("small → large", "policy", play(known, sequence(0, 2)))
        free = point("code", "policy", np.ones(50), np.zeros(50))
        awful = point("awful", "single", np.zeros(50), np.full(50, 0.01))
        reference = Reference("accuracy, %", 90.4, found, 0.7)
        return Section(title="A set", points=(cascade, free, awful), references=(reference,))

    def test_without_data_the_exit_code_is_2(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("CASCADE_DATA", str(tmp_path))
        assert self.run(monkeypatch) == 2
        assert "CASCADE_DATA" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [(["bfc"], "no set bfc: give published, bfcl"), (["--plot", "a.pdf"], "end it in .png")],
    )
    def test_mistakes_are_refused(
        self,
        arguments: list[str],
        said: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with pytest.raises(SystemExit) as stopped:
            self.run(monkeypatch, *arguments)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("found", "arguments", "code"),
        [(90.0, ["--check"], 0), (80.0, ["--check"], 1), (80.0, [], 0)],
    )
    def test_a_missed_reference_fails_a_check(
        self,
        found: float,
        arguments: list[str],
        code: int,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(frontier, "SECTIONS", {"a": lambda: self.section(found)})
        monkeypatch.setattr(frontier, "needed", lambda names: [])
        assert self.run(monkeypatch, "a", *arguments) == code
        text = capsys.readouterr().out
        assert ("MISSED" in text) == (found == 80.0)
        assert "small → large" in text

    def test_json_is_one_object(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(frontier, "SECTIONS", {"a": self.section})
        monkeypatch.setattr(frontier, "needed", lambda names: [])
        assert self.run(monkeypatch, "a", "--json") == 0
        found = json.loads(capsys.readouterr().out)["a"]
        assert found["references"][0]["met"] is True
        assert [each["name"] for each in found["points"]] == ["small → large", "code", "awful"]
        assert found["points"][0]["escalated"] == 26.0

    @pytest.mark.parametrize("ending", ["png", "svg"])
    def test_the_plot_is_of_the_kind_its_name_says(self, ending: str, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        path = tmp_path / f"frontier.{ending}"
        plot({"a": self.section()}, path)
        assert path.read_bytes().startswith(b"\x89PNG" if ending == "png" else b"<?xml")

    def test_published_figures_alone_cannot_be_drawn(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match="no plot"):
            plot({"published": Section(title="published")}, tmp_path / "a.png")


@recorded
class TestRecorded:
    """The references, on the recorded data."""

    def test_every_set_has_its_needs(self) -> None:
        assert set(NEEDS) == set(SECTIONS)
        assert all(path.exists() for path in frontier.needed(list(SECTIONS)))

    def test_published_figures_are_reproduced_row_by_row(self) -> None:
        section = figures()
        assert len(section.scored) == 24 + 4 + 12
        assert all(line.differ == () for line in section.scored)
        assert all(reference.met for reference in section.references)

    @pytest.mark.parametrize("name", ["zeroeval", "spider", "llmdrift"])
    def test_references_are_met(self, name: str) -> None:
        section = SECTIONS[name]()
        assert [each for each in section.references if not each.met] == []
        assert section.references

    def test_function_calls(self) -> None:
        section = bfcl(drops=())
        assert [each for each in section.references if not each.met] == []
        assert len(section.references) == 18
        race = next(each for each in section.points if "‖" in each.name)
        # The loser may have been billed for nothing or for all.
        assert race.least is not None
        assert race.dollars is not None
        assert race.least < race.dollars[0]
