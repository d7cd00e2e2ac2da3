"""What is wrong with a model: from its values, its cfg, and what batch norms see in pictures."""
