"""Pictures as arrays: resizing, and augmentation for training."""
