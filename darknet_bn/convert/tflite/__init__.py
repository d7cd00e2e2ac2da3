"""Models as TFLite files."""
