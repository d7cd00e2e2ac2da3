"""tools/check_links.py finds links of a site that lead nowhere, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.paths import TOOLS


def check(site: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(TOOLS / "check_links.py"), str(site)]
    return subprocess.run(words, capture_output=True, text=True)


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="a/one.html#here">1</a> <a href="#top">2</a> <h1 id="top"></h1>'
        '<a href="https://example.org/x">3</a> <img src="a/p%20q.png"> <a href="a/one.html?x">4</a>'
    )
    (tmp_path / "a/one.html").write_text('<p id="here"><a href="../index.html#top">back</a>')
    (tmp_path / "a/p q.png").write_bytes(b"")
    fine = check(tmp_path)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert fine.stdout == "2 pages, every link leads somewhere\n"

    (tmp_path / "a/one.html").write_text('<a href="../index.html#tip">1</a><img src="q.png">')
    broken = check(tmp_path)
    assert broken.returncode == 1
    assert broken.stdout.splitlines() == [
        "a/one.html: ../index.html#tip",
        "a/one.html: q.png",
        "index.html: a/one.html#here",
    ]
