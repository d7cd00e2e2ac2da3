"""What is said of the package where it is published: all of it agrees with the rest."""

from __future__ import annotations

import re

import pytest

import darknet_bn as dn

from .support.paths import PROJECT

CITATION = (PROJECT / "CITATION.cff").read_text(encoding="utf-8")
DECLARED = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
CHANGES = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
CI = (PROJECT / ".ci/run").read_text(encoding="utf-8")


def table(name: str) -> list[str]:
    """The keys of a table of pyproject.toml; Python 3.10 has no reader for it."""
    _, _, rest = DECLARED.partition(f"\n[{name}]\n")
    return re.findall(r"^([\w-]+) = ", rest.partition("\n[")[0], re.MULTILINE)


def test_who_cites_it_names_this_version() -> None:
    found = dict(re.findall(r"^([\w-]+): (.*)$", CITATION, re.MULTILINE))
    assert found["version"] == dn.__version__
    assert (found["cff-version"], found["type"]) == ("1.2.0", "software")
    assert (found["title"], found["license"]) == ("darknet_bn", "MIT")
    _, _, authors = CITATION.partition("\nauthors:\n")
    assert authors.startswith("  - name: the darknet_bn developers\nkeywords:\n")  # no persons
    assert 'authors = [{ name = "the darknet_bn developers" }]' in DECLARED
    assert "2026 the darknet_bn developers" in (PROJECT / "LICENSE").read_text(encoding="utf-8")


def test_the_changelog_begins_with_what_comes_and_has_this_version_next() -> None:
    headings = re.findall(r"^## (.*)$", CHANGES, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(
        rf"{re.escape(dn.__version__)} \((\d{{4}}-\d\d-\d\d|not yet released)\)", headings[1]
    )


def test_the_oldest_python_is_the_same_everywhere() -> None:
    oldest = re.findall(r'^requires-python = ">=(3\.\d+)"$', DECLARED, re.MULTILINE)
    versions = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', DECLARED)
    assert versions[:1] == oldest
    minors = [int(each.partition(".")[2]) for each in versions]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    assert f'target-version = "py3{minors[0]}"' in DECLARED
    for page in ("README.md", "docs/start.md"):
        text = (PROJECT / page).read_text(encoding="utf-8")
        assert f"Python {oldest[0]} or newer" in text, page


def test_extras_are_for_users_and_groups_for_developers() -> None:
    extras = ["image", "video", "onnx", "quantize", "ncnn", "tflite", "tflite-int8", "fast"]
    extras += ["coco", "parquet", "ray", "tensorboard", "torch", "examples", "test"]
    assert table("project.optional-dependencies") == extras
    assert table("dependency-groups") == ["lint", "docs", "dist", "torch", "dev"]


@pytest.mark.parametrize("page", [".ci/run", "CONTRIBUTING.md", "Makefile"])
def test_what_is_to_be_installed_is_there(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"--group (\w+)", text)) <= set(table("dependency-groups"))
    extras = {each for found in re.findall(r"\.\[([\w,]+)\]", text) for each in found.split(",")}
    assert extras <= set(table("project.optional-dependencies"))


def test_ci_uses_every_group() -> None:
    # dev includes lint, and so on: what a group is for is done by CI too.
    assert set(re.findall(r"--group (\w+)", CI)) == set(table("dependency-groups"))
