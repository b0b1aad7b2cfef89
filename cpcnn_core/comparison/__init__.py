"""Several models side by side: the same cells, the same corrections, the same questions."""
