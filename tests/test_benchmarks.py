"""The benchmarks without their timing: golden sets, scoring and tables."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path

import anyio
import msgspec
import pytest

from benchmarks import json_schema, library, sql_speed, verifier_cost, verifiers
from benchmarks.golden import GoldenRow, is_right, query, read_golden
from benchmarks.recorded_json import Board
from benchmarks.recorded_rules import judged
from cascade import Answer, Request
from cascade.verdict import Verdict
from cascade_policies.search import LIBRARY, find_policy

LABELS = {"billing", "technical", "account"}
SHOP = GoldenRow(
    id="q",
    split="tuned",
    prompt="Names?",
    reference="SELECT name FROM t",
    variables={"schema": "CREATE TABLE t (name TEXT, price REAL);"},
    data="INSERT INTO t VALUES ('a', 0.1), ('b', 0.2);",
)


def golden(reference: object, **more: object) -> GoldenRow:
    """A row as its file would have it."""
    row = {"id": "x", "split": "tuned", "prompt": "p", "reference": reference, **more}
    return msgspec.convert(row, type=GoldenRow)


class TestGoldenSets:
    """What every row must hold to; a wrong reference would make the benchmark lie."""

    @pytest.mark.parametrize("name", sorted(library.FORMS))
    def test_rows_are_unique_and_of_both_splits(self, name: str) -> None:
        rows = read_golden(name)
        assert {row.split for row in rows} == {"tuned", "held_out"}
        for key in ("id", "prompt"):
            values = [(getattr(row, key), row.variables.get("schema")) for row in rows]
            assert len(set(values)) == len(rows)
        assert library.UNMEASURED[name][0] not in {row.prompt for row in rows}
        for row in rows:
            # Why there is no right answer stands where there is none.
            assert bool(row.note) == (row.reference is None)
            assert set(row.accept) <= set(row.reference or ())

    def test_every_policy_of_the_library_has_a_set(self) -> None:
        assert set(library.FORMS) == {path.stem for path in LIBRARY.glob("*.toml")}

    def test_orders_fit_the_schema_and_stand_in_the_message(self) -> None:
        for row in read_golden("extract"):
            if row.reference is None:
                continue
            assert isinstance(row.reference, dict)
            text = json.dumps(row.reference)
            assert library.FORMS["extract"].verify(Request.of("p"), Answer(text)).accepted
            assert all(value in row.prompt for value in row.reference.values())
            assert is_right("extract", row, text)

    def test_labels_are_known(self) -> None:
        references = [row.reference for row in read_golden("classify")]
        assert {label for label in references if isinstance(label, str)} == LABELS
        assert all(label is None or label in LABELS for label in references)

    def test_queries_run_and_read_something(self) -> None:
        for row in read_golden("sql"):
            if row.reference is None:
                continue
            assert isinstance(row.reference, str)
            assert library.FORMS["sql"].verify(Request.of("p"), Answer(row.reference)).accepted
            assert query(row, row.reference)
            assert is_right("sql", row, row.reference)

    def test_models_are_judged_alone_by_form_only(self) -> None:
        for name in library.FORMS:
            local = [tier for tier in find_policy(name).tiers if library.is_local(tier)]
            assert len(local) == 2
            for tier in local:
                (bare,) = library.alone(name, tier).tiers
                assert (bare.prompt, bare.system, bare.params, bare.constrain) == (
                    tier.prompt, tier.system, tier.params, tier.constrain
                )  # fmt: skip
                assert bare.verify is library.FORMS[name]


class TestRight:
    """When an answer counts as right."""

    @pytest.mark.parametrize(
        ("text", "right"),
        [
            ('{"date": "2 March", "amount": "5 €"}', True),
            ('{"date": "the 2 March", "amount": "5 €"}', True),
            ('{"date": "2 May", "amount": "5 €"}', False),
            ('{"date": "2 March"}', False),
            ('{"date": "2 March", "amount": "5 €", "more": 1}', False),
            ('{"date": ["2 March"], "amount": "5 €"}', False),
            ("[]", False),
            ("no JSON", False),
        ],
    )
    def test_values(self, text: str, right: bool) -> None:
        reference = {"date": "2 March", "amount": "5 €"}
        row = golden(reference, accept={"date": ["the 2 March"]})
        assert is_right("extract", row, text) is right

    def test_labels(self) -> None:
        row = golden("billing")
        assert is_right("classify", row, "billing")
        assert not is_right("classify", row, "account")

    @pytest.mark.parametrize("name", sorted(library.FORMS))
    def test_nothing_is_right_where_nothing_should_be_accepted(self, name: str) -> None:
        assert not is_right(name, golden(None), "billing")

    def test_another_set_is_refused_with_the_nearest_name(self) -> None:
        with pytest.raises(ValueError, match="classify"):
            is_right("clasify", golden("billing"), "billing")

    @pytest.mark.parametrize(
        ("sql", "right"),
        [
            ("SELECT name FROM t ORDER BY name DESC", True),  # no order was asked for
            ("SELECT name AS anything FROM t", True),
            ("SELECT name FROM t UNION ALL SELECT 'b'", False),  # how often counts
            ("SELECT name, price FROM t", False),
            ("SELECT name FROM missing", False),
            ("no SQL", False),
        ],
    )
    def test_queries_by_what_they_read(self, sql: str, right: bool) -> None:
        assert is_right("sql", SHOP, sql) is right

    def test_order_counts_where_it_is_asked_for(self) -> None:
        row = msgspec.structs.replace(SHOP, ordered=True)
        assert is_right("sql", row, "SELECT name FROM t ORDER BY name")
        assert not is_right("sql", row, "SELECT name FROM t ORDER BY name DESC")

    def test_rounding_does_not_count(self) -> None:
        assert query(SHOP, "SELECT SUM(price), COUNT(*) FROM t") == [(0.3, 2)]

    @pytest.mark.parametrize(
        "sql",
        [
            "DELETE FROM t",
            "DROP TABLE t",
            "ATTACH 'file.db' AS other",
            "PRAGMA table_info(t)",
            "SELECT 1; SELECT 2",
            "SELECT zeroblob(100000000)",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        ],
    )
    def test_a_query_only_reads_and_within_bounds(self, sql: str) -> None:
        with pytest.raises((sqlite3.Error, sqlite3.Warning)):
            query(SHOP, sql)


class TestSummary:
    """The figures of the library benchmark, on trials made up."""

    def trial(self, outcome: str, *tiers: str, seconds: float = 1.0) -> library.Trial:
        return library.Trial(
            "x",
            "tuned",
            answerable=outcome != "rightly left",
            accepted=outcome in ("right", "wrong"),
            right=outcome == "right",
            tiers=tiers,
            seconds=seconds,
            text="",
        )

    def summary(self) -> library.Summary:
        trials = [
            self.trial("right", "code", seconds=0.0),
            self.trial("right", "code", "small", seconds=1.0),
            self.trial("wrong", "code", "small", seconds=2.0),
            self.trial("rightly left", "code", "small", seconds=3.0),
            self.trial("left", "code", "small", seconds=4.0),
        ]
        return library.summarise("sql", "policy", "tuned", ["code", "small"], trials)

    def test_every_row_is_counted_once(self) -> None:
        row = self.summary()
        assert (row.rows, row.right, row.wrong, row.left) == (5, 2, 1, 2)
        assert (row.rightly_left, row.unanswerable) == (1, 1)
        assert row.answered == {"code": 1, "small": 2}
        assert row.wrong_by == {"code": 0, "small": 1}
        assert [(e.reached, e.escalated) for e in row.escalations] == [(5, 4), (4, 2)]
        assert (row.mean, row.p50) == (2.0, 2.0)
        assert row.p95 == pytest.approx(3.8)

    def test_one_trial_is_enough(self) -> None:
        trials = [self.trial("right", "code", seconds=7.0)]
        row = library.summarise("sql", "policy", "tuned", ["code", "small"], trials)
        assert (row.mean, row.p50, row.p95) == (7.0, 7.0, 7.0)
        assert row.escalations[1].interval == (0.0, 1.0)

    @pytest.mark.parametrize(
        ("hits", "of", "low", "high"),
        [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
    )
    def test_the_interval_is_wilsons(self, hits: int, of: int, low: float, high: float) -> None:
        assert library.wilson(hits, of) == pytest.approx((low, high), abs=1e-4)

    def test_the_table_shows_it(self) -> None:
        lines = library.table([self.summary()]).splitlines()
        assert "code 1, small 2 (1)" in lines[1]
        assert lines[1].split()[:8] == ["sql", "policy", "tuned", "5", "2", "1", "2", "1/1"]
        assert lines[-1].split() == ["sql", "tuned", "small", "2/4", "50%", "(15%", "to", "85%)"]

    def test_a_policy_that_is_not_there_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["library", "extrakt"])
        with pytest.raises(SystemExit):
            library.main()
        assert "choose from extract, classify, sql" in capsys.readouterr().err


class TestVerifiers:
    """What is counted of verdicts on recorded answers, made up here."""

    def board(self) -> Board:
        board = Board()
        accept, reject = Verdict.accept(), Verdict.reject("no", code="x")
        for model, right, verdict in (
            ("good", True, accept),
            ("good", True, Verdict.abstain("unclear", code="x.unclear")),
            ("bad", True, reject),
            ("bad", False, reject),
            ("bad", False, accept),
        ):
            board.add("Rule, set", model, right, verdict)
        board.tallies["Rule, set", "all"].seconds = [0.001, 0.002, 0.5]
        return board

    def test_an_abstention_is_no_rejection_and_all_comes_last(self) -> None:
        good, bad, whole = sorted(
            verifiers.summary(self.board())["verifiers"], key=lambda row: -len(row["model"])
        )
        assert [row["model"] for row in (good, bad, whole)] == ["good", "bad", "all"]
        assert (whole["rows"], whole["kept"]["hits"], whole["kept"]["of"]) == (5, 2, 3)
        assert (whole["caught"]["hits"], whole["caught"]["of"]) == (1, 2)
        assert whole["abstained"]["hits"] == good["abstained"]["hits"] == 1
        assert whole["ms"] == 2.0
        assert good["caught"]["share"] is None

    def test_models_of_which_nothing_is_rejected_are_left_out_of_the_rules(self) -> None:
        found = verifiers.summary(self.board())
        lines = verifiers.table("rules", found).splitlines()
        assert [line.split()[2] for line in lines[2:]] == ["bad", "all"]
        assert "abstains 1/5 20.0%" in lines[-1]
        assert len(verifiers.table("spider", found).splitlines()) == len(lines) + 1

    def test_a_verdict_that_never_came_is_not_counted(self) -> None:
        with pytest.raises(AssertionError, match="too slow"):
            self.board().add("v", "m", True, Verdict.abstain("too slow", code="check.timeout"))

    def test_a_rule_is_put_to_the_text_it_is_for(self) -> None:
        tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}
        row = {"category": "simple", "functions": [tool]}
        said = {"output": "[f(a=1)]", "answer": "18"}
        assert judged("Number", row, said) == "18"
        assert judged("Finished", row, said) == judged("PythonSyntax", row, said) == "[f(a=1)]"
        assert judged("Grounded", row, said) == '[{"a": 1}]'
        assert judged("Grounded", row, {"output": "f("}) is None
        assert judged("PythonSyntax", {**row, "category": "java"}, said) is None
        assert judged("Finished", row, {"output": [{"f": {}}]}) is None


class TestJsonSpeed:
    """The exit code of the JSON Schema benchmark."""

    @pytest.mark.parametrize(
        ("options", "code"),
        [([], 0), (["--check"], 1), (["--max-ratio", "3"], 0), (["--max-ratio", "2.9"], 1)],
    )
    def test_limits(self, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int) -> None:
        times = {"cascade": 30.0, "jsonschema-rs": 10.0, "stream": 1.0}
        monkeypatch.setattr(json_schema, "microseconds", lambda *_: times)
        monkeypatch.setattr(sys, "argv", ["json_schema", *options])
        assert json_schema.main() == code


class TestVerifierCost:
    """What the table of costs has in it."""

    def test_every_built_in_verifier_is_timed(self, tmp_path: Path) -> None:
        database = tmp_path / "t.sqlite"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE singer (name TEXT, country TEXT)")
        timed = {name.partition(",")[0] for name in verifier_cost.cases("http://x/", database)}
        ours = entry_points(group="cascade.verifiers")
        assert {p.name for p in ours if p.value.startswith("cascade_verifiers.")} <= timed

    def test_a_verdict_that_does_not_come_is_not_timed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = Verdict.abstain("too slow", code="check.timeout")
        monkeypatch.setattr(verifier_cost, "cases", lambda *_: {"slow": lambda: late})
        with pytest.raises(SystemExit, match="slow: too slow: no timing"):
            anyio.run(verifier_cost.measure, 1)

    def test_the_median_is_in_the_unit_that_fits(self) -> None:
        lines = verifier_cost.table({"a": (1.25, 1.0), "b": (12_500.0, 999.0)}).splitlines()
        assert lines[1].split() == ["a", "1.2", "µs", "1.0", "µs"]
        assert lines[2].split() == ["b", "12.5", "ms", "999.0", "µs"]


class TestSqlSpeed:
    """The queries of the SQL benchmark, and its exit code."""

    def test_every_query_is_accepted_without_a_worker(self) -> None:
        assert all(sql_speed.accepts(check, text) for check, text in sql_speed.shop())
        (check, _), *_ = sql_speed.shop()
        assert not sql_speed.accepts(check, "SELECT missing FROM customers")

    def test_what_is_rejected_is_not_timed(self) -> None:
        (check, _), *_ = sql_speed.shop()
        with pytest.raises(SystemExit, match="no timing"):
            sql_speed.measure("x", [(check, "SELECT missing FROM customers")], 1)

    @pytest.mark.parametrize(("limit", "code"), [("1.3", 0), ("1.2", 1)])
    def test_the_limit_is_on_the_median(
        self, monkeypatch: pytest.MonkeyPatch, limit: str, code: int
    ) -> None:
        row = sql_speed.Row("shop", 10, 5, 200.0, 250.0, (1.1, 1.25, 1.5))
        monkeypatch.setattr(sql_speed, "measure", lambda *_: row)
        monkeypatch.setenv("CASCADE_DATA", "/nowhere")
        monkeypatch.setattr(sys, "argv", ["sql_speed", "--quick", "--max-ratio", limit])
        assert sql_speed.main() == code

    def test_the_table_shows_the_quartiles(self) -> None:
        row = sql_speed.Row("shop", 10, 5, 200.0, 250.0, (1.1, 1.25, 1.5))
        (_, line) = sql_speed.table([row]).splitlines()
        assert line.split() == [
            "shop", "10", "200", "µs", "250", "µs", "1.250", "(1.100", "to", "1.500)"
        ]  # fmt: skip
