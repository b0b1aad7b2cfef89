"""The map of the cells: made in another process, drawn, coloured, selected from."""
