"""Programs that run a model, all with the same few methods, and what takes pictures in them."""
