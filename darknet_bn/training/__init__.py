"""Training: steps, the loop over a data set, checkpoints."""

from darknet_bn.training.checkpoint import load_checkpoint, save_checkpoint
from darknet_bn.training.loop import Progress, train
from darknet_bn.training.policy import learning_rate
from darknet_bn.training.state import TrainState, train_state
from darknet_bn.training.step import TrainStep, train_step

__all__ = [
    "Progress",
    "TrainState",
    "TrainStep",
    "learning_rate",
    "load_checkpoint",
    "save_checkpoint",
    "train",
    "train_state",
    "train_step",
]
