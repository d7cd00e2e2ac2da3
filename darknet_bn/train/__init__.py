"""Training: state, step, update, learning rates."""

from darknet_bn.train.policy import learning_rate
from darknet_bn.train.state import TrainState, train_state
from darknet_bn.train.step import Step, train_step

__all__ = ["Step", "TrainState", "learning_rate", "train_state", "train_step"]
