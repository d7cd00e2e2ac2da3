"""The pages as pages: links lead somewhere, everything public is there, the English is plain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn import kernels
from darknet_bn.cli.commands import SHORT_HELP
from darknet_bn.cli.program import main

from .support.pages import PAGES, label

TEXTS = {label(page): page.read_text(encoding="utf-8") for page in PAGES}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# What sounds like another language, with what to write instead.
STILTED = {
    r"\banew\b": "again",
    r"\bhas not (the|a|an|as)\b": "does not have",
    r"\b(is|are) none of\b": "is not one of",
    r"\b(behind|in front of) (the )?(layer|iteration|section|weights|convolution)": "after, before",
    r"\bway (back|forward)\b": "backward pass, forward pass",
    r"^Of (a|an|the|all|each) ": "the subject first",
    r"\bno longer any more\b": "no longer",
    r"\beach its own\b": "its own",
    r"\bthat of\b": "the noun again",
    r"\bso many\b": "that many",
}
# Docstrings and files that are included have their own pace.
PROSE = sorted(set(TEXTS) - {"docs/changelog.md", "docs/security.md", "docs/json.md"})


def anchors(text: str) -> set[str]:
    """Return the anchors of headings, as GitHub and MyST make them."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=label)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_in_the_table_of_contents() -> None:
    trees = re.findall(
        r"^```\{toctree\}\n(.*?)^```", TEXTS["docs/index.md"], re.DOTALL | re.MULTILINE
    )
    entries = [line for tree in trees for line in tree.splitlines() if line and line[0] != ":"]
    pages = [name.removeprefix("docs/").removesuffix(".md") for name in TEXTS if "docs/" in name]
    outside = {"batch-norm/index"}  # its pages have tests of their own
    assert sorted(set(entries) - outside) == sorted({*pages} - {"index"})
    assert len(set(entries)) == len(entries)


def test_every_public_name_is_in_the_reference() -> None:
    page = TEXTS["docs/reference/python.md"]
    names = re.findall(r"^\.\. (?:auto|py:)\w+:: darknet_bn\.(\w+)$", page, re.MULTILINE)
    assert sorted(names) == sorted(dn.__all__)
    assert all(getattr(dn, name).__doc__ for name in names)
    page = TEXTS["docs/reference/batchnorm.md"]
    names = re.findall(r"^\.\. auto\w+:: darknet_bn\.kernels\.(\w+)$", page, re.MULTILINE)
    assert sorted(names) == sorted(kernels.__all__)


def stilted(text: str) -> list[str]:
    found = ((re.search(pattern, text, re.MULTILINE), STILTED[pattern]) for pattern in STILTED)
    return [f"{match}: better {better}" for match, better in found if match]


@pytest.mark.parametrize("page", PROSE)
def test_the_english_of_pages_is_plain(page: str) -> None:
    assert stilted(re.sub(r"^```.*?^```$", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE)) == []


@pytest.mark.parametrize("command", sorted(SHORT_HELP))
def test_the_english_of_help_is_plain(command: str) -> None:
    text = CliRunner().invoke(main, [command, "--help"]).stdout
    assert stilted(" ".join(text.split())) == []
