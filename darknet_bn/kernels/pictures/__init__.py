"""Pictures as arrays: resized, and changed for training."""
