"""The Cell Painting CNN in napari: embed cells, explore the map, find the nearest treatments."""

import logging

# As libraries do: napari, or who starts it, decides what is heard of this one.
logging.getLogger(__name__).addHandler(logging.NullHandler())
