"""Plant faults in trained models, one at a time, and count what ``darknet-bn doctor`` names.

The models are the ones that people share (``shared/models``), the digits of
``tests/fixtures/digits``, and a detector of shapes that is trained here.  A fault counts as found
if the first finding that is wrong names it; anything wrong in a healthy model is a false alarm.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

import darknet_bn as dn
from darknet_bn.arrays import F32
from darknet_bn.checks.doctor.preparation import preparation
from darknet_bn.checks.doctor.seen import readers_of

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))  # for what tests draw
from tests.support.shapes import draw_pictures  # noqa: E402

_SIZE = 224  # pixels of detectors with faults; healthy ones are looked at in their own size too
_MEAN = np.array((0.485, 0.456, 0.406), np.float32).reshape(3, 1, 1)
_SIGMA = np.array((0.229, 0.224, 0.225), np.float32).reshape(3, 1, 1)
_FUNCTIONS = ("leaky", "relu", "linear", "mish", "swish")


@dataclass(frozen=True)
class Subject:
    """A trained model, and inputs; ``planted`` says whether to plant faults in it."""

    name: str
    model: dn.Model
    inputs: tuple[F32, ...]
    planted: bool = True

    @property
    def colours(self) -> bool:
        """Whether the input has three channels."""
        return self.model.network.input.c == 3


@dataclass(frozen=True)
class Planted:
    """A fault: its kind, the model and the input that have it, and what has to be said."""

    kind: str
    model: dn.Model
    change: str
    expected: str | None
    layer: int | None = None


@click.command()
@click.option(
    "--shared", type=click.Path(path_type=Path, exists=True), default=PROJECT / "../shared"
)
@click.option("--more", type=click.Path(path_type=Path, exists=True), help="A folder of pictures.")
@click.option("--single", default=6, show_default=True, help="Wrong single layers per model.")
@click.option("--sets", default=6, show_default=True, help="Sets of pictures per model and size.")
@click.option("--quick", is_flag=True, help="Only inversion and BGR: nothing else is looked for.")
def main(shared: Path, more: Path | None, single: int, sets: int, quick: bool) -> None:
    """Print a table: kind of fault, how many were planted, found, and missed as unknown."""
    only = ("none", "inverted", "BGR")
    rows: dict[tuple[str, int], Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects(shared, more, Path(folder)):
            if quick and not subject.planted:
                continue
            rng = np.random.default_rng(0)
            for count in (1, 2, 4, 8):
                shown = list(itertools.combinations(range(len(subject.inputs)), count))
                for number, chosen in enumerate(shown[:: max(1, len(shown) // sets)]):
                    healthy = Planted("none", subject.model, "none", None)
                    only_healthy = not subject.planted or (number % 3 and not quick)
                    planted_here = () if only_healthy else faults(subject, rng, single)
                    for planted in (healthy, *planted_here):
                        if quick and planted.kind not in only:
                            continue
                        inputs = [subject.inputs[number] for number in chosen]
                        outcome = judge(planted, inputs, quick)
                        rows.setdefault((planted.kind, count), Counter())[outcome] += 1
                        if outcome not in ("found", "healthy"):
                            name = f"{subject.name} {chosen} {planted.kind} {planted.layer}"
                            click.echo(f"  {outcome}: {name}", err=True)
    click.echo("| fault | pictures | planted | named | as one of two | unknown | missed | other |")
    click.echo("|---|---|---|---|---|---|---|---|")
    for (kind, count), seen in sorted(rows.items()):
        named = seen["found"] + seen["healthy"]
        outcomes = (seen[each] for each in ("either", "unknown", "missed", "other"))
        cells = (kind, count, seen.total(), named, *outcomes)
        click.echo(f"| {' | '.join(map(str, cells))} |")


def subjects(shared: Path, more: Path | None, folder: Path) -> Iterator[Subject]:
    """Yield the models with their pictures."""
    photos = sorted((shared / "images").glob("*.jpg")) + sorted((more or folder).glob("*.jpg"))
    for cfg in sorted((shared / "models").glob("*/*.cfg")):
        model = dn.load(cfg, cfg.with_suffix(".weights"))
        for size in (model.network.input.h, _SIZE):
            sized = model.resized(size, size)
            inputs = tuple(dn.prepare(dn.load_image(each), sized) for each in photos)
            yield Subject(f"{cfg.stem} {size}", sized, inputs, size == _SIZE)
    digits = PROJECT / "tests/fixtures/digits"
    with np.load(digits / "test.npz") as data:
        images = [data["x"][number::4][:64] for number in range(4)]
    yield Subject(
        "digits", dn.load(digits / "digits.cfg", digits / "digits.weights"), tuple(images)
    )
    yield shapes(folder)


def shapes(folder: Path) -> Subject:
    """Train the detector of shapes."""
    draw_pictures(folder, 48, 3)
    with contextlib.chdir(folder):
        model = dn.load("shapes.cfg", None, dialect="pjreddie")
        for progress in dn.train(
            dn.train_state(model), dn.load_dataset("shapes.data", model, train=True)
        ):
            trained = progress.state.model
        paths = sorted(folder.glob("pictures/*.png"))
        inputs = [dn.prepare(dn.load_image(each), trained) for each in paths]
    return Subject("shapes", trained, tuple(np.concatenate(inputs[n::4]) for n in range(4)))


def faults(subject: Subject, rng: np.random.Generator, single: int) -> Iterator[Planted]:
    """Yield the model with each fault."""
    model = subject.model
    yield Planted("times 255", model, "times 255", "input")
    yield Planted("inverted", model, "inverted", "inversion")
    yield Planted("statistics of other channels", mixed(model, rng), "none", "statistics")
    if subject.colours:
        yield Planted("normalised as for ImageNet", model, "imagenet", "input")
        yield Planted("BGR", model, "bgr", "order of channels")
    used = functions(model)
    most = Counter(used.values()).most_common(1)[0][0]
    others = [each for each in _FUNCTIONS if each != most]
    for other in others:
        layers = dict.fromkeys((layer for layer in used if used[layer] == most), other)
        wrong = with_functions(model, layers)
        yield Planted("activation, everywhere", wrong, "none", "activation", min(layers))
    for layer in rng.permutation(sorted(used))[:single]:
        other = str(rng.choice([each for each in _FUNCTIONS if each != used[layer]]))
        wrong = with_functions(model, {int(layer): other})
        yield Planted("activation, one layer", wrong, "none", "activation", int(layer))


def functions(model: dn.Model) -> dict[int, str]:
    """Return the activation function of each layer that a batch norm reads."""
    readers = readers_of(model.network)
    return {
        index: str(node.layer.activation)  # type: ignore[attr-defined]
        for index, node in enumerate(model.network.nodes)
        if node.params and readers[index] and getattr(node.layer, "activation", "") in _FUNCTIONS
    }


def with_functions(model: dn.Model, functions: dict[int, str]) -> dn.Model:
    """Return a model whose cfg has other functions in some layers."""
    nodes = tuple(
        replace(node, layer=replace(node.layer, activation=functions[index]))  # type: ignore[call-arg]
        if index in functions
        else node
        for index, node in enumerate(model.network.nodes)
    )
    return replace(model, network=replace(model.network, nodes=nodes))


def mixed(model: dn.Model, rng: np.random.Generator) -> dn.Model:
    """Return a model whose statistics belong to other channels of the same layer."""
    params = []
    for each in model.params:
        new = dict(each)
        if "rolling_mean" in new:
            order = rng.permutation(len(new["rolling_mean"]))
            for name in ("rolling_mean", "rolling_variance"):
                new[name] = new[name][order]
        params.append(new)
    return replace(model, params=tuple(params))


def changed(x: F32, change: str) -> F32:
    """Return an input with a fault of preparation."""
    ways = {
        "none": lambda x: x,
        "times 255": lambda x: x * np.float32(255),
        "inverted": lambda x: 1 - x,
        "imagenet": lambda x: (x - _MEAN) / _SIGMA,
        "bgr": lambda x: x[:, ::-1],
    }
    return np.ascontiguousarray(ways[change](x), np.float32)


def judge(planted: Planted, inputs: list[F32], quick: bool) -> str:
    """Return what was made of a fault: found, either, unknown, missed, other; or healthy."""
    x = [changed(np.concatenate(inputs), planted.change)]
    look = preparation if quick else lambda model, x: dn.examine(model, x).findings
    found = tuple(look(planted.model, x))
    said = [each for each in found if each.verdict == "wrong"]
    if planted.expected == "order of channels":
        said += [each for each in found if each.kind == planted.expected and each.verdict == "note"]
    if planted.expected is None:
        return "other" if said else "healthy"
    if said:
        if said[0].kind == "preparation" and planted.expected in ("inversion", "order of channels"):
            return "either"
        right = said[0].kind == planted.expected and planted.layer in (None, said[0].layer)
        return "found" if right else "other"
    kinds = {each.kind for each in found if each.verdict == "unknown"}
    return "unknown" if planted.expected in kinds else "missed"


if __name__ == "__main__":
    main()
