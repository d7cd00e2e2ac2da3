"""Other programs that run a model, each behind the same few methods."""
