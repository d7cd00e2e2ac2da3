"""The data of training: lists of pictures, labels, arrays; augmented, and with their truth."""

from darknet_bn.data.array_sets import ArrayDataset, array_dataset
from darknet_bn.data.base import Dataset, Picture
from darknet_bn.data.dataset import load_dataset
from darknet_bn.data.pictures import PictureBoxes, PictureClasses

__all__ = [
    "ArrayDataset",
    "Dataset",
    "Picture",
    "PictureBoxes",
    "PictureClasses",
    "array_dataset",
    "load_dataset",
]
