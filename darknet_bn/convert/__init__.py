"""Weights to and from the files of other programs: ``.safetensors``, ``.npz``, PyTorch's ``.pt``.

A file holds every array of a model under a key, and beside them what else makes up the two files
of Darknet.  So the way back gives them to the byte, and the other programs find only arrays.
"""

from darknet_bn.convert.models import FORMATS, READERS, load_arrays, save_arrays, save_pair
from darknet_bn.convert.schemes import SCHEMES

__all__ = ["FORMATS", "READERS", "SCHEMES", "load_arrays", "save_arrays", "save_pair"]
