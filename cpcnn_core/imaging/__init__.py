"""Fields of cells and the crops that are cut out of them."""
