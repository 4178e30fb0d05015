"""Whatever a file holds: a policy, or a `PolicyFileError`. Never another exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from cascade.errors import PolicyFileError
from cascade.policy import Policy
from cascade_policies.document import Document
from cascade_policies.file import PolicyFile, build
from cascade_policies.tables import PolicyTable, TierTable

NAMES = ["json_schema", "one_of", "length", "regex", "sql", "self_confidence", "grounded", "shared"]
ARGUMENTS = [
    "schema",
    "values",
    "pattern",
    "minimum",
    "maximum",
    "dialect",
    "source",
    "schema_file",
]

words = st.sampled_from(
    ["none", "", "openai:gpt-5", "function:os.path:basename", "{{prompt}}", "a"]
)
scalars = st.one_of(
    words,
    st.integers(-2, 3),
    st.floats(-1, 3),
    st.sampled_from([float("nan"), float("inf")]),
    st.booleans(),
    st.text(max_size=5),
    st.dates(),
    st.times(),
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
valid = st.just({"use": "json_schema", "schema": {"type": "object"}}) | st.just("json:loads")
checks = valid | st.recursive(
    st.sampled_from(NAMES) | scalars | valid,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.fixed_dictionaries({"any": inner}),
        st.fixed_dictionaries({"not": inner}),
        st.builds(
            lambda name, arguments: {"use": name, **arguments},
            st.sampled_from(NAMES) | junk,
            st.dictionaries(st.sampled_from(ARGUMENTS) | st.text(max_size=4), junk, max_size=2),
        ),
    ),
    max_leaves=4,
)
good = {
    "name": st.sampled_from(["a", "b", "c", "d"]),
    "prompt": st.just("{{prompt}}"),
    "system": words,
    "params": st.dictionaries(st.text(max_size=4), junk, max_size=2),
    "verify": checks,
    "threshold": st.floats(0, 1),
    "timeout": st.floats(0.1, 9) | st.just("none"),
    "retries": st.integers(0, 3),
    "repairs": st.integers(0, 1),
    "samples": st.integers(1, 2),
    "cancel_stops_billing": st.booleans(),
    "price": st.fixed_dictionaries({"input": st.integers(0, 3), "output": st.floats(0, 3)}),
    "constrain": st.booleans(),
}
models = st.sampled_from(["openai:gpt-5", "function:os.path:basename", "local/smollm2-135m"])


def seldom(strategy: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Nothing, three times out of four: most tables must be right for all code to be reached."""
    return st.integers(0, 3).flatmap(lambda n: st.just({}) if n else strategy)


def tables(keys: tuple[str, ...], fixed: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A table with its needed keys, perhaps a good one, and seldom something wrong."""
    usable = [key for key in keys if key in good]
    return st.builds(
        lambda base, *more: {key: value for table in (base, *more) for key, value in table.items()},
        st.fixed_dictionaries(fixed),
        st.sampled_from(usable).flatmap(lambda key: st.fixed_dictionaries({key: good[key]})),
        seldom(st.sampled_from(keys).flatmap(lambda key: st.fixed_dictionaries({key: junk}))),
        seldom(st.dictionaries(st.text(max_size=3), junk, max_size=1)),
    )


tiers = tables(
    TierTable.__struct_fields__,
    {"model": models | st.lists(models, max_size=1), "verify": checks, "name": good["name"]},
)
documents = st.builds(
    lambda top, shared: {**top, **shared},
    tables(PolicyTable.__struct_fields__, {"tiers": st.lists(tiers, min_size=1, max_size=2)}),
    seldom(st.fixed_dictionaries({"verifiers": st.fixed_dictionaries({"shared": checks})})),
)


@settings(max_examples=300, deadline=None)
@given(documents | st.dictionaries(st.text(max_size=6), junk, max_size=3))
def test_a_policy_or_an_error_with_a_place(data: dict[str, Any]) -> None:
    document = Document("p.toml", "", data, Path("/nonexistent"))
    found: PolicyFile | PolicyFileError
    try:
        found = build(document, Path("p.toml")).file
    except PolicyFileError as error:
        found = error
    if isinstance(found, PolicyFileError):
        event(found.message.split(":")[0][:24])
        assert found.file == "p.toml"
        assert str(found).startswith("p.toml: ")
    else:
        event("a policy")
        assert isinstance(found.policy, Policy)
        assert len(found.checks) == len(found.policy.tiers)
