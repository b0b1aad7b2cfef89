"""Crops of a whole screen on disk, to be read in any order."""
