"""Ray Data on this machine: the same rows as in one process, and nothing is lost with an actor."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.engines.ray_data import RayActors
from tests.support.labelled import NAMES, box_set
from tests.support.paths import FIXTURES
from tests.support.pictures import PNGS

ray: Any = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.data")

# What Ray and its libraries warn of is theirs; pipes of its processes are closed by the system.
pytestmark = pytest.mark.filterwarnings("ignore")

TINY = FIXTURES / "tiny" / "tiny"
PATHS = [str(each) for each in PNGS]
FORM = {"number": "whole", "process": "whole", "threads": "text"}


def test_a_cluster_that_is_not_there() -> None:
    assert not ray.is_initialized()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # and nobody listens
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            with pytest.raises(dn.DarknetError) as caught, RayActors(address):
                raise AssertionError("it was entered")
            assert str(caught.value) == f"{address}: Ray cannot be reached: Connection refused"
    with pytest.raises(dn.DarknetError, match=r"^here:there: Ray cannot be reached: "):
        RayActors("here:there").__enter__()


@pytest.fixture(scope="module")
def actors() -> Iterator[RayActors]:
    """Two actors in a Ray that is started for this file, with as many processors on any machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 4}')
        with RayActors("local", 2) as actors:
            yield actors


class Numbers:
    """Gives numbers back, and with them where it was.

    It may first meet others in a folder, end its process, or raise.
    """

    def __init__(
        self,
        *,
        meets: tuple[Path, int] | None = None,
        dies: Path | None = None,
        always: bool = False,
        raises: str = "",
    ) -> None:
        self.meets, self.dies, self.always, self.raises = meets, dies, always, raises

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if self.meets is not None:
            folder, count = self.meets
            (folder / str(os.getpid())).touch()
            until = time.monotonic() + 300
            while len(os.listdir(folder)) < count and time.monotonic() < until:
                time.sleep(0.01)
        if self.raises:
            raise dn.WeightsError(self.raises, where=dn.Where(file="a.weights"), found="nothing")
        if self.dies is not None and 5 in batch["number"]:
            before = self.dies.exists()
            self.dies.touch()
            if self.always or not before:
                os.kill(os.getpid(), signal.SIGKILL)
        count = len(batch["number"])
        variables = [os.environ.get("DARKNET_BN_THREADS", ""), os.environ["OMP_NUM_THREADS"]]
        return {
            "number": batch["number"],
            "process": [os.getpid()] * count,
            "threads": [" ".join(variables)] * count,
        }


def batches(count: int) -> Iterator[dict[str, list[int]]]:
    return ({"number": [2 * number, 2 * number + 1]} for number in range(count))


def test_rows_are_the_same_as_in_one_process(actors: RayActors, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("this is a text")
    paths = [*PATHS, str(bad), str(tmp_path / "none.png")]
    rows = dn.PictureRows(dn.Detector(TINY, threshold=0.7))
    expected = rows({"path": paths})
    parts = list(actors.map(rows, ({"path": paths[at : at + 3]} for at in (0, 3, 6)), rows.form))
    parts += actors.map(rows, [{"path": paths[9:]}], rows.form)
    found = {name: [each for part in parts for each in part[name]] for name in rows.form}
    order = [found["path"].index(path) for path in paths]
    assert sorted(order) == list(range(len(paths)))
    # Equal to the bit: floats are equal, and none is a zero or a NaN that could hide a difference.
    assert {name: [column[at] for at in order] for name, column in found.items()} == expected
    assert sum(each is not None for each in expected["error"]) == 2


def test_all_actors_work_each_on_its_threads(actors: RayActors, tmp_path: Path) -> None:
    # None is done before the other has begun, which may take a while to start.
    parts = list(actors.map(Numbers(meets=(tmp_path, 2)), batches(20), FORM))
    assert sorted(each for part in parts for each in part["number"]) == list(range(40))
    processes = {each for part in parts for each in part["process"]}
    assert len(processes) == 2
    assert os.getpid() not in processes
    told = {each for part in parts for each in part["threads"]}
    assert told == {f"{actors.threads} {actors.threads}"}
    assert actors.threads == 2  # half of the processors
    assert list(actors.map(Numbers(), [], FORM)) == []


def test_a_batch_whose_actor_is_killed_comes_once(
    actors: RayActors, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "killed"
    parts = list(actors.map(Numbers(dies=mark), batches(10), FORM))
    assert mark.exists()
    assert capfd.readouterr() == ("", "")  # Ray would tell of it on stdout
    assert sorted(each for part in parts for each in part["number"]) == list(range(20))


def test_a_batch_that_kills_every_actor_is_named(actors: RayActors, tmp_path: Path) -> None:
    with pytest.raises(dn.DarknetError) as caught:
        list(actors.map(Numbers(dies=tmp_path / "a", always=True), batches(4), FORM))
    assert str(caught.value) == (
        "4: 4 processes ended while they worked on the batch that begins here; "
        "is there enough memory for each worker?"
    )


def test_an_error_of_ours_is_raised_as_it_is(actors: RayActors) -> None:
    with pytest.raises(dn.WeightsError) as caught:
        list(actors.map(Numbers(raises="it broke"), batches(1), FORM))
    assert str(caught.value) == "a.weights: it broke (found nothing)"


def test_the_cluster_must_have_a_processor_for_each_worker(actors: RayActors) -> None:
    with pytest.raises(dn.DarknetError) as caught, RayActors("local", 5):
        raise AssertionError("it was entered")
    assert str(caught.value) == (
        "the cluster has too few processors (expected one for each of 5 workers, found 4)"
    )
    assert ray.is_initialized()  # who was connected before stays so
    with RayActors() as all_of_it:
        assert (all_of_it.workers, all_of_it.threads) == (4, 1)
    assert ray.is_initialized()


def test_a_model_is_measured_as_in_one_process(actors: RayActors, tmp_path: Path) -> None:
    model = dn.load(TINY)
    boxes = {name: [(0, 0.5, 0.5, 0.4, 0.4), (1, 0.3, 0.3, 0.2, 0.5)] for name in NAMES}
    data = dn.load_dataset(box_set(tmp_path, boxes), model, train=False)
    session = dn.open_session(model)
    here = dn.evaluate(model, data, iou_threshold=0.1, batch=2, session=session)
    there = dn.evaluate(
        model, data, iou_threshold=0.1, batch=2, session=session, spread=actors.spread
    )
    assert isinstance(here, dn.AveragePrecision)
    assert 0 < here.mean < 1
    assert there == here


def test_ray_calls_it_without_anything_of_ours_between(actors: RayActors) -> None:
    # As the guide shows it: a class, its arguments, and files that Ray reads.
    detector = dn.Detector(TINY, threshold=0.7)
    data = ray.data.read_binary_files(PATHS, include_paths=True).map_batches(
        dn.PictureRows,
        fn_constructor_kwargs={"predictor": detector, "threads": 1},
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=1,
        batch_size=4,
    )
    found = {os.path.basename(row["path"]): row for row in data.take_all()}
    expected = dn.PictureRows(detector)({"path": PATHS})
    assert len(found) == len(PATHS)
    for at, path in enumerate(PATHS):
        row = found[os.path.basename(path)]
        for name in ("width", "height", "error", "left", "bottom", "probability", "label"):
            value = row[name]
            assert (value if value is None or not hasattr(value, "__len__") else list(value)) == (
                expected[name][at]
            )
