"""Weights to and from the files of other programs: ``.safetensors``, ``.npz``, PyTorch's ``.pt``.

A file holds every array of a model under a key, together with the rest of Darknet's two files.  So
converting back gives these files to the byte, and other programs find only arrays.
"""

from darknet_bn.convert.models import FORMATS, READERS, load_arrays, save_arrays, save_pair
from darknet_bn.convert.schemes import SCHEMES

__all__ = ["FORMATS", "READERS", "SCHEMES", "load_arrays", "save_arrays", "save_pair"]
