"""Readers: one module per format that a screen may lie in; all of them make Sites."""
