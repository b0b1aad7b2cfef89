"""From the cells of a well to its profile, learned from replicates."""
