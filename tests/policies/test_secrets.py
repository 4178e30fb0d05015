"""Keys are planted wherever they may be; then all that is written down is searched for them."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cascade import CascadeError, ConfigError, Engine, Observer, PolicyFileError
from cascade.policies import Metrics, OpenTelemetry, load_project, project_settings
from cascade.testing import FaultyServer, Reply
from tests.policies.project.conftest import Folder, folder, tick

if TYPE_CHECKING:
    from tests.policies.conftest import Run

__all__ = ["folder", "tick"]  # fixtures
pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tick")]

# No pattern knows these: they must be known for what they are.
KEY, TOKEN, PASSWORD, PROXY = (
    "hunter2 of house".replace(" ", "-"),
    "hunter2-t",
    "hunter2-p",
    "hunter2-x",
)
SECRET = "hunter2"

PROJECT = """
[models.house]
model = "openai:house"
base_url = "SERVER"
api_key = "env:HOUSE_KEY"
price = { input = 1, output = 2 }
params = { max_tokens = 20 }

[models.far]
model = "openai:far"
base_url = "http://llm.invalid/v1"
api_key = "env:HOUSE_KEY"
price = { input = 1, output = 2 }

[tasks.echo]
exhausted = "raise"
[[tasks.echo.tiers]]
model = "house"
retries = 1
[tasks.echo.tiers.verify]
use = "http"
url = "CHECK"
headers = { authorization = "Bearer env:CHECK_TOKEN" }

[tasks.far]
[[tasks.far.tiers]]
model = "far"
retries = 0

[routers.door]
tasks = ["echo", "far"]
router = { name = "llm", model = "house", labels = { a = "echo", b = "far" } }

[budget]
day = 1.0

[ledger]
"""


def echoes(request: Any) -> str:
    """What a server says that is too friendly: all headers it was sent."""
    return f"no use: {dict(request.headers)} Bearer {KEY}"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    def refused(request: Any) -> Reply:
        body = json.dumps({"error": {"message": echoes(request), "code": KEY}}).encode()
        head = f"HTTP/1.1 401 No\r\nx-request-id: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
        return Reply(wire=head.encode() + body)

    def broken(request: Any) -> Reply:
        return Reply(raw=echoes(request).encode(), status=500, content_type="text/plain")

    def late(request: Any) -> Reply:
        return Reply("so far", error={"message": echoes(request), "code": "server_error"})

    def nonsense(request: Any) -> Reply:
        return Reply(raw=f"data: {{{echoes(request)}\n\n".encode())

    def moved(request: Any) -> Reply:
        return Reply(status=307, headers={"location": f"http://{KEY}@elsewhere/?key={KEY}"})

    with FaultyServer() as server:
        server.on("house", broken, refused, late, late, moved, nonsense, Reply("an answer"))
        yield server


@pytest.fixture
def planted(folder: Folder, server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project file."""
    monkeypatch.setenv("HOUSE_KEY", KEY)
    monkeypatch.setenv("CHECK_TOKEN", TOKEN)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://me:{PROXY}@127.0.0.1:9")  # the port of nobody
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    text = PROJECT.replace("SERVER", server.base_url).replace("CHECK", f"{server.url}/check")
    return folder.write("cascade.toml", text)


class Seen:
    """Everything that was written down, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, *things: object) -> None:
        said = "\n".join(f"{thing!s}\n{thing!r}" for thing in things)
        self.texts[where] = self.texts.get(where, "") + said

    def raised(self, where: str, error: BaseException) -> None:
        self.add(where, error, vars(error), *traceback.format_exception(error))
        cause: BaseException | None = error
        while cause is not None:
            self.add(where, cause, cause.args, vars(cause))
            cause = cause.__cause__ or cause.__context__

    def files(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "litellm.json":
                self.add(str(path), path.read_bytes().decode("latin-1"))

    @property
    def leaks(self) -> dict[str, str]:
        """Where a secret is, with what stands around it."""
        return {
            where: text[max(0, at - 200) : at + 100]
            for where, text in self.texts.items()
            if (at := text.find(SECRET)) >= 0
        }


async def test_no_secret_is_written_anywhere(
    planted: Path,
    server: FaultyServer,
    command_line: Run,
    caplog: pytest.LogCaptureFixture,
    folder: Folder,
) -> None:
    # Not lower: HTTP clients then write down every header that they are sent.
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "cascade")
    seen, metrics, spans = Seen(), Metrics(), InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    observers: list[Observer] = [metrics, OpenTelemetry(tracers, content=True)]
    async with Engine(project=planted, observers=observers) as engine:
        for name in ("echo", "echo", "echo", "echo", "door", "far"):
            try:
                result = await engine.run(name, "Is this an invoice?")
            except CascadeError as error:
                seen.raised(f"exception of {name}", error)
            else:
                seen.add(f"result of {name}", result, result.explain(), result.attempts)
        seen.add("engine", engine, vars(engine))
    project = load_project(planted)
    seen.add("project", project, project.models["house"], project.tasks["echo"], project.entries)
    seen.add("metrics", metrics.text())
    seen.add("spans", *(span.to_json() for span in spans.get_finished_spans()))
    assert server.count("house") >= 6, "every echo was to be heard"

    settings = project_settings()
    seen.add("settings", settings, *settings["observers"], settings["budget"])
    for keeper in (*settings["observers"], settings["budget"]):
        keeper.close()
    seen.add("log", caplog.text, *(vars(record) for record in caplog.records))
    assert "cascade.call_finished" in caplog.text
    assert "[redacted]" in caplog.text
    seen.files(folder.path)
    assert any("ledger.db" in where for where in seen.texts)
    assert seen.leaks == {}


COMMANDS = (
    ("report",), ("report", "--json"), ("report", "--by", "tier"), ("report", "--prometheus"),
    ("report", "--html", "report.html"), ("watch", "--once"), ("budget", "--json"),
    ("audit",), ("audit", "--json"), ("audit", "--write", "routed.toml"),
    ("ledger", "export", "calls.jsonl"), ("ledger", "export", "calls.parquet"),
    ("check",), ("check", "--json"), ("check", "echo"), ("check", "echo", "--json"),
    ("route", "explain", "door", "hello"), ("route", "explain", "door", "hello", "--json"),
    ("run", "echo", "hello", "--json", "--explain"), ("run", "echo", "hello", "--debug"),
    ("run", "far", "hello", "--debug"), ("run", "far", "hello", "--json"),
    ("bench", "echo", "--calls", "2", "--yes"), ("bench", "echo", "--yes", "--json"),
)  # fmt: skip


def test_no_command_shows_a_secret(
    planted: Path, command_line: Run, caplog: pytest.LogCaptureFixture, folder: Folder
) -> None:
    # Not lower: HTTP clients then write down every header that they are sent.
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "cascade")
    seen = Seen()
    command_line("run", "echo", "hello")  # so that the ledger has something
    for arguments in COMMANDS:
        ran = command_line(*arguments)
        seen.add(" ".join(arguments), ran.out, ran.err)
        assert "unexpected" not in ran.err, arguments
    settings = project_settings()
    for keeper in (*settings["observers"], settings["budget"]):
        keeper.close()
    seen.add("log", caplog.text)
    seen.files(folder.path)
    assert seen.leaks == {}


def test_an_address_with_a_password_is_refused_without_it(
    planted: Path, command_line: Run, monkeypatch: pytest.MonkeyPatch, folder: Folder
) -> None:
    seen = Seen()
    text = planted.read_text()
    for address in (f"http://me:{PASSWORD}@127.0.0.1/v1", f"http://h/v1?api_key={PASSWORD}"):
        wrong = folder.write("wrong/cascade.toml", text.replace("http://llm.invalid/v1", address))
        with pytest.raises(PolicyFileError, match="give the secret as api_key") as raised:
            load_project(wrong)
        seen.raised("load", raised.value)
        for arguments in (("check", str(wrong)), ("check", str(wrong), "--json")):
            ran = command_line(*arguments)
            assert ran.code == 2
            seen.add(" ".join(arguments), ran)
        model = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": address}}
        model["litellm_params"] |= {"api_key": KEY}  # type: ignore[operator]
        folder.write("litellm.json", json.dumps({"model_list": [model]}))
        ran = command_line("import", "litellm", "litellm.json")
        assert "may hold a secret" in ran.err
        seen.add("import", ran)
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        policy = folder.write("p.toml", '[[tiers]]\nmodel = "openai:m"\nprice = "unknown"\n')
        ran = command_line("run", str(policy), "hello", "--debug")
        assert ran.code == 2
        seen.add("run", ran)
    assert seen.leaks == {}
    assert issubclass(PolicyFileError, ConfigError)
