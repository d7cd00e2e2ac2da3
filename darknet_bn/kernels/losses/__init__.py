"""Losses of the detection heads, with their gradients."""
