"""Layers in nets: where they are folded, share, pass on and read images of many sizes."""

from __future__ import annotations

import darknet_bn as dn
from tests.support.builders import cfg_text, random_model, with_time_steps

AB, PJ = "alexeyab", "pjreddie"


def conv(options: str) -> str:
    """A convolution; if options occur twice, the first counts."""
    return f"[convolutional] {options} activation=linear filters=4"


# Sections of which no target expresses the last, and the reason.
REFUSED_NETS: dict[str, tuple[str, ...]] = {
    "equal parts": (conv("filters=5"), "[maxpool] maxpool_depth=1 out_channels=2"),
    "outside the image": ("[local_avgpool] size=2 padding=6 stride=2",),
}
_BN = conv("size=3 pad=1 batch_normalize=1")
# Layers in a net, where they are folded, share and pass on: what each is, the dialect, and the
# sections.  Each kind alone is in `EXAMPLES`.
NETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "convolution": (
        PJ,
        (conv("size=3 pad=1 activation=leaky batch_normalize=1"), _BN),
    ),
    "an even kernel": (
        PJ,
        (conv("size=2 pad=1"), conv("size=4 stride=3 padding=2")),
    ),
    "groups": (
        PJ,
        (
            _BN,
            conv("groups=2 size=3 pad=1 stride=2"),
            conv("groups=4 size=1"),
        ),
    ),
    "strides of their own": (
        AB,
        (conv("size=3 pad=1 stride_x=2 stride_y=1 batch_normalize=1"),),
    ),
    "dilation": (
        AB,
        (
            conv("size=3 pad=1 dilation=2"),
            conv("size=3 padding=0 dilation=2"),
        ),
    ),
    "windows that end early": (AB, (conv("size=2 padding=3 dilation=3 stride=2"),)),
    "more padding than kernel": (
        PJ,
        (conv("size=1 padding=2"), conv("size=3 padding=4")),
    ),
    "a kernel a little too large": (PJ, (conv("size=8 stride=3"),)),
    "antialiasing": (
        AB,
        (
            conv("size=3 pad=1 stride=2 antialiasing=1"),
            conv("antialiasing=2"),
        ),
    ),
    "binary": (AB, (conv("size=3 pad=1 xnor=1 batch_normalize=1"),)),
    "shared weights": (
        AB,
        (conv("size=1"), _BN, conv("size=3 pad=1 batch_normalize=1 share_index=1")),
    ),
    "batch norm alone": (
        AB,
        ("[batchnorm]", conv("size=1"), "[batchnorm]", "[maxpool] size=2"),
    ),
    "connected": (
        PJ,
        ("[connected] output=7 batch_normalize=1", "[connected] output=5 activation=relu"),
    ),
    "connected behind images": (
        AB,
        (_BN, "[connected] output=6", "[softmax] groups=2 temperature=2"),
    ),
    "deconvolutional": (
        PJ,
        ("[deconvolutional] filters=4 size=4 stride=2 padding=1 batch_normalize=1",),
    ),
    "local": (PJ, ("[local] filters=3 size=3 pad=1 stride=2 activation=leaky",)),
    "maxpool": (PJ, ("[maxpool] size=2 stride=2", "[maxpool] size=2 stride=1", "[maxpool] size=3")),
    "maxpool of uneven images": (PJ, ("[maxpool] size=3 stride=2", "[maxpool] size=2 stride=2")),
    "maxpool with much padding": (PJ, ("[maxpool] size=2 stride=1 padding=5",)),
    "maxpool a little too large": (PJ, ("[maxpool] size=8 stride=3 padding=0",)),
    "maxpool that blurs": (AB, ("[maxpool] size=3 stride=2 antialiasing=1",)),
    "maxpool over channels": (
        AB,
        (conv("size=1"), "[maxpool] maxpool_depth=1 out_channels=2"),
    ),
    "local_avgpool": (AB, ("[local_avgpool] size=3 stride=2", "[local_avgpool] size=2 stride=1")),
    "avgpool": (PJ, (_BN, "[avgpool]", "[softmax]")),
    "route": (PJ, (_BN, _BN, "[route] layers=-1,0", "[route] layers=-2")),
    "route of groups": (
        AB,
        (_BN, "[route] layers=-1 groups=2 group_id=1", "[route] layers=0,-1 groups=2"),
    ),
    "route of unequal images": (
        PJ,
        (_BN, "[maxpool] size=2 stride=2", "[route] layers=0,1", "[softmax]"),
    ),
    "shortcut": (PJ, (_BN, _BN, "[shortcut] from=-2 activation=leaky alpha=0.5 beta=2")),
    "shortcut of other channels": (
        PJ,
        (
            conv("size=1 filters=6"),
            _BN,
            "[shortcut] from=-2",
            _BN,
            "[shortcut] from=0 alpha=0.5",
        ),
    ),
    "shortcut to a larger image": (
        PJ,
        (_BN, "[maxpool] size=2 stride=2", "[shortcut] from=0 beta=3"),
    ),
    "shortcut to a smaller image": (
        PJ,
        (_BN, "[maxpool] size=2 stride=2", "[upsample] stride=2", "[shortcut] from=-2 alpha=0.5"),
    ),
    "shortcut of several": (AB, (_BN, _BN, conv("size=1 filters=6"), "[shortcut] from=0,1")),
    "shortcut with weights": (
        AB,
        (
            _BN,
            _BN,
            "[shortcut] from=0 weights_type=per_channel "
            "weights_normalization=softmax activation=swish",
        ),
    ),
    "upsample": (PJ, ("[upsample] stride=3 scale=0.5", "[upsample] stride=-2 scale=3")),
    "reorg": (PJ, (conv("size=1 filters=8"), "[reorg] stride=2", "[reorg] stride=2 reverse=1")),
    "reorg flat": (PJ, ("[reorg] flatten=1", "[reorg] flatten=1 reverse=1", "[reorg] extra=3")),
    "reorg3d": (
        AB,
        (conv("size=1"), "[reorg3d] stride=2", "[reorg3d] stride=2 reverse=1"),
    ),
    "attention": (
        AB,
        (
            _BN,
            "[avgpool]",
            conv("activation=logistic"),
            "[scale_channels] from=0",
            _BN,
            "[sam] from=-2 activation=leaky",
            conv("filters=1 activation=logistic"),
            "[scale_channels] from=-2 scale_wh=1",
        ),
    ),
    "normalization": (PJ, (conv("size=1 filters=7"), "[normalization] alpha=0.02 size=5")),
    "normalization of few": (PJ, ("[normalization] alpha=0.02 size=7 kappa=2",)),
    "l2norm": (PJ, ("[l2norm]",)),
    "logistic": (PJ, (_BN, "[logistic]")),
    "crop": (
        AB,
        ("[crop] crop_width=5 crop_height=6", "[crop] crop_width=3 crop_height=4 noadjust=1"),
    ),
    "nothing to do": (
        AB,
        ("[dropout]", _BN, "[dropout]", "[empty]", "[activation] activation=linear"),
    ),
    "losses": (AB, (_BN, "[contrastive]", "[connected] output=3", "[cost]")),
    "a loss that is read": (PJ, ("[connected] output=3", "[cost]", "[softmax]")),
    "implicit": (AB, ("[implicit] filters=4 atoms=2", conv("size=1"))),
    "rnn": (AB, ("[rnn] output=4 hidden=5 shortcut=1 batch_normalize=1",)),
    "gru": (PJ, ("[gru] output=4 tanh=1",)),
    "lstm": (PJ, ("[lstm] output=4 batch_normalize=1",)),
    "crnn": (PJ, ("[crnn] hidden_filters=5 output_filters=4",)),
    "conv_lstm": (AB, ("[conv_lstm] output=4 size=3 pad=1 peephole=1 state_constrain=1",)),
    "history": (AB, ("[history] history_size=3", "[history] history_size=1")),
    "iseg": (PJ, (conv("size=1 filters=6"), "[iseg] classes=2 ids=4")),
    "yolo": (
        AB,
        (conv("size=1 filters=14"), "[yolo] classes=2 num=2 anchors=1,2,3,4 scale_x_y=1.2"),
    ),
    "yolo in new coordinates": (AB, (conv("size=1 filters=7"), "[yolo] classes=2 new_coords=1")),
    "Gaussian_yolo": (
        AB,
        (conv("size=1 filters=22"), "[Gaussian_yolo] classes=2 num=2 scale_x_y=1.1"),
    ),
    "region": (PJ, (conv("size=1 filters=14"), "[region] classes=2 num=2 softmax=1")),
    "region cell by cell": (
        AB,
        (conv("size=1 filters=14"), "[region] classes=2 num=2 softmax=1"),
    ),
    "region with a background": (
        PJ,
        (conv("size=1 filters=7"), "[region] classes=2 background=1 softmax=1"),
    ),
    "region with more coordinates": (
        PJ,
        (conv("size=1 filters=9"), "[region] classes=2 coords=6"),
    ),
    "detection": (
        PJ,
        (
            "[connected] output=28 activation=linear",
            "[detection] side=2 classes=2 num=1 coords=4 softmax=1",
        ),
    ),
    "detection without classes": (
        PJ,
        (
            "[connected] output=20 activation=linear",
            "[detection] side=2 classes=0 num=1 coords=4 softmax=1",
        ),
    ),
}


def case_model(name: str) -> dn.Model:
    dialect, sections = NETS[name]
    cfg = cfg_text(*sections, width=8, height=6)
    model = random_model(cfg, dialect)
    return random_model(with_time_steps(cfg, 3), dialect) if model.network.recurrent else model
