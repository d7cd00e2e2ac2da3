"""Exported files that are written unproven, for tests that run them themselves."""

from __future__ import annotations

from functools import partial

import darknet_bn as dn

write_onnx = partial(dn.export_onnx, prove=False)
