"""The Cell Painting CNN in napari: embed cells, explore the map, find the nearest treatments."""
