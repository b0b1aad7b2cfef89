"""Models: their cards, their weights, and where they come from."""
