"""The page in a browser: nothing is logged, nothing is loaded, and columns sort."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import darknet_bn as dn
from tests.support.paths import FIXTURES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PICTURE = FIXTURES / "preprocess" / "rgba_10x15.png"
CLICKS = """
const table = document.querySelector("#layers table"), seen = [];
const head = [...table.tHead.rows[0].cells].find((each) => each.textContent === "%s");
for (let times = 0; times < 2; times++) {
  head.firstChild.click();
  seen.push(head.getAttribute("aria-sort"));
  seen.push([...table.tBodies[0].rows].map((row) => row.id.slice(6)).join(" "));
}
document.querySelector('[data-node="1"]').dispatchEvent(new Event("focus"));
seen.push(document.querySelectorAll(".edge.near").length);
document.title = seen.join("; ");
"""


@dataclass
class Opened:
    """What a browser made of a page."""

    title: str
    logged: list[str]


def opened(page: Path, profile: Path) -> Opened:
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
        *("--enable-logging=stderr", "--dump-dom", f"--user-data-dir={profile}"),
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None
    return Opened(title[1], [each for each in done.stderr.splitlines() if "CONSOLE" in each])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small detector with a picture."""
    path = tmp_path_factory.mktemp("report") / "tiny.html"
    dn.write_report(dn.load(FIXTURES / "tiny" / "tiny"), path, [PICTURE])
    return path


def test_nothing_is_logged(page: Path, tmp_path: Path) -> None:
    assert opened(page, tmp_path) == Opened("tiny.cfg", [])


def test_a_script_of_somebody_else_does_not_run(page: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.html"
    script = "<script>document.title = 'run'</script><img src='http://127.0.0.1:9/a.png'></body>"
    hostile.write_text(page.read_text("utf-8").replace("</body>", script), "utf-8")
    found = opened(hostile, tmp_path / "profile")
    assert found.title == "tiny.cfg"
    assert sum("Content Security Policy" in each for each in found.logged) == 2


def test_columns_sort_and_layers_show_their_links(page: Path, tmp_path: Path) -> None:
    for heading, key in (
        ("parameters", lambda row: row.parameters),
        ("filters", lambda row: row.filters or 0),
    ):
        text = re.sub(r"<meta http-equiv.*?>", "", page.read_text("utf-8"))
        clicking = tmp_path / "clicking.html"
        clicking.write_text(
            text.replace("</body>", f"<script>{CLICKS % heading}</script></body>"), "utf-8"
        )
        found = opened(clicking, tmp_path / "profile")
        assert found.logged == []
        up, rising, down, falling, near = found.title.split("; ")
        assert (up, down, near) == ("ascending", "descending", "2")
        network = dn.load(FIXTURES / "tiny" / "tiny").network
        rows = dn.summarise(network)
        assert [int(each) for each in rising.split()] == [
            row.layer for row in sorted(rows, key=key)
        ]
        values = [key(rows[int(each)]) for each in falling.split()]
        assert values == sorted(values, reverse=True)
