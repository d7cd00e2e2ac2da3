"""One object from files to classes: as the detector, which has most of the tests."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

import darknet_bn as dn
from tests.support.paths import FIXTURES

MODEL = FIXTURES / "layers" / "avgpool_softmax" / "model"
PNGS = sorted((FIXTURES / "preprocess").glob("*.png"))
PICTURE = FIXTURES / "preprocess" / "gradient_31x17.png"
NAMES = ("ant", "bee", "crab", "dog", "elk")


def by_steps(**options: Any) -> list[Any]:
    model = dn.load(MODEL)
    fit = options.pop("fit", None)
    x = dn.prepare(dn.load_image(PICTURE), model, fit)
    (scores,) = dn.classify(model, x, **options)
    return scores


def test_it_finds_what_the_steps_find() -> None:
    assert dn.Classifier(MODEL)(PICTURE) == by_steps()
    found = dn.Classifier(f"{MODEL}.cfg", f"{MODEL}.weights", names=NAMES, top=2)(PICTURE)
    assert found == by_steps(names=NAMES, top=2)
    assert len(found) == 2
    assert found[0].label in NAMES
    for fit in ("letterbox", "stretch", "crop"):
        assert dn.Classifier(MODEL, fit=fit)(PICTURE) == by_steps(fit=fit)


def test_each_form_of_a_picture_gives_the_same() -> None:
    classify = dn.Classifier(MODEL, names=NAMES)
    expected = classify(PICTURE)
    with Image.open(PICTURE) as picture:
        levels = np.asarray(picture.convert("RGB"))
        forms = [PICTURE, PICTURE.read_bytes(), levels, dn.load_image(PICTURE), picture]
        assert classify(forms) == [expected] * 5
    assert classify(levels[:, :, ::-1], order="bgr") == expected


def test_threads_and_copies_find_the_same(engine: str) -> None:
    classify = dn.Classifier(MODEL, engine=engine, top=3)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(classify, PNGS))
    content = pickle.dumps(classify)
    assert len(content) < 10_000
    assert pickle.loads(content)(PNGS) == found
    for one, other in zip(dn.Classifier(MODEL, top=3)(PNGS), found, strict=True):
        assert [each.class_id for each in other] == [each.class_id for each in one]
        # Rounding, as in test_sessions.py.
        values = [each.probability for each in one]
        assert [each.probability for each in other] == pytest.approx(values, abs=2e-5)


def test_what_goes_wrong() -> None:
    with pytest.raises(dn.DarknetError, match="the number of classes to return is out of range"):
        dn.Classifier(MODEL, top=0)
    with pytest.raises(dn.DarknetError, match="unknown way to fit"):
        dn.Classifier(MODEL, fit="squeeze")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(dn.DarknetError, match="the network is a detector"):
        dn.Classifier(FIXTURES / "tiny" / "tiny")(PICTURE)
    with pytest.raises(dn.ImageError, match=r"pictures\[0\]"):
        dn.Classifier(MODEL)([b"nothing"])
