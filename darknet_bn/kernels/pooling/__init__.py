"""Pooling: how windows move over images, and their maximum and mean."""
