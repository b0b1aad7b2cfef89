"""What runs a network: PyTorch, which always works, or LiteRT, faster on CPUs."""
