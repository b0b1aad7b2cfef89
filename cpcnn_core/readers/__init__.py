"""Readers: one module per format of a screen; all of them make Sites."""
