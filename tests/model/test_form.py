"""What the size of a file shows of a network: floats by layer, and where classes enter."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from darknet_bn.model.form import ClassLayer, Form, form_of
from darknet_bn.model.published import published_forms
from tests.support.builders import cfg_text, network_of
from tests.support.published import read, table, write_tree_of_9k

ANCHORS = "anchors=1,2,3,4,5,6,7,8,9,10,11,12"
CONV = "[convolutional] filters=8 size=3 pad=1 batch_normalize=1 activation=leaky"


def yolo(k: int) -> bytes:
    return cfg_text(
        CONV,
        f"[convolutional] filters={3 * (5 + k)} size=1 activation=linear",
        f"[yolo] classes={k} num=6 mask=3,4,5 {ANCHORS}",
        "[route] layers=0",
        f"[convolutional] filters={2 * (5 + k)} size=3 pad=1 batch_normalize=1",
        f"[yolo] classes={k} num=6 mask=0,1 {ANCHORS}",
    )


def gaussian(k: int) -> bytes:
    head = f"[Gaussian_yolo] classes={k} num=6 mask=0,1,2 {ANCHORS}"
    return cfg_text(CONV, f"[convolutional] filters={3 * (9 + k)} size=1", head)


def region(k: int) -> bytes:
    head = f"[region] classes={k} num=5 coords=4"
    return cfg_text(CONV, f"[convolutional] filters={5 * (5 + k)} size=1", head)


def detection(k: int) -> bytes:
    head = f"[detection] classes={k} coords=4 side=2 num=3"
    return cfg_text(CONV, f"[connected] output={4 * (15 + k)} activation=linear", head)


def classifier(k: int) -> bytes:
    pool = "[avgpool]"
    return cfg_text(CONV, f"[convolutional] filters={k} size=1", pool, "[softmax]", "[cost]")


def connected(k: int) -> bytes:
    return cfg_text(CONV, f"[connected] output={k} batch_normalize=1", "[softmax]")


KINDS = (yolo, gaussian, region, detection, classifier, connected)


@pytest.mark.parametrize("cfg", KINDS, ids=lambda each: each.__name__)
def test_the_floats_grow_with_the_classes_as_the_form_says(cfg: object) -> None:
    form = form_of(network_of(cfg(3)), "a.cfg")
    assert form.classes == 3
    for classes in (1, 2, 4, 80):
        other = network_of(cfg(classes)).stored_floats
        assert other == form.floats + (classes - 3) * form.floats_per_class


def test_where_the_classes_enter() -> None:
    form = form_of(network_of(yolo(3)), "a.cfg")
    assert form.per_class == (ClassLayer(1, 3, 9), ClassLayer(4, 2, 8 * 9 + 4))
    assert form.ends == {8 * 27 + 4 * 8: 1}  # what is after layer 0 depends on the classes


@pytest.mark.parametrize(
    "cfg",
    [
        cfg_text(CONV),
        cfg_text(CONV, "[softmax]"),  # of all pixels
        cfg_text("[rnn] hidden=4 output=5", "[softmax]"),  # what goes in grows too
    ],
)
def test_nets_without_a_number_of_classes(cfg: bytes) -> None:
    form = form_of(network_of(cfg), "a.cfg")
    assert (form.classes, form.per_class) == (None, ())


def test_heads_with_different_numbers_of_classes_have_no_single_one() -> None:
    cfg = yolo(3).replace(b"classes=3\nnum=6\nmask=0,1", b"classes=4\nnum=6\nmask=0,1")
    form = form_of(network_of(cfg.replace(b"filters=16", b"filters=18")), "a.cfg")
    assert (form.classes, form.per_class) == (None, ())


def test_what_sizes_do_not_show() -> None:
    form = form_of(network_of(yolo(3)), "a.cfg")
    assert form.input == "8 x 8 x 3"
    assert form.activations == "leaky 1, linear 1, logistic 1"
    assert form.heads == "1 x yolo of 3, 1 x yolo of 2"
    binary = form_of(network_of(cfg_text(f"{CONV} xnor=1")), "a.cfg")
    assert binary.activations == "leaky 1, xnor 1"


def test_a_form_is_shown_in_one_line_and_pickled() -> None:
    form = form_of(network_of(yolo(3)), "a.cfg")
    assert repr(form) == "<Form a.cfg: 6 layers>"
    assert form.floats_per_class  # computed, and not pickled
    assert pickle.loads(pickle.dumps(form)) == form


def test_the_table_has_the_size_of_every_published_cfg(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree_of_9k(tmp_path)
    monkeypatch.chdir(tmp_path)
    forms: dict[tuple[str, str], list[Form]] = {}
    for form in published_forms():
        for program in form.programs:
            for name in form.names:
                forms.setdefault((program, name), []).append(form)
    for cfg, row in table(shared).items():
        program, _, name = cfg.removesuffix(".cfg").partition("/")
        sizes = {(each.floats, len(each.sizes)) for each in forms[program, name]}
        assert (int(row["floats"]), int(row["layers"])) in sizes, cfg
        network = read(shared, cfg)
        assert str(network.input) in {each.input for each in forms[program, name]}, cfg
