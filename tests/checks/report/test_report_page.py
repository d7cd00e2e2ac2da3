"""The page of a report: complete, closed in itself, for keyboards and screen readers too."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import cfg_text, random_model
from tests.support.html_page import Page, read_page
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "digits"
TINY = FIXTURES / "tiny" / "tiny"
EVIL = "<script>alert('x')</script>&\"<img src=x onerror=alert(1)>"


@pytest.fixture
def digits(tmp_path: Path) -> Page:
    """The page of the net of digits."""
    dn.write_report(dn.load(DIGITS), tmp_path / "digits.html")
    return read_page(tmp_path / "digits.html")


def test_the_card_names_the_files_by_their_hashes(digits: Page) -> None:
    for suffix in (".cfg", ".weights"):
        content = DIGITS.with_suffix(suffix).read_bytes()
        assert digits.facts["files"][suffix[1:]] == {
            "file": f"digits{suffix}",
            "bytes": len(content),
            "sha256": (digest := hashlib.sha256(content).hexdigest()),
        }
        assert f"SHA-256 {digest}" in digits.text


def test_every_layer_is_a_row_and_a_box_that_leads_to_it(digits: Page) -> None:
    model = dn.load(DIGITS)
    links = {each["data-node"]: each["href"] for each in digits.tags("a") if "data-node" in each}
    count = len(model.network.nodes)
    assert links == {f"{layer}": f"#layer-{layer}" for layer in range(count)}
    for row in dn.summarise(model.network):
        number, section, *_ = cells = digits.row(f"layer-{row.layer}")
        assert (number, section) == (f"{row.layer}", row.section)
        assert row.output in cells


def test_links_lead_somewhere_in_the_page_and_ids_are_unique(digits: Page) -> None:
    targets = [each["href"] for each in digits.tags("a")]
    assert {each[:1] for each in targets} == {"#"}
    assert {each[1:] for each in targets} <= set(digits.ids)
    assert len(digits.ids) == len(set(digits.ids))


def test_nothing_is_loaded_from_elsewhere(digits: Page) -> None:
    assert "http" not in digits.text.replace("http-equiv", "")
    assert [each for each in digits.tags("script") if "src" in each] == []
    assert [each["href"] for each in digits.tags("link")] == ["data:,"]
    policy = digits.tags("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy


def test_tables_and_pictures_say_what_they_are(digits: Page) -> None:
    tables, svgs = digits.tags("table"), digits.tags("svg")
    assert len(tables) == len(digits.tags("caption")) == 2
    assert all(each["scope"] in ("col", "row") for each in digits.tags("th"))
    heads = sum(each["scope"] == "col" for each in digits.tags("th"))
    assert heads == len(digits.tags("button"))  # by which one sorts
    for each in svgs:
        assert each.get("aria-label") or each.get("aria-labelledby"), each
    assert digits.tags("html")[0]["lang"] == "en"
    assert digits.tags("a")[0] == {"class": "skip", "href": "#main"}
    levels = [int(tag[1]) for tag, _ in digits.elements if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1


def test_links_between_layers_are_drawn_once_each(tmp_path: Path) -> None:
    model = random_model(
        cfg_text(
            "[convolutional] filters=3 size=3 pad=1 activation=linear",
            "[convolutional] filters=3 size=3 pad=1 activation=linear",
            "[shortcut] from=-2 activation=linear",
            "[route] layers=-1,0",
        )
    )
    dn.write_report(model, tmp_path / "m.html")
    edges = [
        (each["data-from"], each["data-to"])
        for each in read_page(tmp_path / "m.html").tags("path")
        if each.get("class") == "edge"
    ]
    assert sorted(edges) == [
        *[("-1", "0"), ("0", "1"), ("0", "2"), ("0", "3"), ("1", "2"), ("2", "3")]
    ]


def test_names_and_text_of_files_are_only_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>&'"
    cfg = (tmp_path / f"{name}.cfg", tmp_path / f"{name}.weights")
    text = DIGITS.with_suffix(".cfg").read_text()
    cfg[0].write_text(text.replace("[convolutional]", f"[convolutional]\n{EVIL}=</script>", 1))
    shutil.copy(DIGITS.with_suffix(".weights"), cfg[1])
    with pytest.warns(dn.DarknetWarning, match="onerror"):
        model = dn.load(*cfg)
    dn.write_report(model, tmp_path / "page.html", names=[EVIL] * 10)
    page = read_page(tmp_path / "page.html")
    assert page.tags("img") == []
    assert len(page.tags("script")) == 2
    assert not any(key.startswith("on") for _, each in page.elements for key in each)
    assert page.facts["files"]["cfg"]["file"] == f"{name}.cfg"
    assert any("onerror" in each for each in page.facts["oddities"])


def test_a_name_that_is_no_utf_8_is_shown_as_an_escape(tmp_path: Path) -> None:
    cfg = dn.parse_cfg(DIGITS.with_suffix(".cfg").read_bytes())
    model = dn.load(DIGITS)
    object.__setattr__(cfg, "file", "a\udcff.cfg")
    object.__setattr__(model, "cfg", cfg)
    dn.write_report(model, tmp_path / "page.html")
    assert "udcff.cfg</h1>" in read_page(tmp_path / "page.html").text


def test_broken_batch_norms_are_named_in_a_word(tmp_path: Path) -> None:
    model = dn.load(DIGITS)
    params = [dict(each) for each in model.params]
    variance = params[1]["rolling_variance"].copy()
    variance[:2] = -1
    scales = params[2]["scales"].copy()
    scales[:3] = 0
    params[1]["rolling_variance"], params[2]["scales"] = variance, scales
    object.__setattr__(model, "params", tuple(params))
    facts = dn.write_report(model, tmp_path / "page.html")
    assert not facts["ok"]
    page = read_page(tmp_path / "page.html")
    health = {cells[0]: cells for cells in (*page.rows_with("wrong"), *page.rows_with("look"))}
    assert health["1"][2:4] == ["wrong", "2 variances negative or NaN"]
    assert health["2"][2:4] == ["look", "3 constant channels"]
    assert [each["negative"] for each in page.facts["batch_norms"]] == [0, 2, 0]
    assert [each["dead"] for each in page.facts["batch_norms"]] == [0, 0, 3]


def test_what_is_the_same_in_several_layers_is_said_once(tmp_path: Path) -> None:
    model = dn.load(DIGITS)
    params = [dict(each) for each in model.params]
    for each in params[:3]:
        each["rolling_mean"] = np.zeros_like(each["rolling_mean"])
        each["rolling_variance"] = np.zeros_like(each["rolling_variance"])
    object.__setattr__(model, "params", tuple(params))
    facts = dn.write_report(model, tmp_path / "page.html")
    said = [each for each in facts["findings"] if "statistics are zero" in each.what]
    assert [each.layer for each in said] == [0, 1, 2]
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text.count("statistics are zero") == 1 + len(said)  # and in the JSON
    assert "3 layers <a href=" in text


def test_large_nets_stay_small_pages(shared: Path, tmp_path: Path) -> None:
    model = dn.load(shared / "models" / "yolo-fastest" / "yolo-fastest-1.1")
    dn.write_report(model, tmp_path / "page.html")
    assert len(model.network.nodes) > 100
    assert (tmp_path / "page.html").stat().st_size < 2_000_000


def test_bars_count_every_value(tmp_path: Path) -> None:
    facts = dn.write_report(dn.load(DIGITS), tmp_path / "page.html")
    for each in facts["arrays"]:
        array = dn.load(DIGITS).params[each.layer][each.name]
        assert sum(each.bars) == each.values == array.size
        assert (each.lowest, each.highest) == (array.min(), array.max())
        assert np.isclose(each.mean, array.mean(dtype=np.float64), rtol=1e-12)


def test_arrays_without_a_finite_value_are_said_to_be_nan(tmp_path: Path) -> None:
    model = random_model(cfg_text("[convolutional] filters=2 size=1 activation=linear"))
    nan = {name: np.full_like(array, np.nan) for name, array in model.params[0].items()}
    object.__setattr__(model, "params", (nan,))
    dn.write_report(model, tmp_path / "page.html")
    page = read_page(tmp_path / "page.html")
    assert {each["lowest"] for each in page.facts["arrays"]} == {"nan"}
    assert "from NaN to NaN" in page.text


def test_nothing_is_replaced_unasked_and_no_input_ever(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("mine")
    with pytest.raises(dn.DarknetError, match="already exists"):
        dn.write_report(dn.load(DIGITS), target)
    assert target.read_text() == "mine"
    dn.write_report(dn.load(DIGITS), target, force=True)
    assert target.read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(dn.DarknetError, match="suffix"):
        dn.write_report(dn.load(DIGITS), tmp_path / "page.cfg")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_the_same_model_gives_the_same_page(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        dn.write_report(dn.load(TINY), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
