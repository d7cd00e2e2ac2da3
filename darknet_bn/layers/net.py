"""``[net]``: the size of the input, and the options of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from darknet_bn.dialect import Dialect
from darknet_bn.errors import CfgError, Where
from darknet_bn.layers.options import Options, option
from darknet_bn.layers.shape import Shape

POLICIES = ("constant", "step", "steps", "exp", "poly", "random", "sigmoid", "sgdr")


@dataclass(frozen=True, kw_only=True)
class Net(Options):
    """The options of ``[net]``.  C: ``parse_net_options`` in ``src/parser.c``."""

    batch: int = option(1, at_least=1)
    subdivisions: int = option(1, at_least=1)
    time_steps: int = option(1, at_least=1)
    height: int = option(lambda dialect: 416 if dialect.opencv else 0, at_least=0)
    width: int = option(lambda dialect: 416 if dialect.opencv else 0, at_least=0)
    channels: int = option(lambda dialect: 3 if dialect.opencv else 0, at_least=0)
    inputs: int | None = option(None, at_least=1)

    learning_rate: float = option(0.001)
    momentum: float = option(0.9)
    decay: float = option(0.0001)
    max_batches: int = option(0)
    max_epochs: int = option(0)
    burn_in: int = option(0)
    power: float = option(4.0)
    policy: str = option("constant", choices=POLICIES)
    step: int = option(1)
    scale: float = option(1.0)
    steps: tuple[int, ...] | None = option(None)
    scales: tuple[float, ...] | None = option(None)
    seq_scales: tuple[float, ...] | None = option(None, extended=True)
    gamma: float = option(1.0)
    learning_rate_min: float = option(1e-5, extended=True)
    sgdr_cycle: int | None = option(None, extended=True)
    sgdr_mult: int = option(2, extended=True)
    adam: bool = option(False)
    B1: float = option(0.9)
    B2: float = option(0.999)
    eps: float | None = option(None)
    loss_scale: float = option(1.0, extended=True)
    ema_alpha: float = option(0.0, extended=True)
    seen: int = option(0)

    angle: float = option(0.0)
    aspect: float = option(1.0)
    saturation: float = option(1.0)
    exposure: float = option(1.0)
    hue: float = option(0.0)
    max_crop: int | None = option(None)
    min_crop: int | None = option(None)
    max_ratio: float | None = option(None, original=True)
    min_ratio: float | None = option(None, original=True)
    center: bool = option(False, original=True)
    clip: float = option(0.0, original=True)
    notruth: bool = option(False, original=True)
    random: bool = option(False, original=True)

    flip: bool = option(True, extended=True)
    blur: float = option(0.0, extended=True)
    gaussian_noise: float = option(0.0, extended=True)
    mixup: int = option(0, extended=True)
    cutmix: bool = option(False, extended=True)
    mosaic: bool = option(False, extended=True)
    mosaic_bound: bool = option(False, extended=True)
    letter_box: bool = option(False, extended=True)
    label_smooth_eps: float = option(0.0, extended=True)
    resize_step: int = option(32, extended=True)
    track: bool = option(False, extended=True)
    augment_speed: int = option(2, extended=True)
    sequential_subdivisions: int | None = option(None, extended=True)
    try_fix_nan: bool = option(False, extended=True)
    weights_reject_freq: int = option(0, extended=True)
    equidistant_point: int = option(0, extended=True)
    badlabels_rejection_percentage: float = option(0.0, extended=True)
    num_sigmas_reject_badlabels: float = option(0.0, extended=True)
    use_cuda_graph: bool = option(False, extended=True)
    dynamic_minibatch: bool = option(False, extended=True)
    optimized_memory: int = option(0, extended=True)
    workspace_size_limit_MB: int = option(1024, extended=True)
    contrastive: bool = option(False, extended=True)
    contrastive_jit_flip: bool = option(False, extended=True)
    contrastive_color: bool = option(False, extended=True)
    unsupervised: bool = option(False, extended=True)
    attention: bool = option(False, extended=True)
    adversarial_lr: float = option(0.0, extended=True)
    max_chart_loss: float = option(20.0, extended=True)
    show_receptive_field: bool = option(False, extended=True)

    def check(self, dialect: Dialect) -> Iterator[tuple[str, str]]:
        """Check ``scales`` against ``steps``; the programs stop, or read past the end of a list."""
        if self.policy != "steps":
            return
        for key in ("steps", "scales"):
            if getattr(self, key) is None:
                raise CfgError(
                    "policy=steps needs steps= and scales=",
                    where=Where(key="policy"),
                    found=f"no {key}=",
                )
        steps = len(self.steps or ())
        for key in ("scales", "seq_scales"):
            numbers = getattr(self, key)
            if numbers is not None and len(numbers) < steps:
                raise CfgError(
                    "there are fewer numbers than steps",
                    where=Where(key=key),
                    expected=f"{steps}, as steps= has",
                    found=f"{len(numbers)}",
                )
            if numbers is not None and len(numbers) > steps:
                yield key, f"{len(numbers)} numbers for {steps} steps; the extra ones are ignored"

    @property
    def input_shape(self) -> Shape:
        """The shape of one image, or a flat count if a size is missing."""
        if self.channels and self.height and self.width:
            return Shape(self.channels, self.height, self.width)
        return Shape(self.inputs or 0, flat=True)
