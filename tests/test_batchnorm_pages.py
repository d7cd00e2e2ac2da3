"""The pages of docs/batch-norm are true: their Python runs and prints what they show."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from darknet_bn import kernels

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "batch-norm"
PAGES = sorted(FOLDER.glob("*.md"))
BLOCK = re.compile(r"^<!-- block: ([\w-]+) -->\n```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OUTPUT = "-output"


def named_blocks(page: Path) -> dict[str, tuple[str, str]]:
    """Language and text of each block that has a name, in order."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    names = [name for name, _, _ in found]
    assert len(set(names)) == len(names), f"{page.name} has two blocks of one name"
    return {name: (language, text) for name, language, text in found}


def programs(page: Path) -> dict[str, str]:
    return {name: text for name, (kind, text) in named_blocks(page).items() if kind == "python"}


WITH_PROGRAMS = [page for page in PAGES if programs(page)]


def printed(page: Path) -> dict[str, str]:
    """What each program of a page prints; they share their names, as in one session."""
    names: dict[str, Any] = {"__name__": page.stem}
    found = {}
    for name, text in programs(page).items():
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(text, f"{page.name}: {name}", "exec"), names)
        found[name] = output.getvalue()
    names.clear()  # functions hold what holds them; files that are open in it close now
    return found


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=lambda page: page.stem)
def test_a_page_prints_what_it_shows(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the folder that the pages tell their readers to be in
    blocks = named_blocks(page)
    shown = {
        name.removesuffix(OUTPUT): text
        for name, (kind, text) in blocks.items()
        if kind == "text" and name.endswith(OUTPUT)
    }
    assert {name: text for name, text in printed(page).items() if text} == shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_program_of_a_page_has_a_name(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("```python\n") == len(programs(page))
    assert text.count("<!-- block:") == len(named_blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for target in targets:
        path, _, anchor = target.partition("#")
        if not path.startswith("https:"):
            file = page.parent / path if path else page
            assert file.is_file(), target
            assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_contents() -> None:
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.stem != "index":
            assert f"({page.name})" in index
            assert f"\n{page.stem}\n" in index, "the hidden list of Sphinx"


def test_the_page_of_functions_names_every_kernel() -> None:
    text = (FOLDER / "functions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)\(", text, re.MULTILINE)
    functions = {name for name in kernels.__all__ if not isinstance(getattr(kernels, name), type)}
    assert all(c_name == ours for c_name, ours in rows)
    assert {ours for _, ours in rows} == functions
