"""Logs to audit, written for the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cascade_policies.audit.audit import Audit, Finding, audit_calls
from cascade_policies.audit.calls import Reading
from cascade_policies.audit.sources import read_calls

Write = Callable[[Iterable[object]], Path]
Read = Callable[[Iterable[object]], Reading]


def line(prompt: str, answer: str, **more: Any) -> dict[str, Any]:
    """A line of a log of requests."""
    return {
        "request": {"model": "gpt-5", "messages": [{"role": "user", "content": prompt}]},
        "response": {
            "choices": [{"message": {"role": "assistant", "content": answer}}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 10},
        },
        **more,
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines, objects as JSON and text as it is, to a file."""

    def to_file(lines: Iterable[object]) -> Path:
        path = tmp_path / "calls.jsonl"
        texts = (one if isinstance(one, str) else json.dumps(one) for one in lines)
        path.write_text("\n".join(texts), encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def read(write: Write) -> Read:
    """What is read of such lines."""
    return lambda lines: read_calls(write(lines))


@pytest.fixture
def find(read: Read) -> Callable[[Iterable[object]], Finding]:
    """What is found of lines that are all of one kind."""

    def only(lines: Iterable[object]) -> Finding:
        (finding,) = audit_calls(read(lines)).findings
        return finding

    return only


@pytest.fixture
def audited(read: Read) -> Callable[[Iterable[object]], Audit]:
    """The audit of such lines."""
    return lambda lines: audit_calls(read(lines))
