"""Engines that run a network: PyTorch, which always works, or LiteRT, faster on CPUs."""
