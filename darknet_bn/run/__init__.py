"""Inference: a plan of buffers and steps, and running it."""
