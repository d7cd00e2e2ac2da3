"""One step: parts of a batch, updates by hand, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.train_builders import Squares, small_model

X = Squares(6).x
TRUTH = np.eye(4, dtype=np.float32)[Squares(6).kinds]
PLAIN = b"""[net]
batch=4
inputs=3
learning_rate=0.1
momentum=0.5
decay=0.01
%s
[connected]
output=2
activation=linear
[cost]
"""


def test_the_state_it_came_from_stays_as_it_was() -> None:
    state = dn.train_state(small_model())
    before = [{name: array.copy() for name, array in p.items()} for p in state.model.params]
    after, _ = dn.train_step(state, X, TRUTH)
    for old, now in zip(before, state.model.params, strict=True):
        assert all(np.array_equal(old[name], now[name]) for name in old)
    assert (state.iteration, state.seen) == (0, 0)
    assert (after.iteration, after.seen) == (1, 6)
    assert not after.model.params[0]["weights"].flags.writeable


def test_updates_by_hand() -> None:
    state = dn.train_state(dn.load(PLAIN % b"", None))
    rng = np.random.default_rng(0)
    x = rng.random((4, 3), np.float32)
    truth = rng.random((4, 2), np.float32)
    weights = state.model.params[0]["weights"].astype(np.float64)
    biases, kept, kept_biases = np.zeros(2), np.zeros((2, 3)), np.zeros(2)
    for _ in range(3):
        state, step = dn.train_step(state, x, truth)
        apart = truth - (x @ weights.T + biases)
        assert step.loss == pytest.approx((apart**2).sum() / 4, rel=1e-5)
        kept, kept_biases = kept + apart.T @ x, kept_biases + apart.sum(axis=0)
        np.testing.assert_allclose(step.updates[0]["weights"], kept, rtol=1e-4)
        kept = kept - 0.01 * 4 * weights
        weights, biases = weights + 0.1 / 4 * kept, biases + 0.1 / 4 * kept_biases
        kept, kept_biases = kept * 0.5, kept_biases * 0.5
        np.testing.assert_allclose(state.model.params[0]["weights"], weights, rtol=1e-5)
        np.testing.assert_allclose(state.model.params[0]["biases"], biases, rtol=1e-4)
        np.testing.assert_allclose(state.updates[0]["weights"], kept, rtol=1e-4, atol=1e-6)


def test_adam_by_hand() -> None:
    state = dn.train_state(dn.load(PLAIN % b"adam=1", None, dialect="pjreddie"))
    rng = np.random.default_rng(0)
    x, truth = rng.random((4, 3), np.float32), rng.random((4, 2), np.float32)
    weights = state.model.params[0]["weights"].astype(np.float64)
    biases = np.zeros(2)
    m, v = np.zeros((2, 3)), np.zeros((2, 3))
    for t in (1, 2, 3):
        apart = truth - (x @ weights.T + biases)
        d = apart.T @ x - 0.01 * 4 * weights
        m, v = 0.9 * m + 0.1 * d, 0.999 * v + 0.001 * d * d
        weights = weights + 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        state, _ = dn.train_step(state, x, truth)
        np.testing.assert_allclose(state.model.params[0]["weights"], weights, rtol=2e-5)
        biases = state.model.params[0]["biases"].astype(np.float64)


def test_parts_of_a_batch_add_up() -> None:
    """Without batch norm, subdivisions change nothing but the order of sums."""
    cfg = PLAIN % b"subdivisions=2"
    rng = np.random.default_rng(0)
    x, truth = rng.random((8, 3), np.float32), rng.random((8, 2), np.float32)
    parted, whole = (
        dn.train_step(dn.train_state(dn.load(each, None)), x, truth)[1]
        for each in (cfg, PLAIN % b"")
    )
    assert parted.loss == pytest.approx(whole.loss, rel=1e-6)
    for kind in ("outputs", "deltas"):
        for layer in (0, 1):
            mine, theirs = getattr(parted, kind)[layer], getattr(whole, kind)[layer]
            np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)


def test_time_steps_keep_their_order_in_parts() -> None:
    text = b"[net]\nbatch=4\nsubdivisions=2\ntime_steps=3\ninputs=2\n[rnn]\noutput=2\n[cost]\n"
    model = dn.load(text, None, dialect="pjreddie")
    rng = np.random.default_rng(0)
    x, truth = rng.random((12, 2), np.float32), rng.random((12, 2), np.float32)
    _, step = dn.train_step(dn.train_state(model), x, truth)
    np.testing.assert_allclose(step.outputs[0], dn.forward(model, x, [0])[0], rtol=1e-5)


class TestOptionsOfLayers:
    def states(self, options: str) -> tuple[dn.TrainState, dn.TrainState]:
        text = small_model().cfg.to_bytes().decode()
        head, _, rest = text.partition("[convolutional]")
        model = dn.load(f"{head}[convolutional]\n{options}{rest}".encode(), None)
        state = dn.train_state(model)
        return state, dn.train_step(state, X, TRUTH)[0]

    def changed(self, options: str) -> list[str]:
        before, after = self.states(options)
        return [
            f"{layer} {name}"
            for layer, p in enumerate(before.model.params)
            for name in p
            if not np.array_equal(p[name], after.model.params[layer][name])
        ]

    def test_all_learn(self) -> None:
        rolling = ["0 rolling_mean", "0 rolling_variance"]
        expected = {"0 biases", "0 scales", *rolling, "0 weights", "2 biases", "2 weights"}
        expected |= {"3 biases", "3 weights"}
        assert set(self.changed("")) == expected

    def test_train_only_bn(self) -> None:
        assert "0 weights" not in self.changed("train_only_bn=1")
        assert "0 scales" in self.changed("train_only_bn=1")

    def test_dont_update(self) -> None:
        changed = self.changed("dont_update=1")
        assert "0 weights" not in changed
        assert "2 weights" in changed

    def test_learning_rate(self) -> None:
        before, slow = self.states("learning_rate=0")
        assert np.array_equal(slow.model.params[0]["weights"], before.model.params[0]["weights"])

    def test_clip(self) -> None:
        _, after = self.states("clip=0.01")
        assert np.abs(after.model.params[0]["weights"]).max() <= np.float32(0.01)

    def test_burnin_update(self) -> None:
        before, _ = self.states("burnin_update=1")
        model = dn.load(before.model.cfg.edited({(0, "burn_in"): "5"}).to_bytes(), None)
        after, _ = dn.train_step(dn.train_state(model), X, TRUTH)
        assert np.array_equal(after.model.params[0]["weights"], model.params[0]["weights"])
        assert not np.array_equal(after.model.params[2]["weights"], model.params[2]["weights"])

    @pytest.mark.parametrize("option", ["stopbackward=1", "onlyforward=1"])
    def test_nothing_goes_back(self, option: str) -> None:
        text = small_model().cfg.to_bytes().decode()
        model = dn.load(text.replace("[dropout]", f"[dropout]\n{option}").encode(), None)
        _, step = dn.train_step(dn.train_state(model), X, TRUTH)
        assert not step.updates[0]
        assert step.updates[2]


def test_what_is_not_there_in_training_is_said() -> None:
    model = small_model("ema_alpha=0.9", dialect="alexeyab")
    with pytest.warns(dn.DarknetWarning, match=r"\[net\]: ema_alpha: not supported in training"):
        dn.train_state(model)


class TestRefused:
    def test_a_batch_that_cannot_be_parted(self) -> None:
        with pytest.raises(dn.ShapeError, match=r"subdivisions.*multiple of 2.*found 5"):
            dn.train_step(dn.train_state(small_model()), X[:5], TRUTH[:5])

    def test_a_truth_of_another_batch(self) -> None:
        with pytest.raises(dn.ShapeError, match="the truth does not belong to this batch"):
            dn.train_step(dn.train_state(small_model()), X, TRUTH[:2])

    def test_a_truth_of_another_size(self) -> None:
        with pytest.raises(dn.ShapeError, match=r"\[softmax\].*the truth does not fit the output"):
            dn.train_step(dn.train_state(small_model()), X, TRUTH[:, :3])

    def test_no_truth(self) -> None:
        with pytest.raises(dn.TrainingError, match="there is nothing to compute a loss from"):
            dn.train_step(dn.train_state(small_model()), X)

    def test_a_layer_without_gradient(self) -> None:
        text = small_model().cfg.to_bytes().replace(b"[softmax]", b"[contrastive]\n[softmax]")
        model = dn.load(text, None, dialect="alexeyab")
        with pytest.raises(dn.TrainingError, match=r"line \d+.*\[contrastive\] has no gradient"):
            dn.train_step(dn.train_state(model), X, TRUTH)

    def test_a_model_that_cannot_learn(self) -> None:
        model = dn.load(b"[net]\ninputs=4\n[softmax]\n", None)
        with pytest.raises(dn.TrainingError, match="no trainable parameters"):
            dn.train_state(model)


def test_layers_that_share_weights_learn_together() -> None:
    text = b"""[net]
width=4
height=4
channels=3
[convolutional]
filters=3
size=3
pad=1
batch_normalize=1
activation=linear
[convolutional]
filters=3
size=3
pad=1
batch_normalize=1
activation=linear
share_index=0
[cost]
"""
    model = dn.load(text, None, dialect="alexeyab")
    x = np.random.default_rng(0).random((2, 3, 4, 4), np.float32)
    state, step = dn.train_step(dn.train_state(model), x, np.zeros_like(x))
    assert state.model.params[0] is state.model.params[1]
    assert not step.updates[1]
    # The rolling mean has moved twice: with the mean of the first pass, then of the second.
    alone = text.partition(b"share_index")[0].replace(b"batch_normalize=1\n", b"")
    sums = dn.load(alone.rpartition(b"[convolutional]")[0], None, dialect="alexeyab")
    means = [dn.forward(sums, each, [0])[0].mean(axis=(0, 2, 3)) for each in (x, step.outputs[0])]
    expected = 0.9 * 0.1 * means[0] + 0.1 * means[1]
    np.testing.assert_allclose(state.model.params[0]["rolling_mean"], expected, atol=1e-6)
