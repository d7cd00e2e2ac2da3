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
from darknet_bn.engines.base import ENGINES

from .support.messages import messages
from .support.pages import PAGES, label
from .support.paths import PROJECT

TEXTS = {label(page): page.read_text(encoding="utf-8") for page in PAGES}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# What sounds like another language: a pattern, what it catches, and what to write instead.
STILTED = (
    (r"\banew\b", "begin to count anew", "begin to count again"),
    (r"\b(has|have) not (the|a|an|as|one)\b", "it has not the size", "it does not have the size"),
    (r"(?<!there )\b(is|are|was) no\b(?! longer)", "this is no file", "this is not a file"),
    (r"(?<!there )\b(is|are) none\b", "'x' is none of a, b", "'x' is not one of a, b"),
    (
        r"\b(behind|in front of) (the |a |each )?(last |first )?"
        r"(layer|iteration|section|weights|convolution|head|step|file)",
        "stopped behind iteration 3",
        "stopped after iteration 3",
    ),
    (r"\bway (back|forward)\b", "the way back", "the backward pass"),
    (r"^Of ", "Of several files, one is read", "One of several files is read"),
    (r"\b(that|those) of\b", "another size than that of x", "a different size from the size of x"),
    (r"\b(an)?other( \w+)? than\b", "another size than x", "a different size from x"),
    (r"\bso many\b", "use so many", "use that many"),
    (r"\bgo(es)? on\b", "training goes on", "training continues"),
    (r"\b(does|do) not count\b", "the line does not count", "the line is ignored"),
    (r"\b(is|are|was) taken for\b", "it is taken for a comment", "it is treated as a comment"),
    (r"\bto be meant\b", "too large to be meant", "too large"),
    (r"\bstands?\b(?! for)", "the key stands twice", "the key occurs twice"),
    (r"\b(lie|lies) (in|on|at|outside|before|there)\b", "it lies outside", "it is outside"),
    (r"\bbeside\b", "beside the model", "next to the model"),
    (r"\btells (that|what|whether|more)\b", "it tells whether x", "it shows whether x"),
    (
        r"\bexcludes? (each other|--)",
        "--a and --b exclude each other",
        "--a and --b cannot be used together",
    ),
    (r"\bnot expressed\b", "x is not expressed in ONNX", "x cannot be exported to ONNX"),
)
SOURCES = sorted((PROJECT / "darknet_bn").rglob("*.py"))
PROSE = sorted(
    {
        *PAGES,
        *(PROJECT / "docs/batch-norm").glob("*.md"),
        PROJECT / "SECURITY.md",
        PROJECT / "CONTRIBUTING.md",
    }
)


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
    found = ((re.search(pattern, text, re.MULTILINE), better) for pattern, _, better in STILTED)
    return [f"{match}: as in {better!r}" for match, better in found if match]


def stilted_messages(source: str) -> list[tuple[int, list[str]]]:
    return [(line, stilted(text)) for line, text in messages(source) if stilted(text)]


@pytest.mark.parametrize("page", PROSE, ids=label)
def test_the_english_of_pages_is_plain(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert stilted(text) == []


@pytest.mark.parametrize("command", sorted(SHORT_HELP))
def test_the_english_of_help_is_plain(command: str) -> None:
    text = CliRunner().invoke(main, [command, "--help"]).stdout
    assert stilted(" ".join(text.split())) == []


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_the_english_of_messages_is_plain(path: Path) -> None:
    assert stilted_messages(path.read_text("utf-8")) == []


@pytest.mark.parametrize(("pattern", "bad", "better"), STILTED)
def test_a_stilted_message_would_be_found(pattern: str, bad: str, better: str) -> None:
    for planted in (
        f'raise DarknetError("{bad}")',
        f'raise CfgError("x", hint="{bad}")',
        f'raise CfgError(\n    f"{{name}}",\n    expected=f"{bad} {{name}}",\n)',
        f'warnings.warn(f"{bad}; {{rest}}", DarknetWarning)',
        f'@click.option("-x", help="{bad}")\ndef f(): pass',
    ):
        assert [line for line, _ in stilted_messages(planted)], planted
        assert not stilted_messages(planted.replace(bad, better)), planted
    assert re.search(pattern, bad)
    assert not stilted_messages(f'def f():\n    """{bad}"""')  # docstrings have their own pace


def test_messages_are_put_together_as_they_are_printed() -> None:
    source = 'raise DarknetError("this is "\n    f"no {kind:>5}, but {other!r}")'
    assert list(messages(source)) == [(1, "this is no …, but …")]


def test_every_engine_is_in_the_table_of_engines() -> None:
    text = TEXTS["docs/guides/engines.md"].partition("## Run a model in another engine")[2]
    assert tuple(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == ENGINES
