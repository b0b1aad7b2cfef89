"""Learn a network from treatments: splits, sampling, augmentation, the loop, the result."""
