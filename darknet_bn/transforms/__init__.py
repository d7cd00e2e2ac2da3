"""From model to model: batch norm folded, statistics measured again."""
