"""The loop: which examples when, how long, and that it learns; and resuming where it stopped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.arrays import F32
from darknet_bn.layers.shape import Shape
from darknet_bn.training import TrainState, load_checkpoint, save_checkpoint, train
from tests.support.train_builders import Squares, small_model


def same(one: TrainState, other: TrainState) -> bool:
    """Whether two states are the same to the last bit."""
    return (one.iteration, one.seed, one.seen, one.dialect) == (
        other.iteration,
        other.seed,
        other.seen,
        other.dialect,
    ) and all(
        mine.keys() == theirs.keys()
        and all(np.array_equal(mine[name], theirs[name]) for name in mine)
        for kind in ("updates", "squares", "memory")
        for mine, theirs in zip(
            (*getattr(one, kind), *one.model.params),
            (*getattr(other, kind), *other.model.params),
            strict=True,
        )
    )


def last(state: TrainState, **options: float) -> TrainState:
    *_, end = train(state, Squares(), **options)
    return end.state


def test_every_example_is_taken_once_an_epoch() -> None:
    examples = Squares(20)
    progress = list(train(dn.train_state(small_model(), 4), examples, epochs=3))
    taken = [index for asked in examples.asked for index in asked]
    assert len(progress) == 10
    assert [len(each) for each in examples.asked] == [6] * 10
    epochs = [taken[20 * epoch : 20 * (epoch + 1)] for epoch in range(3)]
    assert all(sorted(each) == list(range(20)) for each in epochs)
    assert epochs[0] != epochs[1]
    assert progress[-1].done
    assert progress[-1].epoch == 3
    assert progress[-1].state.seen == 60
    assert not progress[-2].done


@pytest.mark.parametrize("batch", [1, 5, 20])
def test_stochastic_mini_and_full_batches_are_one_loop(batch: int) -> None:
    examples = Squares(20)
    state = dn.train_state(small_model().with_batch(batch))
    progress = list(train(state, examples, epochs=2))
    assert [len(each) for each in examples.asked] == [batch] * (40 // batch)
    assert progress[-1].iteration == 40 // batch


def test_it_learns() -> None:
    progress = list(train(dn.train_state(small_model()), Squares(), iterations=150))
    assert progress[0].loss > 0.8
    assert progress[-1].average < 0.1
    model = progress[-1].state.model
    assert model.header.seen == 900
    data = Squares()
    outputs = dn.forward(model, data.x)[4]
    assert (outputs.argmax(axis=1) == data.kinds).mean() >= 0.95


def test_the_end_is_max_batches() -> None:
    assert len(list(train(dn.train_state(small_model()), Squares()))) == 20
    with pytest.raises(dn.TrainingError, match="the end of training is not specified"):
        next(train(dn.train_state(small_model()), Squares(), iterations=0))
    model = dn.load(small_model().cfg.edited({(0, "max_batches"): "0"}).to_bytes(), None)
    with pytest.raises(dn.TrainingError, match=r"\[net\].*max_batches.*expected"):
        next(train(dn.train_state(model), Squares()))


def test_a_training_that_is_over_says_by_what_and_what_to_type() -> None:
    state = last(dn.train_state(small_model()))
    assert (state.iteration, state.seen) == (20, 120)
    had = r"the weights have had 20 iterations \(120 images seen, 6 an iteration\)"
    with pytest.raises(dn.TrainingError, match=f"training is already finished: {had}") as caught:
        next(train(state, Squares()))
    assert caught.value.where.key == "max_batches"
    assert caught.value.where.line is not None
    assert str(caught.value).endswith(
        ", and max_batches=20; --iterations N with N above 20 continues, "
        "--clear starts the count at 0 again"
    )
    with pytest.raises(dn.TrainingError, match=f"{had}, and --iterations is 7; --iterations N"):
        next(train(state, Squares(), iterations=7))
    with pytest.raises(dn.TrainingError, match=r"2 epochs are 7 iterations; --epochs N with a l"):
        next(train(state, Squares(20), epochs=2))
    assert last(state, iterations=21).iteration == 21


@pytest.mark.parametrize("more", ["", "adam=1", "burn_in=4", "policy=random"])
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_a_run_that_goes_on_equals_an_unbroken_one(tmp_path: Path, more: str, dialect: str) -> None:
    model = small_model(more, dialect)
    unbroken = last(dn.train_state(model, 7), iterations=11)
    first = last(dn.train_state(model, 7), iterations=4)
    save_checkpoint(first, tmp_path / "net.weights")
    read = dn.load(model.cfg.to_bytes(), tmp_path / "net.weights", dialect=dialect)
    state = load_checkpoint(read, tmp_path / "net.weights")
    assert state is not None
    assert same(state, first)
    assert same(last(state, iterations=11), unbroken)
    assert not same(last(dn.train_state(read, 7), iterations=11), unbroken)  # without momentum


def test_the_seed_decides() -> None:
    one, other = (last(dn.train_state(small_model(), seed), iterations=3) for seed in (1, 2))
    assert same(one, last(dn.train_state(small_model(), 1), iterations=3))
    assert not same(one, other)


def test_sequences_stay_together() -> None:
    cfg = b"[net]\nbatch=2\ntime_steps=3\ninputs=4\nmax_batches=5\n[gru]\noutput=3\n[softmax]\n"

    class Rows:
        asked: list[list[int]]

        def __init__(self) -> None:
            self.asked = []

        def __len__(self) -> int:
            return 12

        def batch(self, indices, rng, *, shape) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
            self.asked.append(indices)
            return np.zeros((6, 4), np.float32), np.eye(3, dtype=np.float32)[[0] * 6]

    rows = Rows()
    *_, end = train(dn.train_state(dn.load(cfg, None, dialect="alexeyab")), rows)
    assert end.state.seen == 30
    for asked in rows.asked:
        steps = np.array(asked).reshape(3, 2)
        assert (steps[0] % 3 == 0).all()
        assert (steps[1:] - steps[:-1] == 1).all()
    assert end.state.memory[0]["state"].shape == (2, 3, 1, 1)


def test_a_loss_that_is_no_number_ends_it() -> None:
    cfg = small_model().cfg.edited({(0, "learning_rate"): "1e30"})
    model = dn.load(cfg.to_bytes(), None)
    with pytest.raises(dn.TrainingError, match=r"the loss is not finite.*lower learning rate"):
        list(train(dn.train_state(model), Squares()))


def test_progress_tells_rate_and_time() -> None:
    progress = list(train(dn.train_state(small_model("burn_in=10")), Squares(), iterations=12))
    assert progress[4].rate == pytest.approx(0.05 * 0.5**4)
    assert progress[-1].rate == 0.05
    assert all(each.images_per_second > 0 for each in progress)
    assert progress[-1].seconds_left == 0
    assert math.isclose(progress[1].average, progress[0].loss * 0.9 + progress[1].loss * 0.1)


class HalfStep:
    """A step of one of two processes, which uses the second half of each batch."""

    def __init__(self) -> None:
        self.seen: list[F32] = []

    def places(self, network: dn.Network, images: int) -> list[int]:
        return list(range(images // 2, images))

    def __call__(
        self, state: TrainState, x: F32, truth: F32, *, keep: bool
    ) -> tuple[TrainState, dn.TrainStep]:
        self.seen.append(x)
        return dn.train_step(state, x, truth, keep=keep)


class DivisibleSquares(Squares):
    """Squares, of which only some are prepared."""

    def part_of_batch(
        self, indices: list[int], rng: np.random.Generator, places: list[int], *, shape: Shape
    ) -> tuple[F32, F32]:
        x, truth = self.batch(indices, rng, shape=shape)
        others = sorted(set(range(len(indices))).difference(places))
        x[others] = 0
        return x, truth


def test_only_what_a_process_uses_is_prepared() -> None:
    whole, part, undivided = HalfStep(), HalfStep(), HalfStep()
    state = dn.train_state(small_model())
    *_, _ = train(state, Squares(), iterations=2, step=undivided)
    *_, _ = train(state, DivisibleSquares(), iterations=2, step=part)
    *_, _ = train(state, DivisibleSquares(), iterations=2, step=whole.__call__)
    for own, all_of_them, same_data in zip(part.seen, whole.seen, undivided.seen, strict=True):
        assert np.array_equal(own[3:], all_of_them[3:])
        assert not own[:3].any()
        assert np.array_equal(same_data, all_of_them)  # cannot be divided
