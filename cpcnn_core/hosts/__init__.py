"""The programs cpcnn works inside: set them up, and say what is missing."""
