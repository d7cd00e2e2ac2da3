"""Pooling: how windows move over images, their largest value, their mean."""
