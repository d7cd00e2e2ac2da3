"""Small nets are faster on one thread, beside other tests that run at the same time."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)
