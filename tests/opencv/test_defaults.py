"""What a cfg leaves out, and what only OpenCV knows, counts as in OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.opencv_nets import CONV, REGION, YOLO, assert_close, blob, both, files

pytestmark = pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")

NETS = {
    "activation of a convolution": "[convolutional] filters=4 size=3 pad=1",
    "activation with batch norm": "[convolutional] filters=4 size=3 pad=1 batch_normalize=1",
    "activation of a full matrix": "[connected] output=5",
    "size and stride of a maxpool": "[maxpool]",
    "stride of a maxpool": "[maxpool] size=3",
    "size of a maxpool": "[maxpool] stride=1",
    "stride of a reorg": "[reorg]",
    "stride of an upsample": "[upsample]",
    "softmax of an image": "[softmax]",
    "the last of two lines": f"{CONV} activation=leaky",
    "alpha of a shortcut": f"{CONV}\n{CONV} groups=2\n[shortcut] from=-2 alpha=0.5",
    "a loss": f"{CONV}\n[avgpool]\n[softmax]\n[cost]",
    "a crop": "[crop] crop_width=6 crop_height=6",
}
HEADS = {
    "thresh": f"{YOLO} thresh=0.5",
    "thresh of 0": f"{YOLO} thresh=0",
    "nms_threshold": f"{YOLO} nms_threshold=0.3",
    "both": f"{YOLO} nms_threshold=0.3 thresh=0.1",
    "scale_x_y": f"{YOLO} scale_x_y=1.2",
    "new_coords": f"{YOLO} new_coords=1 scale_x_y=2 thresh=0.01",
    "region": REGION,
    "region's thresh": f"{REGION} thresh=0.6",
    "region's nms_threshold, which does not count": f"{REGION} nms_threshold=0.1",
    "classfix": f"{REGION} classfix=-1",
}


@pytest.mark.parametrize("name", NETS)
def test_what_is_left_out_is_as_in_opencv(cv2: Any, name: str) -> None:
    cfg, weights = files(*NETS[name].split("\n"))
    theirs, ours = both(cv2, cfg, weights)
    assert ours.getUnconnectedOutLayersNames() == theirs.getUnconnectedOutLayersNames()
    for net in (theirs, ours):
        net.setInput(blob(2, 4, 8, 8))
    assert_close(ours.forward(), theirs.forward())


def test_a_net_without_a_size_has_416_by_416_pixels_of_three_channels(cv2: Any) -> None:
    theirs, ours = both(cv2, b"[net]\n[maxpool]\nsize=32\nstride=32\n", b"")
    for net in (theirs, ours):
        net.setInput(blob(1, 3, 416, 416))
    assert_close(ours.forward(), theirs.forward())
    assert dn.build_network(dn.parse_cfg(b"[net]\n[maxpool]\n"), dn.OPENCV).input.dims == (
        3,
        416,
        416,
    )


@pytest.mark.parametrize("size", [(8, 8), (6, 8), (8, 5)])
@pytest.mark.parametrize("name", HEADS)
def test_the_heads_heed_their_thresholds(cv2: Any, name: str, size: tuple[int, int]) -> None:
    width, height = size
    cfg, weights = files(HEADS[name], width=width, height=height, channels=14)
    theirs, ours = both(cv2, cfg, weights)
    for batch in (1, 3):
        for net in (theirs, ours):
            net.setInput(2 * blob(batch, 14, height, width))
        a, b = ours.forward(), theirs.forward()
        assert_close(a, b)
        np.testing.assert_array_equal(a[..., 5:] > 0, b[..., 5:] > 0)
