"""Inference: a plan of buffers and steps, and its run."""
