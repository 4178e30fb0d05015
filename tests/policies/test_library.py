"""The policies that come with cascade: their code tiers, and what the real models make of them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence

import pytest

from cascade import CascadeExhausted, Engine, Policy, Result
from cascade.errors import ModelUnavailableError
from cascade.providers.local.server import close_all
from cascade.providers.local.weights import pull
from cascade_policies.library.classify import label_ticket
from cascade_policies.library.extract import read_order
from cascade_policies.library.sql import SCHEMA_MARK, answer_question
from cascade_policies.search import LIBRARY, find_policy, find_policy_file, policy_names

LOST = (
    "Hi, it's Dana. I ordered a blender on 2 March and it arrived broken on the 9th. "
    "Could you refund the 84.50 euros? The order was BX-2291."
)
LAMPS = (
    "Dear team, on 2026-01-30 I bought two lamps at 45 euros each, so 90 euros in all, "
    "order number L-5530. One is missing."
)
SCHEMA = """\
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, total DECIMAL(10, 2), status TEXT);
create table "categories" (id integer);
"""


def test_each_policy_goes_from_code_to_a_larger_model() -> None:
    shipped = [path.stem for path in LIBRARY.glob("*.toml")]
    assert sorted(shipped) == ["classify", "extract", "sql"]
    assert set(shipped) <= set(policy_names())
    for name in shipped:
        found = find_policy_file(name)
        assert (found.policy.name, bool(found.description)) == (name, True)
        code, small, large = [str(tier.model) for tier in found.policy.tiers]
        assert code.startswith("function:cascade_policies.library.")
        assert small.startswith("local:")
        assert large.startswith("local:")
        assert None not in found.checks


@pytest.mark.parametrize(
    ("message", "values"),
    [
        (
            "Order number: A-10442, total: $129.90, date: 2026-03-14",
            ("A-10442", "$129.90", "2026-03-14"),
        ),
        (
            "Refund of 84.50 euros for order BX-2291 from 3 March 2026?",
            ("BX-2291", "84.50 euros", "3 March 2026"),
        ),
        (
            "Re: order 100-223. On Feb 3rd my card was charged 310.00 USD",
            ("100-223", "310.00 USD", "Feb 3rd"),
        ),
        ("order #77, 5 £, 01/02/2026", ("77", "5 £", "01/02/2026")),
        ("Order no. 991 of May 1, 2026 for 1.299,00 €", ("991", "1.299,00 €", "May 1, 2026")),
    ],
)
def test_an_order_without_doubt_is_read(message: str, values: tuple[str, str, str]) -> None:
    assert read_order(message) == dict(zip(("order_number", "amount", "date"), values, strict=True))


@pytest.mark.parametrize(
    "message",
    [
        LOST,
        LAMPS,
        "Order 4411 of March 3rd cost EUR 12, shipping 4 EUR",  # two amounts
        "Order 12 came on 3 May and I paid 5 euros for 2 items",  # a figure left over
        "My parcel of 3 May for 5 euros",  # no order number
        "Order 12, 5 euros",  # no date
        "",
    ],
)
def test_an_order_with_doubt_is_left_to_the_models(message: str) -> None:
    assert read_order(message) is None


@pytest.mark.parametrize(
    ("ticket", "label"),
    [
        ("I was charged twice", "billing"),
        ("Please send me the invoices for 2025.", "billing"),
        ("The app crashes", "technical"),
        ("I get a 502 error", "technical"),
        ("cannot log in", "account"),
        ("Please delete my account", "account"),
        ("I can't log in to see my invoice", None),
        ("The payment page crashes", None),
        ("Hello?", None),
        ("The discharge was unbilledable", None),
        ("", None),
    ],
)
def test_a_ticket_is_labelled_only_without_doubt(ticket: str, label: str | None) -> None:
    assert label_ticket(ticket) == label


@pytest.mark.parametrize(
    ("question", "sql"),
    [
        ("How many customers are there?", "SELECT COUNT(*) FROM customers"),
        ("how many rows are in the orders table", "SELECT COUNT(*) FROM orders"),
        ("Count the categories.", "SELECT COUNT(*) FROM categories"),
        ("List all  orders", "SELECT * FROM orders"),
        ("Show me every customer!", "SELECT * FROM customers"),
        ("How many customers live in Rome?", None),
        ("List all orders of customers in Rome", None),
        ("How many decimals are there?", None),
        ("List all", None),
        ("", None),
    ],
)
def test_sql_is_written_for_the_plainest_questions(question: str, sql: str | None) -> None:
    assert answer_question(f"{question}{SCHEMA_MARK}{SCHEMA}") == sql


def test_without_a_schema_there_is_no_sql() -> None:
    assert answer_question("How many customers are there?") is None


@pytest.fixture(scope="module", autouse=True)
def _servers() -> Iterator[None]:
    yield
    close_all()


async def _run(
    policy: Policy, prompt: str, *, models: Sequence[str], start: int = 0, schema: str | None = None
) -> Result:
    """One call, once the weights are there."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed: pip install 'cascade-engine[local]'")
    try:
        for model in models:
            await pull(model)
    except ModelUnavailableError as error:
        pytest.skip(str(error))
    async with Engine() as engine:
        variables = None if schema is None else {"schema": schema}
        return await engine.run(policy, prompt, start=start, variables=variables)


@pytest.mark.anyio
class TestWithModels:
    """Real answers of real models, at temperature 0."""

    @pytest.mark.local
    async def test_the_small_model_is_caught_inventing(self) -> None:
        policy = Policy("extract", find_policy("extract").tiers[:2])
        with pytest.raises(CascadeExhausted) as caught:
            await _run(policy, LOST, models=["smollm2-135m"])
        code, small = caught.value.attempts
        assert (code.outcome, small.outcome) == ("rejected", "rejected")
        assert "not in the source text" in small.reason
        assert small.answer is not None
        assert set(json.loads(small.answer.text)) == {"order_number", "amount", "date"}

    @pytest.mark.local
    async def test_the_small_model_is_accepted_when_it_copies(self) -> None:
        policy = Policy("extract", find_policy("extract").tiers[:2])
        result = await _run(policy, LAMPS, models=["smollm2-135m"])
        assert (result.tier, result.escalations) == ("small", 1)
        assert result.parsed == {
            "order_number": "L-5530", "amount": "90 euros", "date": "2026-01-30"
        }  # fmt: skip

    @pytest.mark.weights
    async def test_extract_escalates_to_a_right_answer(self) -> None:
        models = ["smollm2-135m", "qwen2.5-coder-0.5b"]
        result = await _run(find_policy("extract"), LOST, models=models)
        assert [a.outcome for a in result.attempts] == ["rejected", "rejected", "accepted"]
        assert (result.tier, result.accepted, result.escalations) == ("medium", True, 2)
        assert result.parsed == {
            "order_number": "BX-2291", "amount": "84.50 euros", "date": "2 March"
        }  # fmt: skip

    @pytest.mark.weights
    @pytest.mark.parametrize(
        ("ticket", "tier", "label"),
        [
            ("The video has no sound on my tablet.", "small", "technical"),
            ("You keep taking money although I cancelled in May.", "large", "billing"),
        ],
    )
    async def test_classify_escalates_when_unsure(self, ticket: str, tier: str, label: str) -> None:
        models = ["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"]
        result = await _run(find_policy("classify"), ticket, models=models)
        assert (result.tier, result.text, result.accepted) == (tier, label, True)

    @pytest.mark.weights
    @pytest.mark.parametrize(
        ("question", "tier", "sql"),
        [
            (
                "Names of customers from Rome",
                "small",
                "SELECT name FROM customers WHERE city = 'Rome'",
            ),
            ("How many customers are there?", "code", "SELECT COUNT(*) FROM customers"),
        ],
    )
    async def test_sql_answers(self, question: str, tier: str, sql: str) -> None:
        models = ["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"]
        result = await _run(find_policy("sql"), question, models=models, schema=SCHEMA)
        assert (result.tier, result.text) == (tier, sql)
