"""Other programs that run a model, each with the same few methods."""
