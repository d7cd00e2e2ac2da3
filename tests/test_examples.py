"""The examples run, and show what their text says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "batchnorm"
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    spec = importlib.util.spec_from_file_location("batchnorm", FOLDER / "batchnorm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_layer_follows_the_equations(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    example.equations()
    errors = [float(each) for each in re.findall(r"\d\.\de-\d+", capsys.readouterr().out)]
    assert len(errors) == 12
    assert max(errors) < 1e-5  # float32 against float64


def test_batch_norm_bears_a_rate_and_weights_that_others_do_not(example: ModuleType) -> None:
    with_norm, without = (
        example.trained(example.perceptron(norm, rate=1.0, scale=0.1), 100)
        for norm in (True, False)
    )
    assert with_norm > 0.6
    assert without < 0.2


def test_pictures_and_parts_are_those_of_the_text(example: ModuleType) -> None:
    shown = set(re.findall(r"\((\w+)\.png\)", TEXT))
    assert shown == {path.stem for path in FOLDER.glob("*.png")}
    assert shown < set(example.PARTS)
