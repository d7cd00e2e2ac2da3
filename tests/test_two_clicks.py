"""From the first page a reader gets to what people look for with two clicks at most."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .support.paths import PROJECT
from .test_docs_pages import LINK, anchors

STARTS = ("README.md", "docs/index.md")
CLICKS = 2
# What a reader wants to know: the page, and the heading on it.
WANTED = {
    "how to fold": ("docs/guides/fold.md", "fold"),
    "what a dialect is": ("docs/concepts.md", "a-dialect-is-a-value"),
    "which dialects there are": ("docs/reference/dialects.md", "dialects"),
    "whether the files fit": ("docs/guides/check.md", "do-the-files-fit"),
    "what to do if not": ("docs/reference/messages.md", "the-weights-do-not-fit-the-cfg"),
    "why a file ends": ("docs/faq.md", "the-file-ends-inside-the-weights-what-is-wrong"),
    "what is what in C": ("docs/batch-norm/functions.md", "srcblasc-the-part-for-batch-norm"),
    "what a kernel takes": ("docs/reference/batchnorm.md", "functions"),
    "what to install": ("docs/start.md", "install"),
    "how to complete commands": ("docs/start.md", "completion-in-the-shell"),
}


def shown_links(page: str) -> set[str]:
    """The pages that the links of a page lead to; blocks and pictures are no links."""
    path = PROJECT / page
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    targets = (link.partition("#")[0] for link in LINK.findall(text) if "://" not in link)
    files = ((path.parent / each).resolve() for each in targets if each.endswith(".md"))
    return {Path(each).relative_to(PROJECT).as_posix() for each in files}


def reached(start: str) -> set[str]:
    """The pages that are there after some clicks."""
    pages = {start}
    for _ in range(CLICKS):
        pages = pages.union(*map(shown_links, sorted(pages)))
    return pages


@pytest.mark.parametrize("start", STARTS)
def test_what_people_look_for_is_two_clicks_away(start: str) -> None:
    pages = reached(start)
    assert [wish for wish, (page, _) in WANTED.items() if page not in pages] == []


@pytest.mark.parametrize("wish", sorted(WANTED))
def test_it_has_a_heading_there(wish: str) -> None:
    page, anchor = WANTED[wish]
    assert anchor in anchors((PROJECT / page).read_text(encoding="utf-8"))
