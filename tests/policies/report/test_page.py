"""The HTML page: inert whatever names hold, and whole in a real browser, without the network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ledger_data import TASKS, TaskShape, TierShape, fill
from cascade_policies.ledger.database import connect, transaction
from cascade_policies.report import rollups
from cascade_policies.report.markup import tag
from cascade_policies.report.page import page
from cascade_policies.report.source import Source
from cascade_policies.report.window import Window
from tests.policies.report.conftest import NOW

if TYPE_CHECKING:
    from tests.policies.conftest import Run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FOUND = next((path for name in BROWSERS if (path := shutil.which(name))), None)

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "</title></style></svg><script src=https://example.com/x.js></script>",
    "'; javascript:alert(1) //",
    "&lt;b&gt;\x00\x1b[31m\u202e",
)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def made(path: Path, tasks: tuple[TaskShape, ...], *, since: str = "7d") -> str:
    """The page of a ledger with these tasks."""
    with closing(connect(path)) as connection:
        fill(connection, 1500, until=NOW - 1, days=14.0, tasks=tasks)
        return page(Source(connection, Window.parse(since, NOW)))


def hostile(path: Path) -> str:
    """A page in which every name, code and error is an attack."""
    tasks = tuple(
        TaskShape(
            words,
            1,
            (
                TierShape(f"a {words}", words, 0.5, 0.1, 0.3, 0.001, words, {words: 1}),
                TierShape(f"b {words}", words, 0.9, 0.1, 1.0, None, words, {words: 1}),
            ),
        )
        for words in HOSTILE
    )
    with closing(connect(path)) as connection:
        fill(connection, 1500, until=NOW - 1, days=14.0, tasks=tasks)
        with transaction(connection):
            for number, words in enumerate(HOSTILE):
                connection.execute(
                    "UPDATE attempts SET error = ?, code = ? WHERE id % 5 = ?",
                    (f"{words}: it failed", words, number),
                )
            rollups.rebuild(connection)
        return page(Source(connection, Window.parse("7d", NOW)))


def test_the_page_is_one_file_without_scripts(tmp_path: Path) -> None:
    elements = Elements(made(tmp_path / "l.db", TASKS)).found
    names = {name for name, _ in elements}
    assert not names & {"script", "iframe", "object", "embed", "img", "form", "base"}
    assert {"svg", "table", "style"} <= names
    links = [its.get(key) or "" for _, its in elements for key in ("href", "src") if key in its]
    assert all(link == "data:," or link.startswith("#task-") for link in links)
    policies = [its for _, its in elements if its.get("http-equiv") == "Content-Security-Policy"]
    policy = policies[0]["content"]
    assert policy is not None
    assert "default-src 'none'" in policy


def test_hostile_names_are_text(tmp_path: Path) -> None:
    text = hostile(tmp_path / "l.db")
    page = Elements(text)
    allowed = {
        "html", "head", "meta", "link", "title", "style", "body", "header", "h1", "h2", "h3", "p",
        "section", "dl", "dt", "dd", "div", "a", "figure", "figcaption", "svg", "line", "text",
        "rect", "circle", "polygon", "polyline", "g", "table", "thead", "tbody", "tr", "th", "td",
        "span", "strong", "details", "summary", "footer",
    }  # fmt: skip
    assert {name for name, _ in page.found} <= allowed
    assert not any(key.startswith("on") for _, attributes in page.found for key in attributes)
    assert HOSTILE[0] in page.text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)


@given(st.text(), st.text())
def test_markup_gives_back_what_went_in(inner: str, value: str) -> None:
    parsed = Elements(tag("p", inner, title=value))
    clean = ["".join(c if c.isprintable() else " " for c in text) for text in (inner, value)]
    assert parsed.found == [("p", {"title": clean[1]})]
    assert parsed.text == clean[0]


@pytest.mark.usefixtures("at_now")
def test_the_command_writes_it(command_line: Run, ledger: Path) -> None:
    code, out, err = command_line("report", "--html", "page.html", "--ledger", str(ledger))
    assert (code, out, err) == (0, "", "")
    text = Elements(Path("page.html").read_text(encoding="utf-8")).text
    for task in TASKS:
        assert task.name in text


# In a browser

PROBE = """<script>
  const wrong = [];
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.viewBox.baseVal;
    for (const mark of svg.querySelectorAll('text, rect, circle, line, polygon, polyline')) {
      const box = mark.getBBox();
      if (box.x < -0.5 || box.y < -0.5 || box.x + box.width > frame.width + 0.5 ||
          box.y + box.height > frame.height + 0.5 || [box.x, box.y, box.width].some(Number.isNaN))
        wrong.push(mark.outerHTML.slice(0, 200));
    }
    const words = [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect());
    words.forEach((a, i) => words.slice(i + 1).forEach(b => {
      const across = a.left < b.right - 1 && b.left < a.right - 1;
      if (across && a.top < b.bottom - 4 && b.top < a.bottom - 4)
        wrong.push(`text over text in ${svg.outerHTML.slice(0, 100)}`);
    }));
  }
  const style = getComputedStyle(document.body);
  document.body.dataset.seen = JSON.stringify({
    title: document.title, svgs: document.querySelectorAll('svg').length,
    bars: document.querySelectorAll('svg rect').length, wrong: wrong.slice(0, 5),
    overflow: document.documentElement.scrollWidth - innerWidth,
    paper: style.backgroundColor,
    drawn: [...document.querySelectorAll('svg')].every(
      svg => svg.getBoundingClientRect().height > 100),
  });
</script>"""


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a headless browser on a file."""
    if FOUND is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    browser = FOUND

    def run(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars",
                "--enable-logging=stderr",
                f"--user-data-dir={tmp_path / 'profile'}", *options, file.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip

    return run


def requests(log: Path) -> list[str]:
    """What the page asked the network for, by the browser's own record of all requests.

    A browser has errands of its own; those do not come from any page.
    """
    text = log.read_text(errors="replace").rstrip().removesuffix(",")
    try:
        events = json.loads(text)["events"]
    except json.JSONDecodeError:  # a browser that ends at once leaves the list open
        events = json.loads(f"{text}]}}")["events"]
    asked = (event["params"] for event in events if isinstance(event.get("params"), dict))
    return [one["url"] for one in asked if one.get("initiator", "not an origin") != "not an origin"]


def console(ran: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


def seen(browse: Any, text: str, folder: Path, *options: str) -> dict[str, Any]:
    """What a script sees that is put into the page for that, with its policy taken out."""
    probed = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert probed != text
    file = folder / "probed.html"
    file.write_text(probed.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    dom = browse(file, "--dump-dom", *options).stdout
    body = next(attributes for name, attributes in Elements(dom).found if name == "body")
    shape: dict[str, Any] = json.loads(body["data-seen"] or "null")
    return shape


def test_it_renders_without_errors_or_requests(browse: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(made(tmp_path / "l.db", TASKS), encoding="utf-8")
    log, shot = tmp_path / "net.json", tmp_path / "page.png"
    ran = browse(file, f"--log-net-log={log}", f"--screenshot={shot}", "--window-size=1200,1600")
    assert console(ran) == []
    assert requests(log) == []
    assert shot.read_bytes().startswith(b"\x89PNG")
    assert shot.stat().st_size > 50_000  # a blank page of this size has some 8,000 bytes


@pytest.mark.parametrize("since", ["6h", "7d", "26w"])
@pytest.mark.parametrize("width", [1300, 420])
def test_plots_are_whole_and_nothing_overlaps(
    browse: Any, tmp_path: Path, since: str, width: int
) -> None:
    text = made(tmp_path / "l.db", TASKS, since=since)
    shape = seen(browse, text, tmp_path, f"--window-size={width},2000")
    assert shape["svgs"] == 3 * len(TASKS)
    assert shape["drawn"]
    assert shape["bars"] > 30
    assert shape["wrong"] == []
    assert shape["overflow"] <= 0


def test_light_and_dark(browse: Any, tmp_path: Path) -> None:
    text = made(tmp_path / "l.db", TASKS)
    light, dark = (
        seen(browse, text, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")["paper"]
        for scheme in (1, 0)
    )
    assert light == "rgb(245, 246, 248)"
    assert dark == "rgb(20, 23, 26)"


def test_an_attack_does_nothing_even_without_the_policy(browse: Any, tmp_path: Path) -> None:
    text = hostile(tmp_path / "l.db")
    shape = seen(browse, text, tmp_path)
    assert shape["title"].startswith("cascade report")
    assert shape["wrong"] == []
    assert shape["overflow"] <= 0
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    log = tmp_path / "net.json"
    assert console(browse(file, f"--log-net-log={log}", "--dump-dom")) == []
    assert requests(log) == []


def test_errors_and_requests_would_be_seen(browse: Any, tmp_path: Path) -> None:
    file, log = tmp_path / "bad.html", tmp_path / "net.json"
    file.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('wrong')</script>")
    lines = console(browse(file, f"--log-net-log={log}", "--dump-dom"))
    assert any("wrong" in line for line in lines)
    assert "http://127.0.0.1:9/x.png" in requests(log)
