"""The official JSON-Schema-Test-Suite: every required case, against both our peers.

The suite is read from ``$JSON_SCHEMA_TEST_SUITE`` (a checkout), or comes with the source
distribution of jsonschema, which pip fetches once into pytest's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from cascade.errors import ConfigError
from cascade.types import Answer, Request
from cascade.verdict import Verdict
from cascade_verifiers.json_schema import JsonSchema

REQUEST = Request.of("a question")
SOURCE = "jsonschema==4.26.0"
REMOTE = "http://localhost:1234/"

REFERENCES: dict[str, tuple[Any, str]] = {
    "draft4": ("4", "Draft4Validator"),
    "draft6": ("6", "Draft6Validator"),
    "draft7": ("7", "Draft7Validator"),
    "draft2019-09": ("2019-09", "Draft201909Validator"),
    "draft2020-12": ("2020-12", "Draft202012Validator"),
}
LEAST = {  # cases, so that an empty folder is no success
    "draft4": 550,
    "draft6": 750,
    "draft7": 870,
    "draft2019-09": 1150,
    "draft2020-12": 1180,
}

# Where we differ from the suite, on purpose: groups whose schema is refused when the verifier is
# made. File, how many of its groups, and the reason's words.
REMOTE_REF = "leads out of the schema, and nothing is fetched"
META_SCHEMA = "Unknown meta-schema"
REFUSED: dict[str, dict[tuple[str, str], int]] = {
    "draft4": {("refRemote", REMOTE_REF): 8},
    "draft6": {("refRemote", REMOTE_REF): 11},
    "draft7": {("refRemote", REMOTE_REF): 11},
    "draft2019-09": {("refRemote", REMOTE_REF): 15, ("vocabulary", META_SCHEMA): 2},
    "draft2020-12": {
        ("dynamicRef", REMOTE_REF): 5,
        ("refRemote", REMOTE_REF): 15,
        ("vocabulary", META_SCHEMA): 2,
    },
}
# Where a peer differs from the suite: draft, file, case. All are of jsonschema, which has no
# vocabularies: it checks ``minimum`` also where the meta-schema leaves validation out.
NO_VALIDATION = "no validation: invalid number, but it still validates"
JSONSCHEMA_DIFFERS = {
    ("draft2019-09", "vocabulary", NO_VALIDATION),
    ("draft2020-12", "vocabulary", NO_VALIDATION),
}


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> Path:
    """The folder with ``tests`` and ``remotes``."""
    given = os.environ.get("JSON_SCHEMA_TEST_SUITE")
    if given:
        if not (Path(given) / "tests" / "draft7").is_dir():
            pytest.fail(f"$JSON_SCHEMA_TEST_SUITE: {given} has no tests/draft7 in it")
        return Path(given)
    cache = request.config.cache
    assert cache is not None
    folder = Path(cache.mkdir("json-schema-test-suite"))
    if not (folder / "json" / "tests").is_dir():
        _fetch(folder)
    return folder / "json"


def _fetch(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
               ":all:", "--dest", str(folder), SOURCE]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("pip takes too long; give a checkout in $JSON_SCHEMA_TEST_SUITE")
    if done.returncode:
        pytest.skip(f"pip has no {SOURCE}; give a checkout in $JSON_SCHEMA_TEST_SUITE")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        root = opened.getnames()[0].split("/")[0]
        wanted = [m for m in opened.getmembers() if m.name.startswith(f"{root}/json/")]
        opened.extractall(folder / "unpacked", wanted, filter="data")
    (folder / "unpacked" / root / "json").rename(folder / "json")


def groups(suite: Path, draft: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The required groups of cases (the optional ones are in folders), with their file's name."""
    for file in sorted((suite / "tests" / draft).glob("*.json")):
        for group in json.loads(file.read_text(encoding="utf-8")):
            yield file.stem, group


def remotes(suite: Path) -> dict[str, Any]:
    """What the suite wants to be found under its address, for the peers that can be given it."""
    folder = suite / "remotes"
    return {
        REMOTE + file.relative_to(folder).as_posix(): json.loads(file.read_text(encoding="utf-8"))
        for file in folder.rglob("*.json")
    }


def peers(draft: str, schema: Any, found: dict[str, Any]) -> tuple[Any, Any]:
    """The reference's and jsonschema-rs's validator, both given the remotes."""
    referencing = import_module("referencing")
    name = REFERENCES[draft][1]
    default = getattr(import_module("referencing.jsonschema"), draft.upper().replace("-", ""))
    found = {
        uri: contents
        for uri, contents in found.items()
        if _of_draft(uri, draft) and (draft != "draft4" or _older(contents))
    }
    resources = [
        (uri, referencing.Resource.from_contents(contents, default_specification=default))
        for uri, contents in found.items()
    ]
    registry = import_module("jsonschema_specifications").REGISTRY.with_resources(resources)
    reference = getattr(import_module("jsonschema"), name)(schema, registry=registry)
    meta = [(uri, contents) for uri, contents in found.items() if "metaschema" in uri]
    rust = getattr(jsonschema_rs, name)(
        schema,
        retriever=lambda uri: found[uri.removesuffix("#")],
        registry=jsonschema_rs.Registry(meta) if meta else None,
    )
    return reference, rust


def _older(contents: Any) -> bool:
    # Draft 4 has no schemas that are true or false, and jsonschema trips over one.
    return not any(word in json.dumps(contents) for word in (": true", ": false"))


def _of_draft(uri: str, draft: str) -> bool:
    first = uri.removeprefix(REMOTE).split("/")[0]
    return not first.startswith("draft") or first == draft


@pytest.mark.parametrize("draft", REFERENCES)
def test_every_required_case(suite: Path, draft: str) -> None:
    found, refused, differs = remotes(suite), Counter[tuple[str, str]](), set()
    cases = 0
    for file, group in groups(suite, draft):
        schema = group["schema"]
        ours: JsonSchema | None = None
        said = isinstance(schema, dict) and "$schema" in schema
        try:
            ours = JsonSchema(
                schema, draft=None if said else REFERENCES[draft][0], extract="strict"
            )
        except ConfigError as error:
            why = next(words for words in (REMOTE_REF, META_SCHEMA) if words in str(error))
            refused[file, why] += 1
        reference, rust = peers(draft, schema, found)
        for case in group["tests"]:
            cases += 1
            place = (file, group["description"], case["description"])
            if ours is not None:
                verdict = ours.verify(REQUEST, Answer(json.dumps(case["data"])))
                assert isinstance(verdict, Verdict)
                assert verdict.accepted is case["valid"], place
                # Whatever is refused while it streams is refused in the end, here too.
                text = json.dumps(case["data"])
                if case["valid"]:
                    early = [ours.prefix(text[:end]) for end in range(len(text))]
                    assert not any(early), place
            assert rust.is_valid(case["data"]) is case["valid"], place
            if reference.is_valid(case["data"]) is not case["valid"]:
                differs.add((draft, file, case["description"]))
    assert cases >= LEAST[draft]
    assert refused == REFUSED[draft]
    assert differs == {row for row in JSONSCHEMA_DIFFERS if row[0] == draft}
