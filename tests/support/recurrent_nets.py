"""Nets of two recurrent layers each, the first with batch norm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import darknet_bn as dn
from tests.support.builders import cfg_text, random_floats, random_model, with_time_steps

BN = "batch_normalize=1"
CONV = "[convolutional] filters=4 size=1 activation=tanh"
SIX = 6  # time steps: chunks of one, two and three divide them
NETS = {
    "rnn pjreddie": ("pjreddie", f"[rnn] output=5 activation=tanh {BN}", "[rnn] output=4"),
    "rnn alexeyab": ("alexeyab", f"[rnn] output=5 hidden=6 shortcut=1 {BN}", "[rnn] output=4"),
    "gru pjreddie": ("pjreddie", f"[gru] output=5 {BN}", "[gru] output=4 tanh=1"),
    "gru alexeyab": ("alexeyab", f"[gru] output=5 {BN}", "[gru] output=4"),
    "lstm pjreddie": ("pjreddie", f"[lstm] output=5 {BN}", "[lstm] output=4"),
    "lstm alexeyab": ("alexeyab", f"[lstm] output=5 {BN}", "[lstm] output=4"),
    "crnn pjreddie": (
        "pjreddie",
        f"[crnn] output_filters=5 hidden_filters=3 activation=tanh {BN}",
        "[crnn] output_filters=4 hidden_filters=2",
    ),
    "crnn alexeyab": (
        "alexeyab",
        f"[crnn] output=5 hidden=3 pad=1 activation=tanh {BN}",
        "[crnn] output=4 hidden=2 size=5 pad=1 shortcut=1 activation=leaky",
    ),
    "conv_lstm": (
        "alexeyab",
        f"[conv_lstm] output=5 pad=1 peephole=1 {BN}",
        "[conv_lstm] output=4 pad=1 state_constrain=1",
    ),
    "history": ("alexeyab", f"{CONV} {BN}", "[history] history_size=3", CONV),
}


def text_of(name: str, time_steps: int = SIX) -> tuple[str, bytes]:
    dialect, *sections = NETS[name]
    return dialect, with_time_steps(cfg_text(*sections, width=5, height=4), time_steps)


def model_of(name: str, time_steps: int = SIX) -> dn.Model:
    dialect, cfg = text_of(name, time_steps)
    return random_model(cfg, dialect)


def remembering(model: dn.Model) -> dn.Model:
    """The model with the bug of [history] mended: it remembers single time steps too."""
    cfg, weights = model.cfg.to_bytes(), model.header.to_bytes() + random_floats(model.network)
    return dn.load(cfg, weights, dialect=replace(model.dialect, history_needs_steps=False))


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    # Matrix products of other sizes may add in another order, and folded weights are rounded once
    # more: some roundings of float32 (6e-8), passed on from step to step.
    assert np.abs(found - expected).max() <= 4e-6 * np.abs(expected).max()
