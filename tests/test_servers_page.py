"""The page on servers: its programs answer as the detector does."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions import detection_objects

from .support.pages import blocks_of
from .support.paths import FIXTURES, PROJECT

BLOCKS = {block.name: block.text for block in blocks_of(PROJECT / "docs/guides/servers.md")}
PICTURES = [FIXTURES / "preprocess" / f"{name}.png" for name in ("rgba_10x15", "gradient_31x17")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small model under the names that the page uses, which is the current one."""
    for suffix in (".cfg", ".weights"):
        shutil.copy(FIXTURES / "tiny" / f"tiny{suffix}", tmp_path / f"yolo-fastest-1.1{suffix}")
    (tmp_path / "coco.names").write_text("cat\ndog\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def found(folder: Path) -> list[list[dn.Detection]]:
    """What the detector itself finds."""
    detector = dn.Detector("yolo-fastest-1.1", names="coco.names")
    rows = [detector(picture) for picture in PICTURES]
    assert all(rows)
    return rows


# -- FastAPI -------------------------------------------------------------------------------


@pytest.fixture
def client(folder: Path) -> Iterator[Any]:
    pytest.importorskip("fastapi", reason="FastAPI is not installed")
    pytest.importorskip("httpx2", reason="httpx2, which its test client needs, is absent")
    from fastapi.testclient import TestClient

    names: dict[str, Any] = {}
    exec(compile(BLOCKS["server"], "server.py", "exec"), names)
    with TestClient(names["app"]) as client:
        assert names["detector"]._made is not None  # loaded before any request
        yield client


def test_fastapi_answers_with_the_objects(client: Any, found: list[list[dn.Detection]]) -> None:
    for picture, expected in zip(PICTURES, found, strict=True):
        answer = client.post("/detect", content=picture.read_bytes())
        assert answer.status_code == 200
        assert answer.json() == {"objects": detection_objects(expected)}


def test_fastapi_says_what_is_not_a_picture(client: Any) -> None:
    answer = client.post("/detect", content=b"this is a text")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("not a picture")


def test_fastapi_answers_several_at_a_time(client: Any, found: list[list[dn.Detection]]) -> None:
    def ask(number: int) -> Any:
        return client.post("/detect", content=PICTURES[number % 2].read_bytes()).json()["objects"]

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(12)))
    assert answers == [detection_objects(found[number % 2]) for number in range(12)]


# -- Triton --------------------------------------------------------------------------------


class Tensor:
    """As Triton's, in what the page uses."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self._array = name, array

    def as_numpy(self) -> np.ndarray:
        return self._array


class Response:
    def __init__(self, output_tensors: list[Tensor], error: Any = None) -> None:
        self.output_tensors, self.error = output_tensors, error


class TritonError:
    def __init__(self, message: str) -> None:
        self.message = message


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for the module that only Triton has."""
    module: Any = ModuleType("triton_python_backend_utils")
    module.Tensor, module.InferenceResponse, module.TritonError = Tensor, Response, TritonError
    module.get_input_tensor_by_name = lambda request, name: next(
        (each for each in request if each.name == name), None
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)
    return module  # type: ignore[no-any-return]


def test_triton_answers_with_boxes(
    triton: ModuleType, folder: Path, found: list[list[dn.Detection]], tmp_path: Path
) -> None:
    version = tmp_path / "repository" / "1"
    version.mkdir(parents=True)
    for name in ("yolo-fastest-1.1.cfg", "yolo-fastest-1.1.weights", "coco.names"):
        shutil.move(name, version)
    given = dict(re.findall(r'key: "(\w+)" value: { string_value: "(.*?)" }', BLOCKS["config"]))
    assert given == {"model": "yolo-fastest-1.1", "names": "coco.names"}
    parameters = ", ".join(f'"{key}": {{"string_value": "{each}"}}' for key, each in given.items())
    names: dict[str, Any] = {}
    exec(compile(BLOCKS["triton"], "model.py", "exec"), names)
    model = names["TritonPythonModel"]()
    model.initialize(
        {
            "model_config": f'{{"parameters": {{{parameters}}}}}',
            "model_repository": str(version.parent),
            "model_version": "1",
        }
    )
    contents = [picture.read_bytes() for picture in PICTURES] + [b"this is a text"]
    requests = [[Tensor("PICTURE", np.frombuffer(each, np.uint8))] for each in contents]
    *answers, wrong = model.execute(requests)
    for answer, expected in zip(answers, found, strict=True):
        (boxes,) = answer.output_tensors
        assert (answer.error, boxes.name) == (None, "BOXES")
        assert (boxes.as_numpy().dtype, boxes.as_numpy().shape) == (np.float32, (len(expected), 6))
        edges = [(each.left, each.top, each.right, each.bottom) for each in expected]
        np.testing.assert_array_equal(boxes.as_numpy()[:, :4], np.array(edges, np.float32))
        assert boxes.as_numpy()[:, 5].tolist() == [each.class_id for each in expected]
    assert wrong.output_tensors == []
    assert wrong.error.message.startswith("not a picture")


def test_the_configuration_of_triton_names_what_the_class_uses() -> None:
    names = re.findall(r'(?:input|output) \[ { name: "(\w+)"', BLOCKS["config"])
    assert names == ["PICTURE", "BOXES"]
    assert all(f'"{name}"' in BLOCKS["triton"] for name in names)
