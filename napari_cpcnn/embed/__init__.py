"""Choosing layers and a model, and embedding the cells."""
