"""Losses of the heads, with their gradients."""
